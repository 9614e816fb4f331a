"""Figures as Plotly JSON: learning curves, and MRR by kind of query and by relation.

Each variant has one color and one mark on the whole page. Colors are CSS variables, which the page
replaces for its theme.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

import plotly.graph_objects as go

from sparring.experiments.report.records import Group, Metric, Variant, count, score

COLORS = 8
MARKS = (  # 7, so that a pair of color and mark repeats only after 56 variants
    ("circle", "M8 2.5a5.5 5.5 0 1 0 0 11a5.5 5.5 0 1 0 0-11Z"),
    ("diamond", "M8 1.2 14.8 8 8 14.8 1.2 8Z"),
    ("square", "M3 3h10v10H3Z"),
    ("triangle-up", "M8 1.8 15 13.8H1Z"),
    ("cross", "M5.8 1.5h4.4v4.3h4.3v4.4h-4.3v4.3H5.8v-4.3H1.5V5.8h4.3Z"),
    ("triangle-down", "M1 2.2h14L8 14.2Z"),
    ("star", "M8 1l2.1 4.7 5.1.5-3.9 3.4 1.2 5.1L8 12l-4.5 2.7 1.2-5.1L.8 6.2l5.1-.5Z"),
)


def color(place: int) -> str:
    """The CSS variable with the color of the variant at a place."""
    return f"var(--v{place % COLORS})"


def band(place: int) -> str:
    """The same color, nearly transparent."""
    return f"var(--v{place % COLORS}-band)"


def symbol(place: int) -> str:
    """Plotly's name for the mark."""
    return MARKS[place % len(MARKS)][0]


def size(place: int, pixels: int) -> float:
    """Plotly's size of the mark, adjusted so that all marks look equally large."""
    return round(pixels * (1.3 if "triangle" in symbol(place) else 1.0), 1)


def outline(place: int) -> str:
    """The mark as an SVG path in a box of 16 by 16."""
    return MARKS[place % len(MARKS)][1]


AXIS = {
    "gridcolor": "var(--grid)",
    "linecolor": "var(--line)",
    "zeroline": False,
    "automargin": True,
    "title": {"font": {"color": "var(--soft)", "size": 13}, "standoff": 12},
    "fixedrange": True,
    "tickfont": {"color": "var(--soft)"},
}
TEMPLATE = go.layout.Template(
    layout={
        "font": {"family": "var(--font)", "color": "var(--faint)", "size": 12.5},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "margin": {"l": 12, "r": 16, "t": 12, "b": 12},
        "showlegend": False,
        "dragmode": False,
        "hovermode": "closest",
        "hoverlabel": {
            "bgcolor": "var(--card)",
            "bordercolor": "var(--line)",
            "font": {"family": "var(--font)", "color": "var(--ink)", "size": 13},
            "align": "left",
        },
        "xaxis": AXIS,
        "yaxis": AXIS,
    }
)


class View(NamedTuple):
    """One of the figures that share a place on the page.

    Attributes:
        tab: the label of its tab.
        figure: data and layout as Plotly's JSON.
    """

    tab: str
    figure: dict[str, Any]


def blank(*, height: int, x: str, y: str) -> go.Figure:
    """A figure without data, with the titles of its axes."""
    figure = go.Figure(layout={"template": TEMPLATE, "height": height})
    figure.update_xaxes(title_text=x)
    figure.update_yaxes(title_text=y)
    return figure


def view(tab: str, figure: go.Figure) -> View:
    """A finished figure and the name of its tab."""
    return View(tab, json.loads(str(figure.to_json())))


def plain(name: str) -> str:
    """A name with its HTML escaped, because Plotly interprets some tags in texts."""
    return escape(name, quote=False)


def marker(variant: Variant, pixels: int) -> dict[str, Any]:
    """The mark of a variant, in its color."""
    place = variant.place
    return {"symbol": symbol(place), "size": size(place, pixels), "color": color(place)}


def hover(variant: Variant, texts: Iterable[str]) -> dict[str, Any]:
    """The hover text of each point, given as data, in which Plotly replaces no placeholders."""
    labeled = [f"<b>{plain(variant.label)}</b><br>{text}" for text in texts]
    return {"customdata": labeled, "hovertemplate": "%{customdata}<extra></extra>"}


