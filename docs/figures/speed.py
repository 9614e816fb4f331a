"""Queries trained and triples ranked per processor second, vs. other libraries."""

from pathlib import Path

import matplotlib.pyplot as plt

from figures.records import record
from figures.style import COLORS, save

LIBRARIES = {"sparring": "sparring", "pykeen": "PyKEEN", "torchkge": "TorchKGE", "libkge": "LibKGE"}
TRAIN = ("TransE L1 d = 100, K = 8", "TransE L1 d = 100, K = 64", "ComplEx d = 128, K = 64")
RANK = ("TransE L1 d = 200", "ComplEx d = 200")


def speed(path: Path) -> None:
    """Bars for each case and library."""
    figure, panels = plt.subplots(
        1, 2, figsize=(7.4, 3.6), layout="constrained", width_ratios=(3, 2)
    )
    rows = record("benchmarks/run.json")["measurements"]
    kinds = {"train": (TRAIN, "queries trained per CPU second")}
    kinds |= {"evaluate": (RANK, "triples ranked per CPU second")}
    for axes, (what, (cases, title)) in zip(panels, kinds.items(), strict=True):
        for place, (library, label) in enumerate(LIBRARIES.items()):
            found = [
                next(
                    row["per_processor_second"]
                    for row in rows
                    if (row["what"], row["case"], row["library"]) == (what, case, library)
                )
                for case in cases
            ]
            where = [number + 0.2 * place for number in range(len(cases))]
            bars = axes.bar(where, found, 0.18, color=COLORS[place], label=label)
            axes.bar_label(bars, [f"{x:,.0f}" for x in found], fontsize=7, rotation=90, padding=3)
        names = [case.replace(" L1", "").replace(", K", "\nK") for case in cases]
        axes.set_xticks([number + 0.3 for number in range(len(cases))], names, fontsize=8)
        axes.set_yscale("log")
        axes.margins(y=0.3)
        axes.set_title(title)
        axes.grid(visible=False, axis="x")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4)
    save(figure, path)


CHARTS = {"speed": speed}
