"""Pictures: the arrays that are drawn, their scales, and that nothing is clipped."""

import io
import subprocess
import sys

import numpy as np
import pytest

from linconv.errors import MissingPackageError
from linconv.study.course import course_steps
from linconv.study.figures import draw, limits_of, png
from linconv.study.images import Image
from linconv.study.kernels import KERNELS
from linconv.study.photograph import photograph_steps
from linconv.study.published import KERNEL, PUBLISHED
from linconv.study.results import Panel, Picture

matplotlib = pytest.importorskip("matplotlib", reason="pictures are drawn with Matplotlib")


def pictures_of_a_study():
    pixels = np.random.default_rng(1).random((40, 56))
    image = Image("sample", pixels, pixels.shape, "a test", "")
    steps = (*course_steps(), *photograph_steps(image, KERNELS["course"], "course", 0))
    return [picture for _, step in steps for picture in step().section.pictures]


PICTURES = {picture.name: picture for picture in pictures_of_a_study()}
ARRAYS = {n: p for n, p in PICTURES.items() if all(isinstance(row, tuple) for row in p.rows)}
"""The pictures without curves."""
every_picture = pytest.mark.parametrize("picture", PICTURES.values(), ids=PICTURES)
every_picture_of_arrays = pytest.mark.parametrize("picture", ARRAYS.values(), ids=ARRAYS)


def panels(picture):
    return [panel for row in picture.rows for panel in row]


def images(figure):
    """The image of every panel; colour bars are what stands narrow beside one."""
    axes = [a for a in figure.axes if a.get_xlim() != (0.0, 1.0)]
    return [a.get_images()[0] for a in axes]


def renderer_of(figure):
    agg = pytest.importorskip("matplotlib.backends.backend_agg", reason="measures texts")
    return agg.FigureCanvasAgg(figure).get_renderer()


def one(panel):
    return draw(Picture("one", "", "", ((panel,),)))


@every_picture_of_arrays
def test_arrays_are_drawn_exactly(picture):
    drawn = images(draw(picture))
    assert len(drawn) == len(panels(picture))
    for image, panel in zip(drawn, panels(picture), strict=True):
        array = image.get_array()
        wanted = np.ma.array(
            panel.values,
            mask=np.broadcast_to(
                False if panel.inserted is None else panel.inserted, panel.values.shape
            ),
        )
        np.testing.assert_array_equal(np.ma.getmaskarray(array), wanted.mask)
        np.testing.assert_array_equal(array.compressed(), wanted.compressed())
        assert image.get_clim() == limits_of(panel)


@every_picture
def test_nothing_is_clipped_and_no_texts_overlap(picture):
    figure = draw(picture)
    renderer = renderer_of(figure)
    whole = figure.bbox
    titles = []
    for axes in figure.axes:
        box = axes.get_tightbbox(renderer)
        assert box.x0 >= whole.x0 - 0.5, axes.get_title()
        assert box.y0 >= whole.y0 - 0.5
        assert box.x1 <= whole.x1 + 0.5
        assert box.y1 <= whole.y1 + 0.5
        if axes.get_title():
            titles.append(axes.title.get_window_extent(renderer))
    for index, title in enumerate(titles):
        assert not any(title.overlaps(other) for other in titles[index + 1 :])


@every_picture_of_arrays
def test_numbers_fit_their_cells(picture):
    figure = draw(picture)
    renderer = renderer_of(figure)
    for axes, panel in zip([i.axes for i in images(figure)], panels(picture), strict=True):
        if panel.digits is None:
            continue
        rows, columns = panel.values.shape
        numbers = axes.texts[: rows * columns]
        box = axes.get_window_extent(renderer)
        for text, value in zip(numbers, panel.values.ravel(), strict=True):
            assert float(text.get_text().replace("−", "-")) == round(value, panel.digits)
            extent = text.get_window_extent(renderer)
            assert extent.width <= box.width / columns
            assert extent.height <= box.height / rows


@every_picture
def test_every_picture_has_words(picture):
    assert picture.caption.endswith(".")
    assert len(picture.alt) > 40


