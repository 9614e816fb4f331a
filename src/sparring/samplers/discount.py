"""Wrong answers that count less, the likelier they are right."""

from collections.abc import Callable
from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sparring.batch import Queries
from sparring.graph.knowledge_graph import TrainGraph
from sparring.samplers.base import NegativeSampler, SamplerWrapper

Doubt = Callable[[Queries, Int[Tensor, "G K"]], Float[Tensor, "B K"]]


class Discount(SamplerWrapper):
    """Weigh candidates by the probability that they are wrong: 1 - `false_negative`.

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
        doubt: Doubt | None = None,
        weigh: bool = True,
    ):
        super().__init__(inner)
        self.doubt, self.weigh = doubt, weigh

    def sample(self, queries, score, rng):
        drawn = self.inner.sample(queries, score, rng)
        doubt = drawn.false_negative
        if self.doubt is not None:
            with torch.no_grad():
                doubt = torch.where(drawn.mask, self.doubt(queries, drawn.ids), doubt)
        weight = drawn.weight
        if self.weigh:  # what does not count may stand for known facts, which are not discounted
            weight = torch.where(drawn.mask, weight * (1 - doubt), weight)
        return replace(drawn, false_negative=doubt, weight=weight)
