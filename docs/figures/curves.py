"""Quality over K, and over processor time, in the studies with equal tuning."""

from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from figures.records import study
from figures.style import COLORS, MARKS, save

MODELS = {"transe": "TransE", "rotate": "RotatE", "complex": "ComplEx", "distmult": "DistMult"}
BILINEAR = ("complex", "distmult")
METHODS = {
    "generator": "generator",
    "uniform": "uniform",
    "hardest-of-4K": "hardest of 4 K",
    "nscaching": "NSCaching",
    "kbgan": "KBGAN",
    "self-adversarial": "self-adversarial",
}


def line_of(method: str, model: str, found: dict) -> dict[int, dict]:
    """The runs of a method; with bilinear models those with a penalty, where there are some."""
    penalized = found.get(f"{method}-n3", {}) if model in BILINEAR else {}
    return penalized if len(penalized) > 4 else found.get(method, {})


def over_k(axes: Axes, name: str, model: str) -> None:
    """One panel: test MRR of each method by the number of negatives."""
    found = study(name, model)
    for place, (method, label) in enumerate(METHODS.items()):
        runs = line_of(method, model, found)
        ks = sorted(runs)
        mrr = [runs[k]["mrr"] for k in ks]
        axes.plot(ks, mrr, color=COLORS[place], marker=MARKS[place], label=label)
        if method == "generator":
            low, high = ([runs[k][f"mrr_{end}"] for k in ks] for end in ("low", "high"))
            axes.fill_between(ks, low, high, color=COLORS[place], alpha=0.12, linewidth=0)
    axes.set_xscale("log", base=2)
    axes.set_xticks([1, 4, 16, 64, 256], ["1", "4", "16", "64", "256"])
    axes.set_title(MODELS[model])


def curves(name: str, path: Path) -> None:
    """Four models on one data set."""
    figure, panels = plt.subplots(2, 2, figsize=(7.4, 5.6), layout="constrained")
    for axes, model in zip(panels.flat, MODELS, strict=True):
        over_k(axes, name, model)
    for axes in panels[1]:
        axes.set_xlabel("negatives per query, K")
    for axes in panels[:, 0]:
        axes.set_ylabel("test MRR")
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=6, columnspacing=1)
    save(figure, path)


def over_time(path: Path) -> None:
    """Test MRR by processor seconds of training on FB15k-237; a dot for each K."""
    figure, panels = plt.subplots(1, 2, figsize=(7.4, 3.3), layout="constrained", sharey=True)
    for axes, model in zip(panels, ("transe", "complex"), strict=True):
        found = study("fb15k-237", model)
        for place, (method, label) in enumerate(METHODS.items()):
            runs = sorted(line_of(method, model, found).items())
            seconds, mrr = [run["cpu_seconds"] for _, run in runs], [run["mrr"] for _, run in runs]
            axes.plot(seconds, mrr, color=COLORS[place], marker=MARKS[place], label=label, lw=0.8)
            if method in ("generator", "uniform"):
                for k, run in (runs[0], runs[-1]):
                    axes.annotate(
                        f"K = {k}",
                        (run["cpu_seconds"], run["mrr"]),
                        (5, -11),
                        textcoords="offset points",
                        fontsize=8,
                        color=COLORS[place],
                    )
        axes.set_xscale("log")
        axes.set_xticks([10, 30, 100, 300], ["10", "30", "100", "300"])
        axes.minorticks_off()
        axes.set_title(MODELS[model])
        axes.set_xlabel("CPU seconds of training")
    panels[0].set_ylabel("test MRR")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=6, columnspacing=1)
    save(figure, path)


CHARTS = {
    "curves-fb15k-237": lambda path: curves("fb15k-237", path),
    "curves-wn18rr": lambda path: curves("wn18rr", path),
    "quality-cpu": over_time,
}
