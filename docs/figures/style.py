"""How charts look: thin lines, few colors, text that stays text and takes the color of the page."""

import re
from pathlib import Path

import matplotlib

matplotlib.use("svg")

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

INK = "#010203"  # becomes the color of the text around the chart
FAINT = "#8a8f98"
COLORS = ["#2b6cb0", "#c2571a", "#0f8a6d", "#8d4bbb", "#b1832c", "#b8336a", "#5b6672"]
MARKS = ["o", "s", "^", "D", "v", "P", "X"]

plt.rcParams.update(
    {
        "svg.fonttype": "none",
        "svg.hashsalt": "sparring",
        "font.family": "sans-serif",
        "font.size": 10,
        "text.color": INK,
        "axes.edgecolor": INK,
        "axes.labelcolor": INK,
        "axes.titlesize": 10.5,
        "axes.titlelocation": "left",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.linewidth": 0.7,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": FAINT,
        "grid.alpha": 0.25,
        "grid.linewidth": 0.6,
        "xtick.color": INK,
        "ytick.color": INK,
        "legend.frameon": False,
        "lines.linewidth": 1.6,
        "lines.markersize": 4.5,
        "savefig.dpi": 180,  # of clouds of dots, which are pictures inside the SVG
        "figure.facecolor": "none",
        "axes.facecolor": "none",
    }
)


def save(figure: Figure, path: Path) -> None:
    """Write a figure as SVG that can stand inside a page: no style sheet, ids of its own."""
    plt.rcParams["svg.hashsalt"] = path.stem
    figure.savefig(
        path, format="svg", bbox_inches="tight", pad_inches=0.05, metadata={"Date": None}
    )
    plt.close(figure)
    path.write_text(tidy(path.read_text(encoding="utf-8"), path.stem), encoding="utf-8")


def tidy(svg: str, name: str) -> str:
    """What matplotlib writes, for use inside a page."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<style type=\"text/css\">.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"(id=\"|url\(#|xlink:href=\"#)", rf"\1{name}-", svg)
    svg = re.sub(r"font: ([^;\"]*)'[^;\"]*'[^;\"]*", r"font: \1inherit", svg)
    svg = re.sub(r"<svg ([^>]*?)height=\"([\d.]+)pt\"", r"<svg \1", svg)
    svg = svg.replace("<svg ", '<svg style="stroke-linejoin: round; stroke-linecap: butt" ', 1)
    return svg.replace(INK, "currentColor")
