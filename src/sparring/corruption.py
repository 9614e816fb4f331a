"""How often to ask for the head of each relation, given how many answers each side has.

Which end of each triple to ask about, and how much each question weighs."""

from abc import ABC, abstractmethod
from dataclasses import replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from sparring.batch import Queries, ungroup
from sparring.data.graph import (
    CARDINALITIES,
    TrainGraph,
    cardinality,
    heads_per_tail,
    tails_per_head,
)
from sparring.registry import Registry, register


def one_side_rate(graph: TrainGraph, floor: float) -> Float[Tensor, "R"]:
    """The side with one answer, but for the share `floor`: heads of 1-N, tails of N-1.

    Both sides equally where both have one answer or both have many.

    Raises:
        ValueError: if the floor is not between 0 and 0.5.
    """
    rate_of = {"1-1": 0.5, "1-N": 1 - checked_floor(floor), "N-1": floor, "N-N": 0.5}
    rates = torch.tensor([rate_of[name] for name in CARDINALITIES], device=graph.triples.device)
    return rates[cardinality(graph)]


def sharpened_rate(graph: TrainGraph, power: float, floor: float) -> Float[Tensor, "R"]:
    """tph ** power / (tph ** power + hpt ** power), kept between `floor` and 1 - `floor`.

    tph is tails per head, hpt heads per tail. Relations without a training triple get 0.5.

    Raises:
        ValueError: if the power is negative or the floor not between 0 and 0.5.
    """
    if power < 0:
        raise ValueError(
            f"a power below 0 would ask for the side with many answers; got power={power}"
        )
    lean = power * (tails_per_head(graph).log() - heads_per_tail(graph).log())
    return lean.sigmoid().nan_to_num(0.5).clamp(checked_floor(floor), 1 - floor)


def pooled_rate(graph: TrainGraph) -> Float[Tensor, "R"]:
    """Distinct heads / (distinct heads + distinct tails), 0.5 for an unused relation."""
    _, relation, _ = graph.triples.unbind(1)
    heads, tails = (
        torch.bincount(pairs[:, 0], minlength=graph.num_relations)
        for pairs in (
            torch.stack([relation, graph.triples[:, end]], 1).unique(dim=0) for end in (0, 2)
        )
    )
    return (heads / (heads + tails)).nan_to_num(0.5)


def checked_floor(floor: float) -> float:
    """The floor, if both sides can have it."""
    if not 0 <= floor <= 0.5:
        raise ValueError(f"each side can be left a share from 0 to 0.5; got floor={floor}")
    return floor


def make_queries(
    triples: Int[Tensor, "B 3"], head: Bool[Tensor, "B"], num_relations: int
) -> Queries:
    """Turn triples into queries, asking for the head where `head` is True."""
    h, r, t = triples.unbind(1)
    return Queries(
        anchor=torch.where(head, t, h),
        relation=r + num_relations * head,
        answer=torch.where(head, h, t),
        weight=torch.ones(len(triples), device=triples.device),
    )


def tail_and_head_queries(triples: Int[Tensor, "B 3"], num_relations: int) -> Queries:
    """Two queries per triple: all tails, then all heads."""
    head = torch.arange(2, device=triples.device).bool().repeat_interleave(len(triples))
    return make_queries(triples.repeat(2, 1), head, num_relations)


def to_triples(
    queries: Queries, ids: Int[Tensor, "G K"], num_relations: int
) -> Int[Tensor, "B K 3"]:
    """The triples that candidates would make true: `make_queries` undone, with another answer."""
    ids = ungroup(ids, len(queries))
    head = (queries.relation >= num_relations).unsqueeze(1)
    anchor = queries.anchor.unsqueeze(1)
    relation = (queries.relation % num_relations).unsqueeze(1).expand_as(ids)
    return torch.stack(
        [torch.where(head, ids, anchor), relation, torch.where(head, anchor, ids)], 2
    )


KINDS = ("base", "freq", "uniq")


CORRUPTIONS = Registry("corruption")


