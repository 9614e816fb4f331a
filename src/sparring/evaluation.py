"""Exact filtered ranking, in bounded memory."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sparring.batch import Queries, Scorer
from sparring.graph.facts import FactIndex
from sparring.graph.sides import both_queries
from sparring.models.base import MainModel


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Filtered ranks of the answers of both queries of each triple; 1 is best.

    Attributes:
        anchor, relation, answer: the queries; relation ids in [0, 2R), heads from R on.
        rank: 1 + rivals that score higher + half of those that tie.
        candidates: entities ranked: the answer and its rivals.
        num_relations: R.
    """

    anchor: Int[Tensor, "Q"]
    relation: Int[Tensor, "Q"]
    answer: Int[Tensor, "Q"]
    rank: Float[Tensor, "Q"]
    candidates: Int[Tensor, "Q"]
    num_relations: int

    def mrr(self) -> float:
        """Mean reciprocal rank."""
        return self.rank.reciprocal().mean().item()

    def hits(self, k: int) -> float:
        """Share of answers among the first k."""
        return (self.rank <= k).double().mean().item()

    def mr(self) -> float:
        """Mean rank."""
        return self.rank.mean().item()

    def amri(self) -> float:
        """Adjusted mean rank index: 1 is perfect, 0 is chance (Berrendorf et al., 2020)."""
        chance = (self.candidates.double() - 1).mean() / 2
        return 1 - ((self.rank - 1).mean() / chance).item()


def filtered_rank(
    queries: Queries, score: Scorer, known: FactIndex, *, chunk: int
) -> tuple[Float[Tensor, "B"], Int[Tensor, "B"]]:
    """Rank of each answer among the entities not known to answer its query, and their number.

    Ties count half: the expected rank under random tie-breaking. The answer's score is taken
    from the same block of scores as its neighbours', so that rounding cannot hide a tie.

    Args:
        chunk: entities scored at once; with fewer than N, each block is scored twice.

    Raises:
        FloatingPointError: if a score is NaN. NaN compares as "never better", so it would
            otherwise pass as a perfect rank.
    """
    row, entity = known.answers(queries)
    rival = entity != queries.answer[row]
    row, entity = row[rival], entity[rival]
    candidates = known.num_entities - torch.bincount(row, minlength=len(queries))

    everyone = torch.arange(known.num_entities, device=queries.anchor.device).unsqueeze(0)
    starts = range(0, known.num_entities, chunk)
    blocks = {}
    target = torch.empty(0)
    for start in starts:
        scores = score(everyone[:, start : start + chunk])
        _refuse_nan(queries, scores)
        here = ((queries.answer >= start) & (queries.answer < start + chunk)).unsqueeze(1)
        spot = (queries.answer.unsqueeze(1) - start).clamp(0, scores.shape[1] - 1)
        found = scores.gather(1, spot)
        target = torch.where(here, found, target) if len(target) else found
        blocks = {start: scores}

    better = torch.zeros_like(candidates)
    tied = torch.zeros_like(candidates)
    for start in starts:
        scores = blocks.get(start)
        if scores is None:
            scores = score(everyone[:, start : start + chunk])
        inside = (entity >= start) & (entity < start + chunk)
        scores[row[inside], entity[inside] - start] = torch.nan  # neither better nor tied
        better += (scores > target).sum(1)
        tied += (scores == target).sum(1)
        blocks = {}
    return 1 + better + (tied - 1).double() / 2, candidates  # the answer ties with itself


def _refuse_nan(queries: Queries, scores: Float[Tensor, "B n"]) -> None:
    broken = scores.amax(1).isnan()  # the maximum of a row with a NaN is NaN
    if broken.any():
        first = int(broken.nonzero()[0])
        raise FloatingPointError(
            f"{int(broken.sum())} of {len(queries)} queries have NaN scores; the first asks for "
            f"relation {int(queries.relation[first])} of entity {int(queries.anchor[first])}"
        )


@torch.no_grad()
def evaluate(
    model: MainModel,
    triples: Int[Tensor, "T 3"],
    known: FactIndex,
    *,
    batch: int = 1024,
    max_scores: int = 2**25,
) -> Evaluation:
    """Rank the answers of both queries of each triple among all entities not known to answer.

    Args:
        known: facts that do not count as rivals: those of all splits.
        batch: queries encoded together, at most.
        max_scores: scores held at once, at most (but at least one per query): N is cut into
            chunks where a batch of rows would not fit.

    Raises:
        ValueError: if there are no triples or `max_scores` is below 1.
        FloatingPointError: if a score is NaN.
    """
    if not len(triples):
        raise ValueError("there are no triples to evaluate on")
    if max_scores < 1:
        raise ValueError(f"max_scores must be at least 1; got {max_scores}")
    fitting = max(max_scores // known.num_entities, min(64, max_scores))
    rows = min(batch, fitting)
    chunk = max(1, max_scores // rows)
    queries = both_queries(triples, known.num_relations)
    training = model.training
    model.eval()
    try:
        parts = []
        for start in range(0, len(queries), rows):
            some = queries[start : start + rows]
            parts.append(filtered_rank(some, model(some), known, chunk=chunk))
    finally:
        model.train(training)
    rank, candidates = (torch.cat(column) for column in zip(*parts))
    return Evaluation(
        queries.anchor, queries.relation, queries.answer, rank, candidates, known.num_relations
    )
