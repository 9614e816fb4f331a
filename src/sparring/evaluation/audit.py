"""Audit a sampler: how hard and how varied its negatives are, and how many are false negatives."""

import copy
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, NoReturn

import polars as pl
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sparring.batch import Queries, Scorer
from sparring.corruption import tail_and_head_queries
from sparring.data.graph import KnowledgeGraph
from sparring.data.index import TripleIndex
from sparring.evaluation.calibration import Calibration
from sparring.evaluation.display import Result
from sparring.evaluation.ranking import check_no_nan, eval_mode
from sparring.evaluation.sample_stats import AuditAccumulator, DegreeBand, SampleStats
from sparring.kernels.lookup import not_answer
from sparring.models.base import KGEModel
from sparring.samplers.base import NegativeSampler
from sparring.samplers.frequency import Uniform

MEASURES = {
    "known_drawn": "training facts, drawn",
    "known_counted": "training facts, counted",
    "withheld_counted": "withheld facts, counted",
    "withheld_weight": "withheld facts, by weight",
    "percentile": "hardness: score lower",
    "above": "harder than the answer",
    "distinct": "distinct per query",
    "coverage": "entities reached",
}


@dataclass(frozen=True, repr=False)
class Audit(Result):
    """What one sampler draws, vs. what the uniform sampler draws for the same queries.

    Attributes:
        sampler: name of its class.
        k: candidates per query.
        overall: statistics of all queries together.
        sides: statistics of tail queries and of head queries.
        relations: statistics of each relation.
        bands: how often entities of each training degree were drawn.
        calibration: how well the sampler estimates which candidates are false negatives.
        baseline: the audit of the uniform sampler with as many candidates per query; None in the
            baseline itself. Compare with it: the numbers depend on the graph.
    """

    sampler: str
    k: int
    overall: SampleStats
    sides: tuple[SampleStats, ...]
    relations: tuple[SampleStats, ...]
    bands: tuple[DegreeBand, ...]
    calibration: Calibration
    baseline: "Audit | None" = None

    def to_dict(self) -> dict[str, Any]:
        """Nested dicts and tuples of numbers, strings and None, as JSON can hold them."""
        return asdict(self)

    def to_polars(self) -> pl.DataFrame:
        return self.table()

    def shown(self) -> pl.DataFrame:
        """One row per measure, for all queries and for each side."""
        uniform = self.baseline or self
        pairs = zip((self.overall, *self.sides), (uniform.overall, *uniform.sides))
        columns = {
            name: stats
            for own, base in pairs
            for name, stats in ((own.name, own), (f"{own.name}, uniform", base))
        }
        rows = [
            {"share": title} | {name: share(getattr(of, key)) for name, of in columns.items()}
            for key, title in MEASURES.items()
        ]
        return pl.DataFrame(rows)

    def caption(self) -> str:
        return f"{self.sampler}, {self.k} negatives per query, vs. uniform draws"

    def table(self) -> pl.DataFrame:
        """One row per group of queries, the baseline last; a column tells the two apart."""
        audits = [self] if self.baseline is None else [self, self.baseline]
        rows = [
            {"sampler": audit.sampler, "baseline": audit is self.baseline, **asdict(stats)}
            for audit in audits
            for stats in (audit.overall, *audit.sides, *audit.relations)
        ]
        return pl.DataFrame(rows, infer_schema_length=None)


def share(value: float | None) -> str:
    """A percentage; below 10 % with two decimals; empty for None."""
    return "" if value is None else f"{value:.1%}" if value >= 0.1 else f"{value:.2%}"


def audit(
    sampler: NegativeSampler,
    graph: KnowledgeGraph,
    *,
    rng: torch.Generator,
    model: KGEModel | None = None,
    triples: Int[Tensor, "T 3"] | None = None,
    extra_true: Int[Tensor, "X 3"] | None = None,
    draws: int = 2**18,
    batch_size: int = 256,
    reference: int = 512,
    max_scores: int = 2**18,
) -> Audit:
    """Draw negatives for the tail and head queries of random triples, and measure them.

    Withheld facts are those of the validation and test splits and of `extra_true` that are not
    training facts; the sampler never sees them. The state of the sampler is restored afterwards.

    Args:
        sampler: trained or not; it and the model are on the device of `rng`.
        graph: its training split is what the sampler was built for.
        rng: random numbers of the audit.
        model: scores the candidates; without it, `percentile` and `above` are None.
        triples: whose queries to use; by default those of the training split.
        extra_true: further facts that training does not see.
        draws: candidates to draw, rounded up to whole batches.
        batch_size: triples per batch, which matters to samplers that share candidate lists or draw
            from the batch. Halved until candidates and reference stay within `max_scores`.
        reference: random entities per batch that percentiles refer to. The mean percentile is
            unbiased; with N or more, all entities are used.
        max_scores: scores held at once; a single triple may need more.

    Raises:
        ValueError: if the sampler needs scores and there is no model, if there are no triples, if
            these or `extra_true` lie outside the vocabulary, or if a number is below 1.
        FloatingPointError: if a score is NaN.
    """
    _check_numbers(draws=draws, batch_size=batch_size, reference=reference, max_scores=max_scores)
    if model is None and sampler.capabilities.needs_scores:
        _refuse_scores(sampler)
    triples = graph.train if triples is None else triples
    extra_true = graph.train[:0] if extra_true is None else extra_true
    _check_triples(graph, triples=triples, extra_true=extra_true)

    reference = min(reference, len(graph.entities))
    while batch_size > 1 and 2 * batch_size * max(sampler.k, reference) > max_scores:
        batch_size //= 2
    batches = math.ceil(draws / (2 * batch_size * sampler.k))
    uniform = Uniform(graph.training, k=sampler.k)
    facts = _Facts(graph, extra_true, rng.device)
    own, base = AuditAccumulator(graph, rng.device), AuditAccumulator(graph, rng.device)
    with restored(sampler), eval_mode(torch.nn.Module() if model is None else model):
        for batch in _batches(triples.to(rng.device), batch_size, batches, rng):
            queries = tail_and_head_queries(batch, len(graph.relations))
            score, scale = (lambda ids: _refuse_scores(sampler)), None
            if model is not None:
                score = model(queries)
                scale = _ScoreScale.of(queries, score, reference, facts.known.num_entities, rng)
            for part, accumulator in ((sampler, own), (uniform, base)):
                drawn = part.sample(queries, score, rng)
                hardness = scale and scale.hardness(queries, drawn.per_candidate(score))
                marks = facts.among(queries, drawn.ids)
                accumulator.add(queries, drawn, *marks, hardness)
    return _audit(sampler, own, _audit(uniform, base))


