"""Samplers that draw from lists which the graph itself gives.

By relation and type (`TypeConstrained`) and by links of the anchor (`Relational`). `ListSampler` is
for lists of any kind; `neighborhood` has those around the anchor.
"""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sparring.batch import Negatives, Queries, Scorer
from sparring.data.graph import TrainGraph
from sparring.data.index import PairIndex, Ragged
from sparring.groups import ungroup
from sparring.registry import Alias, register
from sparring.samplers.base import NegativeSampler

UNIFORM_MIX = ("uniform_mix", 0.0, 1.0)


class ListSampler(NegativeSampler, ABC):
    """Entities of the query's own list, with equal probability; all entities if it is empty.

    Args:
        lists: rows of entities.
        uniform_mix: share of draws that come from all entities alike, from 0 to 1.

    Raises:
        ValueError: if `uniform_mix` is not between 0 and 1.
    """

    schedulable = (UNIFORM_MIX,)

    def __init__(self, graph: TrainGraph, lists: Ragged, *, k: int, uniform_mix: float):
        super().__init__(k)
        self.uniform_mix = validate_uniform_mix(uniform_mix)
        self.num_entities, self.lists = graph.num_entities, lists

    @abstractmethod
    def row(self, queries: Queries) -> Int[Tensor, "B"]:
        """Which list each query draws from."""

    def sample(self, queries: Queries, score: Scorer, rng: torch.Generator) -> Negatives:
        shape, device = (len(queries), self.k), queries.anchor.device
        row = self.row(queries)
        coin = torch.rand(shape, generator=rng, device=device) if self.uniform_mix else None
        u = torch.rand(shape, generator=rng, device=device, dtype=torch.double)
        listed, uniform = self.lists.sample_at(row, u), u.mul_(self.num_entities).long()
        if coin is None:  # no need to look up what comes from a list
            ids = torch.where(self.lists.sizes(row).unsqueeze(1) > 0, listed, uniform)
            log_q = self._log_prob_listed(row)
            return Negatives.from_ids(queries, ids, log_q.unsqueeze(1).expand(shape), log_q)
        ids = torch.where(coin < self._p_uniform(row), uniform, listed)
        log_q = self._log_prob(row, self.lists.contains(row, ids))
        return Negatives.from_ids(queries, ids, log_q, self.answer_log_prob(queries))

    def log_prob(self, queries: Queries, ids: Int[Tensor, "G K"]) -> Float[Tensor, "B K"]:
        row = self.row(queries)
        return self._log_prob(row, self.lists.contains(row, ungroup(ids, len(queries))))

    def answer_log_prob(self, queries: Queries) -> Float[Tensor, "B"]:
        """An answer that is never drawn has the density of a listed entity."""
        if not self.uniform_mix:
            return self._log_prob_listed(self.row(queries))
        return self.log_prob(queries, queries.answer.unsqueeze(1)).squeeze(1)

    def _log_prob_listed(self, row: Int[Tensor, "B"]) -> Float[Tensor, "B"]:
        return self._log_prob(row, row.new_ones(len(row), 1, dtype=torch.bool)).squeeze(1)

    def _p_uniform(self, row: Int[Tensor, "B"]) -> Float[Tensor, "B 1"]:
        return (self.lists.sizes(row) == 0).float().clamp(min=self.uniform_mix).unsqueeze(1)

    def _log_prob(self, row: Int[Tensor, "B"], listed: Bool[Tensor, "B K"]) -> Float[Tensor, "B K"]:
        p_uniform = self._p_uniform(row)
        size = self.lists.sizes(row).clamp(min=1).unsqueeze(1)
        return (p_uniform / self.num_entities + (1 - p_uniform) * listed / size).log()


def validate_uniform_mix(uniform_mix: float) -> float:
    """The share of uniform draws.

    Raises:
        ValueError: if it is not between 0 and 1.
    """
    if not 0 <= uniform_mix <= 1:
        raise ValueError(f"uniform_mix is a share of draws, from 0 to 1; got {uniform_mix}")
    return uniform_mix


