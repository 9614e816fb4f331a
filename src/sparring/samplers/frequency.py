"""Samplers that know the density of their draws: uniform, by popularity, of all entities.

`WithoutReplacement` makes the draws of any of them distinct (Kool et al., 2019).
"""

import math
from abc import ABC
from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sparring.batch import Negatives, Queries, Scorer
from sparring.data.graph import TrainGraph
from sparring.groups import ungroup
from sparring.registry import register
from sparring.samplers.base import (
    NO_DENSITY,
    NegativeSampler,
    SamplerWrapper,
    count_occurrences,
    gumbel_like,
    is_repeated,
)


@register("uniform", example={"k": 5})
class Uniform(NegativeSampler):
    """Every entity with equal probability (Bordes et al., 2013).

    Args:
        groups: candidate lists per batch, each shared by an equal part of its queries; None
            gives each query a list of its own.

    Raises:
        ValueError: if there are no groups.
    """

    def __init__(self, graph: TrainGraph, *, k: int, groups: int | None = None):
        super().__init__(k)
        self.num_entities, self.groups = graph.num_entities, validate_groups(groups)
        self.capabilities = replace(self.capabilities, num_shared=k if groups else 0)

    def sample(self, queries: Queries, score: Scorer, rng: torch.Generator) -> Negatives:
        shape = (self.groups or len(queries), self.k)
        ids = torch.randint(self.num_entities, shape, generator=rng, device=queries.anchor.device)
        return self.to_negatives(queries, ids)

    def log_prob(self, queries: Queries, ids: Int[Tensor, "G K"]) -> Float[Tensor, "B K"]:
        log_q = queries.weight.new_full((), -math.log(self.num_entities))
        return log_q.expand(len(queries), ids.shape[1])


@register("uniform-filtered", example={"k": 5}, aliases=["uniform-unknown"])
class UniformFiltered(NegativeSampler):
    """Every entity that is no known answer of the query, with equal probability.

    Exact and without rejection: it draws the rank among the unknown entities. A query that all
    entities answer gets no candidate that counts.
    """

    def __init__(self, graph: TrainGraph, *, k: int):
        super().__init__(k)
        self.known = graph.known
        self.num_entities = graph.num_entities

    def sample(self, queries: Queries, score: Scorer, rng: torch.Generator) -> Negatives:
        shape, device = (len(queries), self.k), queries.anchor.device
        num_unknown, answer = self._unknown(queries)
        u = torch.rand(shape, generator=rng, device=device, dtype=torch.double)
        # in doubles, u * num_unknown is below num_unknown for any number of entities
        rank = u.mul_(num_unknown.clamp(min=1).unsqueeze(1)).long()
        ids = self.known.unknown(queries, rank).clamp_(max=self.num_entities - 1)
        none = (num_unknown == 0).unsqueeze(1)
        log_q = answer.unsqueeze(1).masked_fill(none, -torch.inf).expand(shape)
        drawn = Negatives.from_ids(queries, ids, log_q, answer)
        return replace(drawn, mask=drawn.mask & ~none)

    def _unknown(self, queries: Queries) -> tuple[Int[Tensor, "B"], Float[Tensor, "B"]]:
        """How many entities are unknown, and the log-probability of each."""
        count = self.num_entities - self.known.count(queries)
        return count, -count.clamp(min=1).to(queries.weight.dtype).log()

    def log_prob(self, queries: Queries, ids: Int[Tensor, "G K"]) -> Float[Tensor, "B K"]:
        log_q = self.answer_log_prob(queries).unsqueeze(1).expand(-1, ids.shape[1])
        return log_q.masked_fill(self.known.contains(queries, ids), -torch.inf)

    def answer_log_prob(self, queries: Queries) -> Float[Tensor, "B"]:
        return self._unknown(queries)[1]


class PopularityDensity(NegativeSampler, ABC):
    """Entities by popularity; an answer without training triples has the density of degree 1.

    Args:
        popularity: probability of each entity.
        total: what degrees, or their powers, add up to.
    """

    log_popularity: Float[Tensor, "N"]
    log_unseen: Float[Tensor, ""]

    def __init__(self, k: int, popularity: Float[Tensor, "N"], total: Float[Tensor, ""]):
        super().__init__(k)
        self.register_buffer("log_popularity", popularity.log().float(), persistent=False)
        self.register_buffer("log_unseen", -total.log().float(), persistent=False)

    def log_prob(self, queries: Queries, ids: Int[Tensor, "G K"]) -> Float[Tensor, "B K"]:
        return ungroup(self.log_popularity[ids], len(queries))

    def answer_log_prob(self, queries: Queries) -> Float[Tensor, "B"]:
        log_prob = self.log_popularity[queries.answer]
        return torch.where(log_prob == -torch.inf, self.log_unseen, log_prob)


