"""The 4 x 4 example that is worked by hand in class: a convolution, its matrix, its transpose.

    python examples/by_hand_4x4.py

Computes each step twice, as the operator does and with pencil and paper, and stops if they differ.
"""

import numpy as np

import linconv as lc

IMAGE = np.array([[4, 5, 8, 7], [1, 8, 8, 8], [3, 6, 6, 4], [6, 5, 7, 8]])
KERNEL = np.array([[10, -4, 10], [10, 0, 30], [30, 30, -1]])


def show(title: str, array: np.ndarray) -> None:
    """Print an array of whole numbers under a title."""
    print(f"\n{title}\n{array.astype(int)}")


def main() -> None:
    """Go through the steps."""
    op = lc.Conv(KERNEL, IMAGE.shape)
    y = op(IMAGE)
    by_hand = [
        [np.sum(IMAGE[row : row + 3, column : column + 3] * KERNEL) for column in range(2)]
        for row in range(2)
    ]
    assert np.array_equal(y, by_hand)
    show("The kernel on each of the four places where it fits:", y)

    assert np.array_equal(op.matrix() @ IMAGE.ravel(), y.ravel())
    show("The same as a matrix, times the image written as one column:", op.matrix())

    spread = np.zeros(IMAGE.shape)
    for row, column in np.ndindex(2, 2):
        spread[row : row + 3, column : column + 3] += y[row, column] * KERNEL
    assert np.array_equal(op.T(y), spread)
    show("The transpose spreads each of the four numbers over the kernel:", op.T(y))

    same = op.T.as_conv()
    assert np.array_equal(same.conv.kernel, KERNEL[::-1, ::-1])
    show("The same as a convolution of this array with the flipped kernel:", same.prepared(y))

    up = lc.ConvTranspose(KERNEL, y.shape, stride=2)
    lc.testing.assert_same_map(up, up.as_conv())
    show("With stride 2 that array has zeros between its samples:", up.as_conv().prepared(y))
    show("and the result is larger:", up(y))

    rank = np.linalg.matrix_rank(op.matrix())
    print(f"\nThe matrix has rank {rank} and {IMAGE.size} columns: no map brings every image back.")


if __name__ == "__main__":
    main()
