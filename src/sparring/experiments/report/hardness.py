"""A scatter plot of the hardness of negatives against their rate of withheld facts."""

from collections.abc import Sequence
from itertools import combinations
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

LETTER, LINE, MARK, GAP = (
    7.5,
    17.0,
    16.0,
    3.0,
)  # pixels: width of a letter, height of a line, size of a mark, distance


class Box(NamedTuple):
    """A rectangle by its middle and size."""

    x: float
    y: float
    width: float
    height: float

    def overlaps(self, other: "Box") -> bool:
        """Whether the two boxes overlap."""
        across = abs(self.x - other.x) < (self.width + other.width) / 2
        return across and abs(self.y - other.y) < (self.height + other.height) / 2


def label_positions(
    points: Sequence[tuple[float, float]], labels: Sequence[str], width: float
) -> list[str | None]:
    """Plotly's `textposition` for each label, so that it overlaps no mark and no other label.

    Args:
        points: pixels from the left and from the bottom.
        labels: of the points.
        width: of the plot in pixels; labels stay inside.

    Returns:
        One position per label; None if it fits nowhere.
    """
    taken = [Box(x, y, MARK, MARK) for x, y in points]
    chosen: list[str | None] = []
    for (x, y), label in zip(points, labels):
        for position, box in _boxes(x, y, LETTER * len(label)).items():
            inside = box.width / 2 <= box.x <= width - box.width / 2
            if inside and not any(box.overlaps(other) for other in taken):
                taken.append(box)
                chosen.append(position)
                break
        else:
            chosen.append(None)
    return chosen


def _boxes(x: float, y: float, width: float) -> dict[str, Box]:
    """The box of a label at each position, the best position first."""
    above, aside = (MARK + LINE) / 2 + GAP, (MARK + width) / 2 + GAP
    return {
        "top center": Box(x, y + above, width, LINE),
        "bottom center": Box(x, y - above, width, LINE),
        "middle right": Box(x + aside, y, width, LINE),
        "middle left": Box(x - aside, y, width, LINE),
    }


WIDTH, HEIGHT = 700.0, 330.0  # of the plot in pixels, about
NARROW = 220.0  # its width on a phone


class Point(NamedTuple):
    """Where a variant lies in the plot.

    Attributes:
        withheld: share of withheld facts among the negatives that count.
        harder: share of entities that score lower than these negatives.
    """

    variant: Variant
    withheld: float
    harder: float


def hardness(variants: Sequence[Variant]) -> list[View]:
    """One point per audited variant, and a line for uniform draws."""
    points = _points(variants)
    if not points:
        return []
    across = Axis([point.withheld for point in points], logarithmic=True)
    upward = Axis([0.5, *(point.harder for point in points)])
    figure = blank(
        height=430,
        x="Withheld facts among counted negatives",
        y="Share of entities that score lower",
    )
    figure.add_hline(
        y=0.5,
        line={"color": "var(--faint)", "width": 1, "dash": "dot"},
        annotation={
            "text": "uniform draws",
            "font": {"color": "var(--faint)", "size": 12},
            "x": 1,
            "xanchor": "right",
            "yanchor": "top",
        },
    )
    names = [shortened(point.variant.label) for point in points]
    wide, narrow = (
        label_positions(
            [(width * across(point.withheld), HEIGHT * upward(point.harder)) for point in points],
            names,
            width,
        )
        for width in (WIDTH, NARROW)
    )
    for point, name, position, narrow_position in zip(points, names, wide, narrow):
        text = (
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
            meta={"variant": point.variant.place, "narrow": narrow_position},
            **hover(point.variant, [text]),
        )
    figure.update_xaxes(tickformat="~%", **across.layout())
    figure.update_yaxes(tickformat=".0%", **upward.layout())
    return [view("", figure)]


def hardness_in_words(variants: Sequence[Variant]) -> str:
    """What the plot shows, and where the variant with the highest MRR lies; empty for no points."""
    points = _points(variants)
    if not points:
        return ""
    hardest = max(points, key=lambda point: point.harder)
    if len(points) == 1:
        return (
            f"Negatives of {hardest.variant.label} score higher than {percent(hardest.harder)} of "
            f"the entities, and {percent(hardest.withheld)} of them are withheld facts."
        )
    least, most = (end(points, key=lambda point: point.withheld) for end in (min, max))
    best = max(points, key=lambda point: point.variant.mean("mrr"))
    pairs = list(combinations(points, 2))
    along = sum((a.harder - b.harder) * (a.withheld - b.withheld) > 0 for a, b in pairs)
    return (
        f"The hardest negatives are those of {hardest.variant.label}: "
        f"{percent(hardest.harder)} of the entities score lower. Withheld facts range from "
        f"{percent(least.withheld)} ({least.variant.label}) to {percent(most.withheld)} "
        f"({most.variant.label}); in {along} of {len(pairs)} pairs of variants, the one with the "
        f"harder negatives draws more of them. The highest MRR is that of {best.variant.label}, "
        f"at {percent(best.harder)} and {percent(best.withheld)}."
    )


def _points(variants: Sequence[Variant]) -> list[Point]:
    points = []
    for variant in variants:
        stats = variant.samples.get("own")
        if stats and stats.withheld_counted is not None and stats.percentile is not None:
            points.append(Point(variant, stats.withheld_counted, stats.percentile))
    return points
