"""What the native engine's sources must keep so that one module can hold several targets."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

NATIVE = Path(__file__).resolve().parents[1] / "native"


def test_kernels_of_a_target_define_nothing_outside_its_namespace(tmp_path):
    """A function that two targets shared would be linked from either, also from the wider one."""
    compiler, lister = shutil.which("g++"), shutil.which("nm")
    if not (compiler and lister):
        pytest.skip("needs g++ and nm")
    compiled = tmp_path / "kernels.o"
    # Nothing is inlined, so that every function shows.
    options = ["-std=gnu++17", "-O0", "-fopenmp", "-DLINCONV_TARGET=this_target"]
    options += ["-DLINCONV_VECTOR_BYTES=16", "-DLINCONV_ACCUMULATORS=12", "-Wno-psabi"]
    source = str(NATIVE / "kernels.cpp")
    subprocess.run([compiler, *options, "-c", source, "-o", str(compiled)], check=True)
    listed = subprocess.run(
        [lister, "--defined-only", str(compiled)], check=True, capture_output=True, text=True
    )
    # Upper case: seen by the linker. The compiler's own reference to its handler has no namespace.
    seen = re.findall(r"^\w* ([A-Zuvw]) (?!DW\.ref)(\S+)$", listed.stdout, re.MULTILINE)
    names = {name for _, name in seen}
    assert len(names) > 100
    assert {name for name in names if not re.match(r"_Z\w*?7linconv11this_target", name)} == set()
