"""Wrong answers of the right kind."""

import torch
from jaxtyping import Int
from torch import Tensor

from sparring.batch import Queries
from sparring.graph.knowledge_graph import TrainGraph
from sparring.samplers.lists import Lists, ListSampler

KINDS = ("answer", "relation", "slot")


class Typed(ListSampler):
    """Entities of the kind that is asked for, mixed with a share of entities of any kind.

    Restricted to one kind, a sampler never pushes the others down, although evaluation ranks
    them: keep the floor. Wrap in `RedrawKnown`: such candidates are often known answers.

    Args:
        kind: "slot": seen in that position of the relation (Krompass et al., 2015).
            "relation": of a given type that is seen in that position. "answer": of the
            answer's rarest given type (Kotnis & Nastase, 2018).
        floor: share of draws that come from all entities alike.

    Raises:
        ValueError: for another kind, or if the graph gives no types where they are needed.
    """

    answer_type: Int[Tensor, "N"]

    def __init__(self, graph: TrainGraph, *, k: int, kind: str = "slot", floor: float = 0.5):
        if kind not in KINDS:
            raise ValueError(f"kind is one of {', '.join(KINDS)}; got {kind!r}")
        make = {"slot": seen_in_slot, "relation": _of_types_in_slot, "answer": _of_type}[kind]
        super().__init__(graph, make(graph), k=k, floor=floor)
        self.kind = kind
        if kind == "answer":
            self.register_buffer("answer_type", _rarest_type(graph), persistent=False)

    def row(self, queries):
        return self.answer_type[queries.answer] if self.kind == "answer" else queries.relation


class Positional(ListSampler):
    """Entities seen in that position of the relation: "corrupt" in Kotnis & Nastase, 2018.

    A relation without training triples draws from all entities.
    """

    def __init__(self, graph: TrainGraph, *, k: int):
        super().__init__(graph, seen_in_slot(graph), k=k, floor=0.0)

    def row(self, queries: Queries) -> Int[Tensor, "B"]:
        return queries.relation


def seen_in_slot(graph: TrainGraph) -> Lists:
    """For each relation id in [0, 2R), the entities that answer it in training."""
    head, relation, tail = graph.triples.unbind(1)
    slot = torch.cat([relation, relation + graph.num_relations])
    return Lists.of_pairs(slot, torch.cat([tail, head]), 2 * graph.num_relations)


def _of_types_in_slot(graph: TrainGraph) -> Lists:
    """For each relation id, the entities of any type that is seen among its answers."""
    entity, kind = _given(graph)
    seen = seen_in_slot(graph)
    rows = []
    for slot in torch.arange(len(seen.size), device=kind.device).split(1):
        answer = torch.zeros(graph.num_entities, dtype=torch.bool, device=kind.device)
        answer[seen.spread(slot)[1]] = True
        wanted = torch.zeros(int(kind.max()) + 1, dtype=torch.bool, device=kind.device)
        wanted[kind[answer[entity]]] = True
        rows.append(entity[wanted[kind]].unique())
    size = torch.tensor([len(row) for row in rows], device=kind.device)
    return Lists(torch.cat(rows), size)


def _of_type(graph: TrainGraph) -> Lists:
    """The entities of each type, and a last, empty row for entities without one."""
    entity, kind = _given(graph)
    return Lists.of_pairs(kind, entity, int(kind.max()) + 2)


def _rarest_type(graph: TrainGraph) -> Int[Tensor, "N"]:
    """The type of each entity that fewest entities have; one beyond the last where none is given.

    Among equally rare types it is the first.
    """
    entity, kind = _given(graph)
    types = int(kind.max()) + 1
    rarity = torch.bincount(kind, minlength=types)[kind] * types + kind
    untyped = (graph.num_entities + 1) * types
    best = torch.full((graph.num_entities,), untyped, device=kind.device)
    best = best.scatter_reduce(0, entity, rarity, "amin")
    return torch.where(best == untyped, types, best % types)


def _given(graph: TrainGraph) -> tuple[Int[Tensor, "P"], Int[Tensor, "P"]]:
    """Entities and their given types, each pair once."""
    pairs = graph.entity_type
    if pairs is None or not len(pairs):
        raise ValueError('the graph gives no entity types; only kind = "slot" does without')
    entity, kind = pairs.unique(dim=0).unbind(1)
    return entity, kind
