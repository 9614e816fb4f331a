"""Audit the sampler of an experiment, and show its negatives for a few queries in words."""

from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from sparring.batch import Queries
from sparring.corruption import tail_and_head_queries
from sparring.data.graph import KnowledgeGraph
from sparring.data.index import TripleIndex
from sparring.evaluation.audit import Audit, audit
from sparring.experiments.config import Config
from sparring.groups import ungroup
from sparring.models.base import KGEModel
from sparring.seeds import Seeds
from sparring.training import TrainingStep

DRAWS, MOST_BATCHES, MOST_SCORES = 2**18, 32, 2**22
MARKS = ("", "known", "withheld", "answer")


def audit_sampler(
    step: TrainingStep,
    graph: KnowledgeGraph,
    config: Config,
    *,
    model: KGEModel | None,
    extra_true: Int[Tensor, "X 3"] | None = None,
) -> Audit:
    """Audit the sampler on batches like those of its training, under the experiment's seed.

    Args:
        model: scores the negatives, to measure how hard they are; see `audit`.
        extra_true: true triples that are in no split, as ids.
    """
    batch = min(config.train.batch_size, len(graph.train))
    return audit(
        step.sampler,
        graph,
        rng=Seeds(config.general.seed).fresh("audit", step_device(step)),
        model=model,
        extra_true=extra_true,
        draws=min(DRAWS, MOST_BATCHES * 2 * batch * step.sampler.k),
        batch_size=batch,
        max_scores=MOST_SCORES,
    )


def example_negatives(
    step: TrainingStep,
    graph: KnowledgeGraph,
    config: Config,
    *,
    extra_true: Int[Tensor, "X 3"] | None = None,
    queries: int = 6,
    candidates: int = 12,
) -> list[dict[str, Any]]:
    """Negatives for a few queries of the evaluated split, those with the highest scores first.

    The queries are the same for every sampler and seed.

    Args:
        extra_true: true triples that are in no split, as ids.
        queries, candidates: how many of each to show, at most.

    Returns:
        One dict per query: its `anchor`, `relation` and `answer` by label; what is `asked` for,
        "tail" or "head"; how many candidates were `drawn`, and how many of them are `known` and
        `withheld`; and the `candidates`. A candidate is a dict of its `entity` by label; its
        `mark`, "known" for a training fact, "withheld" for another fact, "answer" for the query's
        own answer, else empty; whether it `counts` in the loss; and its `score`.
    """
    device = step_device(step)
    batch = min(config.train.batch_size, len(graph.train))
    evaluated = getattr(graph, config.evaluate.split)
    order = torch.randperm(len(evaluated), generator=Seeds(0).fresh("examples"))
    triples = evaluated[order.repeat(-(-batch // len(order)))[:batch]].to(device)
    rng = Seeds(config.general.seed).fresh("examples", device)
    both = tail_and_head_queries(triples, len(graph.relations))
    shown = range(min(queries, len(evaluated), batch))
    rows = torch.tensor(
        [i + batch * (i % 2) for i in shown], device=device
    )  # tails and heads in turn
    with torch.no_grad():
        drawn = step.sampler.sample(both, step.model(both), rng)
        some, ids = both[rows], ungroup(drawn.ids, len(both))[rows]
        score = step.model(some)(ids)
    mark = marks(some, ids, graph, extra_true)
    hardest = score.argsort(1, descending=True)[:, :candidates]
    return [
        {
            **_in_words(graph, some, row),
            "drawn": ids.shape[1],
            "known": int((mark[row] == MARKS.index("known")).sum()),
            "withheld": int((mark[row] == MARKS.index("withheld")).sum()),
            "candidates": [
                {
                    "entity": graph.entities.label(int(ids[row, column])),
                    "mark": MARKS[mark[row, column]],
                    "counts": bool(drawn.mask[rows[row], column]),
                    "score": round(score[row, column].item(), 4),
                }
                for column in hardest[row].tolist()
            ],
        }
        for row in shown
    ]


def marks(
    queries: Queries,
    ids: Int[Tensor, "B K"],
    graph: KnowledgeGraph,
    extra_true: Int[Tensor, "X 3"] | None = None,
) -> Int[Tensor, "B K"]:
    """What is known about each candidate, as an index into `MARKS`."""
    everything = [
        graph.train,
        graph.valid,
        graph.test,
        *([] if extra_true is None else [extra_true]),
    ]
    sizes = len(graph.entities), len(graph.relations)
    true, known = (TripleIndex(torch.cat(parts), *sizes) for parts in (everything, [graph.train]))
    mark = torch.zeros_like(ids)
    for name, facts in (("withheld", true), ("known", known)):
        mark[facts.to(ids.device).contains(queries, ids)] = MARKS.index(name)
    mark[ids == queries.answer.unsqueeze(1)] = MARKS.index("answer")
    return mark


def step_device(step: TrainingStep) -> torch.device:
    """The device of the parameters."""
    return next(step.parameters()).device


def _in_words(graph: KnowledgeGraph, queries: Queries, row: int) -> dict[str, str]:
    relation = int(queries.relation[row])
    return {
        "anchor": graph.entities.label(int(queries.anchor[row])),
        "relation": graph.relations.label(relation % len(graph.relations)),
        "answer": graph.entities.label(int(queries.answer[row])),
        "asked": "head" if relation >= len(graph.relations) else "tail",
    }