def _audit(
    sampler: NegativeSampler, accumulator: AuditAccumulator, baseline: Audit | None = None
) -> Audit:
    return Audit(
        type(sampler).__name__,
        sampler.k,
        *accumulator.stats(),
        accumulator.bands(),
        accumulator.calibration.result(),
        baseline,
    )


class _Facts:
    """Training facts, withheld facts, and triples that people have rejected."""

    def __init__(self, graph: KnowledgeGraph, extra_true: Tensor, device: torch.device) -> None:
        held = torch.cat([graph.valid, graph.test, extra_true.to(graph.test.device)])
        sizes = len(graph.entities), len(graph.relations)
        self.known = TripleIndex(graph.train.to(device), *sizes)
        self.withheld = TripleIndex(held.to(device), *sizes)
        self.known_false = graph.training.to(device).known_false

    def among(
        self, queries: Queries, ids: Int[Tensor, "G K"]
    ) -> tuple[Bool[Tensor, "B K"], Bool[Tensor, "B K"], Bool[Tensor, "B K"]]:
        """Which candidates are training facts, withheld facts, and rejected, except the answer."""
        other = not_answer(queries.answer, ids)
        known = self.known.contains(queries, ids)
        rejected = other & ~known & self.known_false.contains(queries, ids)
        return other & known, other & ~known & self.withheld.contains(queries, ids), rejected


@dataclass(frozen=True, eq=False)
class _ScoreScale:
    """Scores of each query's answer and, sorted, of a sample of all entities."""

    answer: Float[Tensor, "B 1"]
    reference: Float[Tensor, "B M"]

    @classmethod
    def of(
        cls,
        queries: Queries,
        score: Scorer,
        size: int,
        num_entities: int,
        rng: torch.Generator,
    ) -> "_ScoreScale":
        sample = torch.randperm(num_entities, generator=rng, device=rng.device)[:size]
        answer, reference = score(queries.answer.unsqueeze(1)), score(sample.unsqueeze(0))
        check_no_nan(queries, torch.cat([answer, reference], dim=1))
        return cls(answer, reference.sort(dim=1).values)

    def hardness(self, queries: Queries, scores: Float[Tensor, "B K"]) -> Float[Tensor, "2 B K"]:
        """Fraction of entities that score lower, ties counting half; 1 above the answer, else 0."""
        check_no_nan(queries, scores)
        lower = torch.searchsorted(self.reference, scores)
        not_higher = torch.searchsorted(self.reference, scores, right=True)
        percentile = (lower + not_higher).double() / (2 * self.reference.shape[1])
        return torch.stack([percentile, (scores > self.answer).double()])


def _batches(
    triples: Int[Tensor, "T 3"], batch_size: int, batches: int, rng: torch.Generator
) -> Iterator[Int[Tensor, "b 3"]]:
    """Full batches of triples in random order, which starts over when all were used."""
    order = torch.randperm(len(triples), generator=rng, device=rng.device)
    for start in range(0, batches * batch_size, batch_size):
        position = torch.arange(start, start + batch_size, device=rng.device) % len(triples)
        yield triples[order[position]]


@contextmanager
def restored(sampler: NegativeSampler) -> Iterator[None]:
    """Restore the sampler's state afterwards: some learn, or remember, when they draw."""
    state = copy.deepcopy(sampler.state_dict())
    try:
        yield
    finally:
        sampler.load_state_dict(state)


def _check_numbers(**numbers: int) -> None:
    for name, number in numbers.items():
        if number < 1:
            raise ValueError(f"{name} must be at least 1; got {number}")


def _check_triples(graph: KnowledgeGraph, triples: Tensor, extra_true: Tensor) -> None:
    if not len(triples):
        raise ValueError("there are no triples to draw for")
    limit = torch.tensor([len(graph.entities), len(graph.relations), len(graph.entities)])
    for name, rows in (("triples", triples.cpu()), ("extra_true", extra_true.cpu())):
        outside = ((rows < 0) | (rows >= limit)).any(1).nonzero().flatten().tolist()
        if outside:
            raise ValueError(
                f"row {outside[0]} of {name} is {rows[outside[0]].tolist()}, outside the "
                f"vocabulary of {len(graph.entities)} entities and {len(graph.relations)} relations"
            )


def _refuse_scores(sampler: NegativeSampler) -> NoReturn:
    raise ValueError(
        f"{type(sampler).__name__} needs the scores of a model; give the audit a model"
    )
