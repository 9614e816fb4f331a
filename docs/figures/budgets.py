"""Methods with equal processor time and equal tuning, from research/results/trials.parquet."""

import json
from functools import cache
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import polars as pl
from matplotlib.axes import Axes

from figures.records import RESULTS
from figures.style import COLORS, FAINT, INK, MARKS, save

METHODS = {
    "generator": "generator",
    "generator, grouped": "generator, grouped",
    "uniform": "uniform",
    "shared uniform": "shared uniform",
    "1vsAll": "1vsAll",
    "self-adversarial": "self-adversarial",
    "nscaching": "NSCaching",
}
OURS, PLAIN = ("generator", "generator, grouped"), ("uniform", "shared uniform")
MODELS = {
    "transe": "TransE",
    "rote": "RotE",
    "distmult": "DistMult",
    "complex": "ComplEx",
    "rescal": "RESCAL",
}
# the questions of the field: a method for each place on the axis
HARD_SINCE = {
    "uniform": "never",
    "generator, hard later": "later",
    "generator, hard first": "only first",
    "generator": "always",
}
TEMPERATURE = {
    "generator, temperature 0.5": "0.5",
    "generator": "1",
    "generator, temperature 2.0": "2",
    "generator, temperature 4.0": "4",
    "uniform": "∞",
}
LOSSES = {
    "": "corrected\nsoftmax",
    ", uncorrected softmax": "plain\nsoftmax",
    ", self-adversarial": "self-\nadversarial",
    ", margin ranking": "margin\nranking",
    ", cross-entropy": "cross-\nentropy",
}


@cache
def best_runs() -> pl.DataFrame:
    """The runs with the best settings of each cell, one for each seed."""
    return pl.read_parquet(RESULTS / "trials.parquet").filter("best")


def cell(**where: str) -> pl.DataFrame:
    """The runs of one graph, model and method."""
    return best_runs().filter(**where)


def cells(*columns: str) -> list[tuple[str, ...]]:
    """Different values of some columns, in order of their appearance."""
    return best_runs().select(columns).unique(maintain_order=True).rows()


