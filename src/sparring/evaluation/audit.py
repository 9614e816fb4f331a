"""What does a sampler offer: how hard, how varied, and how much of it is in truth a fact?"""

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

from sparring.batch import Queries, Scorer, not_answer
from sparring.corruption import tail_and_head_queries
from sparring.data.graph import KnowledgeGraph
from sparring.data.index import TripleIndex
from sparring.evaluation.calibration import AuditAccumulator, Calibration, DegreeBand, SampleStats
from sparring.evaluation.ranking import eval_mode, refuse_nan
from sparring.models.base import KGEModel
from sparring.samplers.base import NegativeSampler
from sparring.samplers.frequency import Uniform


@dataclass(frozen=True)
class Audit:
    """What one sampler offers, beside what the uniform sampler offers to the same queries.

    Attributes:
        sampler: its class.
        k: candidates per query.
        baseline: the audit of the uniform sampler with as many candidates per query; None in a
            baseline. Base rates are what makes the other numbers readable.
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

    def table(self) -> pl.DataFrame:
        """All offers, one per row, those of the baseline last; a column says whose they are."""
        audits = [self] if self.baseline is None else [self, self.baseline]
        rows = [
            {"sampler": audit.sampler, "baseline": audit is self.baseline, **asdict(offer)}
            for audit in audits
            for offer in (audit.overall, *audit.sides, *audit.relations)
        ]
        return pl.DataFrame(rows, infer_schema_length=None)


def audit(
    sampler: NegativeSampler,
    graph: KnowledgeGraph,
    *,
    rng: torch.Generator,
    model: KGEModel | None = None,
    triples: Int[Tensor, "T 3"] | None = None,
    extra_true: Int[Tensor, "X 3"] | None = None,
    draws: int = 2**18,
    batch: int = 256,
    reference: int = 512,
    max_scores: int = 2**18,
) -> Audit:
    """Let a sampler offer candidates to both queries of random triples, and judge the offers.

    Withheld facts are those of the validation and test splits and `extra_true` that are not
    training facts; the sampler never sees them. What it learnt, or remembers, stays as it was.

    Args:
        sampler: any, trained or not; it and the model are on the device of `rng`.
        model: judges how hard candidates are; without it, `percentile` and `above` are None.
        triples: whose queries to ask; those of the training split where None.
        extra_true: further facts, known from elsewhere.
        draws: candidates to judge, rounded up to whole batches.
        batch: triples per batch, which matters to samplers that share lists or use the batch.
            Halved until candidates and reference stay within `max_scores`.
        reference: random entities per batch, at most, that percentiles refer to. Their mean is
            unbiased; with N or more, they are all entities.
        max_scores: scores held at once, at most, but for those of one triple.

    Raises:
        ValueError: if the sampler asks for scores and there is no model, if there are no triples,
            if they or `extra_true` lie outside the vocabulary, or if a number is below 1.
        FloatingPointError: if a score is NaN.
    """
    _check_numbers(draws=draws, batch=batch, reference=reference, max_scores=max_scores)
    if model is None and sampler.capabilities.needs_scores:
        _refuse_scores(sampler)
    triples = graph.train if triples is None else triples
    extra_true = graph.train[:0] if extra_true is None else extra_true
    _check_triples(graph, triples=triples, extra_true=extra_true)

    reference = min(reference, len(graph.entities))
    while batch > 1 and 2 * batch * max(sampler.k, reference) > max_scores:
        batch //= 2
    batches = math.ceil(draws / (2 * batch * sampler.k))
    uniform = Uniform(graph.training, k=sampler.k)
    facts = _Facts(graph, extra_true, rng.device)
    own, base = AuditAccumulator(graph, rng.device), AuditAccumulator(graph, rng.device)
    with _as_it_was(sampler), eval_mode(torch.nn.Module() if model is None else model):
        for some in _batches(triples.to(rng.device), batch, batches, rng):
            queries = tail_and_head_queries(some, len(graph.relations))
            score, yardstick = (lambda ids: _refuse_scores(sampler)), None
            if model is not None:
                score = model(queries)
                yardstick = _Yardstick.of(queries, score, facts, reference, rng)
            for part, tally in ((sampler, own), (uniform, base)):
                drawn = part.sample(queries, score, rng)
                hardness = yardstick and yardstick.hardness(queries, score(drawn.ids))
                tally.add(queries, drawn, *facts.among(queries, drawn.ids), hardness)
    return _audit(sampler, own, _audit(uniform, base))


def _audit(
    sampler: NegativeSampler, tally: AuditAccumulator, baseline: Audit | None = None
) -> Audit:
    return Audit(
        type(sampler).__name__,
        sampler.k,
        *tally.offers(),
        tally.bands(),
        tally.calibration(),
        baseline,
    )


class _Facts:
    """Tells training facts from withheld ones."""

    def __init__(self, graph: KnowledgeGraph, extra_true: Tensor, device: torch.device):
        held = torch.cat([graph.valid, graph.test, extra_true.to(graph.test.device)])
        sizes = len(graph.entities), len(graph.relations)
        self.known = TripleIndex(graph.train.to(device), *sizes)
        self.withheld = TripleIndex(held.to(device), *sizes)

    def among(
        self, queries: Queries, ids: Int[Tensor, "G K"]
    ) -> tuple[Bool[Tensor, "B K"], Bool[Tensor, "B K"]]:
        """Which candidates are training facts, and which withheld ones, the answer apart."""
        wrong = not_answer(queries.answer, ids)
        known = self.known.contains(queries, ids)
        return wrong & known, wrong & ~known & self.withheld.contains(queries, ids)


@dataclass(frozen=True, eq=False)
class _Yardstick:
    """Scores of each query's answer and, sorted, of entities that stand for all."""

    answer: Float[Tensor, "B 1"]
    others: Float[Tensor, "B M"]

    @classmethod
    def of(
        cls, queries: Queries, score: Scorer, facts: _Facts, reference: int, rng: torch.Generator
    ) -> "_Yardstick":
        order = torch.randperm(facts.known.num_entities, generator=rng, device=rng.device)
        answer, others = score(queries.answer.unsqueeze(1)), score(order[:reference].unsqueeze(0))
        refuse_nan(queries, torch.cat([answer, others], dim=1))
        return cls(answer, others.sort(dim=1).values)

    def hardness(self, queries: Queries, scores: Float[Tensor, "B K"]) -> Float[Tensor, "2 B K"]:
        """Share of entities that score lower, ties counting half, and whether the answer does."""
        refuse_nan(queries, scores)
        lower = torch.searchsorted(self.others, scores)
        not_higher = torch.searchsorted(self.others, scores, right=True)
        percentile = (lower + not_higher).double() / (2 * self.others.shape[1])
        return torch.stack([percentile, (scores > self.answer).double()])


def _batches(
    triples: Int[Tensor, "T 3"], batch: int, batches: int, rng: torch.Generator
) -> Iterator[Int[Tensor, "b 3"]]:
    """Full batches of triples in random order, from the start again when all were used."""
    order = torch.randperm(len(triples), generator=rng, device=rng.device)
    for start in range(0, batches * batch, batch):
        place = torch.arange(start, start + batch, device=rng.device) % len(triples)
        yield triples[order[place]]


@contextmanager
def _as_it_was(sampler: NegativeSampler) -> Iterator[None]:
    """Put the sampler's state back afterwards: some learn, or remember, when they draw."""
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
        f"{type(sampler).__name__} asks for the main model's scores; give the audit a model"
    )
