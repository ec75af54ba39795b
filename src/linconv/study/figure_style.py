"""The measures and colours that all kinds of pictures share."""

__all__ = [
    "BLUE",
    "FRAME",
    "GREEN",
    "GRID",
    "INK",
    "LABEL_SIZE",
    "LETTER",
    "LINE",
    "MARGIN",
    "RED",
    "TITLE_SIZE",
    "WIDTH",
]

# Inches; every picture has one width, so that its letters have one size on the page.
WIDTH = 7.5
MARGIN = 0.12
LINE = 0.175

TITLE_SIZE, LABEL_SIZE = 9.0, 7.5
# Of DejaVu Sans, as a share of the font size.
LETTER = 0.56

INK, FRAME, GRID = "#1f2328", "#8c959f", "#d0d7de"
BLUE, RED, GREEN = "#2166ac", "#b2182b", "#1b7837"
