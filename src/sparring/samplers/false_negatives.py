"""Weights for candidates that may be missing facts, and estimates of how likely they are to be.

`ESTIMATORS` knows each estimator by name. `DistanceEstimator` is that of HaSa (Zhang et al.,
2024).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from sparring.batch import Negatives, Queries, Scorer
from sparring.data.graph import TrainGraph, heads_per_tail, tails_per_head
from sparring.data.index import Ragged
from sparring.groups import ungroup
from sparring.registry import Registry, register
from sparring.samplers.base import NegativeSampler, SamplerWrapper
from sparring.samplers.neighborhood import neighborhoods

ESTIMATORS = Registry("estimator")
FalseNegativeEstimator = Callable[[Queries, Int[Tensor, "G K"]], Float[Tensor, "B K"]]


class Estimator(nn.Module, ABC):
    """Estimates how likely candidates are missing answers; what a configuration can name."""

    registry = ESTIMATORS

    @abstractmethod
    def forward(self, queries: Queries, ids: Int[Tensor, "G K"]) -> Float[Tensor, "B K"]:
        """Probability that each candidate is a missing answer."""


@register(
    "cardinality",
    example={},
    renamed={"missing": "missing_rate", "ceiling": "max_probability"},
)
class CardinalityEstimator(Estimator):
    """Probability that a uniform entity is a missing answer, by the relation alone.

    It assumes that a query has as many answers as the mean query of its relation. For each known
    answer there are missing_rate / (1 - missing_rate) unknown ones among N entities.

    Args:
        missing_rate: share of the true facts that the training graph lacks, at least 0, below 1.
        max_probability: upper limit of the estimate.

    Raises:
        ValueError: if an argument is out of its range.
    """

    rate: Float[Tensor, "S"]

    def __init__(
        self, graph: TrainGraph, *, missing_rate: float = 0.5, max_probability: float = 0.5
    ):
        super().__init__()
        if not 0 <= missing_rate < 1:
            raise ValueError(f"missing_rate is at least 0 and below 1; got {missing_rate}")
        if not 0 <= max_probability <= 1:
            raise ValueError(f"max_probability is from 0 to 1; got {max_probability}")
        answers = torch.cat([tails_per_head(graph), heads_per_tail(graph)])
        rate = answers * missing_rate / (1 - missing_rate) / graph.num_entities
        self.register_buffer("rate", rate.clamp(max=max_probability), persistent=False)

    def forward(self, queries: Queries, ids: Int[Tensor, "G K"]) -> Float[Tensor, "B K"]:
        return self.rate[queries.relation].unsqueeze(1).expand(-1, ids.shape[1])


@register("distance", example={}, renamed={"chance": "probability"})
class DistanceEstimator(Estimator):
    """Probability that an entity is a missing answer: the same for all within a few facts.

    It follows facts from head to tail where the query asks for the tail, and from tail to head
    where it asks for the head. Everything farther away has probability 0. Takes 4 bytes for each
    pair of an entity and another one in its reach, in both directions.

    Args:
        hops: facts to follow, at most.
        probability: above 0. For a loss that only uses the order of the estimates, such as
            `hasa`, its value makes no difference.
        max_ids: entities in reach that may be held.

    Raises:
        ValueError: if the probability is out of range, for less than one hop, or if too many
            entities are in reach.
    """

    def __init__(
        self,
        graph: TrainGraph,
        *,
        hops: int = 2,
        probability: float = 0.5,
        max_ids: int = 2**28,
    ):
        super().__init__()
        if not 0 < probability <= 1:
            raise ValueError(f"probability is above 0 and at most 1; got {probability}")
        self.probability, self.num_entities = probability, graph.num_entities
        self.num_relations = graph.num_relations
        head, _, tail = graph.triples.unbind(1)
        # every entity is two rows: one from which facts lead on, and one from which they lead back
        start = torch.cat([head, tail + self.num_entities])
        end = torch.cat([tail, head + self.num_entities])
        adjacency = Ragged.from_pairs(start, end, 2 * self.num_entities)
        self.reach = neighborhoods(adjacency, hops, max_ids)

    def forward(self, queries: Queries, ids: Int[Tensor, "G K"]) -> Float[Tensor, "B K"]:
        back = (queries.relation >= self.num_relations) * self.num_entities
        row, ids = queries.anchor + back, ungroup(ids, len(queries)) + back.unsqueeze(1)
        return self.probability * self.reach.contains(row, ids).to(queries.weight.dtype)


@register(
    "false-negative-weighting",
    example={"inner": {"name": "uniform", "k": 5}, "estimator": {"name": "cardinality"}},
    aliases=["discount"],
    renamed={"doubt": "estimator", "weigh": "weight_negatives"},
)
class FalseNegativeWeighting(SamplerWrapper):
    """Weigh candidates by the probability that they are true negatives: 1 - `p_false_negative`.

    With a calibrated estimate, sums over candidates estimate sums over true negatives. Triples that
    reviewers rejected have probability 0.

    Args:
        inner: draws the candidates.
        estimator: probability that a candidate is a missing answer, of queries and candidates;
            None for the `p_false_negative` of the inner sampler.
        weight_negatives: False changes no weights: the estimate is then for losses that use
            it themselves.
    """

    def __init__(
        self,
        graph: TrainGraph,
        *,
        inner: NegativeSampler,
        estimator: FalseNegativeEstimator | None = None,
        weight_negatives: bool = True,
    ):
        super().__init__(inner)
        self.estimator, self.weight_negatives = estimator, weight_negatives
        self.known_false = graph.known_false

    def sample(self, queries: Queries, score: Scorer, rng: torch.Generator) -> Negatives:
        drawn = self.inner.sample(queries, score, rng)
        p = drawn.p_false_negative
        if self.estimator is not None:
            with torch.no_grad():
                estimate = drawn.per_candidate(partial(self.estimator, queries))
                p = torch.where(drawn.mask, estimate, p)
        if self.known_false.num_facts:
            rejected = drawn.per_candidate(partial(self.known_false.contains, queries))
            p = p.masked_fill(rejected, 0.0)
        weight = drawn.weight
        if self.weight_negatives:  # known facts, which do not count, keep their weights
            weight = torch.where(drawn.mask, weight * (1 - p), weight)
        return replace(drawn, p_false_negative=p, weight=weight)
