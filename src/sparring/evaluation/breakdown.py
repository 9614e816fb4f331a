"""Metrics by groups of queries, and bootstrap intervals of metrics and of their differences."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import polars as pl
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sparring.data.graph import CARDINALITIES, KnowledgeGraph, cardinality
from sparring.evaluation.ranking import RankingResult

ENDS = ("tail", "head")  # what a query predicts
DEGREE_BANDS = ("0", "1-3", "4-15", "16-63", "64-255", "256-1023", "1024+")
REVERSE = ("not in train", "in train")
MIN_TRIPLES = 10  # with fewer, a bootstrap interval says little
MAX_WEIGHTS = 2**22  # weights held at once while resampling


@dataclass(frozen=True)
class Row:
    """Metrics of the queries of one group.

    Attributes:
        group: what the queries are grouped by: "overall", "side", "cardinality" (of the
            relation), "cardinality and side", "degree" (of the answer), "reverse triple" (whether
            answer, relation, anchor is a training triple, which gives answers of symmetric
            relations away) or "relation".
        name: the group, such as "tail", "1-N", "1-N tail", "4-15" or a relation's name.
        queries: number of queries; each triple has two.
        mrr, mr, amri, hits1, hits3, hits10: see `RankingResult`; between 0 and 1, except for `mr`,
            which is a rank, and `amri`, which is negative for a model worse than chance.
        mrr_low, mrr_high: percentile bootstrap interval of `mrr`; None if the queries come from
            fewer than ten triples.
    """

    group: str
    name: str
    queries: int
    mrr: float
    mrr_low: float | None
    mrr_high: float | None
    mr: float
    amri: float
    hits1: float
    hits3: float
    hits10: float


@dataclass(frozen=True)
class Breakdown:
    """One row per group that has queries, coarse groupings first.

    Attributes:
        rows: the groups.
        level: nominal coverage of the intervals.
        replicates: resamples of each interval.
    """

    rows: tuple[Row, ...]
    level: float
    replicates: int

    def to_dict(self) -> dict[str, Any]:
        """Lists, numbers, strings and None, as JSON holds them."""
        return {**asdict(self), "rows": [asdict(row) for row in self.rows]}

    def table(self) -> pl.DataFrame:
        """The rows, one column per field of `Row`."""
        return pl.DataFrame([asdict(row) for row in self.rows], infer_schema_length=None)


class Difference(NamedTuple):
    """MRR of one model minus that of another, with its bootstrap interval."""

    difference: float
    low: float
    high: float


def degree_band(degree: Float[Tensor, "M"]) -> Int[Tensor, "M"]:
    """Position in `DEGREE_BANDS` of each training degree."""
    lowest = torch.tensor([1.0, 4.0, 16.0, 64.0, 256.0, 1024.0], device=degree.device)
    return torch.bucketize(degree, lowest, right=True)


def breakdown(
    evaluation: RankingResult,
    graph: KnowledgeGraph,
    *,
    rng: torch.Generator,
    replicates: int = 1000,
    level: float = 0.95,
) -> Breakdown:
    """Metrics overall, by predicted end, cardinality class, degree of the answer, reverse triple,
    and relation.

    Degrees and cardinality classes are those of the training graph. Intervals are percentiles
    over bootstrap resamples of triples (Efron & Tibshirani, 1993). Both queries of a triple are
    drawn together, because they are not independent. Resamples without a query of a group are
    left out of its percentiles.

    Args:
        evaluation: result of `evaluate`.
        graph: the graph that was evaluated.
        rng: on the CPU.
        replicates: resamples of each interval.
        level: nominal coverage of the intervals.

    Raises:
        ValueError: if `level` is not between 0 and 1, `replicates` is below 1, or the evaluation
            is of another graph or not of both queries of each triple.
    """
    _check_options(replicates, level)
    if evaluation.num_relations != len(graph.relations):
        raise ValueError(
            f"the ranks are of a graph with {evaluation.num_relations} relations, but "
            f"{graph.name} has {len(graph.relations)}; give the graph that was evaluated"
        )
    triples = _num_triples(evaluation)
    names, group = _groups(evaluation, graph)
    query = torch.arange(2 * triples).repeat(len(group))
    group = group.flatten()

    rank = evaluation.rank.cpu().double()
    measures = torch.stack(
        [
            rank.reciprocal(),
            rank,
            evaluation.candidates.cpu().double() - 1,
            *((rank <= k).double() for k in (1, 3, 10)),
        ],
        dim=1,
    )
    queries = torch.bincount(group, minlength=len(names))
    total = measures.new_zeros(len(names), measures.shape[1])
    mean = total.index_add(0, group, measures[query]) / queries.unsqueeze(1)
    intervals = _intervals(
        group, query % triples, measures[query, 0], (len(names), triples), replicates, level, rng
    )

    rows = []
    for row in queries.nonzero().flatten().tolist():
        mrr, mr, competitors, hits1, hits3, hits10 = mean[row].tolist()
        amri = 1 - 2 * (mr - 1) / competitors if competitors else 0.0
        title, name = names[row]
        count, (low, high) = int(queries[row]), intervals[row]
        rows.append(Row(title, name, count, mrr, low, high, mr, amri, hits1, hits3, hits10))
    return Breakdown(tuple(rows), level, replicates)


def paired_difference(
    a: RankingResult | Sequence[RankingResult],
    b: RankingResult | Sequence[RankingResult],
    *,
    rng: torch.Generator,
    replicates: int = 1000,
    level: float = 0.95,
) -> Difference:
    """MRR of model `a` minus that of model `b` on the same queries, with its interval.

    Each bootstrap resample draws triples, the same for both models. Where a model has several
    training runs, it also draws among these, so that the interval covers other test triples and
    other seeds. With few seeds it is somewhat too short: the part that comes from seeds is short
    by the factor sqrt(1 - 1 / seeds).

    Args:
        a, b: one evaluation per training run; the runs of one model differ in the seed.
        rng: on the CPU.
        replicates: resamples of the interval.
        level: nominal coverage of the interval.

    Raises:
        ValueError: if the queries or the candidates of two evaluations differ, if a model has no
            evaluation, or for the reasons of `breakdown`.
    """
    _check_options(replicates, level)
    models = [[side] if isinstance(side, RankingResult) else list(side) for side in (a, b)]
    if not all(models):
        raise ValueError("each model needs at least one evaluation; got an empty list")
    first = models[0][0]
    triples = _num_triples(first)
    for other in (*models[0][1:], *models[1]):
        _check_same_queries(first, other)
    scores = [torch.stack([_by_triple(run, triples) for run in runs], dim=1) for runs in models]
    difference = (scores[0].mean() - scores[1].mean()).item()
    differences = []
    for weight in _resamples(triples, replicates, rng):
        mrr = [
            (
                (weight.T / triples) @ score * _resampled_runs(score.shape[1], weight.shape[1], rng)
            ).sum(1)
            for score in scores
        ]
        differences.append(mrr[0] - mrr[1])
    low, high = _interval(torch.cat(differences), level).tolist()
    return Difference(difference, low, high)


def _check_options(replicates: int, level: float) -> None:
    if replicates < 1:
        raise ValueError(f"replicates must be at least 1; got {replicates}")
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1; got {level}")


def _num_triples(evaluation: RankingResult) -> int:
    """Number of triples that were evaluated."""
    count, odd = divmod(len(evaluation.rank), 2)
    tails, heads = slice(0, count), slice(count, None)
    paired = not odd and all(
        torch.equal(one[heads], other[tails])
        for one, other in (
            (evaluation.relation, evaluation.relation + evaluation.num_relations),
            (evaluation.anchor, evaluation.answer),
            (evaluation.answer, evaluation.anchor),
        )
    )
    if not paired:
        raise ValueError(
            f"the {len(evaluation.rank)} queries are not the tail queries of some triples "
            "followed by their head queries; give an evaluation as `evaluate` returns it"
        )
    return count


def _groups(
    evaluation: RankingResult, graph: KnowledgeGraph
) -> tuple[list[tuple[str, str]], Int[Tensor, "L Q"]]:
    """Titles and names of all groups, and the group of each query in each grouping."""
    relation, answer = evaluation.relation.cpu(), evaluation.answer.cpu()
    side, forward = relation // evaluation.num_relations, relation % evaluation.num_relations
    kind = cardinality(graph.training)[forward]
    band = degree_band(graph.training.degree)[answer]
    groupings = {
        "overall": (["all"], torch.zeros_like(side)),
        "side": (ENDS, side),
        "cardinality": (CARDINALITIES, kind),
        "cardinality and side": (
            [f"{name} {end}" for name in CARDINALITIES for end in ENDS],
            len(ENDS) * kind + side,
        ),
        "degree": (DEGREE_BANDS, band),
        "reverse triple": (REVERSE, _has_reverse(evaluation, graph).long()),
        "relation": (list(graph.relations), forward),
    }
    names, positions = [], []
    for title, (members, group) in groupings.items():
        positions.append(group + len(names))
        names.extend((title, member) for member in members)
    return names, torch.stack(positions)


def _has_reverse(evaluation: RankingResult, graph: KnowledgeGraph) -> Bool[Tensor, "Q"]:
    """Whether (answer, relation, anchor) is a training triple."""
    reverse = torch.stack([evaluation.answer, evaluation.relation, evaluation.anchor], 1)
    return graph.training.known.contains_triples(reverse.cpu())


def _intervals(
    group: Int[Tensor, "M"],
    triple: Int[Tensor, "M"],
    value: Float[Tensor, "M"],
    shape: tuple[int, int],
    replicates: int,
    level: float,
    rng: torch.Generator,
) -> list[tuple[float | None, float | None]]:
    """Bootstrap interval of the mean value of each group, resampling triples."""
    indices = torch.stack([group, triple])
    total, count = (
        torch.sparse_coo_tensor(indices, entry, shape, check_invariants=False).coalesce()
        for entry in (value, torch.ones_like(value))
    )
    mean = torch.cat(
        [
            torch.sparse.mm(total, weight) / torch.sparse.mm(count, weight)
            for weight in _resamples(shape[1], replicates, rng)
        ],
        dim=1,
    )
    enough = torch.bincount(count.indices()[0], minlength=shape[0]) >= MIN_TRIPLES
    chunks = mean.split(max(1, MAX_WEIGHTS // replicates))
    bounds = torch.cat([_interval(rows, level) for rows in chunks], 1)
    return [
        (low, high) if reliable else (None, None)
        for low, high, reliable in zip(*bounds.tolist(), enough)
    ]


def _resamples(
    triples: int, replicates: int, rng: torch.Generator
) -> Iterator[Float[Tensor, "T s"]]:
    """How often each triple is drawn, in each resample of T triples with replacement."""
    columns = max(1, MAX_WEIGHTS // triples)
    for start in range(0, replicates, columns):
        shape = (triples, min(columns, replicates - start))
        picked = torch.randint(triples, shape, generator=rng)
        one = torch.ones((), dtype=torch.double).expand(shape)
        yield torch.zeros(shape, dtype=torch.double).scatter_add_(0, picked, one)


def _resampled_runs(runs: int, replicates: int, rng: torch.Generator) -> Float[Tensor, "s runs"]:
    """Weight of each run in each resample of the runs with replacement."""
    picked = torch.randint(runs, (replicates, runs), generator=rng)
    return torch.nn.functional.one_hot(picked, runs).double().mean(1)


def _interval(draws: Float[Tensor, "*rows s"], level: float) -> Float[Tensor, "2 *rows"]:
    """The central interval that holds a fraction `level` of the draws; NaNs are left out."""
    tail = (1 - level) / 2
    return draws.nanquantile(torch.tensor([tail, 1 - tail], dtype=draws.dtype), dim=-1)


def _by_triple(evaluation: RankingResult, triples: int) -> Float[Tensor, "T"]:
    """Mean reciprocal rank of the two queries of each triple."""
    return evaluation.rank.cpu().double().reciprocal().view(2, triples).mean(0)


def _check_same_queries(one: RankingResult, other: RankingResult) -> None:
    for name in ("anchor", "relation", "answer", "candidates"):
        mine, theirs = getattr(one, name).cpu(), getattr(other, name).cpu()
        if len(mine) != len(theirs):
            raise ValueError(
                f"{len(mine)} queries cannot be paired with {len(theirs)}; evaluate both models "
                "on the same triples"
            )
        if differ := (mine != theirs).nonzero().flatten().tolist():
            raise ValueError(
                f"query {differ[0]} has {name} {int(mine[differ[0]])} in one evaluation and "
                f"{int(theirs[differ[0]])} in another; evaluate both models on the same triples "
                "and known facts"
            )
