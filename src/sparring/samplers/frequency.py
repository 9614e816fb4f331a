"""Samplers whose density does not depend on what the main model thinks.

Wrong answers none of which comes twice (Kool et al., 2019)."""

import math
from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sparring.batch import Negatives, Queries, ungroup
from sparring.data.graph import TrainGraph
from sparring.registry import register
from sparring.samplers.base import (
    NO_DENSITY,
    NegativeSampler,
    SamplerWrapper,
    gumbel,
    repeated,
    times,
)


@register("uniform", example={"k": 5})
class Uniform(NegativeSampler):
    """Every entity with equal probability (Bordes et al., 2013).

    Args:
        groups: candidate lists per batch, each shared by an equal part of its queries; None
            gives each query a list of its own.
    """

    def __init__(self, graph: TrainGraph, *, k: int, groups: int | None = None):
        super().__init__(k)
        self.num_entities, self.groups = graph.num_entities, at_least_one(groups)

    def sample(self, queries, score, rng):
        shape = (self.groups or len(queries), self.k)
        ids = torch.randint(self.num_entities, shape, generator=rng, device=queries.anchor.device)
        return self.to_negatives(queries, ids)

    def log_prob(self, queries, ids):
        log_q = queries.weight.new_full((), -math.log(self.num_entities))
        return log_q.expand(len(queries), ids.shape[1])


@register("uniform-filtered", example={"k": 5}, aliases=["uniform-unknown"])
class UniformFiltered(NegativeSampler):
    """Every entity that is no known answer of the query, with equal probability.

    Exact and without rounds: the rank among unknown entities is drawn. A query whose answers are
    all entities gets no candidate that counts.
    """

    def __init__(self, graph: TrainGraph, *, k: int):
        super().__init__(k)
        self.known = graph.known
        self.num_entities = graph.num_entities

    def sample(self, queries, score, rng):
        shape, device = (len(queries), self.k), queries.anchor.device
        free, answer = self._free(queries)
        lot = torch.rand(shape, generator=rng, device=device, dtype=torch.double)
        # lot * free, in doubles, is below any number of entities
        rank = lot.mul_(free.clamp(min=1).unsqueeze(1)).long()
        ids = self.known.unknown(queries, rank).clamp_(max=self.num_entities - 1)
        full = (free == 0).unsqueeze(1)
        log_q = answer.unsqueeze(1).masked_fill(full, -torch.inf).expand(shape)
        drawn = Negatives.from_ids(queries, ids, log_q, answer)
        return replace(drawn, mask=drawn.mask & ~full)

    def _free(self, queries: Queries) -> tuple[Int[Tensor, "B"], Float[Tensor, "B"]]:
        """How many entities are unknown, and the log-probability of each."""
        free = self.num_entities - self.known.count(queries)
        return free, -free.clamp(min=1).to(queries.weight.dtype).log()

    def log_prob(self, queries, ids):
        log_q = self.answer_log_prob(queries).unsqueeze(1).expand(-1, ids.shape[1])
        return log_q.masked_fill(self.known.contains(queries, ids), -torch.inf)

    def answer_log_prob(self, queries):
        return self._free(queries)[1]


@register("popularity", example={"k": 5}, aliases=["popular"])
class Popularity(NegativeSampler):
    """Entities in proportion to (training) degree ** power (Mikolov et al., 2013).

    An answer without training triples, which is never drawn, counts as of degree 1.

    Args:
        groups: candidate lists per batch; None gives each query its own.
    """

    log_share: Float[Tensor, "N"]
    log_once: Float[Tensor, ""]
    upto: Float[Tensor, "N"]

    def __init__(
        self, graph: TrainGraph, *, k: int, power: float = 0.75, groups: int | None = None
    ):
        super().__init__(k)
        self.groups = at_least_one(groups)
        mass = graph.degree.double() ** power
        share = mass / mass.sum()
        self.register_buffer("log_share", share.log().float(), persistent=False)
        self.register_buffer("log_once", -mass.sum().log().float(), persistent=False)
        self.register_buffer("upto", share.cumsum(0), persistent=False)

    def sample(self, queries, score, rng):
        shape = (self.groups or len(queries), self.k)
        lot = torch.rand(shape, generator=rng, device=queries.anchor.device, dtype=torch.double)
        ids = torch.searchsorted(self.upto, lot * self.upto[-1], right=True)
        return self.to_negatives(queries, ids.clamp_(max=len(self.upto) - 1))

    def log_prob(self, queries, ids):
        return ungroup(self.log_share[ids], len(queries))

    def answer_log_prob(self, queries):
        return at_answer(self.log_share, self.log_once, queries)


