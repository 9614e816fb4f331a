"""Exact filtered ranking in bounded memory: `evaluate` and what it is made of."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from sparring.batch import Queries, Scorer
from sparring.corruption import tail_and_head_queries
from sparring.data.index import TripleIndex
from sparring.kernels.ranking import count_greater
from sparring.models.base import KGEModel

PRECISIONS = ("float32", "bfloat16")


@dataclass(frozen=True, eq=False)
class RankingResult:
    """Filtered ranks of the answers of both queries of each triple; 1 is best.

    Attributes:
        anchor, relation, answer: the queries; relation ids in [0, 2R), from R on for heads.
        rank: 1 + candidates that score higher + half of those that tie.
        candidates: entities ranked: the answer, and all that are not known to be answers.
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
        """Hits@k: fraction of answers with rank k or better."""
        return (self.rank <= k).double().mean().item()

    def mr(self) -> float:
        """Mean rank."""
        return self.rank.mean().item()

    def amri(self) -> float:
        """Adjusted mean rank index: 1 is perfect, 0 is chance (Berrendorf et al., 2020).

        Also 0 if no answer has another candidate: then chance is perfect.
        """
        chance = (self.candidates.double() - 1).mean().item() / 2
        return 1 - (self.rank - 1).mean().item() / chance if chance else 0.0


def filtered_rank(
    queries: Queries, score: Scorer, known: TripleIndex, *, chunk: int
) -> tuple[Float[Tensor, "B"], Int[Tensor, "B"]]:
    """Rank of each answer among the entities not known to answer its query, and their number.

    Ties count half, which gives the expected rank under random tie-breaking. The answer's score
    is taken from the same block of scores as its neighbors', so that rounding cannot hide a tie.

    Args:
        queries: with the answers to rank.
        score: the model's scores of candidates for these queries.
        known: facts whose entities are left out, except for the answer itself.
        chunk: entities scored at once; with fewer than N, each block is scored twice.

    Raises:
        FloatingPointError: if a score is NaN. NaN is never greater than another score, so it
            would otherwise pass as a perfect rank.
    """
    row, entity = known.answers(queries)
    other = entity != queries.answer[row]
    row, entity = row[other], entity[other]
    candidates = known.num_entities - torch.bincount(row, minlength=len(queries))

    everything = torch.arange(known.num_entities, device=queries.anchor.device).unsqueeze(0)
    starts = range(0, known.num_entities, chunk)
    block = lambda start: score(everything[:, start : start + chunk])
    if len(starts) == 1:
        whole = block(0)
        block = lambda start: whole
    nothing = torch.zeros((), device=queries.anchor.device)
    target = sum(
        (answer_score(queries, block(start), queries.answer - start) for start in starts), nothing
    )

    above = torch.zeros_like(candidates)
    at_least = torch.zeros_like(candidates)
    for start in starts:
        inside = (entity >= start) & (entity < start + chunk)
        hidden = (row[inside], entity[inside] - start)
        more, same_or_more = count_unknown(block(start), target, hidden)
        above += more
        at_least += same_or_more
    best, worst = 1 + above, at_least  # the answer ties with itself
    return (best + worst).double() / 2, candidates


def answer_score(
    queries: Queries, scores: Float[Tensor, "B n"], place: Int[Tensor, "B"]
) -> Float[Tensor, "B 1"]:
    """The answer's score if its place is in this block of scores, else 0.

    Raises:
        FloatingPointError: if a score is NaN.
    """
    check_no_nan(queries, scores)
    position = place.unsqueeze(1)
    inside = (position >= 0) & (position < scores.shape[1])
    return scores.gather(1, position.clamp(0, scores.shape[1] - 1)).where(inside, 0)