def shortened(label: str, most: int = 28) -> str:
    """A label that fits next to a figure."""
    return label if len(label) <= most else f"{label[: most - 1].rstrip()}…"


class Axis:
    """An axis from the lowest value to the highest with room at both ends.

    Args:
        values: all that it must show.
        room: at each end, as a share of the range of the values.
        logarithmic: use a logarithmic scale if all values are positive.
    """

    def __init__(
        self, values: Sequence[float], room: float = 0.14, logarithmic: bool = False
    ) -> None:
        self.logarithmic = logarithmic and min(values) > 0
        ends = [self._scaled(value) for value in (min(values), max(values))]
        free = max(room * (ends[1] - ends[0]), 0.15 if self.logarithmic else 0.02)
        self.low, self.high = ends[0] - free, ends[1] + free

    def __call__(self, value: float) -> float:
        """Position on the axis, from 0 to 1."""
        return (self._scaled(value) - self.low) / (self.high - self.low)

    def layout(self) -> dict[str, Any]:
        """Range and ticks in Plotly's form."""
        steps = {"type": "log", "dtick": "D2"} if self.logarithmic else {}
        return {"range": [self.low, self.high], **steps}

    def _scaled(self, value: float) -> float:
        return math.log10(value) if self.logarithmic else value


FREQUENT = 15  # relations shown in the figure; the table has all of them


def learning_curves(variants: Sequence[Variant]) -> list[View]:
    """Validation MRR against epochs, and against CPU seconds."""
    if not any(variant.curve for variant in variants):
        return []
    axes = {"By epoch": ("epoch", "Epoch"), "By CPU time": ("cpu_seconds", "CPU seconds")}
    views = []
    for tab, (field, title) in axes.items():
        figure = blank(height=420, x=title, y="Validation MRR")
        for variant in variants:
            xs = [getattr(point, field) for point in variant.curve]
            _add_curve(figure, variant, xs)
        figure.update_xaxes(rangemode="tozero")
        views.append(view(tab, figure))
    return views


def _add_curve(figure: go.Figure, variant: Variant, xs: Sequence[float]) -> None:
    """The mean over seeds, on a band from the lowest to the highest."""
    means = [math.fsum(point.mrr) / len(point.mrr) for point in variant.curve]
    ends = [(min(point.mrr), max(point.mrr)) for point in variant.curve]
    meta = {"variant": variant.place}
    figure.add_scatter(
        x=[*xs, *reversed(xs)],
        y=[*(low for low, _ in ends), *(high for _, high in reversed(ends))],
        fill="toself",
        fillcolor=band(variant.place),
        line={"width": 0},
        mode="lines",
        hoverinfo="skip",
        meta=meta,
    )
    texts = [
        f"epoch {point.epoch:g}, {count(point.cpu_seconds)} CPU seconds<br>"
        f"MRR {_with_interval(Metric(mean, (low, high) if high > low else None))}"
        for point, mean, (low, high) in zip(variant.curve, means, ends)
    ]
    figure.add_scatter(
        x=xs,
        y=means,
        mode="lines+markers",
        line={"color": color(variant.place), "width": 2.25},
        marker=marker(variant, 7),
        **hover(variant, texts),
        meta=meta,
    )


def by_group(variants: Sequence[Variant]) -> list[View]:
    """MRR by cardinality class, side, degree and reverse triple, one view each."""
    titles = {
        "Cardinality": ("cardinality", "Heads and tails per relation"),
        "Side": ("side", "Predicted entity"),
        "Degree": ("degree", "Training facts of the answer"),
        "Reverse": ("reverse triple", "The same triple with head and tail exchanged"),
    }
    views = []
    for tab, (title, axis) in titles.items():
        names = _groups_of(variants, title)
        if not names:
            continue
        figure = blank(height=400, x=axis, y="MRR")
        ticks = [f"{plain(group.name)}<br>{count(group.queries)}" for group in names.values()]
        for variant in variants:
            rows = {group.name: group for group in variant.groups if group.title == title}
            _add_dots(figure, variant, [rows.get(name) for name in names], len(variants))
        places = list(range(len(names)))
        figure.update_xaxes(
            tickvals=places,
            ticktext=ticks,
            range=[-0.5, len(names) - 0.5],
            showgrid=False,
        )
        for place in places[1:]:
            figure.add_vline(x=place - 0.5, line={"color": "var(--grid)", "width": 1})
        views.append(view(tab, figure))
    return views


