"""Tiny layers that between them meet every option, for what costs much per layer or per entry.

Each rank, stride, dilation, grouping, padding, border, layout and kind of number stands in one of
them, so that derivatives can be checked entry by entry and compilers have little to do.
"""

from cases import Case

TINY = (
    Case("line_circular", (5,), (2,), stride=2, padding="same", padding_mode="circular"),
    Case(
        "groups_last",
        (3, 4),
        (2, 2),
        stride=(2, 1),
        padding=((1, 0), (0, 1)),
        groups=2,
        channels=(2, 4),
    ),
    Case(
        "reflect_first",
        (4, 3),
        (2, 2),
        dilation=(2, 1),
        padding=1,
        padding_mode="reflect",
        channels=(1, 2),
        data_format="channels_first",
    ),
    Case(
        "volume_depthwise",
        (3, 2, 3),
        (2, 1, 2),
        stride=(1, 2, 2),
        padding=((0, 1), (0, 0), (1, 0)),
        padding_mode=("replicate", "zeros", "zeros"),
        groups=2,
        channels=(2, 2),
        data_format="channels_first",
    ),
    Case("crop_symmetric", (5, 4), (2, 1), padding=((-1, 1), (2, -1)), padding_mode="symmetric"),
    Case("even_pads", (4, 3), (3, 3), stride=(2, 1), padding=1, channels=(2, 1)),
    Case("complex_line", (3,), (2,), padding="full", dtype="complex128", channels=(1, 2)),
)
