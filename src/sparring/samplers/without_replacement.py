"""Wrong answers none of which comes twice (Kool et al., 2019)."""

import math
from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sparring.batch import Negatives, Queries, per_query
from sparring.graph.knowledge_graph import TrainGraph
from sparring.samplers.base import NegativeSampler, SamplerWrapper
from sparring.samplers.draws import gumbel, repeated, times


class WithoutReplacement(SamplerWrapper):
    """Distinct candidates, likelier the likelier another sampler draws them.

    Of all entities but the answer, the k + 1 highest log-probabilities plus Gumbel noise are
    found; the last of them is the bar that the first k are above. `log_q` goes by the chance to
    be above that bar, which makes sums over the list unbiased, and that of the answer by its
    chance to have been: corrected by both, a softmax has the log-probability of the answer as
    its optimum, exactly and for any k, since given the bar all draws are independent.

    Args:
        inner: its draws are the pool to choose from, in proportion to how often they count.
        k: how many to choose; None to choose `inner.k` from all entities by the density of
            `inner`, whose masks and weights are then left aside (so wrap the result in
            `HideKnown`), at the price of N densities per query. A choice from a pool states no
            density of the answer.

    Raises:
        ValueError: if the pool is smaller than k, or `inner` states no closed density where
            one is needed.
    """

    everyone: Int[Tensor, "1 N"]

    def __init__(self, graph: TrainGraph, *, inner: NegativeSampler, k: int | None = None):
        super().__init__(inner, k)
        if k is None and not inner.closed_density:
            raise ValueError(
                f"{type(inner).__name__} states no closed density to draw from all entities by; "
                "give k to choose from its draws instead"
            )
        if self.k > inner.k:
            raise ValueError(
                f"a pool of {inner.k} draws holds no k={k} distinct candidates; give `inner` a "
                "larger k"
            )
        self.pooled = k is not None
        self.states_answer_density, self.closed_density = k is None, False
        everyone = torch.arange(graph.num_entities, device=graph.triples.device).unsqueeze(0)
        self.register_buffer("everyone", everyone, persistent=False)

    def sample(self, queries, score, rng):
        drawn = self.inner.sample(queries, score, rng)  # it may have something to prepare
        if self.pooled:
            return self._of_pool(queries, drawn, rng)
        log_share: Tensor = self.inner.log_prob(queries, self.everyone)  # pyright: ignore
        answer: Tensor = self.inner.answer_log_prob(queries)  # pyright: ignore
        others = log_share.detach().scatter(1, queries.answer.unsqueeze(1), -torch.inf)
        pick, log_chance, bar = above_the_bar(others, self.k, rng)
        drawn = Negatives.offer(
            queries,
            pick,
            log_chance - math.log(self.k),
            log_chance_above(answer.detach() - bar) - math.log(self.k),
            trace=log_share.gather(1, pick) if log_share.requires_grad else None,
        )
        return replace(drawn, mask=drawn.mask & log_chance.isfinite())

    def _of_pool(self, queries: Queries, drawn: Negatives, rng: torch.Generator) -> Negatives:
        ids = per_query(drawn.ids, len(queries))
        often = times(ids, drawn.mask).to(queries.weight.dtype)
        first = drawn.mask & ~repeated(ids.masked_fill(~drawn.mask, -1))
        log_share = often.log().masked_fill(~first, -torch.inf)
        pick, log_chance, _ = above_the_bar(log_share, self.k, rng)
        chosen = drawn.choose(pick)
        chosen = replace(chosen, mask=chosen.mask & log_chance.isfinite())
        if drawn.log_q is None:
            return chosen
        # an entity stands for all of its draws, each of which weighs 1 / (inner.k q)
        lone = (drawn.log_q - often.clamp(min=1).log()).gather(1, pick)
        return replace(chosen, log_q=lone + log_chance + math.log(self.inner.k / self.k))

    def log_prob(self, queries, ids):
        return None

    def answer_log_prob(self, queries):
        return None


def above_the_bar(
    log_share: Float[Tensor, "B C"], k: int, rng: torch.Generator
) -> tuple[Int[Tensor, "B K"], Float[Tensor, "B K"], Float[Tensor, "B"]]:
    """k columns without replacement, their log-probability to be above the bar, and the bar.

    Where fewer than k columns have a share, the rest has log-probability -inf.
    """
    width = log_share.shape[1]
    if width <= k:
        log_share = torch.nn.functional.pad(log_share, (0, k + 1 - width), value=-torch.inf)
    top, pick = (log_share + gumbel(log_share, rng)).topk(k + 1)
    log_chance = log_chance_above(log_share.gather(1, pick) - top[:, k:])[:, :k]
    log_chance = log_chance.masked_fill(top[:, :k] == -torch.inf, -torch.inf)
    return pick[:, :k].clamp(max=width - 1), log_chance, top[:, k]


def log_chance_above(lead: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Log-probability that Gumbel noise added to the lead over a bar is above 0."""
    # far below the bar the chance is exp(lead), which may be too small for its logarithm
    return torch.where(lead < -10, lead, (-torch.expm1(-lead.exp())).log())
