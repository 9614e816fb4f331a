"""Samplers that use a trained model: its rankings, its embeddings, or those of the main model.

`TeacherNegatives` and `NearestNeighbor` draw from lists that are ranked once, before training.
`EANS` orders entities by the main model's own embeddings, again and again.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from sparring.batch import Negatives, Queries, Scorer
from sparring.clustering import k_means
from sparring.data.graph import TrainGraph
from sparring.groups import ungroup
from sparring.registry import register
from sparring.samplers.base import NegativeSampler, entity_vectors

NUMBERS_AT_ONCE = 2**24  # scores or distances held in memory at a time


@dataclass(frozen=True, eq=False)
class TeacherRankings:
    """The entities that a teacher ranks highest for each distinct query of the training graph.

    Attributes:
        entity: best first, without known answers of the training graph.
        length: how many entities of each row are not padding.
        num_above: for each fact of the index, how many of them score above its answer.
    """

    entity: Int[Tensor, "Q M"]
    length: Int[Tensor, "Q"]
    num_above: Int[Tensor, "F"]

    @classmethod
    @torch.no_grad()
    def of(
        cls, graph: TrainGraph, teacher: Callable[[Queries], Scorer], size: int
    ) -> "TeacherRankings":
        """Rank all entities for all queries of the training graph: Q * N scores.

        Args:
            teacher: a trained main model, or anything that turns queries into a scorer.
            size: entities to keep per query.
        """
        known, size = graph.known, min(size, graph.num_entities)
        all_ids = torch.arange(graph.num_entities, device=graph.triples.device).unsqueeze(0)
        rows = torch.arange(known.num_queries, device=graph.triples.device)
        parts = []
        for chunk in rows.split(max(1, NUMBERS_AT_ONCE // graph.num_entities)):
            queries = known.queries(chunk)
            scores = teacher(queries)(all_ids)
            row, answer = known.answers(queries)
            of_answer = scores[row, answer]
            of_others = scores.index_put((row, answer), scores.new_full((), -torch.inf))
            best, entity = of_others.topk(size)
            num_above = (best[row] > of_answer.unsqueeze(1)).sum(1)
            length = (graph.num_entities - known.count(queries)).clamp(max=size)
            parts.append((entity.int(), length, num_above))
        return cls(*(torch.cat(column) for column in zip(*parts)))


class RankedLists(NegativeSampler, ABC):
    """k of the first entities of the query's ranked list, at random and without repetition.

    If these are fewer than k, it draws all of them, and the remaining candidates do not count.

    Args:
        pool: how many of the first to choose from; None for k.

    Raises:
        ValueError: if the pool is smaller than k.
    """

    def __init__(self, graph: TrainGraph, *, k: int, pool: int | None):
        super().__init__(k)
        self.pool = k if pool is None else pool
        if self.pool < k:
            raise ValueError(f"a pool of {pool} holds no k={k} entities; enlarge it")
        self.num_entities = graph.num_entities

    @abstractmethod
    def ranked(
        self, queries: Queries
    ) -> tuple[Int[Tensor, "B M"], Int[Tensor, "B"], Bool[Tensor, "B"]]:
        """The lists, how many of the first to choose from, and which queries have no list."""

    def sample(self, queries: Queries, score: Scorer, rng: torch.Generator) -> Negatives:
        entity, size, no_list = self.ranked(queries)
        shape, device = (len(queries), self.k), entity.device
        rank = torch.arange(max(entity.shape[1], self.k), device=device)
        u = torch.rand(len(queries), len(rank), generator=rng, device=device)
        column = u.masked_fill(rank >= size.unsqueeze(1), -1.0).topk(self.k).indices
        listed = entity.gather(1, column.clamp(max=entity.shape[1] - 1)).long()
        uniform = torch.randint(self.num_entities, shape, generator=rng, device=device)
        no_list = no_list.unsqueeze(1)
        drawn = self.to_negatives(queries, torch.where(no_list, uniform, listed))
        return replace(drawn, mask=drawn.mask & (no_list | (column < size.unsqueeze(1))))

    def log_prob(self, queries: Queries, ids: Int[Tensor, "G K"]) -> Float[Tensor, "B K"]:
        entity, size, no_list = self.ranked(queries)
        listed = _rank(entity, ungroup(ids, len(queries))) < size.unsqueeze(1)
        log_prob = self._log_prob(queries, size, no_list).unsqueeze(1)
        return log_prob.masked_fill(~listed & ~no_list.unsqueeze(1), -torch.inf)

    def answer_log_prob(self, queries: Queries) -> Float[Tensor, "B"]:
        """The density of a listed entity, whether or not the answer is one."""
        return self._log_prob(queries, *self.ranked(queries)[1:])

    def _log_prob(
        self, queries: Queries, size: Int[Tensor, "B"], no_list: Bool[Tensor, "B"]
    ) -> Float[Tensor, "B"]:
        """Of each entity to choose from."""
        among = torch.where(no_list, self.num_entities, size.clamp(min=self.k))
        return -among.to(queries.weight.dtype).log()


@register("teacher-negatives", example={"k": 5}, aliases=["near-miss"])
class TeacherNegatives(RankedLists):
    """Entities that a frozen teacher ranks highest and the training graph does not know as answers.

    "Near miss" in Kotnis & Nastase, 2018. A query that is not in the training graph gets uniform
    entities. Takes 4 * pool bytes per distinct query. The most likely false negatives are among
    these candidates: see `FalseNegativeWeighting`.

    Args:
        teacher: the trained model, which scores all entities once, or its `TeacherRankings`. In an
            experiment, `{ name = "run", folder = "runs/my-teacher" }` is that of a finished run.
        pool: how many of its best to choose from; None for k.
        strict: choose only among those that it ranks above the answer, or among the best k if
            these are fewer. An answer that is no training fact counts as ranked below all.

    Raises:
        ValueError: if the pool is smaller than k.
    """

    entity: Int[Tensor, "Q M"]
    length: Int[Tensor, "Q"]
    num_above: Int[Tensor, "F"]

    def __init__(
        self,
        graph: TrainGraph,
        *,
        k: int,
        teacher: Callable[[Queries], Scorer] | TeacherRankings,
        pool: int | None = None,
        strict: bool = False,
    ):
        super().__init__(graph, k=k, pool=pool)
        if not isinstance(teacher, TeacherRankings):
            teacher = TeacherRankings.of(graph, teacher, self.pool)
        self.register_buffer("entity", teacher.entity[:, : self.pool], persistent=False)
        self.register_buffer("length", teacher.length.clamp(max=self.pool), persistent=False)
        self.register_buffer("num_above", teacher.num_above.clamp(max=self.pool), persistent=False)
        self.known, self.strict = graph.known, strict

    def ranked(
        self, queries: Queries
    ) -> tuple[Int[Tensor, "B M"], Int[Tensor, "B"], Bool[Tensor, "B"]]:
        row = self.known.rows(queries)
        no_list = row == self.known.num_queries
        row = row.clamp(max=self.known.num_queries - 1)
        return self.entity[row], self._size(queries, row), no_list

    def _size(self, queries: Queries, row: Int[Tensor, "B"]) -> Int[Tensor, "B"]:
        if not self.strict:
            return self.length[row]
        fact = self.known.find(queries, queries.answer.unsqueeze(1)).squeeze(1)
        num_above = torch.where(fact < 0, self.pool, self.num_above[fact].clamp(min=self.k))
        return torch.minimum(num_above, self.length[row])


@register("nearest-neighbor", example={"k": 3, "pool": 5}, aliases=["nearest-neighbour"])
class NearestNeighbor(RankedLists):
    """The entities nearest to the answer, by the embeddings of a frozen model.

    "Nearest neighbor" in Kotnis & Nastase, 2018. Takes 4 * pool * N bytes. Wrap in `MaskKnown` or
    `ResampleKnown`, because neighbors of an answer may be answers.

    Args:
        vectors: one per entity, or a trained model with an embedding table; in an experiment, as
            the teacher of `TeacherNegatives`.
        pool: how many of the nearest to choose from; None for k.

    Raises:
        ValueError: if the pool is smaller than k, or there is not one vector per entity.
    """

    entity: Int[Tensor, "N M"]

    def __init__(
        self,
        graph: TrainGraph,
        *,
        k: int,
        vectors: Float[Tensor, "N d"] | nn.Module,
        pool: int | None = None,
    ):
        super().__init__(graph, k=k, pool=pool)
        table = vectors if isinstance(vectors, Tensor) else entity_vectors(vectors)
        if len(table) != graph.num_entities:
            raise ValueError(
                f"{len(table)} vectors for {graph.num_entities} entities; they belong to another "
                "graph"
            )
        self.register_buffer("entity", _nearest(table, self.pool), persistent=False)

    def ranked(
        self, queries: Queries
    ) -> tuple[Int[Tensor, "B M"], Int[Tensor, "B"], Bool[Tensor, "B"]]:
        entity = self.entity[queries.answer]
        size = torch.full_like(queries.answer, entity.shape[1])
        return entity, size, torch.zeros_like(size, dtype=torch.bool)


@torch.no_grad()
def _nearest(vectors: Float[Tensor, "N d"], size: int) -> Int[Tensor, "N M"]:
    """The other rows nearest to each row, nearest first."""
    size = max(1, min(size, len(vectors) - 1))
    parts = []
    for rows in torch.arange(len(vectors), device=vectors.device).split(
        max(1, NUMBERS_AT_ONCE // len(vectors))
    ):
        distance = torch.cdist(vectors[rows], vectors)
        distance[torch.arange(len(rows)), rows] = torch.inf
        parts.append(distance.topk(size, largest=False).indices.int())
    return torch.cat(parts)


def _rank(entity: Int[Tensor, "B M"], ids: Int[Tensor, "B K"]) -> Int[Tensor, "B K"]:
    """Index of each id in its row's list; M where the list does not hold it."""
    ascending, rank = entity.long().sort(1)
    index = torch.searchsorted(ascending, ids.contiguous()).clamp(max=entity.shape[1] - 1)
    return torch.where(ascending.gather(1, index) == ids, rank.gather(1, index), entity.shape[1])