KINDS = ("answer", "relation", "slot")


@register(
    "type-constrained",
    example={"k": 5},
    aliases={
        "typed": Alias(),
        "positional": Alias(implied={"kind": "slot", "uniform_mix": 0.0}),
    },
)
class TypeConstrained(ListSampler):
    """Entities of the kind that the relation or the answer asks for.

    Without uniform draws, training never lowers the scores of other kinds of entities, although
    evaluation ranks them: keep `uniform_mix` above 0. Wrap in `ResampleKnown`, because such
    candidates are often known answers.

    Args:
        kind: "slot": entities seen in that position of the relation (Krompass et al., 2015),
            or any entity if the relation has no training triples. With `uniform_mix` 0 this is
            "corrupt" in Kotnis & Nastase, 2018. "relation": entities of a given type that is
            seen in that position. "answer": entities of the answer's rarest given type (Kotnis &
            Nastase, 2018).
        uniform_mix: share of draws that come from all entities alike.

    Raises:
        ValueError: for another kind, or if the graph gives no types where they are needed.
    """

    answer_type: Int[Tensor, "N"]

    def __init__(self, graph: TrainGraph, *, k: int, kind: str = "slot", uniform_mix: float = 0.5):
        if kind not in KINDS:
            raise ValueError(f"kind is one of {', '.join(KINDS)}; got {kind!r}")
        make = {"slot": seen_in_slot, "relation": _of_types_in_slot, "answer": _of_type}[kind]
        super().__init__(graph, make(graph), k=k, uniform_mix=uniform_mix)
        self.kind = kind
        if kind == "answer":
            self.register_buffer("answer_type", _rarest_type(graph), persistent=False)

    def row(self, queries: Queries) -> Int[Tensor, "B"]:
        return self.answer_type[queries.answer] if self.kind == "answer" else queries.relation


def seen_in_slot(graph: TrainGraph) -> Ragged:
    """For each relation id in [0, 2R), the entities that answer it in training."""
    head, relation, tail = graph.triples.unbind(1)
    slot = torch.cat([relation, relation + graph.num_relations])
    return Ragged.from_pairs(slot, torch.cat([tail, head]), 2 * graph.num_relations)


def _of_types_in_slot(graph: TrainGraph) -> Ragged:
    """For each relation id, the entities of any type that is seen among its answers."""
    entity, kind = _given_types(graph)
    seen = seen_in_slot(graph)
    rows = []
    for slot in torch.arange(len(seen), device=kind.device).split(1):
        answer = torch.zeros(graph.num_entities, dtype=torch.bool, device=kind.device)
        answer[seen.gather_rows(slot)[1]] = True
        wanted = torch.zeros(int(kind.max()) + 1, dtype=torch.bool, device=kind.device)
        wanted[kind[answer[entity]]] = True
        rows.append(entity[wanted[kind]].unique())
    size = torch.tensor([len(row) for row in rows], device=kind.device)
    return Ragged(torch.cat(rows), size)


def _of_type(graph: TrainGraph) -> Ragged:
    """The entities of each type, and a last, empty row for entities without one."""
    entity, kind = _given_types(graph)
    return Ragged.from_pairs(kind, entity, int(kind.max()) + 2)


def _rarest_type(graph: TrainGraph) -> Int[Tensor, "N"]:
    """For each entity, its type with the fewest entities; one beyond the last if it has none.

    Among equally rare types it is the first.
    """
    entity, kind = _given_types(graph)
    types = int(kind.max()) + 1
    rarity = torch.bincount(kind, minlength=types)[kind] * types + kind
    untyped = (graph.num_entities + 1) * types
    best = torch.full((graph.num_entities,), untyped, device=kind.device)
    best = best.scatter_reduce(0, entity, rarity, "amin")
    return torch.where(best == untyped, types, best % types)


