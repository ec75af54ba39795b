"""A photograph blurred, and restored: exactly without noise, as well as can be with it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from linconv.analysis.solve import solve
from linconv.analysis.wiener import wiener
from linconv.convolution import Conv
from linconv.study.photograph_maps import PhotographMaps, size_of
from linconv.study.presenting import psnr
from linconv.study.results import Panel, Part, Picture, Section, Table
from linconv.study.verdicts import Verdict

__all__ = ["restored"]

Array = NDArray[Any]

SIGMA = 1.5
NOISE = 0.01
"""Standard deviation of the noise, of grey values in [0, 1]."""

REACH = 4
RTOL = 1e-4
"""Of the iteration of Wiener's filter; a smaller one changes no digit shown."""


def blur_of(shape: tuple[int, ...]) -> Conv:
    """Return a Gaussian blur with a mirrored border; its kernel is no larger than the image."""
    reach = min(REACH, *shape)
    taps = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * SIGMA**2))
    taps /= taps.sum()
    return Conv(np.outer(taps, taps), shape, padding="same", padding_mode="symmetric")


def restored(p: PhotographMaps) -> Part:
    """Blur the photograph, and restore it with and without noise."""
    image = p.pixels
    blur = blur_of(image.shape)
    clean = blur(image)
    noisy = clean + NOISE * np.random.default_rng(p.seed).standard_normal(clean.shape)
    exact = solve(blur, clean)
    residual = float(exact.residual) / (float(np.linalg.norm(clean)) or 1.0)
    mean, variance = float(noisy.mean()), float(noisy.var())
    ratio = NOISE**2 / max(variance, NOISE**2)
    around = noisy - blur(np.full(image.shape, mean))
    results = {
        "blurred": clean,
        "solved, no noise": exact.x,
        "blurred, with noise": noisy,
        "solved, with noise": solve(blur, noisy).x,
        "ridge": mean + solve(blur, around, ridge=ratio).x,
        "Wiener": mean + wiener(blur, ratio, "natural", rtol=RTOL)(around),
    }
    ratios = {name: psnr(float(np.mean((r - image) ** 2))) for name, r in results.items()}
    section = Section(
        p.chapter,
        "Blurred and restored",
        _text(size_of(blur.kernel), ratios, ratio),
        (_table(ratios),),
        (_picture(image, results, ratios),),
        {
            "sigma": SIGMA,
            "noise": NOISE,
            "noise_to_signal": ratio,
            "relative_residual_without_noise": residual,
            "psnr": ratios,
            "method": exact.method,
            "reason": exact.reason,
        },
    )
    verdicts = (
        Verdict.rounding("photograph: solved, no noise, residual", residual),
        *(
            Verdict.unpublished(f"photograph: {name}, PSNR", _infinite(value), "linconv")
            for name, value in ratios.items()
        ),
    )
    return Part(section, verdicts)


def _infinite(value: float | None) -> float:
    return np.inf if value is None else value


def _decibels(value: float | None) -> str:
    return "no error" if value is None else f"{value:.1f} dB".replace("-", "−")


def _text(size: str, ratios: dict[str, float | None], ratio: float) -> tuple[str, ...]:
    shown = {name: _decibels(value) for name, value in ratios.items()}
    return (
        f"The photograph is blurred by a Gaussian of σ = {SIGMA} ({size}, mirrored at the border). "
        "`lc.solve` undoes it by one small decomposition for each axis, for the kernel is an outer "
        f"product: from {shown['blurred']} to {shown['solved, no noise']}. A blur loses nothing to "
        "the eye of a computer, as long as every digit of its result is there.",
        f"With noise of standard deviation {NOISE} on the blurred picture the same exact inverse "
        f"gives {shown['solved, with noise']}: the blur has weakened the high frequencies, and "
        "undoing it amplifies them, noise and all.",
        f"So the solution is held back. A ridge of {ratio:.2g}, the ratio of the variances of "
        f"noise and picture, gives {shown['ridge']}: it is the best where every frequency of a "
        "picture is equally strong, which is true of no photograph. Wiener's filter "
        "(`lc.wiener`, prior 1/f²) knows that photographs have most of their power in the low "
        f"frequencies: {shown['Wiener']}. What it cannot bring back is below the noise.",
    )


def _table(ratios: dict[str, float | None]) -> Table:
    rows = tuple(
        (name, None if value is None else round(value, 2)) for name, value in ratios.items()
    )
    return Table("How near to the photograph", ("picture", "PSNR, dB"), rows)


def _picture(image: Array, results: dict[str, Array], ratios: dict[str, float | None]) -> Picture:
    def panel(name: str) -> Panel:
        return Panel(results[name], f"{name}\n{_decibels(ratios[name])}", limits=(0.0, 1.0))

    first = Panel(image, "photograph\n", limits=(0.0, 1.0))
    return Picture(
        "photograph-6-restored",
        "Above without noise: the photograph, blurred, and exactly restored. Below with noise: the "
        "blurred picture, what the exact inverse makes of it, a ridge, and Wiener's filter.",
        "Two rows of pictures: the photograph, its blur and its exact restoration; then the blur "
        "with noise, an exact inverse that shows nothing but noise, and two restorations.",
        (
            (first, panel("blurred"), panel("solved, no noise")),
            tuple(
                panel(n) for n in ("blurred, with noise", "solved, with noise", "ridge", "Wiener")
            ),
        ),
    )
