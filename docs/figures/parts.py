"""A small picture of each sampler and loss: what is drawn, and how a negative counts."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes

from figures.records import record
from figures.style import COLORS, FAINT, save
from sparring.batch import Negatives, Queries
from sparring.losses import LOSSES
from sparring.testing import tiny_graph, tiny_queries

DRAWS = "draws/atlas.json"
BUCKETS = ["1", "2", "4", "8", "16", "32", "64", "128", "256", "512", "1k", "2k", "4k", "8k"]


def cloud(axes: Axes, when: str, query: list[int]) -> None:
    """All entities on a map, and those that are drawn, larger the more often."""
    found = record(DRAWS)
    row_of = {number: row for row, number in enumerate(found["entities"])}
    places = np.array(found["maps"][when])
    axes.scatter(*places.T, s=1.5, color=FAINT, alpha=0.5, linewidths=0, rasterized=True)
    drawn, count = np.unique(query, return_counts=True)
    at = places[[row_of[number] for number in drawn]]
    axes.scatter(*at.T, s=5 + 4 * count, color=COLORS[1], alpha=0.6, linewidths=0, rasterized=True)
    answers = [row_of[number] for number in found["answers"] if number in row_of]
    axes.scatter(*places[answers].T, s=42, marker="*", color=COLORS[0], zorder=3)
    axes.set(xticks=[], yticks=[])
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(False)


def spread(axes: Axes, shares: list[float], reference: list[float] | None) -> None:
    """How draws spread over the ranks of the scores."""
    axes.bar(range(14), shares, color=COLORS[1])
    if reference is not None:
        axes.step(np.arange(14), reference, where="mid", color=FAINT, lw=1.2)
    axes.set_xticks(range(0, 14, 2), BUCKETS[::2])
    axes.set_xlabel("rank of the draw by score, from")
    axes.yaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    axes.grid(visible=False, axis="x")


def sampler(name: str, path: Path) -> None:
    """Where draws for one query fall, and how hard draws are."""
    found = record(DRAWS)["samplers"]
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(7, 2.3), layout="constrained", width_ratios=(1, 1.15)
    )
    if found[name]["query"]:
        cloud(left, "after", found[name]["query"])
        left.set_title("Switzerland, official language, ?", fontsize=9)
    else:  # nothing counts in a batch of one and the same query
        left.set_visible(False)
    uniform = None if name == "uniform" else found["uniform"]["ranks"]
    spread(right, found[name]["ranks"], uniform)
    right.set_title("draws by hardness" + ("; line: uniform" if uniform else ""), fontsize=9)
    save(figure, path)


def before_and_after(path: Path) -> None:
    """Draws of the generator before and after training."""
    found = record(DRAWS)
    figure, panels = plt.subplots(1, 2, figsize=(7, 3.3), layout="constrained")
    cloud(panels[0], "before", found["generator_before"]["query"])
    cloud(panels[1], "after", found["samplers"]["generator"]["query"])
    panels[0].set_title("before training")
    panels[1].set_title("after training")
    labels = {"entities": (FAINT, "o"), "draws": (COLORS[1], "o"), "answers": (COLORS[0], "*")}
    handles = [
        plt.Line2D([], [], ls="", marker=mark, color=color, label=label)
        for label, (color, mark) in labels.items()
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
    save(figure, path)


def loss(name: str, path: Path) -> None:
    """The loss, and its derivative, over the score of one negative; the answer has score 0."""
    graph = tiny_graph()
    both = tiny_queries(graph, 2)
    queries = Queries(both.anchor[:1], both.relation[:1], both.answer[:1], torch.ones(1))
    made = LOSSES.example(name)
    ids = (queries.answer + 1).unsqueeze(1)
    log_q = torch.full((1, 1), -np.log(graph.num_entities), dtype=torch.float)
    negatives = Negatives.from_ids(queries, ids, log_q, log_q[:, 0])
    scores = torch.linspace(-6, 6, 121)
    values, pulls = [], []
    for score in scores:
        negative = score.reshape(1, 1).clone().requires_grad_()
        value = made(torch.zeros(1), negative, negatives, torch.ones(1))
        (pull,) = torch.autograd.grad(value, negative)
        values.append(value.item())
        pulls.append(pull.item())
    figure, axes = plt.subplots(figsize=(5, 2.2), layout="constrained")
    axes.plot(
        scores, np.array(values) - min(values), color=COLORS[0], label="loss minus its minimum"
    )
    axes.plot(scores, pulls, color=COLORS[1], ls="--", label="derivative")
    axes.axvline(0, color=FAINT, lw=0.8)
    axes.set_xlabel("score of the negative; the answer has score 0")
    axes.legend(fontsize=8)
    save(figure, path)


def charts() -> dict[str, Callable[[Path], None]]:
    """A picture for each sampler of the record and each loss."""
    found: dict[str, Callable[[Path], None]] = {"map-before-after": before_and_after}
    found |= {f"sampler-{name}": partial(sampler, name) for name in record(DRAWS)["samplers"]}
    return found | {f"loss-{name}": partial(loss, name) for name in LOSSES}


CHARTS = charts()
