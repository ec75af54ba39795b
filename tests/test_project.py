"""What holds for the project as a whole: what an import costs, what is public, what pages say."""

import ast
import doctest
import importlib
import json
import os
import pkgutil
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import is_dataclass
from pathlib import Path
from types import ModuleType

import pytest

import linconv

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "linconv"
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

# Packages that the core must do without; what an optional extra brings.
OPTIONAL = {"PIL", "click", "h5py", "jax", "jaxlib", "jinja2", "keras", "matplotlib", "ml_dtypes"}
OPTIONAL |= {"flax", "onnx", "onnxruntime", "rich", "safetensors", "skimage", "tensorboard"}
OPTIONAL |= {"tensorflow", "threadpoolctl", "torch"}
# What SciPy is slow to import.
HEAVY = ("scipy.fft", "scipy.linalg", "scipy.ndimage", "scipy.optimize", "scipy.signal")
HEAVY += ("scipy.sparse", "scipy.special", "scipy.stats")
IMPORT_SECONDS = 0.15

SKIPPED_FOLDERS = {"__pycache__", "build", "dist", "venv"}
TEXT_SUFFIXES = {".cfg", ".cpp", ".css", ".h", ".html", ".ipynb", ".j2", ".js", ".json", ".md"}
TEXT_SUFFIXES |= {".py", ".sh", ".svg", ".toml", ".txt", ".typed", ".yaml", ".yml", ""}

# numpydoc's checks that every public docstring passes; its other checks are matters of taste.
DOCSTRING_CHECKS = {
    "GL03",  # no double blank lines
    "GL07",  # sections in numpydoc's order
    "GL08",  # there is a docstring
    "SS01",  # it has a summary
    "SS03",  # which ends with a period
    "SS06",  # and fits one line
    "PR02",  # no parameter is made up
    "PR03",  # they come in the order of the signature
}
# One line may be enough for a method; a class and a function describe every parameter,
CLASS_CHECKS = DOCSTRING_CHECKS | {"PR01", "PR07"}
# and a function what it returns, with an example.
FUNCTION_CHECKS = CLASS_CHECKS | {"RT01", "EX01"}


def project_files() -> Iterator[Path]:
    """Every file that belongs to the project, without what tools and environments leave."""
    for folder, folders, names in os.walk(ROOT):
        here = Path(folder)
        folders[:] = sorted(
            name
            for name in folders
            if name not in SKIPPED_FOLDERS
            and not name.startswith("linconv-study")
            and not (name.startswith(".") and name != ".ci")
            and not (here / name / "pyvenv.cfg").exists()
        )
        yield from (here / name for name in sorted(names))


