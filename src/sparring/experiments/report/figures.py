"""Learning curves, and MRR by kind of query and by relation."""

import math
from collections.abc import Iterable, Mapping, Sequence

import plotly.graph_objects as go

from sparring.experiments.report.canvas import (
    Axis,
    View,
    blank,
    hover,
    marker,
    plain,
    shortened,
    view,
)
from sparring.experiments.report.formats import count, score
from sparring.experiments.report.marks import band, colour
from sparring.experiments.report.records import Estimate, Group, Variant

FREQUENT = 15  # relations shown in the figure; the table has them all


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
    """The mean over seeds, on a band from the lowest seed to the highest."""
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
    said = [
        f"epoch {point.epoch:g}, {count(point.cpu_seconds)} CPU seconds<br>"
        f"MRR {_said(Estimate(mean, (low, high) if high > low else None))}"
        for point, mean, (low, high) in zip(variant.curve, means, ends)
    ]
    figure.add_scatter(
        x=xs,
        y=means,
        mode="lines+markers",
        line={"color": colour(variant.place), "width": 2.25},
        marker=marker(variant, 7),
        **hover(variant, said),
        meta=meta,
    )


def by_group(variants: Sequence[Variant]) -> list[View]:
    """MRR by cardinality class, side and degree, one view each."""
    titles = {
        "Cardinality": ("cardinality", "Heads and tails per relation"),
        "Side": ("side", "What is asked for"),
        "Degree": ("degree", "Training facts of the answer"),
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
    """One dot per group, with its interval, beside those of the other variants."""
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
            "color": colour(variant.place),
            "thickness": 1.5,
            "width": 0,
        },
        **hover(variant, [_of_group(row, row.name) for _, row in found]),
        meta={"variant": variant.place},
    )


def by_relation(variants: Sequence[Variant], labels: Mapping[str, str]) -> list[View]:
    """MRR on the most frequent relations, the best answered one on top.

    Args:
        labels: readable label of each relation name.
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
    """The groups of a breakdown, in order, as any variant has them."""
    return {g.name: g for variant in variants for g in variant.groups if g.title == title}


def _of_group(group: Group, name: str) -> str:
    return f"{plain(name)}, {count(group.queries)} queries<br>MRR {_said(group.mrr)}"


def _said(mrr: Estimate) -> str:
    ends = f" ({score(mrr.ends[0])} to {score(mrr.ends[1])})" if mrr.ends else ""
    return f"{score(mrr.value)}{ends}"
