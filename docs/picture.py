"""Draw the README's picture: `python docs/picture.py` writes `docs/overview.png`."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

import linconv as lc
from linconv.study.figures import draw, png
from linconv.study.images import load_image
from linconv.study.kernels import KERNELS
from linconv.study.published import IMAGE, KERNEL
from linconv.study.results import Panel, Picture

DETAIL = (slice(90, 250), slice(150, 350))
TARGET = Path(__file__).with_name("overview.png")


def overview() -> Picture:
    """Return the picture: a convolution's matrix, its transpose, and its best inverse."""
    conv = lc.Conv(KERNEL, IMAGE.shape)
    stored = lc.Conv(np.ones_like(KERNEL), IMAGE.shape).matrix() != 0
    y = conv(IMAGE)
    up = lc.ConvTranspose(KERNEL, y.shape, stride=2)
    parts = up.as_conv()
    sampled = parts.prepared(np.ones_like(y)) != 0
    photograph = load_image("camera").pixels
    blur = lc.Conv(KERNELS["gaussian5"], photograph.shape, padding="same")
    blurred = blur(photograph)
    rebuilt = lc.inverse_kernel(blur, 7, photograph).reconstruct(blurred)
    rows = (
        (
            Panel(KERNEL, "a kernel", "signed", digits=0, after="→"),
            Panel(
                conv.matrix(),
                "is a matrix: every convolution of a 4 × 4 image",
                "signed",
                digits=0,
                inserted=~stored,
            ),
        ),
        (
            Panel(parts.prepared(y), "dilated, padded", digits=0, inserted=~sampled, after="∗"),
            Panel(parts.conv.kernel, "turned kernel", "signed", digits=0, after="="),
            Panel(up(y), "transposed convolution, stride 2", digits=0),
        ),
        (
            Panel(photograph[DETAIL], "a photograph", limits=(0.0, 1.0)),
            Panel(blurred[DETAIL], "convolved", limits=(0.0, 1.0)),
            Panel(rebuilt[DETAIL], "undone by the best 7 × 7 kernel", limits=(0.0, 1.0)),
        ),
    )
    return Picture("overview", "", "", rows)


def main() -> None:
    """Draw, reduce to 256 colours, which these pictures do with, and write."""
    picture = Image.open(io.BytesIO(png(draw(overview())))).convert("RGB")
    picture.quantize(256, dither=Image.Dither.NONE).save(TARGET, optimize=True)


if __name__ == "__main__":
    main()
