"""What the sampler of an experiment offers: audited, and to a few test queries in words."""

from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from sparring.batch import Queries, ungroup
from sparring.corruption import tail_and_head_queries
from sparring.data.graph import KnowledgeGraph
from sparring.data.index import TripleIndex
from sparring.evaluation.audit import Audit, audit
from sparring.experiments.config import Config
from sparring.models.base import KGEModel
from sparring.seeds import Seeds
from sparring.training import TrainingStep

DRAWS, MOST_BATCHES, MOST_SCORES = 2**18, 32, 2**22
MARKS = ("", "known", "withheld", "answer")


def audited(
    step: TrainingStep,
    graph: KnowledgeGraph,
    config: Config,
    *,
    model: KGEModel | None,
    extra_true: Int[Tensor, "X 3"] | None = None,
) -> Audit:
    """Audit the sampler on batches like those of its training, under the experiment's seed.

    Args:
        model: judges how hard the negatives are; see `audit`.
        extra_true: further facts, known from elsewhere.
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


def examples(
    step: TrainingStep,
    graph: KnowledgeGraph,
    config: Config,
    *,
    extra_true: Int[Tensor, "X 3"] | None = None,
    queries: int = 6,
    candidates: int = 12,
) -> list[dict[str, Any]]:
    """Negatives for a few queries that were judged, those most plausible to the model first.

    The queries are the same for every sampler and seed. Each is a dict of its `anchor`,
    `relation` and `answer` by label; what is `asked` for, "tail" or "head"; how many candidates
    were `drawn`, and how many of them are `known` and `withheld`; and the `candidates`. Each
    candidate is a dict of its `entity` by label; its `mark`, "known" for a training fact,
    "withheld" for a fact that training does not see, "answer" for the query's own answer, else
    empty; whether it `counts`; and its `score`.

    Args:
        extra_true: further facts, known from elsewhere.
        queries, candidates: how many of each to show, at most.
    """
    device = step_device(step)
    batch = min(config.train.batch_size, len(graph.train))
    judged = getattr(graph, config.evaluate.split)
    order = torch.randperm(len(judged), generator=Seeds(0).fresh("examples"))
    triples = judged[order.repeat(-(-batch // len(order)))[:batch]].to(device)
    rng = Seeds(config.general.seed).fresh("examples", device)
    asked = tail_and_head_queries(triples, len(graph.relations))
    shown = range(min(queries, len(judged), batch))
    rows = torch.tensor([i + batch * (i % 2) for i in shown], device=device)  # take turns
    with torch.no_grad():
        drawn = step.sampler.sample(asked, step.model(asked), rng)
        some, ids = asked[rows], ungroup(drawn.ids, len(asked))[rows]
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
    """What is known about each candidate, as a position in `MARKS`."""
    everything = [
        graph.train,
        graph.valid,
        graph.test,
        *([] if extra_true is None else [extra_true]),
    ]
    sizes = len(graph.entities), len(graph.relations)
    true, known = (TripleIndex(torch.cat(parts), *sizes) for parts in (everything, [graph.train]))
    mark = torch.zeros_like(ids)
    for place, facts in ((2, true), (1, known)):
        mark[facts.to(ids.device).contains(queries, ids)] = place
    mark[ids == queries.answer.unsqueeze(1)] = 3
    return mark


def step_device(step: TrainingStep) -> torch.device:
    """Where the parameters are."""
    return next(step.parameters()).device


def _in_words(graph: KnowledgeGraph, queries: Queries, row: int) -> dict[str, str]:
    relation = int(queries.relation[row])
    return {
        "anchor": graph.entities.label(int(queries.anchor[row])),
        "relation": graph.relations.label(relation % len(graph.relations)),
        "answer": graph.entities.label(int(queries.answer[row])),
        "asked": "head" if relation >= len(graph.relations) else "tail",
    }
