"""One colour and one mark per variant, the same on the whole page."""

COLOURS = 8
MARKS = (  # 7, so that colour and mark repeat together only after 56 variants
    ("circle", "M8 2.5a5.5 5.5 0 1 0 0 11a5.5 5.5 0 1 0 0-11Z"),
    ("diamond", "M8 1.2 14.8 8 8 14.8 1.2 8Z"),
    ("square", "M3 3h10v10H3Z"),
    ("triangle-up", "M8 1.8 15 13.8H1Z"),
    ("cross", "M5.8 1.5h4.4v4.3h4.3v4.4h-4.3v4.3H5.8v-4.3H1.5V5.8h4.3Z"),
    ("triangle-down", "M1 2.2h14L8 14.2Z"),
    ("star", "M8 1l2.1 4.7 5.1.5-3.9 3.4 1.2 5.1L8 12l-4.5 2.7 1.2-5.1L.8 6.2l5.1-.5Z"),
)


def colour(place: int) -> str:
    """The CSS variable that holds the colour of the variant at a place."""
    return f"var(--v{place % COLOURS})"


def band(place: int) -> str:
    """The same colour, nearly transparent."""
    return f"var(--v{place % COLOURS}-band)"


def symbol(place: int) -> str:
    """Plotly's name for the mark."""
    return MARKS[place % len(MARKS)][0]


def size(place: int, pixels: int) -> float:
    """Plotly's size of the mark, so that all marks look equally large."""
    return round(pixels * (1.3 if "triangle" in symbol(place) else 1.0), 1)


def outline(place: int) -> str:
    """The mark as an SVG path in a box of 16 by 16."""
    return MARKS[place % len(MARKS)][1]