def _given_types(graph: TrainGraph) -> tuple[Int[Tensor, "P"], Int[Tensor, "P"]]:
    """Entities and their types, each pair once."""
    pairs = graph.entity_type
    if pairs is None or not len(pairs):
        raise ValueError('the graph gives no entity types, which only kind = "slot" does not need')
    entity, kind = pairs.unique(dim=0).unbind(1)
    return entity, kind


@register("relational", example={"k": 5})
class Relational(NegativeSampler):
    """Entities linked to the anchor, but not by the query's own relation and direction.

    "Relational" in Kotnis & Nastase, 2018. An entity counts once for each such link. An anchor
    without such links draws from all entities. Takes 16 bytes per training triple.

    Args:
        uniform_mix: share of draws that come from all entities alike.

    Raises:
        ValueError: if `uniform_mix` is not between 0 and 1.
    """

    schedulable = (UNIFORM_MIX,)

    def __init__(self, graph: TrainGraph, *, k: int, uniform_mix: float = 0.0):
        super().__init__(k)
        self.uniform_mix = validate_uniform_mix(uniform_mix)
        self.known = graph.known
        self.num_entities = graph.num_entities
        self.links = PairIndex(*graph.known.facts(), graph.num_entities)

    def sample(self, queries: Queries, score: Scorer, rng: torch.Generator) -> Negatives:
        shape, device = (len(queries), self.k), queries.anchor.device
        coin = torch.rand(shape, generator=rng, device=device)
        u = torch.rand(shape, generator=rng, device=device, dtype=torch.double)
        linked, uniform = self._linked(queries, u), (u * self.num_entities).long()
        ids = torch.where(coin < self._p_uniform(queries), uniform, linked)
        return self.to_negatives(queries, ids)

    def log_prob(self, queries: Queries, ids: Int[Tensor, "G K"]) -> Float[Tensor, "B K"]:
        links = self.links.count(queries.anchor, ungroup(ids, len(queries)))
        return self._log_prob(queries, links - self.known.contains(queries, ids).long())

    def answer_log_prob(self, queries: Queries) -> Float[Tensor, "B"]:
        """An answer that is never drawn has the density of an entity with one link."""
        log_prob = self.log_prob(queries, queries.answer.unsqueeze(1))
        one_link = self._log_prob(queries, torch.ones_like(queries.answer).unsqueeze(1))
        return torch.where(log_prob == -torch.inf, one_link, log_prob).squeeze(1)

    def _log_prob(self, queries: Queries, links: Int[Tensor, "B K"]) -> Float[Tensor, "B K"]:
        p_uniform = self._p_uniform(queries)
        num_links = self._num_links(queries).clamp(min=1).unsqueeze(1)
        return (p_uniform / self.num_entities + (1 - p_uniform) * links / num_links).log()

    def _p_uniform(self, queries: Queries) -> Float[Tensor, "B 1"]:
        isolated = self._num_links(queries) == 0
        return isolated.to(queries.weight.dtype).clamp(min=self.uniform_mix).unsqueeze(1)

    def _num_links(self, queries: Queries) -> Int[Tensor, "B"]:
        """Links of the anchor, without those of the query itself."""
        return self.links.entities.sizes(queries.anchor) - self.known.count(queries)

    def _linked(self, queries: Queries, u: Float[Tensor, "B K"]) -> Int[Tensor, "B K"]:
        """The entity at the quantile `u`, in [0, 1), of the links."""
        start, _ = self.links.entities.bounds(queries.anchor)
        index = start.unsqueeze(1) + (u * self._num_links(queries).unsqueeze(1)).long()
        own, beyond = self.known.bounds(queries)
        skip = (index >= own.unsqueeze(1)) * (beyond - own).unsqueeze(1)
        return self.known.entities.values[index + skip].long()
