"""Wrong answers from Markov chains that the model's scores steer (MCNS: Yang et al., 2020)."""

import math

import torch
from jaxtyping import Shaped
from torch import Tensor

from sparring.batch import PER_CANDIDATE, Negatives, Queries, Scorer, per_query
from sparring.graph.knowledge_graph import TrainGraph
from sparring.samplers.base import NegativeSampler, SamplerWrapper


class MetropolisHastings(SamplerWrapper):
    """Candidates in proportion to exp(alpha * score), as far as a few steps of a chain lead.

    Each candidate is the end of a chain of its own. It starts at a draw of another sampler, and
    every further draw replaces it with the Metropolis-Hastings probability, which is exact, so
    that enough steps forget the start. What does not count is never moved to. The law of a chain
    cut short is unknown, hence no density.

    Yang et al. let one chain run on from query to query; chains that end with the batch need
    no order of queries and can run side by side.

    Args:
        inner: proposes; half uniform and half close to the anchor in the paper, which is
            `KHop` with a floor of 0.5.
        steps: proposals per chain.
        alpha: 0 for uniform over all that `inner` reaches, 1 for the model's own softmax.
        compat: as in the authors' program, one random number per step decides for all chains
            of the batch, which then move together.

    Raises:
        ValueError: without steps, for a negative alpha, or if `inner` states no closed density.
    """

    schedulable = (("alpha", 0.0, math.inf),)

    def __init__(
        self,
        graph: TrainGraph,
        *,
        inner: NegativeSampler,
        steps: int = 10,
        alpha: float = 0.75,
        compat: bool = False,
    ):
        super().__init__(inner)
        if not inner.closed_density:
            raise ValueError(
                f"a chain weighs what is proposed against its density, and "
                f"{type(inner).__name__} states no closed one; propose by another sampler"
            )
        if steps < 1:
            raise ValueError(f"a chain takes at least one step; got steps={steps}")
        if alpha < 0:
            raise ValueError(f"below 0, alpha would prefer low scores; got alpha={alpha}")
        self.steps, self.alpha, self.compat = steps, alpha, compat
        self.needs_scores = True
        self.states_density = self.closed_density = False
        self.extra_scores = (steps + 1) * (inner.extra_scores + inner.k)

    def sample(self, queries, score, rng):
        here = self._proposal(queries, score, rng)
        for _ in range(self.steps):
            there = self._proposal(queries, score, rng)
            shape = () if self.compat else here["lead"].shape
            lot = torch.rand(shape, generator=rng, device=here["lead"].device)
            moves = lot.log() < there["lead"] - here["lead"]
            # whatever counts is better than what does not
            moves = there["mask"] & (moves | ~here["mask"])
            here = {name: torch.where(moves, there[name], here[name]) for name in here}
        fields = {name: here[name] for name in PER_CANDIDATE}
        return Negatives(here["ids"], **fields, query_weight=queries.negative_weight)

    def _proposal(
        self, queries: Queries, score: Scorer, rng: torch.Generator
    ) -> dict[str, Shaped[Tensor, "B K"]]:
        """Draws of the inner sampler, and the lead of target over density, in logarithms."""
        drawn = self.inner.sample(queries, score, rng)
        fields = {name: getattr(drawn, name) for name in PER_CANDIDATE}
        fields["ids"] = per_query(drawn.ids, len(queries))
        log_q: Tensor = drawn.log_q  # pyright: ignore - the constructor asks for a density
        fields["lead"] = self.alpha * score(drawn.ids) - log_q
        return fields

    def log_prob(self, queries, ids):
        return None

    def answer_log_prob(self, queries):
        return None
