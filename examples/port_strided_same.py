"""Carry a strided "same" layer from Keras to PyTorch without shifting it by one pixel.

    python examples/port_strided_same.py

On an even input a 3 x 3 layer with stride 2 and padding "same" pads (0, 1) in Keras, TensorFlow and
JAX. PyTorch has no strided "same"; padding=1 gives the same shape and pads (1, 1), so that every
window stands one pixel earlier. If PyTorch is installed its own layers are compared as well.
"""

from importlib import import_module, util

import numpy as np

import linconv as lc


def centre_of_mass(image: np.ndarray) -> np.ndarray:
    """Return the centre of mass (row, column) of an image, in its own pixels."""
    weights = image / image.sum()
    return np.array([np.sum(weights * index) for index in np.indices(image.shape)])


def main() -> None:
    """Show the shift, and the padding that removes it."""
    size, stride = (32, 32), 2
    kernel = np.outer([1, 2, 1], [1, 2, 1]) / 16
    keras_layer = lc.Conv(kernel, size, stride=stride, padding="same")
    carried_over = lc.Conv(kernel, size, stride=stride, padding=1)
    pairs = keras_layer.geometry.padding
    ported = lc.Conv(kernel, size, stride=stride, padding=pairs)

    rows, columns = np.indices(size)
    spot = np.exp(-((rows - 15.0) ** 2 + (columns - 17.0) ** 2) / 18.0)
    wanted = keras_layer(spot)
    layers = {
        'padding="same"': keras_layer,
        "padding=1": carried_over,
        f"padding={pairs}": ported,
    }
    print(f"{'a spot at (15, 17)':<27}{'shape':<11}{'difference':<13}seen at")
    for name, layer in layers.items():
        # What a decoder takes it for whose windows start at the first pixel, as Keras' do here.
        seen = stride * centre_of_mass(layer(spot)) + 1
        place = ", ".join(f"{coordinate:.2f}" for coordinate in seen)
        error = np.abs(layer(spot) - wanted).max()
        print(f"{name:<27}{layer.output_shape!s:<11}{error:<13.3f}({place})")

    print('\nPadding of "same" by input size (kernel 3, stride 2):')
    for n in (31, 32, 224, 225):
        low, high = lc.Geometry(n, 3, stride=2, padding="same").padding[0]
        verdict = "padding=1 is right" if (low, high) == (1, 1) else "pad first, then padding=0"
        print(f"{n:<27}{(low, high)!s:<11}{verdict}")

    if util.find_spec("torch"):
        compare_with_torch(kernel, spot, wanted, pairs)


def compare_with_torch(
    kernel: np.ndarray, x: np.ndarray, wanted: np.ndarray, pairs: tuple[tuple[int, int], ...]
) -> None:
    """Print how far PyTorch's two ways are from the result of the Keras layer."""
    torch = import_module("torch")
    functional = torch.nn.functional
    image, weight = (torch.from_numpy(array)[None, None] for array in (x, kernel))
    padded = functional.pad(image, [side for pair in reversed(pairs) for side in pair])
    results = {
        "padding=1": functional.conv2d(image, weight, stride=2, padding=1),
        "pad, then padding=0": functional.conv2d(padded, weight, stride=2),
    }
    print(f"\n{'PyTorch itself':<38}difference")
    for name, result in results.items():
        print(f"{name:<38}{np.abs(result[0, 0].numpy() - wanted).max():.3f}")


if __name__ == "__main__":
    main()
