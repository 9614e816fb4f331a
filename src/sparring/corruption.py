"""From triples to queries: which end of each triple to corrupt, and how much each query weighs."""

from abc import ABC, abstractmethod
from dataclasses import replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from sparring.batch import Queries
from sparring.data.graph import (
    CARDINALITIES,
    TrainGraph,
    cardinality,
    heads_per_tail,
    tails_per_head,
)
from sparring.groups import ungroup
from sparring.registry import Alias, Registry, register

CORRUPTIONS = Registry("corruption", renamed={"floor": "min_rate", "kind": "subsampling_method"})
SUBSAMPLING_METHODS = ("base", "freq", "uniq")


def make_queries(
    triples: Int[Tensor, "B 3"], head: Bool[Tensor, "B"], num_relations: int
) -> Queries:
    """Queries for the head of each triple where `head` is True, and for its tail elsewhere."""
    h, r, t = triples.unbind(1)
    return Queries(
        anchor=torch.where(head, t, h),
        relation=r + num_relations * head,
        answer=torch.where(head, h, t),
        weight=torch.ones(len(triples), device=triples.device),
    )


def tail_and_head_queries(triples: Int[Tensor, "B 3"], num_relations: int) -> Queries:
    """Two queries per triple: first all for tails, then all for heads."""
    head = torch.arange(2, device=triples.device).bool().repeat_interleave(len(triples))
    return make_queries(triples.repeat(2, 1), head, num_relations)


def to_triples(
    queries: Queries, ids: Int[Tensor, "G K"], num_relations: int
) -> Int[Tensor, "B K 3"]:
    """The triples with each candidate in the place of the answer."""
    ids = ungroup(ids, len(queries))
    head = (queries.relation >= num_relations).unsqueeze(1)
    anchor = queries.anchor.unsqueeze(1)
    relation = (queries.relation % num_relations).unsqueeze(1).expand_as(ids)
    return torch.stack(
        [torch.where(head, ids, anchor), relation, torch.where(head, anchor, ids)], 2
    )


class Corruption(nn.Module, ABC):
    """Turns triples into queries. Corrupting the head of a triple is a query for its head.

    Args:
        subsampling: a query weighs its count to the power of minus this, scaled to mean 1 in
            each batch; 0.5 in Sun et al., 2019, 0 for equal weights.
        subsampling_method: which count (Kamigaito & Hayashi, 2022). "base": answers of the query +
            answers of the inverse query + 6, which approximates how often a fact occurs (both
            counts start at 4). "uniq": answers of the query. "freq": "base" for the answer, "uniq"
            for the negatives.

    Raises:
        ValueError: for an unknown method.
    """

    registry = CORRUPTIONS

    def __init__(
        self, graph: TrainGraph, *, subsampling: float = 0.0, subsampling_method: str = "base"
    ):
        super().__init__()
        if subsampling_method not in SUBSAMPLING_METHODS:
            raise ValueError(
                f"subsampling_method is one of {', '.join(SUBSAMPLING_METHODS)}; "
                f"got {subsampling_method!r}"
            )
        self.subsampling, self.subsampling_method = subsampling, subsampling_method
        self.num_relations, self.known = graph.num_relations, graph.known

    @abstractmethod
    def forward(self, triples: Int[Tensor, "T 3"], rng: torch.Generator) -> Queries:
        """The queries of these triples."""

    def weighted(self, queries: Queries) -> Queries:
        """The same queries with the weights of their counts."""
        if not self.subsampling:
            return queries
        inverse = queries.inverse(self.num_relations)
        answers = self.known.count(queries)
        of_fact = self._weight(answers + self.known.count(inverse) + 6)
        of_query = self._weight(answers)
        weight, negative_weight = {
            "base": (of_fact, None),
            "freq": (of_fact, of_query),
            "uniq": (of_query, None),
        }[self.subsampling_method]
        return replace(queries, weight=weight, negative_weight=negative_weight)

    def _weight(self, count: Int[Tensor, "B"]) -> Float[Tensor, "B"]:
        weight = count.clamp(min=1).float() ** -self.subsampling
        return weight / weight.mean()


@register("both", example={})
class CorruptBoth(Corruption):
    """Two queries per triple: for its tail, then for its head."""

    def forward(self, triples: Int[Tensor, "T 3"], rng: torch.Generator) -> Queries:
        return self.weighted(tail_and_head_queries(triples, self.num_relations))