def band(runs: pl.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Processor seconds, and mean, least and greatest validation MRR over seeds."""
    curves = [np.array(json.loads(text)) for text in runs["curve"]]
    begin, end = max(one[0, 0] for one in curves), min(one[-1, 0] for one in curves)
    seconds = np.linspace(begin, end, 40)
    values = np.stack([np.interp(seconds, *one.T) for one in curves])
    return seconds, values.mean(0), values.min(0), values.max(0)


def over_seconds(path: Path) -> None:
    """Validation MRR by processor seconds, a panel for each graph and model."""
    graphs = [graph for (graph,) in cells("graph")]
    models = [name for name in MODELS if (name,) in cells("model")]
    size = (1.2 + 2.4 * len(models), 0.9 + 1.9 * len(graphs))
    figure, panels = plt.subplots(
        len(graphs), len(models), figsize=size, layout="constrained", squeeze=False
    )
    for row, graph in zip(panels, graphs, strict=True):
        for axes, model in zip(row, models, strict=True):
            for place, method in enumerate(METHODS):
                runs = cell(graph=graph, model=model, method=method)
                if len(runs):
                    seconds, mean, low, high = band(runs)
                    axes.plot(seconds, mean, color=COLORS[place], label=METHODS[method], lw=1.2)
                    axes.fill_between(
                        seconds, low, high, color=COLORS[place], alpha=0.15, linewidth=0
                    )
            axes.set_title(f"{graph}, {MODELS[model]}")
        row[0].set_ylabel("validation MRR")
    for axes in panels[-1]:
        axes.set_xlabel("CPU seconds")
    lines = {}
    for axes in panels.flat:
        handles, labels = axes.get_legend_handles_labels()
        lines |= dict(zip(labels, handles))
    figure.legend(lines.values(), lines.keys(), loc="outside lower center", ncols=4)
    save(figure, path)


def strongest(graph: str, model: str, methods: tuple[str, ...]) -> pl.Series | None:
    """Test MRR by seed of the method that is best on validation."""
    found = [cell(graph=graph, model=model, method=method) for method in methods]
    found = [runs for runs in found if len(runs)]
    return max(found, key=lambda runs: runs["valid_mrr"].mean())["mrr"] if found else None


def gain(ours: pl.Series, theirs: pl.Series) -> tuple[float, float]:
    """Difference of means, and its standard error over seeds."""
    error = sum((one.var() or 0.0) / len(one) for one in (ours, theirs)) ** 0.5
    return ours.mean() - theirs.mean(), error


def over_uniform(path: Path) -> None:
    """Gain in test MRR of the generator over the best uniform negatives, for each cell."""
    rows = []
    for graph, model in cells("graph", "model"):
        pair = strongest(graph, model, OURS), strongest(graph, model, PLAIN)
        if None not in pair:
            rows.append((f"{graph}, {MODELS[model]}", *gain(*pair)))
    rows.sort(key=lambda row: row[1])
    figure, axes = plt.subplots(figsize=(7.4, 0.8 + 0.27 * len(rows)), layout="constrained")
    names, values, errors = zip(*rows, strict=True)
    axes.errorbar(values, range(len(rows)), xerr=[2 * e for e in errors], fmt="o", color=COLORS[0])
    axes.axvline(0, color=INK, lw=0.7)
    axes.axvline(np.mean(values), color=FAINT, lw=1, ls="--")
    axes.annotate(
        f"mean {np.mean(values):+.3f}",
        (np.mean(values), -0.4),
        (4, 0),
        textcoords="offset points",
        fontsize=8,
    )
    axes.set_yticks(range(len(rows)), names)
    axes.set_xlabel("test MRR: generator minus the better of own and shared uniform negatives")
    save(figure, path)


def by_method(axes: Axes, methods: dict[str, str], model: str) -> None:
    """Test MRR for some methods, a line for each graph that has them all."""
    for place, (graph,) in enumerate(cells("graph")):
        found = [cell(graph=graph, model=model, method=method)["mrr"] for method in methods]
        if all(map(len, found)):
            mean = [one.mean() for one in found]
            spread = [one.std() or 0.0 for one in found]
            axes.errorbar(
                range(len(found)),
                mean,
                yerr=spread,
                color=COLORS[place],
                marker=MARKS[place],
                label=graph,
                lw=1,
            )
    axes.set_xticks(range(len(methods)), methods.values(), fontsize=8)
    axes.set_ylabel("test MRR")


def questions(path: Path) -> None:
    """The questions of the field, a panel each."""
    figure, panels = plt.subplots(2, 2, figsize=(7.6, 6.4), layout="constrained")
    first, second, third, fourth = panels.flat
    by_method(first, HARD_SINCE, "complex")
    first.set_title("hard negatives: since when?")
    by_method(second, TEMPERATURE, "complex")
    second.set_title("diversity vs. hardness: temperature")
    for sampler, mark in (("generator", "o"), ("uniform-filtered", "s")):
        for place, (graph,) in enumerate(cells("graph")):
            names = [f"{sampler}{loss}" for loss in LOSSES]
            names[0] = names[0].removesuffix("-filtered")
            found = [cell(graph=graph, model="complex", method=name)["mrr"] for name in names]
            if all(map(len, found)):
                label = f"{graph}, {names[0]}"
                mean = [one.mean() for one in found]
                style = {"ls": "", "marker": mark, "color": COLORS[place]}
                third.plot(range(len(found)), mean, label=label, **style)
    third.set_xticks(range(len(LOSSES)), LOSSES.values(), fontsize=8)
    third.set_ylabel("test MRR")
    third.set_title("which loss?")
    for place, (model,) in enumerate(cells("model")):
        points = []
        for graph, entities in cells("graph", "entities"):
            pair = strongest(graph, model, OURS), strongest(graph, model, PLAIN)
            if None not in pair:
                points.append((entities, *gain(*pair)))
        if points:
            size, value, error = zip(*sorted(points), strict=True)
            fourth.errorbar(
                size,
                value,
                yerr=error,
                color=COLORS[place],
                marker=MARKS[place],
                ls="",
                label=MODELS[model],
            )
    fourth.axhline(0, color=INK, lw=0.7)
    fourth.set_xscale("log")
    fourth.set_xlabel("entities")
    fourth.set_ylabel("gain over uniform")
    fourth.set_title("when does the generator prevail?")
    for axes in panels.flat:
        axes.legend(fontsize=7)
    save(figure, path)


CHARTS = {
    "budgets-curves": over_seconds,
    "budgets-gain": over_uniform,
    "budgets-questions": questions,
}