def test_published_arrays_are_what_is_shown():
    exact = PUBLISHED.exact
    shown = {name: [i.get_array().data for i in images(draw(p))] for name, p in ARRAYS.items()}
    np.testing.assert_array_equal(shown["course-3-heat-maps"][0], KERNEL)
    np.testing.assert_array_equal(shown["course-3-heat-maps"][1], exact["convolution_matrix"])
    np.testing.assert_array_equal(
        shown["course-5-as-convolution"][0], exact["padded_input_stride_1"]
    )
    np.testing.assert_array_equal(shown["course-5-as-convolution"][1], KERNEL[::-1, ::-1])
    np.testing.assert_array_equal(
        shown["course-6-stride-2"][0], exact["dilated_padded_input_stride_2"]
    )
    np.testing.assert_array_equal(
        shown["course-6-stride-2"][2], exact["transposed_convolution_stride_2"]
    )


def test_inserted_cells_are_those_without_a_sample():
    panel = PICTURES["course-6-stride-2"].rows[0][0]
    wanted = np.ones((7, 7), bool)
    wanted[2:5:2, 2:5:2] = False
    np.testing.assert_array_equal(panel.inserted, wanted)


@pytest.mark.parametrize(
    ("values", "scale", "limits"),
    [
        ([[1.0, 3.0]], "grey", (1.0, 3.0)),
        ([[1.0, -3.0]], "signed", (-3.0, 3.0)),
        ([[0.0, 0.0]], "signed", (-1.0, 1.0)),
        ([[1.0, 2.0]], "error", (0.0, 2.0)),
        ([[2.0, 2.0]], "grey", (1.5, 2.5)),
        ([[np.nan, 1.0, 2.0]], "grey", (1.0, 2.0)),
        ([[np.nan]], "grey", (-0.5, 0.5)),
    ],
)
def test_scales_follow_the_values(values, scale, limits):
    assert limits_of(Panel(np.array(values), scale=scale)) == limits


def test_scales_ignore_inserted_cells():
    panel = Panel(np.array([[0.0, 5.0, 7.0]]), inserted=np.array([[True, False, False]]))
    assert limits_of(panel) == (5.0, 7.0)


def test_zero_is_white_on_a_signed_scale():
    image = images(one(Panel(np.array([[-2.0, 0.0, 1.0]]), "k", "signed")))[0]
    rgba = image.cmap(image.norm(np.array([-2.0, 0.0, 2.0])))
    assert rgba[1, :3].min() > 0.99
    assert rgba[0, 2] > rgba[0, 0], "negative is blue"
    assert rgba[2, 0] > rgba[2, 2], "positive is red"


def test_a_colour_bar_shows_the_scale_of_its_panel():
    figure = one(Panel(np.array([[-2.0, 1.0]]), "k", "signed", colour_bar=True))
    panel, bar = figure.axes
    assert bar.get_ylim() == panel.get_images()[0].get_clim() == (-2.0, 2.0)
    assert bar.get_images()[0].cmap is panel.get_images()[0].cmap
    assert bar.get_position().height == pytest.approx(panel.get_position().height)


def test_negative_zero_has_no_sign():
    figure = one(Panel(np.array([[-0.0, -0.04, -0.26]]), digits=1))
    assert [text.get_text() for text in figure.axes[0].texts] == ["0.0", "0.0", "−0.3"]


def test_all_pictures_have_one_width():
    widths = {draw(picture).get_figwidth() for picture in PICTURES.values()}
    assert len(widths) == 1


def test_png_is_a_picture_of_that_size():
    pillow = pytest.importorskip("PIL.Image", reason="PNG files are read with Pillow")
    figure = draw(PICTURES["course-1-convolution"])
    with pillow.open(io.BytesIO(png(figure))) as picture:
        assert picture.format == "PNG"
        assert picture.size == tuple(int(n) for n in figure.get_size_inches() * figure.dpi)


def test_the_users_settings_neither_matter_nor_change():
    panel = Panel(np.eye(3), "title", digits=0)
    plain = png(one(panel))
    with matplotlib.rc_context({"axes.grid": True, "font.size": 30, "axes.facecolor": "red"}):
        before = dict(matplotlib.rcParams)
        assert png(one(panel)) == plain
        assert dict(matplotlib.rcParams) == before


def test_drawing_never_imports_pyplot():
    code = (
        "import sys, numpy as np\n"
        "from linconv.study.figures import draw, png\n"
        "from linconv.study.results import Panel, Picture\n"
        "png(draw(Picture('x', '', '', ((Panel(np.eye(2), colour_bar=True),),))))\n"
        "assert 'matplotlib.figure' in sys.modules\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_missing_matplotlib_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(
        MissingPackageError, match=r"needs the package matplotlib.*linconv\[study\]"
    ):
        one(Panel(np.eye(2)))