@register(
    "eans",
    example={"k": 5, "width": 4.0, "clusters": 3, "update_every": 2},
    aliases=["neighbourhood"],
    renamed={"every": "update_every"},
)
class EANS(NegativeSampler):
    """Entities close to the answer in an order of similar entities (EANS: Je, 2022).

    The order is a ring: it clusters the main model's entity embeddings, follows each cluster by
    the nearest one that is left, and the last entity by the first. The distance from the answer
    is a rounded normal number. The authors' second part, a relation learned for replaceable
    entities, belongs to a model and is not here.

    Args:
        width: standard deviation of the distance; 290 for FB15k-237 and 800 for WN18RR.
        clusters: groups of similar entities.
        update_every: training steps from one ordering to the next.
        rounds: steps of k-means per ordering.

    Raises:
        ValueError: if a number is not positive, or the main model has no entity embeddings.
        RuntimeError: if it draws before it has the main model.
    """

    schedulable = (("width", 1e-6, math.inf),)

    entity: Int[Tensor, "N"]
    position: Int[Tensor, "N"]
    log_p_step: Float[Tensor, "N"]

    def __init__(
        self,
        graph: TrainGraph,
        *,
        k: int,
        width: float = 290.0,
        clusters: int = 100,
        update_every: int = 1000,
        rounds: int = 20,
    ):
        super().__init__(k)
        for name, value in (
            ("clusters", clusters),
            ("update_every", update_every),
            ("rounds", rounds),
        ):
            if value < 1:
                raise ValueError(f"{name} must be at least 1; got {value}")
        self.num_entities, self.update_every = graph.num_entities, update_every
        self.clusters, self.rounds = min(clusters, graph.num_entities), rounds
        ids = torch.arange(graph.num_entities, device=graph.triples.device)
        self.register_buffer("entity", ids)
        self.register_buffer("position", ids.clone())
        self.register_buffer("log_p_step", torch.zeros(len(ids)), persistent=False)
        self.calls = 0
        self.model: tuple[nn.Module, ...] = ()  # a tuple, because another module saves its state
        self.width = width

    @property
    def width(self) -> float:
        """Standard deviation of the distance from the answer."""
        return self._width

    @width.setter
    def width(self, value: float) -> None:
        if value <= 0:
            raise ValueError(f"width is a standard deviation above 0; got {value}")
        if value != getattr(self, "_width", None):
            self._width = value
            self.log_p_step = log_p_steps(self.num_entities, value).to(self.entity.device)

    def get_extra_state(self) -> int:
        return self.calls

    def set_extra_state(self, state: int) -> None:
        self.calls = state

    def bind_model(self, model: nn.Module) -> None:
        entity_vectors(model)  # raises for a model without them
        self.model = (model,)

    def sample(self, queries: Queries, score: Scorer, rng: torch.Generator) -> Negatives:
        if self.calls % self.update_every == 0:
            self._reorder(rng)
        self.calls += self.training
        shape, device = (len(queries), self.k), queries.answer.device
        step = torch.randn(shape, generator=rng, device=device, dtype=torch.double)
        step = (step * self.width).round().long()
        position = (self.position[queries.answer].unsqueeze(1) + step) % self.num_entities
        return self.to_negatives(queries, self.entity[position])

    def log_prob(self, queries: Queries, ids: Int[Tensor, "G K"]) -> Float[Tensor, "B K"]:
        position = self.position[ungroup(ids, len(queries))]
        step = position - self.position[queries.answer].unsqueeze(1)
        return self.log_p_step[step % self.num_entities]

    @torch.no_grad()
    def _reorder(self, rng: torch.Generator) -> None:
        if not self.model:
            raise RuntimeError(
                "EANS uses the main model's entity embeddings: call bind_model(model) first, "
                "as TrainingStep does"
            )
        vectors = entity_vectors(self.model[0]).float()
        start = torch.randperm(len(vectors), generator=rng, device=vectors.device)
        centroids, cluster = k_means(
            vectors,
            vectors[start[: self.clusters]],
            self.rounds,
            chunk_size=max(1, NUMBERS_AT_ONCE // self.clusters),
            repeatable=True,
        )
        rank = nearest_neighbor_chain(centroids).argsort()
        self.entity.copy_(rank[cluster].argsort(stable=True))
        self.position.copy_(self.entity.argsort())


def log_p_steps(size: int, width: float) -> Float[Tensor, "N"]:
    """Log-probability that a rounded normal number is 0, 1, ... modulo `size`."""
    if width > 2 * size:  # equal to the last digit: the error is exp(-2 (pi width / size)**2)
        return torch.full((size,), -math.log(size))
    step = torch.arange(size, dtype=torch.double).unsqueeze(1)
    turns = int(10 * width / size) + 1
    step = (step + size * torch.arange(-turns, turns + 1)).abs()
    # where the distribution function is small, its differences are exact
    p = torch.special.ndtr((0.5 - step) / width) - torch.special.ndtr((-0.5 - step) / width)
    return p.sum(1).log().float()


def nearest_neighbor_chain(points: Float[Tensor, "C d"]) -> Int[Tensor, "C"]:
    """Indices of the points, from the first, each followed by the nearest one that is left."""
    distance = torch.cdist(points, points)
    chain = [torch.zeros(1, dtype=torch.long, device=points.device)]
    for _ in range(len(points) - 1):
        distance.index_fill_(1, chain[-1], torch.inf)
        chain.append(distance[chain[-1]].argmin(1))
    return torch.cat(chain)