class Corruption(nn.Module, ABC):
    """Turns triples into queries.

    Args:
        subsampling: queries weigh their count to minus this power, scaled to mean 1 in each
            batch; 0.5 in Sun et al., 2019, 0 for equal weights.
        kind: which count. "base": answers of the query + answers of its mirror image + 6, the
            stand-in for how often a fact occurs (both counts start at 4). "uniq": answers of the
            query. "freq": the former for the answer, the latter for the negatives (Kamigaito &
            Hayashi, 2022).

    Raises:
        ValueError: for a kind of another name.
    """

    registry = CORRUPTIONS

    def __init__(self, graph: TrainGraph, *, subsampling: float = 0.0, kind: str = "base"):
        super().__init__()
        if kind not in KINDS:
            raise ValueError(f"subsampling is of kind {', '.join(KINDS)}; got {kind!r}")
        self.num_relations, self.subsampling = graph.num_relations, subsampling
        self.kind = kind
        self.known = graph.known

    @abstractmethod
    def forward(self, triples: Int[Tensor, "T 3"], rng: torch.Generator) -> Queries:
        """The queries of these triples."""

    def weighted(self, queries: Queries) -> Queries:
        """The same queries with the weights of their counts."""
        if not self.subsampling:
            return queries
        of_fact, of_query = self._of_fact(queries), self._rarity(self.known.count(queries))
        right, wrong = {
            "base": (of_fact, None),
            "freq": (of_fact, of_query),
            "uniq": (of_query, None),
        }[self.kind]
        return replace(queries, weight=right, negative_weight=wrong)

    def _of_fact(self, queries: Queries) -> Float[Tensor, "B"]:
        inverse = queries.inverse(self.num_relations)
        return self._rarity(self.known.count(queries) + self.known.count(inverse) + 6)

    def _rarity(self, count: Int[Tensor, "B"]) -> Float[Tensor, "B"]:
        weight = count.clamp(min=1).float() ** -self.subsampling
        return weight / weight.mean()


@register("both")
class CorruptBoth(Corruption):
    """Two queries per triple: its tail, then its head."""

    def forward(self, triples, rng):
        return self.weighted(tail_and_head_queries(triples, self.num_relations))


@register("either", aliases=["chosen"])
class CorruptEither(Corruption):
    """One query per triple, for its head or its tail with equal probability."""

    rate: Float[Tensor, "R"]

    def __init__(self, graph: TrainGraph, *, subsampling: float = 0.0, kind: str = "base"):
        super().__init__(graph, subsampling=subsampling, kind=kind)
        self.register_buffer("rate", self.head_rate(graph), persistent=False)

    def head_rate(self, graph: TrainGraph) -> Float[Tensor, "R"]:
        """Probability of asking for the head, by relation."""
        return torch.full((graph.num_relations,), 0.5)

    def forward(self, triples, rng):
        head = torch.bernoulli(self.rate[triples[:, 1]], generator=rng).bool()
        return self.weighted(make_queries(triples, head, self.num_relations))


@register("bernoulli")
class Bernoulli(CorruptEither):
    """One query per triple, more often for the side with few answers (Wang et al., 2014).

    The head of relation r is asked for with probability tph / (tph + hpt), where tph is tails
    per head and hpt heads per tail; relations without a training triple get 0.5.
    """

    def head_rate(self, graph):
        count = torch.bincount(graph.triples[:, 1], minlength=graph.num_relations).float()
        heads = graph.triples[:, :2].unique(dim=0)[:, 1]
        tails = graph.triples[:, 1:].unique(dim=0)[:, 0]
        per_head = count / torch.bincount(heads, minlength=graph.num_relations)
        per_tail = count / torch.bincount(tails, minlength=graph.num_relations)
        return (per_head / (per_head + per_tail)).nan_to_num(0.5)


@register("functional", aliases=["one-side"])
class FunctionalSide(CorruptEither):
    """One query per triple, for the side with one answer: heads of 1-N relations, tails of N-1.

    Relations with one or with many answers on both sides are asked both ways alike.

    Args:
        floor: share of queries for the other side, whose scores would else never be trained.
    """

    def __init__(
        self,
        graph: TrainGraph,
        *,
        floor: float = 0.1,
        subsampling: float = 0.0,
        kind: str = "base",
    ):
        super().__init__(graph, subsampling=subsampling, kind=kind)
        self.rate = one_side_rate(graph, floor)


@register("sharpened")
class SharpenedSide(CorruptEither):
    """One query per triple, as `Bernoulli` with the rates pulled apart.

    Args:
        power: of tails per head and heads per tail; 1 for `Bernoulli`, 0 for `CorruptEither`.
        floor: least share of queries for either side.
    """

    def __init__(
        self,
        graph: TrainGraph,
        *,
        power: float = 2.0,
        floor: float = 0.1,
        subsampling: float = 0.0,
        kind: str = "base",
    ):
        super().__init__(graph, subsampling=subsampling, kind=kind)
        self.rate = sharpened_rate(graph, power, floor)


@register("pseudo-typed", aliases=["pooled"])
class PseudoTypedSide(CorruptEither):
    """One query per triple, for each side in proportion to the entities seen on it.

    What drawing from one pool of a relation's heads and tails amounts to; with the sampler
    `Positional` it is the pseudo-typed sampling of PyKEEN (Ali et al., 2021).
    """

    def head_rate(self, graph):
        return pooled_rate(graph)
