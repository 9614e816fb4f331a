"""Settings for a graph, chosen by its size, with the reasons."""

import math
from dataclasses import dataclass
from typing import Any

from sparring.data.graph import KnowledgeGraph

UPDATES = 2000  # steps, about those of the runs on FB15k-237 in research/configs/generator


@dataclass(frozen=True)
class Recipe:
    """Settings of a training.

    Attributes:
        tables: as in an experiment file.
        reasons: one sentence for each choice, by table.
    """

    tables: dict[str, dict[str, Any]]
    reasons: dict[str, str]


def choose_recipe(graph: KnowledgeGraph) -> Recipe:
    """Model, sampler, loss and training for a graph."""
    facts = len(graph.train)
    batch = min(1024, max(64, 2 ** round(math.log2(facts / 64 + 1))))
    steps = math.ceil(facts / batch)
    epochs = min(100, max(8, math.ceil(UPDATES / steps)))
    every = max(1, epochs // 10)
    tables = {
        "model": {
            "name": "complex",
            "dim": 100,
            "reciprocal_relations": True,
            "init": 0.1,
            "n3": 0.05,
        },
        "sampler": {"name": "generator", "k": 32},
        "loss": {"name": "sampled-softmax", "correction": "both"},
        "optimizer": {"name": "adam", "lr": 2e-2},
        "schedule": {"name": "linear"},
        "train": {
            "epochs": epochs,
            "batch_size": batch,
            "validate_every": every,
            "patience": 3,
        },
    }
    reasons = {
        "model": "ComplEx with a vector per inverse relation: fast, and strong on most graphs",
        "sampler": "32 negatives per query from a generator, which learns which ones are hard",
        "loss": "sampled softmax, corrected by the density of the negatives",
        "optimizer": "Adam; lower lr if the loss rises",
        "schedule": "the learning rate falls to 0 over all epochs, which ends higher",
        "train": f"{facts:,} facts: up to {epochs} epochs of {steps:,} steps; training stops "
        "early if validation no longer improves",
    }
    return Recipe(tables, reasons)
