"""Kernels by name and from files."""

from __future__ import annotations

import json

import numpy as np
import pytest

from linconv.errors import InputError
from linconv.study.kernels import KERNELS, load_kernel

ROWS = [[10.0, -4.0, 10.0], [10.0, 0.5, 30.0]]


def test_the_courses_kernel():
    np.testing.assert_array_equal(load_kernel("course"), [[10, -4, 10], [10, 0, 30], [30, 30, -1]])


@pytest.mark.parametrize("name", sorted(KERNELS))
def test_a_named_kernel_is_a_writable_copy(name):
    kernel = load_kernel(name)
    assert kernel.dtype == np.float64
    assert kernel.ndim == 2
    kernel[:] = 7
    assert not (load_kernel(name) == 7).any()
    with pytest.raises(ValueError, match="read-only"):
        KERNELS[name][0, 0] = 1


@pytest.mark.parametrize("name", ["box3", "box5", "gaussian5", "motion7", "sharpen", "emboss"])
def test_kernels_that_keep_the_brightness_sum_to_one(name):
    assert load_kernel(name).sum() == pytest.approx(1, abs=1e-15)


@pytest.mark.parametrize("name", ["sobel_x", "sobel_y", "laplacian"])
def test_kernels_that_ignore_the_brightness_sum_to_zero(name):
    assert load_kernel(name).sum() == 0


def test_sobel_x_is_positive_where_x_brightens():
    ramp = np.tile(np.arange(3.0), (3, 1))
    assert (load_kernel("sobel_x") * ramp).sum() == 8
    assert (load_kernel("sobel_y") * ramp.T).sum() == 8
    assert (load_kernel("sobel_x") * ramp.T).sum() == 0


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("my kernel.json", json.dumps(ROWS)),
        ("my kernel.csv", "10, -4, 10\n10, 0.5, 30\n"),
        ("bom.csv", "\ufeff10,-4,10\r\n10,.5,30\r\n"),
        ("my kernel.txt", "# rows, as printed\n10 -4 10\n\n10 5e-1 30  # last\n"),
        ("commas.TXT", "10,-4,10\n10,0.5,30"),
    ],
)
def test_text_files(tmp_path, name, text):
    (tmp_path / name).write_text(text, encoding="utf-8")
    np.testing.assert_array_equal(load_kernel(str(tmp_path / name)), ROWS)


@pytest.mark.parametrize("dtype", ["f8", ">f4", "i2", "f2"])
def test_npy_files(tmp_path, dtype):
    np.save(tmp_path / "a b.npy", np.asarray(ROWS, dtype=dtype))
    kernel = load_kernel(tmp_path / "a b.npy")
    assert kernel.dtype == np.float64
    np.testing.assert_array_equal(kernel, np.asarray(ROWS, dtype=dtype))
    kernel[0, 0] = 1


def test_one_row_of_text_is_a_kernel_of_one_row(tmp_path):
    (tmp_path / "row.txt").write_text("1 2 1")
    assert load_kernel(tmp_path / "row.txt").shape == (1, 3)


def test_the_largest_weights_and_none(tmp_path):
    for weight in (0.0, 1e-6, -1e6):
        (tmp_path / "k.txt").write_text(f"{weight} 0 {weight / 1e9}")
        assert load_kernel(tmp_path / "k.txt")[0, 0] == weight


def test_an_unknown_name_gets_the_nearest():
    with pytest.raises(InputError, match=r"kernel 'sobelx' .* did you mean 'sobel_x'.*'motion7'"):
        load_kernel("sobelx")


def test_a_missing_file(tmp_path):
    with pytest.raises(InputError, match=r"none.json does not exist"):
        load_kernel(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("k.png", "1 2", "has the suffix '.png'; use .npy, .json, .csv or .txt"),
        ("k.json", "[[1, 2", "cannot be read as JSON numbers"),
        ("k.json", "[" * 100_000, "cannot be read as JSON numbers"),
        ("k.json", "[[1, 2], [3]]", "all of one length; its lists differ in length or depth"),
        ("k.json", "[[1, 2], 3]", "all of one length; its lists differ in length or depth"),
        ("k.json", '[["1", "2"]]', "must hold numbers only; it holds str"),
        ("k.json", "[[1, null]]", "must hold numbers only"),
        ("k.json", '{"k": [[1]]}', "must hold numbers only; it holds dict"),
        ("k.json", "[1, 2, 3]", r"two axes; its shape is \(3,\)"),
        ("k.json", "[[[1]]]", r"two axes; its shape is \(1, 1, 1\)"),
        ("k.json", "[[]]", r"two axes; its shape is \(1, 0\)"),
        ("k.json", "[[1, NaN]]", "must hold finite numbers; 1 of 2 are NaN"),
        ("k.json", "[[1e400, 2]]", "must hold finite numbers; 1 of 2"),
        ("k.csv", "1,2\n\n3\n", "its first row has 2, and line 3 has 1; write every row"),
        ("k.csv", "# a kernel\n1, two\n", "line 2 holds 'two'; separate numbers by commas"),
        ("k.csv", "1,,2\n", "line 1 holds ''; separate numbers by commas"),
        ("k.txt", "1 0\n0 -2e6", r"largest weight is from 1e-06 to 1e\+06 in size, or 0; it is 2e"),
        ("k.json", "[[1e-7, 0]]", "it is 1e-07; scale the kernel, e.g. divide it by 1e-07"),
        ("k.txt", "# nothing\n\n", "holds no numbers"),
        ("k.txt", "inf 1\n", "must hold finite numbers; 1 of 2"),
        ("k.txt", "1 " * 64, r"at most 63 rows and columns; its shape is \(1, 64\)"),
        ("k.txt", "1\n" * 64, r"at most 63 rows and columns; its shape is \(64, 1\)"),
        ("k.txt", " " * (1 << 20) + "1", "has 1048577 bytes, and at most 1048576"),
    ],
)
def test_bad_text(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=f"{name} .*{message}"):
        load_kernel(tmp_path / name)


def test_bytes_that_are_no_text(tmp_path):
    (tmp_path / "k.csv").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(InputError, match="cannot be read as rows of numbers"):
        load_kernel(tmp_path / "k.csv")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros((2, 2), complex), "must hold real numbers; its dtype is complex128"),
        (np.array([[{}]]), "holds pickled Python objects"),
        (np.array([["1"]]), "must hold real numbers"),
        (np.zeros((64, 2)), r"at most 63 rows and columns; its shape is \(64, 2\)"),
        (np.zeros((3, 3, 1)), r"two axes; its shape is \(3, 3, 1\)"),
        (np.zeros((0, 3)), r"is empty: its shape is \(0, 3\)"),
        (np.full((2, 2), np.longdouble("1e4000")), "must hold finite numbers; 4 of 4"),
    ],
)
def test_bad_npy(tmp_path, values, message):
    np.save(tmp_path / "k.npy", values, allow_pickle=True)
    with pytest.raises(InputError, match=message):
        load_kernel(tmp_path / "k.npy")


def test_truncated_npy(tmp_path):
    np.save(tmp_path / "k.npy", np.zeros((3, 3)))
    content = (tmp_path / "k.npy").read_bytes()
    (tmp_path / "k.npy").write_bytes(content[:-1])
    with pytest.raises(InputError, match=r"truncated: its header declares 72 bytes .* and 71 are"):
        load_kernel(tmp_path / "k.npy")
