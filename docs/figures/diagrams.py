"""Boxes and arrows: which sampler to choose, a training step, how the generator draws."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

from figures.style import COLORS, FAINT, INK, save

Place = tuple[float, float]


def canvas(width: float, height: float) -> tuple[plt.Figure, Axes]:
    """An empty drawing with a unit of one inch."""
    figure, axes = plt.subplots(figsize=(width, height))
    axes.set(xlim=(0, width), ylim=(0, height), xticks=[], yticks=[])
    axes.axis("off")
    figure.subplots_adjust(0, 0, 1, 1)
    return figure, axes


def box(axes: Axes, at: Place, text: str, size: Place, color: str = INK, fill: float = 0.0) -> None:
    """A rounded box with words, around a place."""
    (x, y), (width, height) = at, size
    corner = (x - width / 2, y - height / 2)
    shape = {"boxstyle": "round,pad=0,rounding_size=0.09", "linewidth": 1.1, "edgecolor": color}
    if fill:
        axes.add_patch(
            FancyBboxPatch(corner, width, height, **{**shape, "linewidth": 0}, fc=color, alpha=fill)
        )
    axes.add_patch(FancyBboxPatch(corner, width, height, **shape, facecolor="none"))
    axes.text(x, y, text, ha="center", va="center", fontsize=9, linespacing=1.35)


def arrow(axes: Axes, start: Place, end: Place, text: str = "", offset: Place = (0, 0)) -> None:
    """An arrow, perhaps with a word next to its middle."""
    style = {"arrowstyle": "-|>", "color": INK, "linewidth": 1, "mutation_scale": 9}
    axes.annotate("", end, start, arrowprops={**style, "shrinkA": 0, "shrinkB": 0})
    if text:
        x, y = (start[0] + end[0]) / 2 + offset[0], (start[1] + end[1]) / 2 + offset[1]
        axes.text(x, y, text, ha="center", va="center", fontsize=8.5, color=FAINT)


def choose(path: Path) -> None:
    """Questions on the left, samplers on the right."""
    figure, axes = canvas(7.2, 5.0)
    questions = (
        ("Does the model score\nall entities anyway?", "`all-entities` in `mask-known`"),
        (
            "Up to some 20,000 entities,\nand inner products?",
            "`all-entities`, or `generator`, K = 32",
        ),
        (
            "Expensive scores, or few\nfacts per entity?",
            "`generator`, K = 56 of 72 scores per query;\nhalf of them uniform if facts are few",
        ),
        ("Inner products?", "`generator`, K = 32;\nor 512 shared `uniform` to save time"),
        ("Distances", "`generator`, K = 8 to 32"),
    )
    for number, (question, answer) in enumerate(questions):
        y = 4.6 - number * 1.03
        box(axes, (1.55, y), question, (2.7, 0.62))
        box(axes, (5.5, y), answer.replace("`", ""), (3.2, 0.62), COLORS[0], 0.12)
        last = number == len(questions) - 1
        arrow(axes, (2.92, y), (3.88, y), "" if last else "yes", (0, 0.12))
        if not last:
            arrow(axes, (1.55, y - 0.32), (1.55, y - 0.7), "no", (0.2, 0.02))
    save(figure, path)


def step(path: Path) -> None:
    """What travels where in a training step."""
    figure, axes = canvas(7.2, 2.7)
    size = (1.15, 0.5)
    for name, at in {
        "triple": (0.65, 1.9), "query": (2.3, 1.9), "model": (3.95, 1.9), "scorer": (5.6, 1.9),
        "sampler": (2.3, 0.6), "negatives": (3.95, 0.6), "loss": (5.6, 0.6),
    }.items():  # fmt: skip
        part = name in ("model", "sampler", "loss")
        box(axes, at, name, size, COLORS[0] if part else INK, 0.14 if part else 0.0)
    for start, end in (((1.23, 1.9), (1.72, 1.9)), ((2.88, 1.9), (3.37, 1.9))):
        arrow(axes, start, end)
    arrow(axes, (4.53, 1.9), (5.02, 1.9))
    arrow(axes, (2.3, 1.64), (2.3, 0.86))
    arrow(axes, (2.88, 0.6), (3.37, 0.6))
    arrow(axes, (4.53, 0.6), (5.02, 0.6))
    arrow(axes, (5.6, 1.64), (5.6, 0.86), "scores", (0.34, 0))
    axes.annotate(
        "", (2.3, 0.34), (5.6, 0.34),
        arrowprops={"arrowstyle": "-|>", "color": COLORS[1], "linewidth": 1.2,
                    "mutation_scale": 9, "connectionstyle": "bar,fraction=-0.06"},
    )  # fmt: skip
    axes.text(
        3.95, 0.03, "feedback: scores and gradients", ha="center", fontsize=8.5, color=COLORS[1]
    )
    save(figure, path)


def cells(path: Path) -> None:
    """A draw of the generator: a row of cells, a column, an entity."""
    rng = np.random.default_rng(3)
    mass = rng.gamma(0.6, 1, (12, 8))
    figure, panels = plt.subplots(
        1, 3, figsize=(7.2, 2.9), layout="constrained", width_ratios=(1.25, 0.9, 1)
    )
    panels[0].imshow(mass, cmap="Blues", aspect="auto", alpha=0.85)
    panels[0].add_patch(plt.Rectangle((-0.5, 3.5), 8, 1, fill=False, ec=COLORS[1], lw=2))
    panels[0].set_title("1. a code of the first half\ngives a row of cells", fontsize=9)
    panels[0].set(xlabel="code of the second half (64)", ylabel="code of the first half (128)")
    panels[1].bar(
        range(8), mass[4] / mass[4].sum(), color=[COLORS[1] if i == 6 else FAINT for i in range(8)]
    )
    panels[1].set_title("2. in that row, a cell\nby its mass", fontsize=9)
    panels[1].set_xlabel("cells of the row")
    share = np.array([0.34, 0.22, 0.18, 0.12, 0.09, 0.05])
    panels[2].barh(range(6)[::-1], share, color=[COLORS[1] if i == 1 else FAINT for i in range(6)])
    panels[2].set_title("3. in that cell, an entity\nby its bias", fontsize=9)
    panels[2].set_xlabel("entities of the cell")
    for axes in panels:
        axes.set(xticks=[], yticks=[])
        axes.grid(visible=False)
    save(figure, path)


CHARTS = {"choose": choose, "step": step, "generator-cells": cells}