def count_unknown(
    scores: Float[Tensor, "B n"], target: Float[Tensor, "B 1"], hidden: tuple[Tensor, Tensor]
) -> tuple[Int[Tensor, "B"], Int[Tensor, "B"]]:
    """How many scores are above the target, and how many at least as high, without the hidden."""
    row, known, rows = hidden[0], scores[hidden], len(scores)
    above, at_least = count_greater(scores, target)
    threshold = target.squeeze(1)[row]
    return (
        above - torch.bincount(row[known > threshold], minlength=rows),
        at_least - torch.bincount(row[known >= threshold], minlength=rows),
    )


def check_no_nan(queries: Queries, scores: Float[Tensor, "B n"]) -> None:
    """Make sure that no score is NaN.

    Raises:
        FloatingPointError: if a score is NaN; names the number of such queries, and the first.
    """
    broken = scores.amax(1).isnan()  # the maximum of a row with a NaN is NaN
    if broken.any():
        first = int(broken.nonzero()[0])
        raise FloatingPointError(
            f"{int(broken.sum())} of {len(queries)} queries have NaN scores; the first asks for "
            f"relation {int(queries.relation[first])} of entity {int(queries.anchor[first])}"
        )


def chunk_sizes(batch_size: int, max_scores: int, num_entities: int) -> tuple[int, int]:
    """Queries per batch and entities per chunk, so that at most `max_scores` are held at once.

    All entities are scored in one chunk unless that would leave fewer than 64 queries. A chunk
    thus holds at most max_scores / 64 entities (except for limits below 64).

    At its peak, ranking holds 4 bytes per score for models of inner products and L1 distances, 12
    for L2 distances, and 24 for models with projections, which need intermediate results. Without
    compiled loops it holds 5 bytes more. Where vectors are copied, there are 4 d bytes for each
    entity of a chunk.

    Raises:
        ValueError: if `batch_size` or `max_scores` is below 1.
    """
    for name, value in (("batch_size", batch_size), ("max_scores", max_scores)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1; got {value}")
    rows = min(batch_size, max(max_scores // num_entities, min(64, max_scores)))
    return rows, min(num_entities, max_scores // rows)


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """A context where matrix products have this precision; sums and comparisons stay as they are.

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
    """Evaluation mode without gradients; afterwards every module is in its former mode."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes:
            module.training = mode


def evaluate(
    model: KGEModel,
    triples: Int[Tensor, "T 3"],
    known: TripleIndex,
    *,
    batch_size: int = 1024,
    max_scores: int = 2**25,
    precision: str = "float32",
) -> RankingResult:
    """Filtered ranks of the tail and the head of each triple.

    Args:
        model: the model to evaluate; it is left in the mode it was in.
        triples: usually the test or validation triples.
        known: entities known to answer a query are left out of its ranking: facts of all splits for
            test triples, those of train and valid (`graph.known_for_validation`) for valid ones.
        batch_size: queries encoded together, at most.
        max_scores: scores held at once, at most. The entities are split into chunks if a batch of
            64 queries would not fit.
        precision: "float32" leaves models as they are. "bfloat16" computes matrix products in 16
            bits, for GPUs: scores keep two or three digits, and those that become equal are ties.

    Returns:
        the ranks of all tail queries, then of all head queries.

    Raises:
        ValueError: if there are no triples, `batch_size` or `max_scores` is below 1, or the
            precision has another name.
        FloatingPointError: if a score is NaN.
    """
    if not len(triples):
        raise ValueError("there are no triples to evaluate on")
    rows, chunk = chunk_sizes(batch_size, max_scores, known.num_entities)
    queries = tail_and_head_queries(triples, known.num_relations)
    parts = []
    with eval_mode(model), autocast(triples.device, precision):
        for start in range(0, len(queries), rows):
            batch = queries[start : start + rows]
            parts.append(filtered_rank(batch, model(batch), known, chunk=chunk))
    rank, candidates = (torch.cat(column) for column in zip(*parts))
    return RankingResult(
        queries.anchor, queries.relation, queries.answer, rank, candidates, known.num_relations
    )
