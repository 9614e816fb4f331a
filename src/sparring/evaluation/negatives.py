"""Negatives that a sampler draws for given triples, in words."""

import math
from dataclasses import dataclass

import polars as pl
import torch
from jaxtyping import Int
from torch import Tensor

from sparring.corruption import tail_and_head_queries
from sparring.data.graph import KnowledgeGraph
from sparring.evaluation.audit import restored
from sparring.evaluation.display import FrameResult
from sparring.evaluation.queries import WANTED
from sparring.evaluation.ranking import eval_mode
from sparring.groups import ungroup
from sparring.models.base import KGEModel
from sparring.samplers.base import NegativeSampler


@dataclass(frozen=True, repr=False, eq=False)
class DrawnNegatives(FrameResult):
    """One row per negative: all that replace tails, then all that replace heads.

    The columns of the frame are the triple (`head`, `relation`, `tail`), the `side` that was
    replaced, the `negative` by name and its `label`, its `score`, `p_false_negative` as the sampler
    estimates it, whether it `counts` in the loss, and whether it is `known` as a fact of any split.
    """

    def shown(self) -> pl.DataFrame:
        """Each query in one column, and labels in place of names."""
        of_tails = pl.col("side") == "tail"
        tails = pl.format("{}  {}  {}", "head", "relation", pl.lit(WANTED))
        heads = pl.format("{}  {}  {}", pl.lit(WANTED), "relation", "tail")
        return self.frame.select(
            pl.when(of_tails).then(tails).otherwise(heads).alias("query"),
            pl.when(of_tails).then("tail").otherwise("head").alias("answer"),
            pl.col("label").alias("negative"),
            "score",
            pl.col("p_false_negative").alias("p false"),
            "counts",
            "known",
        )


def draw_negatives(
    model: KGEModel,
    sampler: NegativeSampler,
    graph: KnowledgeGraph,
    triples: Int[Tensor, "T 3"],
    *,
    k: int,
    rng: torch.Generator,
) -> DrawnNegatives:
    """Draw k negatives for the tail query and for the head query of each triple.

    The state of the sampler is restored afterwards.

    Args:
        model: scores the negatives.
        k: negatives per query; a sampler that draws fewer draws several times.
        rng: on the device of the model.

    Raises:
        ValueError: if there are no triples, or k is below 1.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1; got {k}")
    if not len(triples):
        raise ValueError("there are no triples to draw negatives for")
    queries = tail_and_head_queries(triples.to(rng.device), len(graph.relations))
    known = graph.known.to(rng.device)
    parts = []
    with eval_mode(model), restored(sampler):
        score = model(queries)
        for _ in range(math.ceil(k / sampler.k)):
            drawn = sampler.sample(queries, score, rng)
            ids = ungroup(drawn.ids, len(queries))
            fact = known.contains(queries, ids)
            parts.append(
                (ids, drawn.per_candidate(score), drawn.p_false_negative, drawn.mask, fact)
            )
    ids, *values = (torch.cat(columns, 1)[:, :k].flatten().cpu() for columns in zip(*parts))
    head, relation, tail = triples.cpu().repeat(2, 1).repeat_interleave(k, 0).numpy().T
    sides = torch.arange(2).repeat_interleave(len(triples) * k).tolist()
    frame = pl.DataFrame(
        {
            "head": graph.entities.names.gather(head),
            "relation": graph.relations.names.gather(relation),
            "tail": graph.entities.names.gather(tail),
            "side": [("tail", "head")[side] for side in sides],
            "negative": graph.entities.names.gather(ids.numpy()),
            "label": graph.entities.labels.gather(ids.numpy()),
        }
    )
    names = ("score", "p_false_negative", "counts", "known")
    columns = [pl.Series(name, value.numpy()) for name, value in zip(names, values)]
    return DrawnNegatives(frame.with_columns(columns))
