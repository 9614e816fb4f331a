"""Where the names of points fit into a scatter plot.

How hard negatives are against how often they are in truth facts, one point per variant."""

from collections.abc import Sequence
from typing import NamedTuple

from sparring.experiments.report.figures import (
    Axis,
    View,
    blank,
    hover,
    marker,
    plain,
    shortened,
    view,
)
from sparring.experiments.report.records import Variant, percent

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


WIDTH, HEIGHT = 700.0, 330.0  # of the plot in pixels, about


class Point(NamedTuple):
    """Where a variant lies.

    Attributes:
        withheld: share of withheld facts among the negatives that count.
        harder: share of entities that score lower than these negatives.
    """

    variant: Variant
    withheld: float
    harder: float


def hardness(variants: Sequence[Variant]) -> list[View]:
    """One point per audited variant, and the line that uniform draws reach."""
    points = _points(variants)
    if not points:
        return []
    across = Axis([point.withheld for point in points], logarithmic=True)
    upward = Axis([0.5, *(point.harder for point in points)])
    figure = blank(
        height=430,
        x="Withheld facts among the negatives that count",
        y="Share of entities that score lower",
    )
    figure.add_hline(
        y=0.5,
        line={"color": "var(--faint)", "width": 1, "dash": "dot"},
        annotation={
            "text": "what uniform draws reach",
            "font": {"color": "var(--faint)", "size": 12},
            "x": 1,
            "xanchor": "right",
            "yanchor": "top",
        },
    )
    names = [shortened(point.variant.label) for point in points]
    pixels = [(WIDTH * across(point.withheld), HEIGHT * upward(point.harder)) for point in points]
    positions = label_positions(pixels, names, WIDTH)
    for point, name, position in zip(points, names, positions):
        said = (
            f"{percent(point.withheld)} withheld facts<br>"
            f"{percent(point.harder)} of entities score lower"
        )
        figure.add_scatter(
            x=[point.withheld],
            y=[point.harder],
            mode="markers+text" if position else "markers",
            text=[plain(name)],
            textposition=position,
            textfont={"color": "var(--ink)", "size": 13},
            cliponaxis=False,
            marker=marker(point.variant, 14),
            meta={"variant": point.variant.place},
            **hover(point.variant, [said]),
        )
    figure.update_xaxes(tickformat="~%", **across.layout())
    figure.update_yaxes(tickformat=".0%", **upward.layout())
    return [view("", figure)]


def _points(variants: Sequence[Variant]) -> list[Point]:
    points = []
    for variant in variants:
        offer = variant.offers.get("own")
        if offer and offer.withheld_counted is not None and offer.percentile is not None:
            points.append(Point(variant, offer.withheld_counted, offer.percentile))
    return points
