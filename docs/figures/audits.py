"""How hard the draws of samplers are, and how many of them are facts."""

from pathlib import Path

import matplotlib.pyplot as plt

from figures.records import record
from figures.style import COLORS, INK, save

# a label for some samplers, and how far it is from the dot on each data set, in points
NAMED = {
    "uniform": ("uniform", (6, -4), (6, -11)),
    "type-constrained by slot": ("by type", (6, -4), (6, 2)),
    "nscaching": ("NSCaching", (-52, 3), (-54, 1)),
    "dynamic-negatives, 16 of 64": ("hardest 16 of 64", (-86, 5), (-66, 9)),
    "dynamic-negatives, 16 of 1,024": ("hardest 16 of 1,024", (6, -6), (6, -6)),
    "warp, 64 tries": ("WARP", (-12, -13), (-12, -13)),
    "teacher-negatives": ("teacher", (-40, 2), (-40, 2)),
    "hasa, 3 of all entities": ("HaSa", (-30, 2), (-30, 2)),
}


def hardness(path: Path) -> None:
    """Held-out facts among the draws, by the share of draws that score above the answer."""
    figure, panels = plt.subplots(1, 2, figsize=(7.6, 4.1), layout="constrained")
    datasets = ("fb15k-237", "wn18rr")
    for number, (axes, dataset) in enumerate(zip(panels, datasets, strict=True)):
        for name, stats in record(f"audit/{dataset}.json")["samplers"].items():
            place = stats["above"], stats["withheld_counted"]
            if not all(place):
                continue
            filtered = stats["known_counted"] == 0
            axes.plot(*place, "o", color=COLORS[0], mfc=COLORS[0] if filtered else "none")
            if name in NAMED:
                words, *offsets = NAMED[name]
                axes.annotate(words, place, offsets[number], textcoords="offset points", fontsize=8)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.minorticks_off()
        axes.set_title(("FB15k-237", "WN18RR")[number])
        axes.set_xlabel("draws that score above the answer")
        axes.xaxis.set_major_formatter(
            lambda share, _: f"{share:.3%}".rstrip("0%").rstrip(".") + "%"
        )
        axes.yaxis.set_major_formatter(
            lambda share, _: f"{share:.3%}".rstrip("0%").rstrip(".") + "%"
        )
    panels[0].set_ylabel("draws that are held-out facts")
    dots = [
        plt.Line2D([], [], marker="o", ls="", color=COLORS[0], label="training facts filtered"),
        plt.Line2D([], [], marker="o", ls="", color=COLORS[0], mfc="none", label="not filtered"),
    ]
    figure.legend(handles=dots, loc="outside lower center", ncols=2, labelcolor=INK)
    save(figure, path)


CHARTS = {"hardness-false-negatives": hardness}
