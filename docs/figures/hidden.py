"""Hidden facts among negatives, and estimates of them, from research/results/withheld."""

from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures.records import RESULTS, record
from figures.style import COLORS, FAINT, INK, MARKS, save

COLUMNS = 3
FLOOR = 0.1  # of the generator that is shown, its default
TOLERANCES = {1.0: "generator", 0.1: "generator, p ≤ 0.1", 0.05: "generator, p ≤ 0.05"}
LEAST = 20  # candidates of a bin that is shown


def graphs() -> list[str]:
    """The graphs that were studied in full."""
    names = sorted(path.stem for path in (RESULTS / "withheld").glob("*.json"))
    return [name for name in names if "calibration" in record(f"withheld/{name}.json")]


def panels() -> tuple[Figure, list[Axes]]:
    """A chart with a panel for each graph."""
    shown = graphs()
    rows = -(-len(shown) // COLUMNS)
    size = (7.6, 0.7 + 2.3 * rows)
    figure, grid = plt.subplots(rows, COLUMNS, figsize=size, layout="constrained", squeeze=False)
    for axes in grid.flat[len(shown) :]:
        axes.set_visible(False)
    for axes, name in zip(grid.flat, shown):
        axes.set_title(name, fontsize=9)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.tick_params(labelsize=8)
    return figure, list(grid.flat)


def at_equal_hardness(path: Path) -> None:
    """Share of draws that are hidden facts by the share that scores above the answer."""
    figure, grid = panels()
    for axes, name in zip(grid, graphs()):
        found = record(f"withheld/{name}.json")
        kinds = {"hardest 8 of a pool": found["hardest-of-pool"]}
        for limit, label in TOLERANCES.items():
            rows = found["generator"]
            kinds[label] = [
                row for row in rows if row["tolerate"] == limit and row["floor"] == FLOOR
            ]
        for place, (label, rows) in enumerate(kinds.items()):
            points = sorted((row["above"], row["withheld"]) for row in rows if row["withheld"])
            style = {"color": COLORS[place], "marker": MARKS[place], "lw": 1}
            axes.plot(*zip(*points), label=label, **style)
        for place, row in enumerate(found["others"]):
            style = {"color": FAINT, "marker": MARKS[4 + place % 3], "ls": ""}
            axes.plot(row["above"], row["withheld"], label=row["sampler"], **style)
    figure.supxlabel("share of draws that score above the answer", fontsize=9)
    figure.supylabel("share that are hidden facts", fontsize=9)
    handles, labels = grid[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=4, fontsize=8)
    save(figure, path)


def calibration(path: Path) -> None:
    """Share of hidden facts among draws with similar estimates."""
    figure, grid = panels()
    for axes, name in zip(grid, graphs()):
        bins = record(f"withheld/{name}.json")["calibration"]["bins"]
        points = [
            (one["estimate"], one["withheld"])
            for one in bins
            if one["candidates"] >= LEAST and one["withheld"]
        ]
        axes.plot(*zip(*points), color=COLORS[0], marker="o")
        low = min(min(point) for point in points)
        axes.plot([low, 1], [low, 1], color=INK, lw=0.7, ls=":")
    figure.supxlabel("estimated probability of being a missing fact", fontsize=9)
    figure.supylabel("share that are hidden facts", fontsize=9)
    save(figure, path)


CHARTS = {"hidden-facts": at_equal_hardness, "hidden-calibration": calibration}
