"""What the number of a query's answers says about its wrong ones.

What the distance from the anchor says about wrong answers (HaSa: Zhang et al., 2024).

Wrong answers that count less, the likelier they are right."""

from collections.abc import Callable
from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from sparring.batch import Queries, ungroup
from sparring.data.graph import TrainGraph, heads_per_tail, tails_per_head
from sparring.data.index import Ragged
from sparring.registry import Registry, register
from sparring.samplers.base import NegativeSampler, SamplerWrapper
from sparring.samplers.structural import balls

ESTIMATORS = Registry("estimator")


@ESTIMATORS.register("cardinality")
class CardinalityEstimator(nn.Module):
    """Chance that an entity, uniformly drawn, is a missing answer, by the relation alone.

    A query has as many answers, in the mean, as the queries of its relation that have any, and
    for each known one there are missing / (1 - missing) unknown ones among N entities.

    Args:
        missing: share of the true facts that the training graph lacks, at least 0, below 1.
        ceiling: the highest chance stated.

    Raises:
        ValueError: if a share is none.
    """

    rate: Float[Tensor, "S"]

    def __init__(self, graph: TrainGraph, *, missing: float = 0.5, ceiling: float = 0.5):
        super().__init__()
        if not 0 <= missing < 1:
            raise ValueError(f"the share of missing facts is at least 0, below 1; got {missing}")
        if not 0 <= ceiling <= 1:
            raise ValueError(f"the highest chance is from 0 to 1; got ceiling={ceiling}")
        answers = torch.cat([tails_per_head(graph), heads_per_tail(graph)])
        rate = answers * missing / (1 - missing) / graph.num_entities
        self.register_buffer("rate", rate.clamp(max=ceiling), persistent=False)

    def forward(self, queries: Queries, ids: Int[Tensor, "G K"]) -> Float[Tensor, "B K"]:
        return self.rate[queries.relation].unsqueeze(1).expand(-1, ids.shape[1])


@ESTIMATORS.register("distance")
class DistanceEstimator(nn.Module):
    """Chance that an entity is a missing answer: `chance` within a few facts of the anchor.

    Facts are followed from head to tail where the tail is asked for, and from tail to head where
    the head is. Everything farther away has chance 0. Takes 4 bytes for each entity in reach of
    each other one, in both directions.

    Args:
        hops: facts to follow, at most.
        chance: above 0; where only the order of doubt matters, as to the loss `hasa`, any will do.
        max_ids: entities in reach that may be held.

    Raises:
        ValueError: if the chance is none, for less than one hop, or if too many are in reach.
    """

    def __init__(
        self, graph: TrainGraph, *, hops: int = 2, chance: float = 0.5, max_ids: int = 2**28
    ):
        super().__init__()
        if not 0 < chance <= 1:
            raise ValueError(f"the chance of a missing answer is above 0, at most 1; got {chance}")
        self.chance, self.num_entities = chance, graph.num_entities
        self.num_relations = graph.num_relations
        head, _, tail = graph.triples.unbind(1)
        # every entity is two rows: one from which facts lead on, and one from which they lead back
        start = torch.cat([head, tail + self.num_entities])
        end = torch.cat([tail, head + self.num_entities])
        near = Ragged.from_pairs(start, end, 2 * self.num_entities)
        self.reach = balls(near, hops, max_ids)

    def forward(self, queries: Queries, ids: Int[Tensor, "G K"]) -> Float[Tensor, "B K"]:
        back = (queries.relation >= self.num_relations) * self.num_entities
        own = ungroup(ids, len(queries)) + back.unsqueeze(1)
        return self.chance * self.reach.contains(queries.anchor + back, own).to(
            queries.weight.dtype
        )


FalseNegativeEstimator = Callable[[Queries, Int[Tensor, "G K"]], Float[Tensor, "B K"]]


@register(
    "false-negative-weighting",
    example={"inner": {"name": "uniform", "k": 5}, "doubt": {"name": "cardinality"}},
    aliases=["discount"],
)
class FalseNegativeWeighting(SamplerWrapper):
    """Weigh candidates by the probability that they are wrong: 1 - `p_false_negative`.

    With a calibrated estimate, sums over candidates stand for sums over true negatives.

    Args:
        doubt: probability of being in truth a fact, of queries and candidates; None for what
            the inner sampler states.
        weigh: False only states the estimate, for losses that make use of it themselves.
    """

    def __init__(
        self,
        graph: TrainGraph,
        *,
        inner: NegativeSampler,
        doubt: FalseNegativeEstimator | None = None,
        weigh: bool = True,
    ):
        super().__init__(inner)
        self.doubt, self.weigh = doubt, weigh

    def sample(self, queries, score, rng):
        drawn = self.inner.sample(queries, score, rng)
        doubt = drawn.p_false_negative
        if self.doubt is not None:
            with torch.no_grad():
                doubt = torch.where(drawn.mask, self.doubt(queries, drawn.ids), doubt)
        weight = drawn.weight
        if self.weigh:  # what does not count may stand for known facts, which are not discounted
            weight = torch.where(drawn.mask, weight * (1 - doubt), weight)
        return replace(drawn, p_false_negative=doubt, weight=weight)
