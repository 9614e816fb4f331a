"""Pictures of ideas: the partition function."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from figures.style import COLORS, FAINT, save


def partition(path: Path) -> None:
    """exp of the score of forty entities, one of which is the answer."""
    scores = np.random.default_rng(4).normal(0, 0.8, 40)
    scores[13] = 2.6
    bars = np.exp(scores)
    figure, axes = plt.subplots(figsize=(6.4, 2.2), layout="constrained")
    axes.bar(range(40), bars, color=[COLORS[0] if i == 13 else FAINT for i in range(40)])
    axes.annotate("the answer", (13, bars[13]), (8, -8), textcoords="offset points", va="top")
    axes.annotate(
        f"all others: {1 - bars[13] / bars.sum():.0%} of the sum", (27, 5), ha="center", va="center"
    )
    axes.set_xticks([])
    axes.set_ylabel("exp of the score")
    axes.set_xlabel("entities")
    axes.grid(visible=False, axis="x")
    save(figure, path)


CHARTS = {"learn-partition": partition}
