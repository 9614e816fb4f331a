"""Where the names of points fit into a scatter plot."""

from collections.abc import Sequence
from typing import NamedTuple

LETTER, LINE, MARK, GAP = 7.5, 17.0, 16.0, 3.0  # pixels: of a letter, a line, a mark, and between


class Box(NamedTuple):
    """A rectangle by its middle and size."""

    x: float
    y: float
    width: float
    height: float

    def meets(self, other: "Box") -> bool:
        """Do the two boxes overlap?"""
        across = abs(self.x - other.x) < (self.width + other.width) / 2
        return across and abs(self.y - other.y) < (self.height + other.height) / 2


def label_positions(
    points: Sequence[tuple[float, float]], labels: Sequence[str], width: float
) -> list[str | None]:
    """Plotly's `textposition` for each label, so that it meets no mark and no other label.

    Args:
        points: pixels from the left and from the bottom.
        width: of the plot; labels stay inside.

    Returns:
        None for a label that fits nowhere.
    """
    taken = [Box(x, y, MARK, MARK) for x, y in points]
    chosen: list[str | None] = []
    for (x, y), label in zip(points, labels):
        for position, box in _boxes(x, y, LETTER * len(label)).items():
            inside = box.width / 2 <= box.x <= width - box.width / 2
            if inside and not any(box.meets(other) for other in taken):
                taken.append(box)
                chosen.append(position)
                break
        else:
            chosen.append(None)
    return chosen


def _boxes(x: float, y: float, width: float) -> dict[str, Box]:
    """Where a label of some width would lie, the best place first."""
    above, beside = (MARK + LINE) / 2 + GAP, (MARK + width) / 2 + GAP
    return {
        "top center": Box(x, y + above, width, LINE),
        "bottom center": Box(x, y - above, width, LINE),
        "middle right": Box(x + beside, y, width, LINE),
        "middle left": Box(x - beside, y, width, LINE),
    }
