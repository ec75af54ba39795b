"""Sharpen a blurred, noisy image with SciPy's own least-squares solver: the layer is the operator.

    python examples/deblur.py

No matrix is formed. The border is mirrored, as a camera's picture goes on beyond its frame; with
zero padding assumed instead, the same solver puts stripes along the border.
"""

import numpy as np
from scipy.sparse.linalg import lsmr

import linconv as lc

SIZE = (96, 96)
NOISE = 0.002
DAMP = 0.02


def scene() -> np.ndarray:
    """Return a grey image in [0, 1] with edges, a disc, a slope and fine bars."""
    rows, columns = np.indices(SIZE)
    image = 0.3 + 0.3 * columns / SIZE[1]
    image[(rows - 34) ** 2 + (columns - 30) ** 2 < 20**2] = 0.95
    image[56:84, 12:84] = np.where(columns[56:84, 12:84] // 4 % 2, 0.1, 0.8)
    image[14:46, 60:86] = 0.05
    return image


def psnr(estimate: np.ndarray, truth: np.ndarray) -> float:
    """Return the peak signal-to-noise ratio in decibels, for images in [0, 1]."""
    return float(-10 * np.log10(np.mean((estimate - truth) ** 2)))


def main() -> None:
    """Blur, add noise, and solve."""
    rng = np.random.default_rng(0)
    motion = np.full((1, 7), 1 / 7)
    image = scene()
    camera = lc.Conv(motion, SIZE, padding="same", padding_mode="symmetric")
    blurred = camera(image) + NOISE * rng.standard_normal(SIZE)
    print(f"{'blurred, noisy':<34}{psnr(blurred, image):6.2f} dB")

    for mode in ("symmetric", "zeros"):
        model = lc.Conv(motion, SIZE, padding="same", padding_mode=mode)
        solution, _, iterations, *_ = lsmr(model, blurred.ravel(), damp=DAMP, maxiter=300)
        restored = solution.reshape(SIZE)
        name = f"lsmr, border {mode}, {iterations} steps"
        print(f"{name:<34}{psnr(restored, image):6.2f} dB")

    transposed = camera.T(blurred)
    print(f"{'the transpose (blurs once more)':<34}{psnr(transposed, image):6.2f} dB")


if __name__ == "__main__":
    main()
