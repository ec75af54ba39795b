"""Curves and galleries as drawn: their data exactly, their names apart, nothing clipped."""

import numpy as np
import pytest

from linconv.study.figures import draw, png
from linconv.study.results import Curves, Gallery, Panel, Picture
from linconv.study.wide_figures import _apart

pytest.importorskip("matplotlib", reason="pictures are drawn with Matplotlib")

LOSSES = np.array([0.09, 0.03, 0.01, 0.005])
PUBLISHED = np.array([0.1, 0.04, 0.02, 0.011, 0.006, 0.0051])
CURVES = Curves(
    {"Adam": LOSSES, "published": PUBLISHED},
    {"best linear": 1e-7, "best tanh": 2e-4},
    "epoch",
    "mean squared error",
    pale=("published",),
)


def drawn(*rows):
    return draw(Picture("one", "", "", rows))


def named(axes):
    return {line.get_label(): line for line in axes.get_lines()}


def test_curves_are_drawn_exactly():
    (axes,) = drawn(CURVES).axes
    lines = named(axes)
    assert set(lines) == {"Adam", "published", "best linear", "best tanh"}
    for name, values in CURVES.series.items():
        np.testing.assert_array_equal(lines[name].get_xdata(), np.arange(1, len(values) + 1))
        np.testing.assert_array_equal(lines[name].get_ydata(), values)
    for name, value in CURVES.lines.items():
        assert set(lines[name].get_ydata()) == {value}
        assert lines[name].get_linestyle() == "--"
    assert axes.get_yscale() == "log"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("epoch", "mean squared error")


def test_steps_are_told_apart_from_reports():
    (axes,) = drawn(Curves({"a": LOSSES}, {}, "epoch", "", step=100)).axes
    np.testing.assert_array_equal(named(axes)["a"].get_xdata(), [100, 200, 300, 400])


def test_every_curve_is_named_in_its_colour():
    (axes,) = drawn(CURVES).axes
    texts = {text.get_text(): text for text in axes.texts}
    lines = named(axes)
    assert set(texts) == {
        "Adam\n0.005",
        "published\n0.0051",
        "best linear\n1e-07",
        "best tanh\n0.0002",
    }
    for words, text in texts.items():
        assert text.get_color() == lines[words.partition("\n")[0]].get_color()
    assert len({line.get_color() for line in lines.values()}) == 4


@pytest.mark.parametrize(
    "curves",
    [
        CURVES,
        Curves({"a": LOSSES}, {f"line {n}": 0.005 + n * 1e-5 for n in range(5)}, "epoch", "error"),
        Curves({"a": np.array([0.0446])}, {"one": 0.0445, "two": 0.0465}, "epoch", "error"),
        Curves({"a": LOSSES}, {"zero": 0.0}, "epoch", "error", log=False),
        Curves({"a": np.geomspace(1e5, 1.8, 100)}, {"best 3 × 3": 1.26}, "epoch", "e", step=100),
    ],
    ids=["usual", "close together", "one epoch", "linear", "many"],
)
def test_nothing_is_clipped_and_no_names_overlap(curves):
    agg = pytest.importorskip("matplotlib.backends.backend_agg", reason="measures texts")
    figure = drawn(curves)
    renderer = agg.FigureCanvasAgg(figure).get_renderer()
    (axes,) = figure.axes
    box = axes.get_tightbbox(renderer)
    assert box.x0 >= figure.bbox.x0 - 0.5
    assert box.y0 >= figure.bbox.y0 - 0.5
    assert box.x1 <= figure.bbox.x1 + 0.5
    assert box.y1 <= figure.bbox.y1 + 0.5
    boxes = [text.get_window_extent(renderer) for text in axes.texts]
    assert boxes
    for index, one in enumerate(boxes):
        assert not any(one.overlaps(other) for other in boxes[index + 1 :])
    figure.canvas.draw()
    ticks = [label.get_text() for label in axes.get_yticklabels() if label.get_text()]
    assert len(ticks) >= 2, "the scale can be read"


def test_what_a_logarithm_cannot_show_is_left_out():
    (axes,) = drawn(Curves({"a": np.array([0.1, 0.0])}, {"none": 0.0}, "epoch", "error")).axes
    lines = named(axes)
    assert set(lines) == {"a"}
    np.testing.assert_array_equal(lines["a"].get_ydata(), [0.1, np.nan])


def test_nothing_at_all_can_be_drawn():
    assert png(drawn(Curves({"a": np.array([])}, {}, "epoch", "error"))).startswith(b"\x89PNG")


def test_names_are_moved_only_as_far_as_needed():
    sizes = dict.fromkeys("abc", 0.2)
    assert _apart({"a": 0.3, "b": 0.7}, sizes) == {"a": 0.3, "b": 0.7}
    assert _apart({"a": 0.5, "b": 0.51}, sizes) == pytest.approx({"a": 0.5, "b": 0.7})
    assert _apart({"a": 0.0, "b": 1.0}, sizes) == pytest.approx({"a": 0.1, "b": 0.9})
    found = _apart({"a": 0.9, "b": 0.95, "c": 1.0}, sizes)
    assert found == pytest.approx({"a": 0.5, "b": 0.7, "c": 0.9})


# Galleries


@pytest.mark.parametrize("count", [1, 5, 10])
def test_galleries_are_drawn_exactly_and_without_axes(count):
    rng = np.random.default_rng(3)
    rows = {"image": rng.random((count, 6, 9)), "best tanh\nno c": rng.random((count, 6, 9))}
    (axes,) = drawn(Gallery(rows)).axes
    assert not axes.axison
    images = axes.get_images()
    wanted = [image for version in rows.values() for image in version]
    for image, array in zip(images, wanted, strict=True):
        np.testing.assert_array_equal(image.get_array(), array)
        assert image.get_clim() == (0.0, 1.0)
        assert image.get_cmap().name == "gray"
        left, right, bottom, top = image.get_extent()
        assert (bottom - top) / (right - left) == pytest.approx(6 / 9)
    assert [text.get_text() for text in axes.texts] == list(rows)
    extents = [tuple(image.get_extent()) for image in images]
    assert len(set(extents)) == len(extents)
    last = max(extent[1] for extent in extents)
    assert axes.get_xlim() == pytest.approx((0, last))


def test_pixels_of_a_gallery_are_square():
    figure = drawn(Gallery({"a": np.zeros((3, 8, 8))}))
    (axes,) = figure.axes
    box = axes.get_window_extent()
    across, down = np.diff(axes.get_xlim())[0], -np.diff(axes.get_ylim())[0]
    assert box.width / across == pytest.approx(box.height / down)


def test_names_of_a_gallery_are_within_the_picture():
    agg = pytest.importorskip("matplotlib.backends.backend_agg", reason="measures texts")
    figure = drawn(
        Gallery(
            {"best linear\nno checkerboard": np.zeros((10, 8, 8)), "image": np.ones((10, 8, 8))}
        )
    )
    renderer = agg.FigureCanvasAgg(figure).get_renderer()
    (axes,) = figure.axes
    for text in axes.texts:
        box = text.get_window_extent(renderer)
        assert box.x0 >= 0
        assert box.x1 <= axes.get_window_extent().x0


def test_all_kinds_of_rows_share_a_picture():
    figure = drawn((Panel(np.eye(3), "panel"),), CURVES, Gallery({"a": np.zeros((2, 4, 4))}))
    panel, curves, gallery = (axes.get_position() for axes in figure.axes)
    assert panel.y0 > curves.y1 > curves.y0 > gallery.y1 > gallery.y0 >= 0