def python_files(*folders: str) -> list[Path]:
    return [
        path
        for path in project_files()
        if path.suffix == ".py" and path.relative_to(ROOT).parts[0] in folders
    ]


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def page(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def fresh_python(code: str, pycache: Path) -> str:
    """Return what `code` prints in a new interpreter that keeps its bytecode in `pycache`."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = str(pycache)
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# What an import costs


def test_import_loads_no_framework_and_nothing_heavy(tmp_path):
    modules = json.loads(
        fresh_python("import json, sys, linconv; print(json.dumps(list(sys.modules)))", tmp_path)
    )
    assert "linconv.convolution" in modules, "the list of modules is not that of an import"
    loaded = {
        name
        for name in modules
        if name.partition(".")[0] in OPTIONAL
        or any(name == heavy or name.startswith(f"{heavy}.") for heavy in HEAVY)
    }
    assert loaded == set()


def test_import_costs_little_above_numpys_own(tmp_path):
    # Processor time, best of several: what else the machine is doing must not decide.
    code = (
        "import time, numpy\n"
        "start = time.process_time()\n"
        "import linconv\n"
        "print(time.process_time() - start)"
    )
    fresh_python(code, tmp_path)  # compiles the bytecode
    seconds: list[float] = []
    while len(seconds) < 12 and min(seconds, default=1.0) >= IMPORT_SECONDS:
        seconds.append(float(fresh_python(code, tmp_path)))
    assert min(seconds) < IMPORT_SECONDS, seconds


# What is public


def test_all_is_what_is_public(tmp_path):
    code = (
        "import json, types, linconv\n"
        "bound = [n for n, v in vars(linconv).items()"
        " if not n.startswith('_') and not isinstance(v, types.ModuleType)]\n"
        "print(json.dumps(bound))"
    )
    bound = set(json.loads(fresh_python(code, tmp_path)))
    exported = {name for name in linconv.__all__ if not name.startswith("_")}
    modules = {name for name in exported if isinstance(getattr(linconv, name), ModuleType)}
    assert len(linconv.__all__) == len(set(linconv.__all__))
    assert bound - exported == set(), "bound in the package, missing from __all__"
    assert {name for name in linconv.__all__ if not hasattr(linconv, name)} == set()
    assert {name for name in modules if not getattr(linconv, name).__doc__} == set()
    assert "Conv" in exported


def test_the_interface_fits_one_screen():
    assert len((SOURCE / "__init__.py").read_text(encoding="utf-8").splitlines()) < 180


def test_version_is_said_once_and_the_same():
    version = PYPROJECT["project"]["version"]
    assert re.search(rf"^## \[?v?{re.escape(version)}\b", page("CHANGELOG.md"), re.MULTILINE)
    assert getattr(linconv, "__version__", version) == version


# Docstrings


def public_objects() -> Iterator[tuple[str, set[str]]]:
    """Every public callable by its full name, and the checks that its docstring passes."""
    for name in linconv.__all__:
        value = getattr(linconv, name)
        exported = {name: value}
        if isinstance(value, ModuleType):
            exported = {f"{name}.{item}": getattr(value, item) for item in value.__all__}
        for path, item in exported.items():
            if isinstance(item, type):
                # The fields of a result are its attributes: it is not for users to construct.
                a_result = is_dataclass(item) and item is not linconv.Geometry
                yield f"linconv.{path}", DOCSTRING_CHECKS if a_result else CLASS_CHECKS
                for member, attribute in vars(item).items():
                    documented = callable(attribute) or isinstance(
                        attribute, property | classmethod | staticmethod
                    )
                    if documented and not member.startswith("_"):
                        yield f"linconv.{path}.{member}", DOCSTRING_CHECKS
            elif callable(item):
                yield f"linconv.{path}", FUNCTION_CHECKS


@pytest.mark.parametrize(("name", "checks"), [pytest.param(*o, id=o[0]) for o in public_objects()])
def test_public_docstrings_pass_numpydoc(name, checks):
    validate = pytest.importorskip("numpydoc.validate", reason="numpydoc checks docstrings")
    assert [e for e in validate.validate(name)["errors"] if e[0] in checks] == []


# The source


def test_no_file_exceeds_400_lines():
    lines = {
        name_of(path): len(path.read_text(encoding="utf-8").splitlines())
        for path in python_files("src", "tests", "benchmarks", "examples")
    }
    assert "tests/test_project.py" in lines
    assert {name: count for name, count in lines.items() if count > 400} == {}


def imports_inside_functions(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """The line and the top-level package of every import within a function or a method."""
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        for node in ast.walk(function):
            if isinstance(node, ast.Import):
                yield from ((node.lineno, alias.name.partition(".")[0]) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                package = (node.module or "").partition(".")[0]
                yield node.lineno, "linconv" if node.level else package


def test_the_search_for_imports_inside_functions_finds_them():
    code = "import a\ndef f():\n    import b.c\n    if f:\n        from . import d\n"
    assert list(imports_inside_functions(ast.parse(code))) == [(3, "b"), (5, "linconv")]


@pytest.mark.parametrize("path", python_files("src"), ids=name_of)
def test_only_optional_packages_are_imported_inside_functions(path):
    inside = imports_inside_functions(ast.parse(path.read_text(encoding="utf-8")))
    assert [(line, package) for line, package in inside if package not in OPTIONAL] == []


@pytest.mark.parametrize(
    "module",
    [m.name for m in pkgutil.walk_packages([str(SOURCE)], "linconv.", onerror=lambda _: None)],
)
def test_every_module_imports_and_its_examples_hold(module):
    if module.endswith(".__main__"):
        pytest.skip("runs the command line")
    try:
        imported = importlib.import_module(module)
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in OPTIONAL and "linconv[" not in str(error):
            raise
        pytest.skip(f"needs an optional package: {error}")
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    assert doctest.testmod(imported, optionflags=flags).failed == 0


# The pages


@pytest.mark.parametrize("name", ["ARCHITECTURE.md", "CONTRIBUTING.md"])
def test_files_named_in_a_page_exist(name):
    text = page(name)
    named = set(re.findall(r"`([\w./-]+(?:/|\.(?:py|md|toml|yaml|json|h|cpp|j2|css)))`", text))
    assert len(named) >= 5, f"{name} should name the files it speaks of in backticks"
    known = {name_of(path) for path in project_files()}
    known |= {f"{parent.as_posix()}/" for file in known for parent in Path(file).parents}
    missing = {
        file
        for file in named
        if not any(place == file or place.endswith(f"/{file}") for place in known)
    }
    assert missing == set()


@pytest.mark.parametrize("name", ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"])
def test_public_names_in_a_page_exist(name):
    named = set(re.findall(r"\b(?:lc|linconv)\.(?!py\b|md\b)([A-Za-z]\w*)", page(name)))
    modules = {module.name for module in pkgutil.iter_modules([str(SOURCE)])}
    assert {name for name in named if name not in modules and not hasattr(linconv, name)} == set()


def test_readme_shows_both_commands():
    blocks = re.findall(r"^```\w*\n(.*?)^```", page("README.md"), re.MULTILINE | re.DOTALL)
    installing = [block for block in blocks if "pip install" in block]
    assert any("linconv study" in block for block in installing), "set up and run the study"
    tests = [block for block in installing if re.search(r"\bpytest\b", block)]
    assert any("-e '.[test]'" in block.replace('"', "'") for block in tests), "set up and test"


def test_extras_that_texts_name_exist():
    extras = set(PYPROJECT["project"]["optional-dependencies"])
    named = {
        extra
        for path in [*python_files("src"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
        for brackets in re.findall(r"(?:linconv|\.)\[([a-z][a-z, ]*)\]", path.read_text("utf-8"))
        for extra in re.split(r",\s*", brackets)
    }
    assert named
    assert named <= extras


def test_tools_of_pre_commit_are_those_of_ci():
    ci = page(".ci/run").splitlines()
    entries = re.findall(r"^\s*entry: (.+)$", page(".pre-commit-config.yaml"), re.MULTILINE)
    assert entries
    assert {entry for entry in entries if not any(line.startswith(entry) for line in ci)} == set()


def test_no_file_speaks_of_a_machine():
    paths = re.compile(r"(?<![\w.~])/(?:home|root|work|opt|tmp|Users)/\w|\b[A-Z]:\\Users\\")
    assert paths.search("see " + "/".join(["", "home", "me"]))
    found = {
        f"{name_of(path)}:{number}: {line.strip()[:100]}"
        for path in project_files()
        if path.suffix in TEXT_SUFFIXES
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if paths.search(line)
    }
    assert found == set()