@register("in-batch", example={"k": 6})
class InBatch(NegativeSampler):
    """Answers of other queries of the batch, drawn without replacement and shared by all.

    The stated density is that of answers in the training graph, on both sides together; an
    answer without training triples counts as of degree 1.
    """

    log_share: Float[Tensor, "N"]
    log_once: Float[Tensor, ""]

    def __init__(self, graph: TrainGraph, *, k: int):
        super().__init__(k)
        total = graph.degree.double().sum()
        self.register_buffer("log_share", (graph.degree / total).log().float(), persistent=False)
        self.register_buffer("log_once", -total.log().float(), persistent=False)

    def sample(self, queries, score, rng):
        if len(queries) < self.k:
            raise ValueError(
                f"in-batch negatives need a batch of at least k={self.k} queries; "
                f"got {len(queries)}"
            )
        order = torch.randperm(len(queries), generator=rng, device=queries.answer.device)
        return self.to_negatives(queries, queries.answer[order[: self.k]].unsqueeze(0))

    def log_prob(self, queries, ids):
        return ungroup(self.log_share[ids], len(queries))

    def answer_log_prob(self, queries):
        return at_answer(self.log_share, self.log_once, queries)


@register("all-entities")
class AllEntities(NegativeSampler):
    """Every entity once: full softmax or 1vsAll (Lacroix et al., 2018)."""

    everyone: Int[Tensor, "1 N"]

    def __init__(self, graph: TrainGraph):
        super().__init__(k=graph.num_entities)
        everyone = torch.arange(graph.num_entities).unsqueeze(0)
        self.register_buffer("everyone", everyone, persistent=False)

    def sample(self, queries, score, rng):
        return self.to_negatives(queries, self.everyone)

    def log_prob(self, queries, ids):
        log_q = queries.weight.new_full((), -math.log(self.k))
        return log_q.expand(len(queries), ids.shape[1])


@register("kvs-all")
class KvsAll(AllEntities):
    """Every entity that is no known answer; a query's negatives count once per epoch.

    A query with A known answers comes by A times per epoch, so each time its negatives weigh
    1 / A, and the epoch's sum is that of Dettmers et al., 2018.
    """

    capabilities = NO_DENSITY

    def __init__(self, graph: TrainGraph):
        super().__init__(graph)
        self.known = graph.known

    def sample(self, queries, score, rng):
        drawn = Negatives.from_ids(queries, self.everyone)
        row, entity = self.known.answers(queries)
        mask = drawn.mask.index_put((row, entity), drawn.mask.new_zeros(()))
        answers = self.known.count(queries).clamp(min=1).unsqueeze(1)
        return replace(drawn, mask=mask, weight=drawn.weight / answers)

    def log_prob(self, queries, ids):
        return None


def at_least_one(groups: int | None) -> int | None:
    """The number of candidate lists, if it is one.

    Raises:
        ValueError: if it is below 1.
    """
    if groups is not None and groups < 1:
        raise ValueError(f"a batch needs at least one candidate list; got groups={groups}")
    return groups


def at_answer(
    log_share: Float[Tensor, "N"], log_once: Float[Tensor, ""], queries: Queries
) -> Float[Tensor, "B"]:
    """The answer's share; that of a degree of 1 where it has none."""
    stated = log_share[queries.answer]
    return torch.where(stated == -torch.inf, log_once, stated)


@register("without-replacement", example={"inner": {"name": "type-constrained", "k": 4}})
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
            `MaskKnown`), at the price of N densities per query. A choice from a pool states no
            density of the answer.

    Raises:
        ValueError: if the pool is smaller than k, or `inner` states no closed density where
            one is needed.
    """

    everyone: Int[Tensor, "1 N"]

    def __init__(self, graph: TrainGraph, *, inner: NegativeSampler, k: int | None = None):
        super().__init__(inner, k)
        if k is None and not inner.capabilities.has_log_prob:
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
        self.capabilities = replace(
            inner.capabilities, has_answer_log_q=k is None, has_log_prob=False
        )
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
        drawn = Negatives.from_ids(
            queries,
            pick,
            log_chance - math.log(self.k),
            log_chance_above(answer.detach() - bar) - math.log(self.k),
            log_policy=log_share.gather(1, pick) if log_share.requires_grad else None,
        )
        return replace(drawn, mask=drawn.mask & log_chance.isfinite())

    def _of_pool(self, queries: Queries, drawn: Negatives, rng: torch.Generator) -> Negatives:
        ids = ungroup(drawn.ids, len(queries))
        often = times(ids, drawn.mask).to(queries.weight.dtype)
        first = drawn.mask & ~repeated(ids.masked_fill(~drawn.mask, -1))
        log_share = often.log().masked_fill(~first, -torch.inf)
        pick, log_chance, _ = above_the_bar(log_share, self.k, rng)
        chosen = drawn.gather(pick)
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