@register("popularity", example={"k": 5}, aliases=["popular"])
class Popularity(PopularityDensity):
    """Entities in proportion to (training) degree ** power (Mikolov et al., 2013).

    Args:
        power: 0 for uniform draws from the entities with a training triple.
        groups: candidate lists per batch; None gives each query its own.

    Raises:
        ValueError: if there are no groups.
    """

    cumulative: Float[Tensor, "N"]

    def __init__(
        self, graph: TrainGraph, *, k: int, power: float = 0.75, groups: int | None = None
    ):
        mass = graph.degree.double() ** power
        popularity = mass / mass.sum()
        super().__init__(k, popularity, mass.sum())
        self.groups = validate_groups(groups)
        self.capabilities = replace(self.capabilities, num_shared=k if groups else 0)
        self.register_buffer("cumulative", popularity.cumsum(0), persistent=False)

    def sample(self, queries: Queries, score: Scorer, rng: torch.Generator) -> Negatives:
        shape = (self.groups or len(queries), self.k)
        u = torch.rand(shape, generator=rng, device=queries.anchor.device, dtype=torch.double)
        ids = torch.searchsorted(self.cumulative, u * self.cumulative[-1], right=True)
        return self.to_negatives(queries, ids.clamp_(max=len(self.cumulative) - 1))


@register("in-batch", example={"k": 6})
class InBatch(PopularityDensity):
    """Answers of other queries of the batch, drawn without replacement and shared by all.

    The density is approximate: that of answers in the training graph, heads and tails together.
    """

    def __init__(self, graph: TrainGraph, *, k: int):
        total = graph.degree.double().sum()
        super().__init__(k, graph.degree / total, total)
        self.capabilities = replace(self.capabilities, num_shared=k)

    def sample(self, queries: Queries, score: Scorer, rng: torch.Generator) -> Negatives:
        if len(queries) < self.k:
            raise ValueError(
                f"in-batch negatives need a batch of at least k={self.k} queries; "
                f"got {len(queries)}"
            )
        order = torch.randperm(len(queries), generator=rng, device=queries.answer.device)
        return self.to_negatives(queries, queries.answer[order[: self.k]].unsqueeze(0))


@register("all-entities", example={})
class AllEntities(NegativeSampler):
    """Every entity once: full softmax or 1vsAll (Lacroix et al., 2018)."""

    all_ids: Int[Tensor, "1 N"]

    def __init__(self, graph: TrainGraph):
        super().__init__(k=graph.num_entities)
        self.capabilities = replace(self.capabilities, num_shared=self.k)
        all_ids = torch.arange(graph.num_entities).unsqueeze(0)
        self.register_buffer("all_ids", all_ids, persistent=False)

    def sample(self, queries: Queries, score: Scorer, rng: torch.Generator) -> Negatives:
        return self.to_negatives(queries, self.all_ids)

    def log_prob(self, queries: Queries, ids: Int[Tensor, "G K"]) -> Float[Tensor, "B K"] | None:
        log_q = queries.weight.new_full((), -math.log(self.k))
        return log_q.expand(len(queries), ids.shape[1])


@register("kvs-all", example={})
class KvsAll(AllEntities):
    """Every entity that is no known answer; a query's negatives count once per epoch.

    A query with A known answers occurs A times per epoch. Its negatives weigh 1 / A each time,
    so that their sum over the epoch is that of Dettmers et al., 2018.
    """

    capabilities = NO_DENSITY

    def __init__(self, graph: TrainGraph):
        super().__init__(graph)
        self.known = graph.known

    def sample(self, queries: Queries, score: Scorer, rng: torch.Generator) -> Negatives:
        drawn = Negatives.from_ids(queries, self.all_ids)
        row, entity = self.known.answers(queries)
        mask = drawn.mask.index_put((row, entity), drawn.mask.new_zeros(()))
        num_answers = self.known.count(queries).clamp(min=1).unsqueeze(1)
        return replace(drawn, mask=mask, weight=drawn.weight / num_answers)

    def log_prob(self, queries: Queries, ids: Int[Tensor, "G K"]) -> None:
        return None


def validate_groups(groups: int | None) -> int | None:
    """The number of candidate lists.

    Raises:
        ValueError: if it is below 1.
    """
    if groups is not None and groups < 1:
        raise ValueError(f"a batch needs at least one candidate list; got groups={groups}")
    return groups


