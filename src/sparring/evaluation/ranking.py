"""Exact filtered ranking, in bounded memory.

At most `max_scores` scores are held at once, 4 bytes each; see `fitting` for the rest.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from sparring.batch import Queries, Scorer
from sparring.corruption import tail_and_head_queries
from sparring.data.index import TripleIndex
from sparring.kernels.runtime import can_loop, compiled, in_parts
from sparring.models.base import KGEModel

PRECISIONS = ("float32", "bfloat16")


@dataclass(frozen=True, eq=False)
class RankingResult:
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
        """Adjusted mean rank index: 1 is perfect, 0 is chance (Berrendorf et al., 2020).

        0 also where no answer has a rival: then chance and perfection are the same.
        """
        chance = (self.candidates.double() - 1).mean().item() / 2
        return 1 - (self.rank - 1).mean().item() / chance if chance else 0.0


def filtered_rank(
    queries: Queries, score: Scorer, known: TripleIndex, *, chunk: int
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
    block = lambda start: score(everyone[:, start : start + chunk])
    if len(starts) == 1:
        whole = block(0)
        block = lambda start: whole
    nothing = torch.zeros((), device=queries.anchor.device)
    target = sum((_of_answer(queries, block(start), start) for start in starts), nothing)

    above = torch.zeros_like(candidates)
    at_least = torch.zeros_like(candidates)
    for start in starts:
        inside = (entity >= start) & (entity < start + chunk)
        hidden = (row[inside], entity[inside] - start)
        more, same_or_more = _count(block(start), target, hidden)
        above += more
        at_least += same_or_more
    best, worst = 1 + above, at_least  # the answer ties with itself
    return (best + worst).double() / 2, candidates


def _of_answer(queries: Queries, scores: Float[Tensor, "B n"], start: int) -> Float[Tensor, "B 1"]:
    """The answer's score where it lies in the block that begins at `start`, else 0."""
    refuse_nan(queries, scores)
    spot = queries.answer.unsqueeze(1) - start
    here = (spot >= 0) & (spot < scores.shape[1])
    return scores.gather(1, spot.clamp(0, scores.shape[1] - 1)).where(here, 0)


def _count(
    scores: Float[Tensor, "B n"], target: Float[Tensor, "B 1"], hidden: tuple[Tensor, Tensor]
) -> tuple[Int[Tensor, "B"], Int[Tensor, "B"]]:
    """How many score above the target, and how many at least as high, but for the hidden."""
    row, rival, rows = hidden[0], scores[hidden], len(scores)
    above, at_least = count_greater(scores, target)
    bar = target.squeeze(1)[row]
    return (
        above - torch.bincount(row[rival > bar], minlength=rows),
        at_least - torch.bincount(row[rival >= bar], minlength=rows),
    )


def count_greater(
    scores: Float[Tensor, "B n"], target: Float[Tensor, "B 1"]
) -> tuple[Int[Tensor, "B"], Int[Tensor, "B"]]:
    """How many scores of each row are above its target, and how many at least as high."""
    if can_loop(scores) and scores.dtype in (torch.float32, torch.float64):
        above, at_least = torch.empty(2, len(scores), dtype=torch.int32)
        in_parts(compare, len(scores), scores.numel(), scores, target, above, at_least)
        return above, at_least
    above = (scores > target).sum(1, dtype=torch.int32)
    return above, (scores >= target).sum(1, dtype=torch.int32)


@compiled
def compare(start, stop, scores, target, above, at_least):
    """`count_greater`, in one pass."""
    for row in range(start, stop):
        bar, more, same_or_more = target[row, 0], 0, 0
        for k in range(scores.shape[1]):
            more += scores[row, k] > bar
            same_or_more += scores[row, k] >= bar
        above[row], at_least[row] = more, same_or_more
    return 0


def refuse_nan(queries: Queries, scores: Float[Tensor, "B n"]) -> None:
    """Do nothing, unless a score is NaN.

    Raises:
        FloatingPointError: if a score is NaN; says how many queries have one, and the first.
    """
    broken = scores.amax(1).isnan()  # the maximum of a row with a NaN is NaN
    if broken.any():
        first = int(broken.nonzero()[0])
        raise FloatingPointError(
            f"{int(broken.sum())} of {len(queries)} queries have NaN scores; the first asks for "
            f"relation {int(queries.relation[first])} of entity {int(queries.anchor[first])}"
        )


def fitting(batch: int, max_scores: int, num_entities: int) -> tuple[int, int]:
    """Queries per batch and entities per chunk, so that at most `max_scores` are held at once.

    All entities are scored in one chunk unless that would leave fewer than 64 queries. So a chunk
    is never more than all entities, nor more than max_scores / 64 of them (but for limits below
    64). At its peak ranking holds 4 bytes per score (models of inner products and L1 distances; 12
    for L2 distances, 24 for those with projections, as the models take some steps to their
    scores; 5 more where comparisons are not compiled), and 4 d bytes for each entity of a chunk,
    where vectors are copied.

    Raises:
        ValueError: if `batch` or `max_scores` is below 1.
    """
    for name, value in (("batch", batch), ("max_scores", max_scores)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1; got {value}")
    rows = min(batch, max(max_scores // num_entities, min(64, max_scores)))
    return rows, min(num_entities, max_scores // rows)


def arithmetic(device: torch.device, precision: str) -> torch.autocast:
    """Where products are taken in this precision; what only adds up or compares stays as it is.

    Raises:
        ValueError: for a precision of another name.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision is one of {', '.join(PRECISIONS)}; got {precision!r}")
    return torch.autocast(
        device.type, dtype=torch.bfloat16, enabled=precision == "bfloat16", cache_enabled=False
    )


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """No gradients and no dropout; afterwards every part is in the mode it came in."""
    modes = [(part, part.training) for part in model.modules()]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for part, mode in modes:
            part.training = mode


def evaluate(
    model: KGEModel,
    triples: Int[Tensor, "T 3"],
    known: TripleIndex,
    *,
    batch: int = 1024,
    max_scores: int = 2**25,
    precision: str = "float32",
) -> RankingResult:
    """Rank the answers of both queries of each triple among all entities not known to answer.

    Args:
        known: facts that do not count as rivals: those of all splits.
        batch: queries encoded together, at most.
        max_scores: scores held at once, at most: N is cut into chunks where a batch of at least
            64 rows would not fit.
        precision: "float32" leaves models as they are. "bfloat16" takes products in 16 bits, for
            GPUs: scores keep two or three digits, and those that become alike count as ties.

    Raises:
        ValueError: if there are no triples, `batch` or `max_scores` is below 1, or the precision
            is of another name.
        FloatingPointError: if a score is NaN.
    """
    if not len(triples):
        raise ValueError("there are no triples to evaluate on")
    rows, chunk = fitting(batch, max_scores, known.num_entities)
    queries = tail_and_head_queries(triples, known.num_relations)
    parts = []
    with eval_mode(model), arithmetic(triples.device, precision):
        for start in range(0, len(queries), rows):
            some = queries[start : start + rows]
            parts.append(filtered_rank(some, model(some), known, chunk=chunk))
    rank, candidates = (torch.cat(column) for column in zip(*parts))
    return RankingResult(
        queries.anchor, queries.relation, queries.answer, rank, candidates, known.num_relations
    )
