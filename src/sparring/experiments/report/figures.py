"""The figures. Colours are CSS variables, which the page fills in for its theme."""

import json
import math
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any, NamedTuple

import plotly.graph_objects as go

from sparring.experiments.report.formats import count, percent, score
from sparring.experiments.report.marks import band, colour, symbol
from sparring.experiments.report.records import Group, Offer, Variant

FREQUENT = 15  # relations shown in the figure; the table has them all

AXIS = {
    "gridcolor": "var(--grid)",
    "linecolor": "var(--line)",
    "zeroline": False,
    "automargin": True,
    "title": {"font": {"color": "var(--soft)", "size": 13}, "standoff": 12},
    "fixedrange": True,
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
        tab: what the reader chooses it by.
        figure: data and layout as Plotly's JSON.
    """

    tab: str
    figure: dict[str, Any]


def learning_curves(variants: Sequence[Variant]) -> list[View]:
    """Validation MRR against epochs, and against CPU seconds."""
    axes = {"By epoch": ("epoch", "Epoch"), "By CPU time": ("cpu_seconds", "CPU seconds")}
    views = []
    for tab, (field, title) in axes.items():
        figure = _figure(height=420, x=title, y="Validation MRR")
        for variant in variants:
            xs = [getattr(point, field) for point in variant.curve]
            _add_curve(figure, variant, xs)
        figure.update_xaxes(rangemode="tozero")
        views.append(View(tab, _json(figure)))
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
        f"{score(mean)}  ({score(low)} to {score(high)})" if high > low else score(mean)
        for mean, (low, high) in zip(means, ends)
    ]
    where = [f"epoch {p.epoch:g}, {count(p.cpu_seconds)} CPU s" for p in variant.curve]
    figure.add_scatter(
        x=xs,
        y=means,
        mode="lines+markers",
        line={"color": colour(variant.place), "width": 2.25},
        marker={"symbol": symbol(variant.place), "size": 7, "color": colour(variant.place)},
        customdata=list(zip(where, said)),
        hovertemplate=f"<b>{escape(variant.label)}</b><br>%{{customdata[0]}}<br>"
        "MRR %{customdata[1]}<extra></extra>",
        meta=meta,
    )


def hardness(variants: Sequence[Variant]) -> list[View]:
    """How hard the counted negatives are against how often they are withheld facts."""
    shown = [variant for variant in variants if _placed(variant.offers.get("own"))]
    if not shown:
        return []
    figure = _figure(
        height=430,
        x="Withheld facts among the negatives that count",
        y="Hardness: share of entities that score lower",
    )
    points = [(offer, v) for v in shown for offer in [v.offers["own"]]]
    rates = [offer.withheld_counted for offer, _ in points]
    for variant in shown:
        offer = variant.offers["own"]
        figure.add_scatter(
            x=[offer.withheld_counted],
            y=[offer.percentile],
            mode="markers+text",
            text=[escape(shortened(variant.label))],
            textposition="top center",
            textfont={"color": "var(--ink)", "size": 13},
            cliponaxis=False,
            marker={"symbol": symbol(variant.place), "size": 15, "color": colour(variant.place)},
            hovertemplate=f"<b>{escape(variant.label)}</b><br>{percent(offer.withheld_counted)} "
            f"withheld facts<br>{percent(offer.percentile)} of entities score lower<extra></extra>",
            meta={"variant": variant.place},
        )
    figure.add_hline(
        y=0.5,
        line={"color": "var(--faint)", "width": 1, "dash": "dot"},
        annotation={
            "text": "uniform draws",
            "font": {"color": "var(--faint)", "size": 12},
            "xanchor": "left",
            "x": 0,
        },
    )
    figure.update_xaxes(tickformat="~%", **_range(rates))
    figure.update_yaxes(tickformat=".0%")
    return [View("", _json(figure))]


def _placed(offer: Offer | None) -> bool:
    known = offer is not None and None not in (offer.withheld_counted, offer.percentile)
    return known


def _range(rates: Sequence[float]) -> dict[str, Any]:
    """A logarithmic axis, unless a rate is zero."""
    low, high = min(rates), max(rates)
    if low <= 0:
        return {"rangemode": "tozero"}
    ends = [math.log10(low / 2), math.log10(high * 2)]
    return {"type": "log", "range": ends, "minor": {"showgrid": False}, "dtick": "D2"}


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
        figure = _figure(height=400, x=axis, y="MRR")
        ticks = [f"{escape(group.name)}<br>{count(group.queries)}" for group in names.values()]
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
        views.append(View(tab, _json(figure)))
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
        marker={"symbol": symbol(variant.place), "size": 9, "color": colour(variant.place)},
        error_y={
            "array": [0 if one.high is None else one.high - one.value for one in mrr],
            "arrayminus": [0 if one.low is None else one.value - one.low for one in mrr],
            "color": colour(variant.place),
            "thickness": 1.5,
            "width": 0,
        },
        customdata=[(escape(row.name), _said(row), count(row.queries)) for _, row in found],
        hovertemplate=f"<b>{escape(variant.label)}</b><br>%{{customdata[0]}}, "
        "%{customdata[2]} queries<br>MRR %{customdata[1]}<extra></extra>",
        meta={"variant": variant.place},
    )


def by_relation(variants: Sequence[Variant], labels: dict[str, str]) -> list[View]:
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
    figure = _figure(height=90 + 30 * len(order), x="MRR", y="")
    for place, group in enumerate(order):
        ends = means[group.name]
        figure.add_scatter(
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
            marker={"symbol": symbol(variant.place), "size": 10, "color": colour(variant.place)},
            customdata=[
                (escape(labels.get(row.name, row.name)), _said(row), count(row.queries))
                for _, row in found
            ],
            hovertemplate=f"<b>{escape(variant.label)}</b><br>%{{customdata[0]}}, "
            "%{customdata[2]} queries<br>MRR %{customdata[1]}<extra></extra>",
            meta={"variant": variant.place},
        )
    figure.update_layout(meta={"longTicks": True})
    figure.update_yaxes(
        tickvals=list(range(len(order))),
        ticktext=[escape(shortened(labels.get(group.name, group.name))) for group in order],
        range=[-0.6, len(order) - 0.4],
        showgrid=False,
    )
    return [View("", _json(figure))]


def shortened(label: str, most: int = 28) -> str:
    """A label that fits beside a figure."""
    return label if len(label) <= most else f"{label[: most - 1].rstrip()}…"


def _groups_of(variants: Iterable[Variant], title: str) -> dict[str, Group]:
    """The groups of a breakdown, in order, as any variant has them."""
    return {g.name: g for variant in variants for g in variant.groups if g.title == title}


def _said(row: Group) -> str:
    value, low, high = row.mrr
    if low is None or high is None:
        return score(value)
    return f"{score(value)}  ({score(low)} to {score(high)})"


def _figure(*, height: int, x: str, y: str) -> go.Figure:
    figure = go.Figure(layout={"template": TEMPLATE, "height": height})
    figure.update_xaxes(title_text=x)
    figure.update_yaxes(title_text=y)
    return figure


def _json(figure: go.Figure) -> dict[str, Any]:
    return json.loads(figure.to_json())
