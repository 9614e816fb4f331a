"""Statistics of a graph: sizes, cardinalities, symmetry, leaks between splits, and degrees."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sparring.batch import Queries
from sparring.data.graph import (
    CARDINALITIES,
    SPLITS,
    KnowledgeGraph,
    TrainGraph,
    cardinality,
    heads_per_tail,
    tails_per_head,
)
from sparring.data.index import Ragged

QUANTILES = (0.0, 0.25, 0.5, 0.75, 0.9, 0.99, 1.0)


@dataclass(frozen=True)
class RelationSummary:
    """One relation, by its training triples.

    Attributes:
        name: name of the relation.
        label: its readable label.
        triples: number of triples in each split.
        heads: number of distinct heads.
        tails: number of distinct tails.
        tails_per_head: mean number of distinct tails per head that has any.
        heads_per_tail: mean number of distinct heads per tail that has any.
        cardinality: "1-1", "1-N", "N-1" or "N-N".
        symmetric: fraction of training triples whose reverse is a training triple too.
        inverse_leak: fraction of test triples for which a training triple, of any relation, leads
            from the tail to the head; None if the relation has no test triples.
    """

    name: str
    label: str
    triples: Mapping[str, int]
    heads: int
    tails: int
    tails_per_head: float
    heads_per_tail: float
    cardinality: str
    symmetric: float
    inverse_leak: float | None


@dataclass(frozen=True)
class SplitSummary:
    """One split.

    Attributes:
        triples: number of triples.
        self_loops: number of triples whose head is their tail.
        unseen_entities: number of entities that occur here, but not in train.
        unseen_relations: the same for relations.
        unseen_triples: number of triples with such an entity or relation.
    """

    triples: int
    self_loops: int
    unseen_entities: int
    unseen_relations: int
    unseen_triples: int


@dataclass(frozen=True)
class GraphSummary:
    """Numbers that describe a graph.

    Attributes:
        name: name of the graph.
        entities, relations, types: how many there are.
        splits: numbers of each split.
        degree: quantiles of the number of training triples per entity.
        inverse_leak: fraction of test triples for which a training triple leads from the tail to
            the head; None if there are no test triples.
        parallel_leak: fraction of test triples for which a training triple, usually of another
            relation, leads from the head to the tail.
        relation: numbers of each relation.
        notes: counts of what the reader reported.
    """

    name: str
    entities: int
    relations: int
    types: int
    splits: Mapping[str, SplitSummary]
    degree: Mapping[float, float]
    inverse_leak: float | None
    parallel_leak: float | None
    relation: tuple[RelationSummary, ...]
    notes: Mapping[str, int]


def describe(graph: KnowledgeGraph) -> GraphSummary:
    """Count everything that helps to choose samplers and models for a graph."""
    head, _, tail = graph.test.unbind(1)
    leaked = linked(graph.training, tail, head)
    return GraphSummary(
        name=graph.name,
        entities=len(graph.entities),
        relations=len(graph.relations),
        types=len(graph.types),
        splits=_splits(graph),
        degree=dict(zip(QUANTILES, np.quantile(graph.training.degree, QUANTILES).tolist())),
        inverse_leak=_fraction(leaked),
        parallel_leak=_fraction(linked(graph.training, head, tail)),
        relation=_relations(graph, leaked),
        notes=dict(graph.notes),
    )


def symmetric(graph: TrainGraph) -> Float[Tensor, "R"]:
    """Fraction of each relation's training triples whose reverse is one too; 0 without triples."""
    head, relation, tail = graph.triples.unbind(1)
    reverse = Queries(tail, relation, head, torch.ones(len(head)))
    reversed_too = graph.known.contains(reverse, head.unsqueeze(1)).squeeze(1)
    total = torch.bincount(relation, minlength=graph.num_relations)
    both = torch.bincount(relation[reversed_too], minlength=graph.num_relations)
    return both / total.clamp(min=1)


def linked(graph: TrainGraph, head: Int[Tensor, "M"], tail: Int[Tensor, "M"]) -> Bool[Tensor, "M"]:
    """True where a training triple, of any relation, leads from head to tail."""
    tails = Ragged.from_pairs(graph.triples[:, 0], graph.triples[:, 2], graph.num_entities)
    return tails.contains(head, tail.unsqueeze(1)).squeeze(1)


def _splits(graph: KnowledgeGraph) -> dict[str, SplitSummary]:
    new_entity = torch.ones(len(graph.entities), dtype=torch.bool)
    new_entity[graph.train[:, [0, 2]].flatten()] = False
    new_relation = torch.ones(len(graph.relations), dtype=torch.bool)
    new_relation[graph.train[:, 1]] = False
    summaries = {}
    for split in SPLITS:
        triples = getattr(graph, split)
        ends, relation = triples[:, [0, 2]], triples[:, 1]
        summaries[split] = SplitSummary(
            triples=len(triples),
            self_loops=int((ends[:, 0] == ends[:, 1]).sum()),
            unseen_entities=int(new_entity[ends.unique()].sum()),
            unseen_relations=int(new_relation[relation.unique()].sum()),
            unseen_triples=int((new_entity[ends].any(1) | new_relation[relation]).sum()),
        )
    return summaries


def _relations(graph: KnowledgeGraph, leaked: Bool[Tensor, "S"]) -> tuple[RelationSummary, ...]:
    size = len(graph.relations)
    counts = {
        split: torch.bincount(getattr(graph, split)[:, 1], minlength=size).tolist()
        for split in SPLITS
    }
    relation = torch.arange(size)
    heads, tails = (
        Ragged.from_pairs(graph.train[:, 1], graph.train[:, column], size).sizes(relation).tolist()
        for column in (0, 2)
    )
    of_head, of_tail = tails_per_head(graph.training), heads_per_tail(graph.training)
    kinds, mirrored = cardinality(graph.training), symmetric(graph.training)
    return tuple(
        RelationSummary(
            name=graph.relations.names[relation],
            label=graph.relations.label(relation),
            triples={split: counts[split][relation] for split in SPLITS},
            heads=heads[relation],
            tails=tails[relation],
            tails_per_head=of_head[relation].item(),
            heads_per_tail=of_tail[relation].item(),
            cardinality=CARDINALITIES[kinds[relation]],
            symmetric=mirrored[relation].item(),
            inverse_leak=_fraction(leaked[graph.test[:, 1] == relation]),
        )
        for relation in range(size)
    )


def _fraction(marked: Bool[Tensor, "M"]) -> float | None:
    return marked.double().mean().item() if len(marked) else None
