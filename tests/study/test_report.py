"""The report: one page that needs nothing else, strict JSON, and never half a file."""

import json
import os
import re
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from linconv.errors import MissingPackageError, OutputError
from linconv.files import write_file
from linconv.study import study
from linconv.study.folder import prepare_folder
from linconv.study.published import NOTEBOOK, OPTIMUM
from linconv.study.report import render, to_json, write_report
from linconv.study.results import Panel, Picture, Section, StudyResults, Table
from linconv.study.verdicts import Verdict

pytest.importorskip("jinja2", reason="the report is written with Jinja2")

PNG = b"\x89PNG\r\n\x1a\n not a real one"
VOID = {"meta", "link", "img", "br", "hr"}


def results(name="sample", *, met=True):
    """A small study with everything that a report can hold."""
    ours = 1.0 if met else 2.0
    verdicts = (
        Verdict.close("figure <1>", ours, 1.0, 0.1, NOTEBOOK),
        Verdict.lower("an error", 1.0, 2.0, NOTEBOOK),
        Verdict.close("an optimum", 1.0, 1.0, 0.1, OPTIMUM),
        Verdict.on_other_data("another", 3.0, 2.0, "others"),
        Verdict.unpublished("a ratio", np.inf, "test"),
    )
    picture = Picture(name, "A caption & more.", 'An "alt" text', ((Panel(np.eye(2)),),))
    table = Table("A table", ("form", "error", "time"), (("direct", 0.25, None), ("fft", 3, "x")))
    sections = (
        Section("First", "One", ("Text with `code < 1` in it.",), (table,), (picture,)),
        Section("First", "Two", ("Text.",), numbers={"nan": np.nan, "array": np.arange(3)}),
        Section("Second", "Three", ("Text.",)),
    )
    settings = {"command": "linconv study --image '<a>.png'"}
    return StudyResults(verdicts, sections, settings, {"numpy": "2.0"}, {"together": 1.5})


