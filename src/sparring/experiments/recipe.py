"""Settings for a graph, chosen by its size, density and cardinalities, with the reasons.

Every constant was chosen on validation facts. `research/scripts/auto.py` compares what comes out
with what tuning finds in ten times the budget.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
import torch

from sparring.data.graph import MANY, KnowledgeGraph, heads_per_tail, tails_per_head

K, LEAST_K = 32, 4
ENTITIES_PER_NEGATIVE = 10  # with more negatives, queries meet the same ones again and again
# Processor time of a step, however short, and of a query with generator, update and loss: so much,
# and so much for each number of each negative's vector. From runs on umls, kinship and codex-s.
STEP_SECONDS, QUERY_SECONDS, NUMBER_SECONDS = 2e-3, 8e-6, 6e-10
SCORES_PER_SECOND = 5e9  # multiplications of evaluation, on one core
WIDTHS = (64, 128, 256)
EPOCHS = 8  # what a wider model must still get: at 10 epochs 256 was ahead of 64 at 23 (kg20c)
EPOCHS_REPEATED = 5  # where facts are repeated: at 4, 128 was ahead of 64 at 6 (dbpedia-music)
WANTED_EPOCHS = 20  # of the widest model, if no minutes are given
MINUTES = (0.5, 10.0)  # bounds of what is taken then
MOST_EPOCHS = 200  # small graphs are learned by heart long before
BATCH = (128, 1024)  # triples: with fewer, a step mostly costs what every step does
STEPS = 64  # of an epoch, between these bounds
USED = 0.8  # share of the time for training; the rest is for validation and slower machines
VALIDATIONS = 10
PATIENCE = 5  # half of them: validation often rises again when the rate has fallen
# Entities with many facts are learned with less penalty and smaller steps (umls, kinship, codex-s).
DENSE = 20.0  # facts per entity
N3, LR = 0.05, 0.02
N3_DENSE, LR_DENSE = 0.02, 0.01
# A penalty keeps a model from memory, which answers where facts are repeated (dbpedia-music).
REPEATED = 0.3  # share of validation facts whose ends another relation joins in train
N3_REPEATED = 5e-4
STANDARD_ERROR = 0.02  # of the validation MRR, above which its differences say little
SPREAD = 0.4  # standard deviation of reciprocal ranks, usual where MRR is .2 to .8
STILL_RISING = 0.01  # gain of the last validation that suggests a longer training


@dataclass(frozen=True)
class Recipe:
    """Settings of a training.

    Attributes:
        tables: as in an experiment file.
        reasons: one sentence for each choice, by table.
        warnings: what makes the graph hard to learn or to choose by.
    """

    tables: dict[str, dict[str, Any]]
    reasons: dict[str, str]
    warnings: tuple[str, ...] = ()


def choose_recipe(
    graph: KnowledgeGraph, minutes: int | float = 0.0, epochs: int | None = None
) -> Recipe:
    """Model, sampler, loss and training for a graph.

    Args:
        minutes: of processor time that the training may take; 0 for what suits the size.
        epochs: if they are given; chosen by the time otherwise.
    """
    facts, entities = len(graph.train), max(1, len(graph.entities))
    batch = min(BATCH[1], max(BATCH[0], 2 ** round(math.log2(facts / STEPS + 1))))
    steps = math.ceil(facts / batch)
    k = 2 ** int(math.log2(min(K, max(LEAST_K, entities / ENTITIES_PER_NEGATIVE))))
    epoch_seconds = {
        width: steps * STEP_SECONDS + 2 * facts * (QUERY_SECONDS + k * width * NUMBER_SECONDS)
        for width in WIDTHS
    }
    low, high = MINUTES
    wanted = WANTED_EPOCHS * epoch_seconds[WIDTHS[-1]] / USED / 60
    budget = minutes or min(high, max(low, wanted))
    affordable = {width: 60 * USED * budget / epoch_seconds[width] for width in WIDTHS}
    density = 2 * facts / entities
    repeated = _repeated(graph) if density <= DENSE else 0.0
    needed = EPOCHS_REPEATED if repeated > REPEATED else EPOCHS
    width = max((w for w in WIDTHS if affordable[w] >= needed), default=WIDTHS[0])
    if epochs is None:
        epochs = min(MOST_EPOCHS, max(1, round(affordable[width])))
    every = max(1, epochs // VALIDATIONS)
    penalty, rate = (N3_DENSE, LR_DENSE) if density > DENSE else (N3, LR)
    if repeated > REPEATED:
        penalty = N3_REPEATED
    tables = {
        "model": {
            "name": "complex",
            "dim": width,
            "reciprocal_relations": True,
            "init": 0.1,
            "n3": penalty,
        },
        "sampler": {"name": "generator", "k": k},
        "loss": {"name": "sampled-softmax", "correction": "both"},
        "optimizer": {"name": "adam", "lr": rate},
        "schedule": {"name": "linear"},
        "train": {
            "epochs": epochs,
            "batch_size": batch,
            "validate_every": every,
            "validate_on": _validated(graph, budget, width),
            "patience": PATIENCE,
        },
    }
    many = torch.cat([tails_per_head(graph.training), heads_per_tail(graph.training)]) >= MANY
    reasons = {
        "model": f"ComplEx with a vector per inverse relation, good on most graphs; {width} wide, "
        f"as {budget:.1f} CPU minutes give {epochs} epochs; N3 penalty {penalty:g} at "
        f"{density:.1f} facts per entity"
        + (f", where {repeated:.0%} of facts repeat others" if repeated > REPEATED else ""),
        "sampler": f"{k} negatives per query from a generator, which learns which ones are hard",
        "loss": "sampled softmax, corrected by the density of the negatives; "
        f"{many.float().mean():.0%} of the queries' kinds have several answers",
        "optimizer": f"Adam at {rate} for {density:.0f} facts per entity; lower lr if it diverges",
        "schedule": "the learning rate falls to 0 over all epochs, which ends higher",
        "train": f"{facts:,} facts: up to {epochs} epochs of {steps:,} steps, "
        f"in about {budget:.1f} CPU minutes; training stops early if validation no longer improves",
    }
    return Recipe(tables, reasons, (*_about_validation(graph), *_about_relations(graph)))


def _repeated(graph: KnowledgeGraph) -> float:
    """Share of validation facts whose head and tail another relation joins in train."""
    names = ("head", "relation", "tail")
    valid, train = (pl.DataFrame(part.numpy(), schema=names) for part in (graph.valid, graph.train))
    joined = valid.with_row_index().join(train, on=["head", "tail"])
    others = joined.filter(pl.col("relation") != pl.col("relation_right"))
    return others["index"].n_unique() / max(1, len(valid))


def _validated(graph: KnowledgeGraph, minutes: float, width: int) -> int:
    """Validation triples to use, so that all validations take a tenth of the time; 0 for all."""
    seconds = 60 * minutes / 10 / VALIDATIONS
    per_triple = 2 * len(graph.entities) * 2 * width / SCORES_PER_SECOND
    size = max(1000, int(seconds / per_triple))
    return size if size < len(graph.valid) else 0


def _about_validation(graph: KnowledgeGraph) -> list[str]:
    """Whether there are too few validation facts to choose by."""
    if not len(graph.valid):
        return ["there are no validation facts, so the last epoch is kept, not the best"]
    error = SPREAD / math.sqrt(2 * len(graph.valid))
    if error <= STANDARD_ERROR:
        return []
    needed = math.ceil((SPREAD / STANDARD_ERROR) ** 2 / 2)
    return [
        f"{len(graph.valid)} validation facts give an MRR with a standard error of about "
        f"{error:.2f}, too much to choose by; hold out {needed} or more"
    ]


def _about_relations(graph: KnowledgeGraph) -> list[str]:
    """Whether most relations occur once."""
    counts = torch.bincount(graph.train[:, 1], minlength=len(graph.relations))
    once = int((counts == 1).sum())
    if 2 * once <= int((counts > 0).sum()):
        return []
    return [
        f"{once:,} of {len(graph.relations):,} relations occur once in training, so nothing can be "
        "learned about them; is a column in the wrong place?"
    ]


def still_rising(reached: Sequence[float]) -> str:
    """A sentence if validation still rose at the end of training; else empty.

    Args:
        reached: MRR of each validation, in order.
    """
    if len(reached) < 2 or reached[-1] < max(reached):
        return ""
    gain = reached[-1] - reached[-2]
    if gain < STILL_RISING:
        return ""
    return (
        f"the best epoch is the last: validation MRR rose by {gain:.3f} since the validation "
        "before; a longer training (epochs or minutes) may give more"
    )
