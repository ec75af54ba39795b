"""Event files: what TensorBoard's own reader finds in them."""

from __future__ import annotations

import sys

import pytest

from linconv.errors import MissingPackageError, OutputError
from linconv.study.event_files import event_file


def read(folder, tag):
    reader = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator",
        reason="event files are read by TensorBoard",
    )
    accumulator = reader.EventAccumulator(str(folder)).Reload()
    return [(event.step, event.value) for event in accumulator.Scalars(tag)]


def test_a_file_can_be_read_while_it_is_written(folder):
    pytest.importorskip("tensorboard", reason="event files are written by TensorBoard")
    where = folder / "new" / "run"
    with event_file(where, "loss") as write:
        for step, value in enumerate([0.5, 0.25, -1e-3], start=3):
            write(step, value)
            assert read(where, "loss")[-1] == pytest.approx((step, value), rel=1e-7)
    assert [step for step, _ in read(where, "loss")] == [3, 4, 5]


def test_files_of_one_folder_do_not_disturb_each_other(folder):
    pytest.importorskip("tensorboard", reason="event files are written by TensorBoard")
    with event_file(folder, "a") as first, event_file(folder, "b") as second:
        first(1, 0.5)
        second(1, 0.25)
    assert len(list(folder.iterdir())) == 2
    assert read(folder, "a") == [(1, 0.5)]
    assert read(folder, "b") == [(1, 0.25)]


def test_a_folder_that_cannot_be_is_refused(folder):
    pytest.importorskip("tensorboard", reason="event files are written by TensorBoard")
    (folder / "file").write_text("in the way")
    message = r"file.events.* cannot be written: .*; give another event_dir"
    with pytest.raises(OutputError, match=message), event_file(folder / "file", "loss"):
        pytest.fail("there is no such folder")


def test_a_missing_tensorboard_is_named(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard.compat.proto.event_pb2", None)
    message = "tensorboard, which is not installed; run: pip install tensorboard"
    with pytest.raises(MissingPackageError, match=message), event_file(folder, "loss"):
        pytest.fail("nothing could be written")
    assert list(folder.iterdir()) == []