class Page(HTMLParser):
    """What a page holds: its elements with their attributes, its text, whether tags are closed."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.text, self.open = [], "", []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def all(self, tag):
        return [attrs for name, attrs in self.elements if name == tag]


@pytest.fixture
def page():
    return Page(render(results(), {"sample": PNG}))


def test_the_page_is_well_formed(page):
    assert page.open == []
    assert page.all("html") == [{"lang": "en"}]
    assert len(page.all("h1")) == len(page.all("main")) == len(page.all("title")) == 1
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in (
        page.all("meta")
    )


def test_the_page_needs_nothing_else(page):
    assert page.all("script") == page.all("iframe") == page.all("object") == []
    loaded = [
        value
        for tag, attrs in page.elements
        for name, value in attrs.items()
        if name in {"src", "srcset", "data", "poster"} or (tag == "link" and name == "href")
    ]
    assert loaded
    assert all(value.startswith("data:") for value in loaded)
    text = render(results(), {"sample": PNG})
    assert re.findall(r"https?://|url\(|@import", text) == []


def test_pictures_are_inlined_with_alt_texts(page):
    from base64 import b64decode

    (image,) = page.all("img")
    kind, _, data = image["src"].partition(",")
    assert kind == "data:image/png;base64"
    assert b64decode(data) == PNG
    assert image["alt"] == 'An "alt" text'
    assert "A caption & more." in page.text


def test_contents_lead_to_every_section(page):
    ids = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    links = [attrs["href"] for attrs in page.all("a")]
    assert {link.removeprefix("#") for link in links} <= set(ids)
    assert {"#results", "#chapter-1", "#section-1-2", "#section-2-1", "#made"} <= set(links)
    labels = [attrs["aria-labelledby"] for attrs in page.all("section")]
    assert len(labels) == 7
    assert set(labels) <= set(ids)


def test_text_is_escaped_and_code_is_marked():
    text = render(results(), {"sample": PNG})
    assert "figure &lt;1&gt;" in text
    assert "<code>code &lt; 1</code>" in text
    assert "linconv study --image &#39;&lt;a&gt;.png&#39;" in text
    assert "<a>.png" not in text


def test_the_page_tells_verdicts_command_and_versions(page):
    for words in ("All 2 published figures are met.", "agrees", "better", "no published value"):
        assert words in page.text
    for words in ("own optimum", "higher, other images"):
        assert words in page.text
    assert any("higher-other-images" in attrs.get("class", "") for attrs in page.all("td"))
    assert "linconv study --image '<a>.png'" in page.text
    assert "2.0" in page.text
    assert "1.50" in page.text
    failed = Page(render(results(met=False), {"sample": PNG}))
    assert "1 of 2 published figures are NOT MET." in failed.text
    assert any("not-met" in attrs.get("class", "") for attrs in failed.all("td"))


def test_checks_that_fail_are_named_beside_the_published_figures():
    found = results()
    wrong = replace(found, verdicts=(*found.verdicts, Verdict.rounding("a check", 1.0)))
    assert not wrong.passed
    assert wrong.headline() == (
        "All 2 published figures are met. Of linconv's own checks, NOT MET: a check."
    )


def test_both_colour_schemes_print_and_phones_are_served():
    text = render(results(), {"sample": PNG})
    for query in ("prefers-color-scheme: dark", "@media print", "min-width: 64rem"):
        assert query in text


def refused(constant):
    raise AssertionError(f"{constant} is no JSON")


def test_json_is_strict_and_complete():
    found = json.loads(to_json(results()), parse_constant=refused)
    assert found["passed"] is True
    assert found["verdicts"][4]["ours"] is None
    assert found["sections"][1]["numbers"] == {"nan": None, "array": [0, 1, 2]}
    assert found["sections"][0]["pictures"][0]["file"] == "figures/sample.png"
    assert found["sections"][0]["tables"][0]["rows"][0] == ["direct", 0.25, None]
    assert json.loads(to_json(results(met=False)))["passed"] is False


# Files


def test_a_report_lies_in_its_folder(folder):
    out = prepare_folder(folder / "a new folder" / "study")
    report = write_report(results(), {"sample": PNG}, out)
    files = sorted(p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file())
    assert files == ["figures/sample.png", "report.html", "results.json"]
    assert report == out / "report.html"
    assert (out / "figures" / "sample.png").read_bytes() == PNG
    assert report.read_text("utf-8") == render(results(), {"sample": PNG})
    json.loads((out / "results.json").read_text("utf-8"))


def test_an_earlier_report_is_replaced(folder):
    write_report(results(met=False), {"sample": b"old"}, prepare_folder(folder))
    write_report(results(), {"sample": PNG}, prepare_folder(folder))
    assert (folder / "figures" / "sample.png").read_bytes() == PNG
    assert "NOT MET" not in (folder / "report.html").read_text("utf-8")


def test_a_folder_that_cannot_be_is_refused_before_any_work(folder):
    (folder / "file").write_text("x")
    called = []
    with pytest.raises(OutputError, match=r"file.*study cannot be written: .*give another folder"):
        study(out=folder / "file" / "study", progress=lambda *_: called.append(1))
    with pytest.raises(OutputError, match="cannot be written: .*; give another folder"):
        prepare_folder("null\0character")
    assert called == []
    assert [path.name for path in folder.iterdir()] == ["file"]


def test_a_folder_that_takes_no_files_is_refused(folder, monkeypatch):
    def touch(self, *args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "touch", touch)
    with pytest.raises(OutputError, match="cannot be written: Permission denied"):
        prepare_folder(folder)


@pytest.mark.parametrize("moment", ["while writing", "before replacing"])
@pytest.mark.parametrize("raised", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_what_interrupts_a_write_leaves_no_half_file(folder, monkeypatch, moment, raised):
    target = folder / "report.html"
    target.write_bytes(b"the old report")
    write_bytes = Path.write_bytes

    def half(self, content):
        write_bytes(self, content[: len(content) // 2])
        raise raised

    def never(*_):
        raise raised

    if moment == "while writing":
        monkeypatch.setattr(Path, "write_bytes", half)
    else:
        monkeypatch.setattr(os, "replace", never)
    kind = KeyboardInterrupt if raised is KeyboardInterrupt else OutputError
    message = "cannot be written: No space left on device" if kind is OutputError else None
    with pytest.raises(kind, match=message):
        write_file(target, b"the new report")
    assert [path.name for path in folder.iterdir()] == ["report.html"]
    assert target.read_bytes() == b"the old report"


def test_missing_packages_are_named_before_any_work(folder, monkeypatch):
    called = []
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name == "jinja2" else object()
    )
    with pytest.raises(MissingPackageError, match=r"the report needs .* jinja2.*linconv\[study\]"):
        study(out=folder / "study", progress=lambda *_: called.append(1))
    assert called == []
    assert not (folder / "study").exists()


def test_missing_jinja2_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(MissingPackageError, match=r"the report needs .* jinja2.*linconv\[study\]"):
        render(results(), {"sample": PNG})
