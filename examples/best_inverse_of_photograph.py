"""Find the small kernels that best undo a blur of a photograph: no training, one solve each.

    python examples/best_inverse_of_photograph.py [IMAGE]

IMAGE is a PNG, JPEG, TIFF or NPY file, or the name of a photograph that scikit-image bundles
(default: camera). The kernels are fitted to the left half and judged on the right half.
"""

import sys
from time import perf_counter

import numpy as np

import linconv as lc
from linconv.study.images import load_image


def psnr(mse: float) -> float:
    """Return the peak signal-to-noise ratio in decibels, for images in [0, 1]."""
    return float(-10 * np.log10(mse))


def main(image: str = "camera") -> None:
    """Fit inverse kernels of several sizes to one half of an image, and print their errors."""
    photograph = load_image(image, max_side=256)
    height, width = photograph.pixels.shape
    half = width // 2
    fitted, unseen = photograph.pixels[:, :half], photograph.pixels[:, width - half :]

    kernel = np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1]) / 256
    blur = lc.Conv(kernel, (height, half), padding="same", padding_mode="symmetric")
    shape = f"{height} x {width}"
    print(f"{photograph.name}, {shape}, blurred by a 5 x 5 binomial kernel\n")
    print(f"{'':<14}{'PSNR of the half':>19}\n{'':<14}{'fitted':>9}{'unseen':>10}{'time':>12}")
    before = [psnr(float(np.mean((blur(x) - x) ** 2))) for x in (fitted, unseen)]
    print(f"{'blurred':<14}{before[0]:>6.2f} dB{before[1]:>7.2f} dB")
    for size in (3, 5, 7, 9):
        start = perf_counter()
        best = lc.inverse_kernel(blur, size, fitted)
        seconds = perf_counter() - start
        error = float(np.mean((best.reconstruct(blur(unseen)) - unseen) ** 2))
        name = f"{size} x {size} inverse"
        print(f"{name:<14}{psnr(best.mse):>6.2f} dB{psnr(error):>7.2f} dB{1e3 * seconds:>9.1f} ms")


if __name__ == "__main__":
    main(*sys.argv[1:2])
