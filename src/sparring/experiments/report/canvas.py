"""What all figures share. Colours are CSS variables, which the page fills in for its theme."""

import json
import math
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any, NamedTuple

import plotly.graph_objects as go

from sparring.experiments.report.marks import colour, size, symbol
from sparring.experiments.report.records import Variant

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
        tab: what the reader chooses it by.
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
    """A name as Plotly shows it letter by letter, for it reads some HTML in texts."""
    return escape(name, quote=False)


def marker(variant: Variant, pixels: int) -> dict[str, Any]:
    """The mark of a variant, in its colour."""
    place = variant.place
    return {"symbol": symbol(place), "size": size(place, pixels), "color": colour(place)}


def hover(variant: Variant, texts: Iterable[str]) -> dict[str, Any]:
    """What is said of each point; names come as data, where Plotly looks for no placeholders."""
    said = [f"<b>{plain(variant.label)}</b><br>{text}" for text in texts]
    return {"customdata": said, "hovertemplate": "%{customdata}<extra></extra>"}


def shortened(label: str, most: int = 28) -> str:
    """A label that fits beside a figure."""
    return label if len(label) <= most else f"{label[: most - 1].rstrip()}…"


class Axis:
    """From the lowest value to the highest with room at both ends; logarithmic if it can be.

    Args:
        room: at each end, as a share of the distance between the two.
    """

    def __init__(self, values: Sequence[float], room: float = 0.14, logarithmic: bool = False):
        self.logarithmic = logarithmic and min(values) > 0
        ends = [self._scaled(value) for value in (min(values), max(values))]
        free = max(room * (ends[1] - ends[0]), 0.15 if self.logarithmic else 0.02)
        self.low, self.high = ends[0] - free, ends[1] + free

    def __call__(self, value: float) -> float:
        """Place on the axis, from 0 to 1."""
        return (self._scaled(value) - self.low) / (self.high - self.low)

    def layout(self) -> dict[str, Any]:
        """The range and its steps, as Plotly wants them."""
        steps = {"type": "log", "dtick": "D2"} if self.logarithmic else {}
        return {"range": [self.low, self.high], **steps}

    def _scaled(self, value: float) -> float:
        return math.log10(value) if self.logarithmic else value
