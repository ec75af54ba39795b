"""The pages of the documentation: every example on them runs, every link leads somewhere."""

import doctest
import re
from pathlib import Path

import pytest

import linconv

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGES = sorted(DOCS.glob("*.md"))
FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def requirement(info: str) -> str:
    """Return the optional package that a block's info string asks for, or an empty string."""
    return info.partition("requires=")[2].strip()


def examples(text: str, package: str) -> str:
    """Return the page with everything blanked but the examples that `package` is enough for.

    Line numbers stay those of the page.
    """
    kept, position = [], 0
    for block in FENCE.finditer(text):
        info, start, stop = block[1], block.start(2), block.end(2)
        wanted = info.startswith("pycon") and requirement(info) in ("", package)
        kept.append("\n" * text.count("\n", position, start))
        kept.append(block[2] if wanted else "\n" * block[2].count("\n"))
        position = stop
    return "".join(kept)


def cases() -> list[tuple[Path, str]]:
    found = []
    for path in PAGES:
        needed = {requirement(block[1]) for block in FENCE.finditer(path.read_text("utf-8"))}
        found += [(path, package) for package in sorted(needed | {""})]
    return found


def run(path: Path, source: str) -> tuple[doctest.TestResults, str]:
    test = doctest.DocTestParser().get_doctest(source, {}, path.name, str(path), 0)
    report: list[str] = []
    results = doctest.DocTestRunner(optionflags=FLAGS).run(test, out=report.append)
    return results, "".join(report)


def test_all_pages_are_found():
    names = {path.stem for path in PAGES}
    pages = {"index", "geometry", "glossary", "transpose", "inverse_kernel", "using_with_scipy"}
    assert pages <= names


@pytest.mark.parametrize(
    ("path", "package"),
    [pytest.param(*c, id=" ".join(filter(None, [c[0].stem, c[1]]))) for c in cases()],
)
def test_examples_of_a_page_hold(path, package):
    if package:
        pytest.importorskip(package, reason=f"these examples need {package}")
    results, report = run(path, examples(path.read_text(encoding="utf-8"), package))
    assert results.attempted > 0, f"{path.name} has no example"
    assert results.failed == 0, report


def test_a_wrong_example_is_found():
    text = "text\n\n```pycon\n>>> 1 + 1\n3\n\n```\n"
    results, report = run(Path("page.md"), examples(text, ""))
    assert results.failed == 1
    assert 'File "page.md", line 4' in report


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_all_python_is_run(path):
    """Code is shown only in blocks that the test above runs, each ended by an empty line."""
    blocks = FENCE.findall(path.read_text(encoding="utf-8"))
    assert {info.split()[0] if info else "" for info, _ in blocks} <= {"pycon", "bash", "text"}
    for info, body in blocks:
        if info.startswith("pycon"):
            assert body.startswith(">>> "), body
            assert body.endswith("\n\n"), body


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_links_lead_somewhere(path):
    text = path.read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#]+)\)", text)
    assert {link for link in links if ":" not in link and not (DOCS / link).exists()} == set()
    files = re.findall(r"`((?:examples|benchmarks|docs|tests|src)/[\w./]+)`", text)
    assert {name for name in files if not (DOCS.parent / name).exists()} == set()


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_public_names_exist(path):
    text = path.read_text(encoding="utf-8")
    named = set(re.findall(r"\b(?:lc|linconv)\.(?!py\b|md\b)([A-Za-z]\w*)", text))
    assert {name for name in named if not hasattr(linconv, name)} == set()


def test_index_links_every_page():
    linked = set(re.findall(r"\]\((\w+)\.md\)", (DOCS / "index.md").read_text(encoding="utf-8")))
    assert linked == {path.stem for path in PAGES} - {"index"}
