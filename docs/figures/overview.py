"""The picture of README: where negatives fall, and what they are worth."""

from pathlib import Path

import matplotlib.pyplot as plt

from figures.curves import over_k
from figures.parts import cloud
from figures.records import record
from figures.style import COLORS, INK


def draw(path: Path) -> None:
    """Two maps and a curve on white, for pages that are not ours."""
    found = record("draws/atlas.json")["samplers"]
    figure, panels = plt.subplots(
        1, 3, figsize=(9, 2.9), layout="constrained", width_ratios=(1, 1, 1.15)
    )
    cloud(panels[0], "after", found["uniform"]["query"])
    cloud(panels[1], "after", found["generator"]["query"])
    panels[0].set_title("uniform negatives")
    panels[1].set_title("learned negatives")
    over_k(panels[2], "fb15k-237", "transe")
    panels[2].set(title="TransE on FB15k-237", xlabel="negatives per query", ylabel="test MRR")
    panels[2].legend(fontsize=6.5, ncols=2, loc="lower right", labelspacing=0.2, columnspacing=0.8)
    panels[0].annotate(
        "Switzerland, official language, ?", (0, -0.04), xycoords="axes fraction", fontsize=8,
        va="top",
    )  # fmt: skip
    panels[1].plot([], [], "o", color=COLORS[1], label="negatives")
    panels[1].plot([], [], "*", color=COLORS[0], label="answers", ms=8)
    panels[1].legend(
        fontsize=8, ncols=2, loc="upper left", bbox_to_anchor=(0, 0.0), handletextpad=0.2
    )
    figure.savefig(path, format="svg", facecolor="white", metadata={"Date": None})
    plt.close(figure)
    path.write_text(path.read_text(encoding="utf-8").replace(INK, "#1b1f24"), encoding="utf-8")
