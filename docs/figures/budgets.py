"""Methods at equal processor time and with equal tuning, from research/results/trials.parquet."""

import json
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

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
# a method for each place on an axis
HARD_SINCE = {
    "uniform": "never",
    "generator, hard later": "later",
    "generator, hard first": "only first",
    "generator": "always",
}
TEMPERATURE = {
    "generator, temperature 0.5": "0.5",
    "generator": "1",
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
COLUMNS = 3
Series = dict[str, list[tuple[float, float, float]]]  # x, mean and error of points, by label


@cache
def best_runs() -> pl.DataFrame:
    """The runs with the best settings of each cell, one for each seed."""
    rows = pl.read_parquet(RESULTS / "trials.parquet").filter("best")
    scores = 2 * pl.col("epochs") * pl.col("facts") * pl.col("scored_per_query")
    return rows.with_columns(
        density=2 * pl.col("facts") / pl.col("entities"),
        nanoseconds=1e9 * pl.col("cpu_seconds") / scores,
    )


def cells(*columns: str) -> list[tuple]:
    """Different values of some columns, in order of their appearance."""
    return best_runs().select(columns).unique(maintain_order=True).rows()


def runs_of(**where: str) -> pl.DataFrame:
    """The runs of one graph, model and method."""
    return best_runs().filter(**where)


def mean_and_error(values: pl.Series) -> tuple[float, float]:
    """Mean over seeds, and its standard error."""
    return values.mean(), (values.std() or 0.0) / len(values) ** 0.5


def strongest(methods: tuple[str, ...], **where: str) -> pl.Series | None:
    """Test MRR by seed of the method that is best on validation."""
    found = [runs_of(method=method, **where) for method in methods]
    found = [runs for runs in found if len(runs)]
    return max(found, key=lambda runs: runs["valid_mrr"].mean())["mrr"] if found else None


def gain(**where: str) -> tuple[float, float] | None:
    """Mean gain of the generator over uniform negatives in a cell, and its standard error."""
    ours, plain = strongest(OURS, **where), strongest(PLAIN, **where)
    if ours is None or plain is None:
        return None
    (high, one), (low, other) = mean_and_error(ours), mean_and_error(plain)
    return high - low, (one**2 + other**2) ** 0.5


def gains() -> Iterator[tuple[str, str, float, float]]:
    """Graph, model, gain and standard error of every cell that has both sides."""
    for graph, model in cells("graph", "model"):
        if found := gain(graph=graph, model=model):
            yield graph, model, *found


def over_seconds(path: Path) -> None:
    """Validation MRR by processor seconds, a panel for each graph and model."""
    shown = sorted((graph, model) for graph, model, *_ in gains() if "/" not in graph)
    rows = -(-len(shown) // COLUMNS)
    size = (7.6, 0.9 + 2.1 * rows)
    figure, panels = plt.subplots(rows, COLUMNS, figsize=size, layout="constrained", squeeze=False)
    lines = {}
    for axes, (graph, model) in zip(panels.flat, shown):
        bottom: list[float] = []
        for place, (method, label) in enumerate(METHODS.items()):
            runs = runs_of(graph=graph, model=model, method=method)
            if not len(runs):
                continue
            seconds, mean, low, high = band(runs)
            style = {"color": COLORS[place], "lw": 1.2}
            lines[label] = axes.plot(seconds, mean, **style)[0]
            bottom.append(mean[len(mean) // 6])
            axes.fill_between(seconds, low, high, color=COLORS[place], alpha=0.15, linewidth=0)
        axes.set_ylim(bottom=min(bottom))
        axes.set_title(f"{graph}, {MODELS[model]}", fontsize=9)
        axes.set_xlabel("CPU seconds of training", fontsize=8)
        axes.tick_params(labelsize=8)
    for axes in panels.flat[len(shown) :]:
        axes.set_visible(False)
    figure.supylabel("validation MRR", fontsize=10)
    figure.legend(lines.values(), lines.keys(), loc="outside lower center", ncols=4)
    save(figure, path)


def band(runs: pl.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Processor seconds, and mean, least and greatest validation MRR over seeds."""
    curves = [np.array(json.loads(text)) for text in runs["curve"]]
    begin, end = max(one[0, 0] for one in curves), min(one[-1, 0] for one in curves)
    seconds = np.linspace(begin, end, 40)
    values = np.stack([np.interp(seconds, *one.T) for one in curves])
    return seconds, values.mean(0), values.min(0), values.max(0)


def over_uniform(path: Path) -> None:
    """Gain in test MRR of the generator over the best uniform negatives, for each cell."""
    found = sorted(gains(), key=lambda row: row[2])
    graphs, models, values, errors = zip(*found, strict=True)
    names = [f"{graph}, {MODELS[model]}" for graph, model in zip(graphs, models)]
    size = (7.4, 0.8 + 0.24 * len(found))
    figure, axes = plt.subplots(figsize=size, layout="constrained")
    axes.errorbar(values, names, xerr=[2 * error for error in errors], fmt="o", color=COLORS[0])
    axes.axvline(0, color=INK, lw=0.7)
    mean = float(np.mean(values))
    axes.axvline(mean, color=FAINT, lw=1, ls="--")
    axes.set_title(f"mean {mean:+.3f} (dashed)", fontsize=9)
    axes.set_ylim(-0.6, len(found) - 0.4)
    axes.set_xlabel("test MRR: generator minus the better of own and shared uniform negatives")
    save(figure, path)


def lines(axes: Axes, points: Series) -> None:
    """A line with error bars for each label."""
    for place, (label, found) in enumerate(points.items()):
        x, mean, error = zip(*found, strict=True)
        style = {"color": COLORS[place % len(COLORS)], "marker": MARKS[place % len(MARKS)]}
        axes.errorbar(x, mean, yerr=error, label=label, lw=1, **style)
    axes.legend(fontsize=8)


def tried(graph: str, methods: Iterable[str]) -> list[tuple[float, float, float]]:
    """Place on the axis, mean test MRR and error of the methods that were tried with ComplEx."""
    found = [runs_of(graph=graph, model="complex", method=method)["mrr"] for method in methods]
    return [(place, *mean_and_error(mrr)) for place, mrr in enumerate(found) if len(mrr)]


def by_method(methods: dict[str, str], xlabel: str, path: Path) -> None:
    """Test MRR of ComplEx with some methods, a line for each graph where they were tried."""
    points = {graph: tried(graph, methods) for (graph,) in cells("graph")}
    figure, axes = one_panel()
    # all graphs have the two ends
    lines(axes, {graph: found for graph, found in points.items() if len(found) > 2})
    axes.set_xticks(range(len(methods)), methods.values())
    axes.set_xlabel(xlabel)
    axes.set_ylabel("test MRR")
    save(figure, path)


def one_panel() -> tuple[Figure, Axes]:
    """A chart with a single panel."""
    return plt.subplots(figsize=(7.4, 3.4), layout="constrained")


def by_loss(path: Path) -> None:
    """Test MRR of ComplEx with each loss, with learned and with uniform draws."""
    points: Series = {}
    for (graph,) in cells("graph"):
        for sampler, first in (("generator", "generator"), ("uniform-filtered", "uniform")):
            names = [first, *(f"{sampler}{loss}" for loss in LOSSES if loss)]
            points[f"{graph}, {first}"] = tried(graph, names)
    figure, axes = one_panel()
    lines(axes, {label: found for label, found in points.items() if len(found) > 1})
    axes.set_xticks(range(len(LOSSES)), LOSSES.values())
    axes.set_ylabel("test MRR")
    save(figure, path)


def when_it_pays(path: Path) -> None:
    """Gain over uniform negatives by number of entities, density, and cost of a score."""
    axis_of = {
        "entities": "entities",
        "density": "facts per entity",
        "nanoseconds": "CPU nanoseconds per score\nwith uniform negatives",
    }
    size = (7.6, 3.2)
    figure, panels = plt.subplots(1, len(axis_of), figsize=size, layout="constrained", sharey=True)
    for axes, (column, label) in zip(panels, axis_of.items(), strict=True):
        points: Series = {}
        for graph, model, *value in gains():
            x = runs_of(graph=graph, model=model, method="uniform")[column].mean()
            points.setdefault(MODELS[model], []).append((x, *value))
        for place, (name, found) in enumerate(points.items()):
            x, mean, error = zip(*found, strict=True)
            style = {"color": COLORS[place], "marker": MARKS[place], "ls": ""}
            axes.errorbar(x, mean, yerr=error, label=name, **style)
        axes.axhline(0, color=INK, lw=0.7)
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.tick_params(labelsize=8)
        axes.set_xlabel(label)
    panels[0].set_ylabel("gain in test MRR")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=5)
    save(figure, path)


CHARTS: dict[str, Callable[[Path], None]] = {
    "budgets-curves": over_seconds,
    "budgets-gain": over_uniform,
    "budgets-hard-since": lambda path: by_method(HARD_SINCE, "hard negatives: since when", path),
    "budgets-temperature": lambda path: by_method(
        TEMPERATURE, "temperature of the generator's target", path
    ),
    "budgets-loss": by_loss,
    "budgets-when": when_it_pays,
}