def _add_dots(
    figure: go.Figure, variant: Variant, rows: Sequence[Group | None], variants: int
) -> None:
    """One dot per group, with its interval, next to those of the other variants."""
    step = min(0.16, 0.7 / variants)
    shift = (variant.place - (variants - 1) / 2) * step
    found = [(place + shift, row) for place, row in enumerate(rows) if row is not None]
    mrr = [row.mrr for _, row in found]
    figure.add_scatter(
        x=[place for place, _ in found],
        y=[one.value for one in mrr],
        mode="markers",
        marker=marker(variant, 9),
        error_y={
            "array": [one.ends[1] - one.value if one.ends else 0 for one in mrr],
            "arrayminus": [one.value - one.ends[0] if one.ends else 0 for one in mrr],
            "color": color(variant.place),
            "thickness": 1.5,
            "width": 0,
        },
        **hover(variant, [_of_group(row, row.name) for _, row in found]),
        meta={"variant": variant.place},
    )


def by_relation(variants: Sequence[Variant], labels: Mapping[str, str]) -> list[View]:
    """MRR on the most frequent relations, the one with the highest MRR on top.

    Args:
        labels: the label of each relation name.
    """
    groups = _groups_of(variants, "relation")
    if not groups:
        return []
    frequent = sorted(groups.values(), key=lambda group: (-group.queries, group.name))[:FREQUENT]
    rows = {
        variant.place: {g.name: g for g in variant.groups if g.title == "relation"}
        for variant in variants
    }
    means = {
        group.name: [row[group.name].mrr.value for row in rows.values() if group.name in row]
        for group in frequent
    }
    order = sorted(frequent, key=lambda group: math.fsum(means[group.name]) / len(variants))
    figure = blank(height=90 + 30 * len(order), x="MRR", y="")
    for place, group in enumerate(order):
        ends = means[group.name]
        figure.add_scatter(  # from the worst variant to the best
            x=[min(ends), max(ends)],
            y=[place, place],
            mode="lines",
            line={"color": "var(--line)", "width": 3},
            hoverinfo="skip",
        )
    for variant in variants:
        found = [
            (place, rows[variant.place][group.name])
            for place, group in enumerate(order)
            if group.name in rows[variant.place]
        ]
        figure.add_scatter(
            x=[row.mrr.value for _, row in found],
            y=[place for place, _ in found],
            mode="markers",
            marker=marker(variant, 10),
            **hover(variant, [_of_group(row, labels[row.name]) for _, row in found]),
            meta={"variant": variant.place},
        )
    values = [value for ends in means.values() for value in ends]
    figure.update_layout(meta={"longTicks": True})
    figure.update_xaxes(**Axis(values, room=0.04).layout())
    figure.update_yaxes(
        tickvals=list(range(len(order))),
        ticktext=[plain(shortened(labels[group.name])) for group in order],
        range=[-0.6, len(order) - 0.4],
        showgrid=False,
        tickfont={"color": "var(--soft)", "size": 13},
    )
    return [view("", figure)]


def _groups_of(variants: Iterable[Variant], title: str) -> dict[str, Group]:
    """The groups of a breakdown that any variant has, in order."""
    return {g.name: g for variant in variants for g in variant.groups if g.title == title}


def _of_group(group: Group, name: str) -> str:
    return f"{plain(name)}, {count(group.queries)} queries<br>MRR {_with_interval(group.mrr)}"


def _with_interval(mrr: Metric) -> str:
    ends = f" ({score(mrr.ends[0])} to {score(mrr.ends[1])})" if mrr.ends else ""
    return f"{score(mrr.value)}{ends}"