@register("without-replacement", example={"inner": {"name": "type-constrained", "k": 4}})
class WithoutReplacement(SamplerWrapper):
    """Distinct candidates, in proportion to their probability under another sampler.

    Of all entities but the answer, it finds the k + 1 highest log-probabilities plus Gumbel
    noise. The last of them is the threshold, and the first k are the negatives. `log_q` is the
    log-probability to exceed that threshold, divided by k, so that sums over the list are
    unbiased; the density of the answer is its probability to have exceeded it. A softmax that is
    corrected by both has the log-probability of the answer as its optimum, exactly and for any
    k, because all draws are independent given the threshold (Kool et al., 2019).

    Args:
        inner: its draws are the pool to choose from, in proportion to how often they count.
        k: how many to choose from the pool; such a choice has no density of the answer. None
            chooses `inner.k` from all entities instead, by the density of `inner`: this ignores
            masks and weights of `inner` (so wrap the result in `MaskKnown`) and computes N
            densities per query.

    Raises:
        ValueError: if the pool is smaller than k, or `inner` has no `log_prob` and k is None.
    """

    all_ids: Int[Tensor, "1 N"]

    def __init__(self, graph: TrainGraph, *, inner: NegativeSampler, k: int | None = None):
        super().__init__(inner, k)
        if k is None and not inner.capabilities.has_log_prob:
            raise ValueError(
                f"{type(inner).__name__} has no `log_prob` to draw from all entities by; "
                "give k to choose from its draws instead"
            )
        if self.k > inner.k:
            raise ValueError(
                f"a pool of {inner.k} draws holds no k={k} distinct candidates; give `inner` a "
                "larger k"
            )
        self.from_pool = k is not None
        self.capabilities = replace(
            inner.capabilities, num_shared=0, has_answer_log_q=k is None, has_log_prob=False
        )
        all_ids = torch.arange(graph.num_entities, device=graph.triples.device).unsqueeze(0)
        self.register_buffer("all_ids", all_ids, persistent=False)

    def sample(self, queries: Queries, score: Scorer, rng: torch.Generator) -> Negatives:
        pool = self.inner.sample(queries, score, rng)  # `inner` may count or prepare its steps
        return self._of_pool(queries, pool, rng) if self.from_pool else self._of_all(queries, rng)

    def _of_all(self, queries: Queries, rng: torch.Generator) -> Negatives:
        log_prob: Tensor = self.inner.log_prob(queries, self.all_ids)  # pyright: ignore
        answer: Tensor = self.inner.answer_log_prob(queries)  # pyright: ignore
        log_weight = log_prob.detach().scatter(1, queries.answer.unsqueeze(1), -torch.inf)
        ids, log_inclusion, threshold = draw_distinct(log_weight, self.k, rng)
        drawn = Negatives.from_ids(
            queries,
            ids,
            log_inclusion - math.log(self.k),
            log_exceeds(answer.detach() - threshold) - math.log(self.k),
            log_policy=log_prob.gather(1, ids) if log_prob.requires_grad else None,
        )
        return replace(drawn, mask=drawn.mask & log_inclusion.isfinite())

    def _of_pool(self, queries: Queries, pool: Negatives, rng: torch.Generator) -> Negatives:
        ids = ungroup(pool.ids, len(queries))
        count = count_occurrences(ids, pool.mask).to(queries.weight.dtype)
        first = pool.mask & ~is_repeated(ids.masked_fill(~pool.mask, -1))
        log_weight = count.log().masked_fill(~first, -torch.inf)
        column, log_inclusion, _ = draw_distinct(log_weight, self.k, rng)
        chosen = pool.gather(column)
        chosen = replace(chosen, mask=chosen.mask & log_inclusion.isfinite())
        if pool.log_q is None:
            return chosen
        # an entity represents all of its draws, each of which weighs 1 / (inner.k q)
        log_q = (pool.log_q - count.clamp(min=1).log()).gather(1, column)
        return replace(chosen, log_q=log_q + log_inclusion + math.log(self.inner.k / self.k))

    def log_prob(self, queries: Queries, ids: Int[Tensor, "G K"]) -> None:
        return None

    def answer_log_prob(self, queries: Queries) -> None:
        return None


def draw_distinct(
    log_weight: Float[Tensor, "B C"], k: int, rng: torch.Generator
) -> tuple[Int[Tensor, "B K"], Float[Tensor, "B K"], Float[Tensor, "B"]]:
    """k columns per row without replacement, in proportion to their weights.

    Returns:
        The columns, their log-probability to exceed the threshold, and the threshold. Where fewer
        than k columns have a weight, the rest has log-probability -inf.
    """
    width = log_weight.shape[1]
    if width <= k:
        log_weight = torch.nn.functional.pad(log_weight, (0, k + 1 - width), value=-torch.inf)
    top, column = (log_weight + gumbel_like(log_weight, rng)).topk(k + 1)
    log_inclusion = log_exceeds(log_weight.gather(1, column) - top[:, k:])[:, :k]
    log_inclusion = log_inclusion.masked_fill(top[:, :k] == -torch.inf, -torch.inf)
    return column[:, :k].clamp(max=width - 1), log_inclusion, top[:, k]


def log_exceeds(margin: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Log-probability that the margin over a threshold plus Gumbel noise is above 0."""
    # far below the threshold this is the margin itself, whose exp may be too small to subtract
    return torch.where(margin < -10, margin, (-torch.expm1(-margin.exp())).log())
