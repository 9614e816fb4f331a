"""Exact filtered ranks and best answers over sharded tables: the same bits on any number of ranks.

All ranks encode the same queries. Each scores the entities of its own virtual workers, one worker
at a time, so that matrix products have the same shapes on any number of ranks. Counts add up."""

from collections.abc import Iterator

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sparring.batch import Queries, Scorer
from sparring.corruption import tail_and_head_queries
from sparring.data.index import TripleIndex
from sparring.distributed import world
from sparring.distributed.facts import QueryIndex, own_queries
from sparring.distributed.layout import Layout
from sparring.distributed.table import local_tables
from sparring.evaluation.ranking import (
    RankingResult,
    answer_score,
    count_unknown,
    eval_mode,
)
from sparring.models.base import KGEModel


def evaluate(
    model: KGEModel,
    triples: Int[Tensor, "T 3"],
    known: TripleIndex,
    layout: Layout,
    *,
    batch_size: int = 1024,
    max_scores: int = 2**25,
) -> RankingResult:
    """Filtered ranks of the tail and the head of each triple, on every rank.

    Args:
        triples: the same on all ranks.
        known: answers that are left out, where this rank knows them; each by one rank.
        batch_size: queries encoded together, at most.
        max_scores: scores of one virtual worker's entities held at once, at most, but at least one
            query's.

    Raises:
        ValueError: if there are no triples.
        FloatingPointError: if a score is NaN.
    """
    if not len(triples):
        raise ValueError("there are no triples to evaluate on")
    queries = tail_and_head_queries(triples, layout.num_relations)
    rows = max(1, min(batch_size, max_scores // layout.block))
    parts = []
    with eval_mode(model):
        for start in range(0, len(queries), rows):
            parts.append(_ranks(model, queries[start : start + rows], known, layout))
    rank, candidates = (torch.cat(column) for column in zip(*parts))
    return RankingResult(
        *(queries.anchor, queries.relation, queries.answer, rank, candidates, layout.num_relations)
    )


def _ranks(
    model: KGEModel, queries: Queries, known: TripleIndex, layout: Layout
) -> tuple[Float[Tensor, "B"], Int[Tensor, "B"]]:
    """Rank of each answer among the entities that are not known answers, and their number."""
    score = model(queries)
    row, entity = all_known(queries, known)
    other = entity != queries.answer[row]
    row, entity = row[other], entity[other]
    target = torch.zeros(len(queries), 1, device=row.device)
    above, at_least = torch.zeros(2, len(queries), dtype=torch.long, device=row.device)
    with local_tables(model):
        for worker, scores in blocks(score, layout, row.device):
            local = _in_block(queries.answer, worker, layout)
            target += answer_score(queries, scores, local)
        target = world.sum_all(target)
        for worker, scores in blocks(score, layout, row.device):
            inside = entity % layout.workers == worker
            hidden = (row[inside], entity[inside] // layout.workers)
            more, same_or_more = count_unknown(scores, target, hidden)
            above += more
            at_least += same_or_more
    above, at_least = world.sum_all(torch.stack([above, at_least]))
    candidates = layout.num_entities - torch.bincount(row, minlength=len(queries))
    return (1 + above + at_least).double() / 2, candidates


def blocks(
    score: Scorer, layout: Layout, device: torch.device
) -> Iterator[tuple[int, Float[Tensor, "B n"]]]:
    """Scores of the entities of each virtual worker of this rank, inside `local_tables`."""
    for worker in layout.own:
        yield worker, score(layout.entities_of(worker).unsqueeze(0).to(device))


def _in_block(entity: Int[Tensor, "B"], worker: int, layout: Layout) -> Int[Tensor, "B"]:
    """The place of entities among those of a virtual worker; -1 for those of others."""
    return torch.where(entity % layout.workers == worker, entity // layout.workers, -1)


def all_known(queries: Queries, known: TripleIndex) -> tuple[Int[Tensor, "A"], Int[Tensor, "A"]]:
    """(row of the batch, entity) of the answers that any rank knows."""
    pairs = world.gather_ragged(torch.stack(known.answers(queries), 1))
    return pairs[:, 0], pairs[:, 1]


@torch.no_grad()
def best_answers(
    model: KGEModel, queries: Queries, known: TripleIndex, layout: Layout, k: int
) -> tuple[Float[Tensor, "B k"], Int[Tensor, "B k"]]:
    """Scores and ids of the k best entities of each query that are not known answers.

    Ties go to the smaller id. Where fewer than k are left, scores are -inf.
    """
    with eval_mode(model):
        score = model(queries)
        row, entity = all_known(queries, known)
        best: list[Tensor] = []
        ids: list[Tensor] = []
        with local_tables(model):
            for worker, scores in blocks(score, layout, row.device):
                inside = entity % layout.workers == worker
                scores[row[inside], entity[inside] // layout.workers] = -torch.inf
                top = scores.sort(dim=1, descending=True, stable=True)
                best.append(top.values[:, :k])
                ids.append(top.indices[:, :k] * layout.workers + worker)
    every = [torch.cat(part, 1).T.contiguous() for part in (best, ids)]
    found, name = (world.gather_ragged(part).T for part in every)
    # first by id, then by score: a stable sort keeps the order of ids where scores are equal
    order = name.argsort(dim=1, stable=True)
    found, name = found.gather(1, order), name.gather(1, order)
    top = found.sort(dim=1, descending=True, stable=True)
    return top.values[:, :k], name.gather(1, top.indices[:, :k])


def known_answers(triples: Int[Tensor, "T 3"], layout: Layout) -> QueryIndex:
    """Known answers of the queries that this rank owns, for `evaluate`."""
    facts, _ = own_queries(triples, layout)
    return QueryIndex(facts, layout.num_entities, layout.num_relations)