@register("either", example={}, aliases=["chosen"])
class CorruptEither(Corruption):
    """One query per triple, for its head or its tail.

    Attributes:
        rate: probability to ask for the head, by relation; 0.5, unless a subclass changes it.
    """

    rate: Float[Tensor, "R"]

    def __init__(
        self, graph: TrainGraph, *, subsampling: float = 0.0, subsampling_method: str = "base"
    ):
        super().__init__(graph, subsampling=subsampling, subsampling_method=subsampling_method)
        rate = torch.full((graph.num_relations,), 0.5, device=graph.triples.device)
        self.register_buffer("rate", rate, persistent=False)

    def forward(self, triples: Int[Tensor, "T 3"], rng: torch.Generator) -> Queries:
        head = torch.bernoulli(self.rate[triples[:, 1]], generator=rng).bool()
        return self.weighted(make_queries(triples, head, self.num_relations))


@register(
    "bernoulli",
    example={},
    aliases={"sharpened": Alias(implied={"power": 2.0, "min_rate": 0.1})},
)
class Bernoulli(CorruptEither):
    """One query per triple, more often for the side with few answers (Wang et al., 2014).

    The head of a relation is asked for with probability tph / (tph + hpt), where tph is its mean
    number of tails per head and hpt that of heads per tail; 0.5 without training triples.

    Args:
        power: of tph and hpt. Above 1 moves the probability away from 0.5, below 1 toward it.
        min_rate: least probability of either side.

    Raises:
        ValueError: if the power is negative or `min_rate` is not between 0 and 0.5.
    """

    def __init__(
        self,
        graph: TrainGraph,
        *,
        power: float = 1.0,
        min_rate: float = 0.0,
        subsampling: float = 0.0,
        subsampling_method: str = "base",
    ):
        super().__init__(graph, subsampling=subsampling, subsampling_method=subsampling_method)
        if power < 0:
            raise ValueError(
                f"a power below 0 would prefer the side with many answers; got power={power}"
            )
        tph, hpt = tails_per_head(graph), heads_per_tail(graph)
        # of shares, whose powers cannot overflow; with power 1 these are the shares themselves
        head = tph / (tph + hpt)
        rate = head**power / (head**power + (1 - head) ** power)
        min_rate = validate_min_rate(min_rate)
        self.rate = rate.nan_to_num(0.5).clamp(min_rate, 1 - min_rate)


@register("functional", example={}, aliases=["one-side"])
class FunctionalSide(CorruptEither):
    """One query per triple, for the side with one answer: heads of 1-N relations, tails of N-1.

    Relations with one answer on both sides, or with many, are asked both ways equally often.

    Args:
        min_rate: probability of the other side, whose scores are never trained at 0.

    Raises:
        ValueError: if `min_rate` is not between 0 and 0.5.
    """

    def __init__(
        self,
        graph: TrainGraph,
        *,
        min_rate: float = 0.1,
        subsampling: float = 0.0,
        subsampling_method: str = "base",
    ):
        super().__init__(graph, subsampling=subsampling, subsampling_method=subsampling_method)
        min_rate = validate_min_rate(min_rate)
        rate_of = {"1-1": 0.5, "1-N": 1 - min_rate, "N-1": min_rate, "N-N": 0.5}
        rates = torch.tensor([rate_of[name] for name in CARDINALITIES], device=self.rate.device)
        self.rate = rates[cardinality(graph)]


@register("pseudo-typed", example={}, aliases=["pooled"])
class PseudoTypedSide(CorruptEither):
    """One query per triple, for each side in proportion to the entities seen on it.

    Drawing from one pool of a relation's heads and tails has the same effect: with the sampler
    `TypeConstrained(kind="slot", uniform_mix=0)` it is the pseudo-typed sampling of PyKEEN (Ali et
    al., 2021).
    """

    def __init__(
        self, graph: TrainGraph, *, subsampling: float = 0.0, subsampling_method: str = "base"
    ):
        super().__init__(graph, subsampling=subsampling, subsampling_method=subsampling_method)
        head, relation, tail = graph.triples.unbind(1)
        heads, tails = (
            torch.bincount(
                torch.stack([relation, entity], 1).unique(dim=0)[:, 0],
                minlength=graph.num_relations,
            )
            for entity in (head, tail)
        )
        self.rate = (heads / (heads + tails)).nan_to_num(0.5)


def validate_min_rate(min_rate: float) -> float:
    """The least rate of a side.

    Raises:
        ValueError: if not both sides can have it.
    """
    if not 0 <= min_rate <= 0.5:
        raise ValueError(f"both sides can have a rate from 0 to 0.5; got min_rate={min_rate}")
    return min_rate
