"""Negatives drawn once, as the fixed arrays that DGL-KE, BESS-KGE and dicee read.

No library is imported here: the layouts follow the sources of the libraries.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from sparring.batch import Negatives, Queries, Scorer
from sparring.corruption import tail_and_head_queries
from sparring.data.graph import KnowledgeGraph
from sparring.groups import ungroup
from sparring.printing import printable
from sparring.samplers.base import NegativeSampler

BREAKS_ROWS = re.compile(r"[\t\n\r]")
ROUNDS = 8  # draws per batch, of which the first k candidates that count are kept


@dataclass(frozen=True, eq=False)
class FixedNegatives:
    """k corrupted heads and k corrupted tails of each training triple.

    Attributes:
        usable: for the heads and the tails of each triple, whether any of them count. False where
            all entities drawn are answers: those negatives must not be used.
    """

    triples: Int[Tensor, "T 3"]
    heads: Int[Tensor, "T k"]
    tails: Int[Tensor, "T k"]
    usable: Bool[Tensor, "T 2"]


@torch.no_grad()
def draw_fixed_negatives(
    sampler: NegativeSampler,
    graph: KnowledgeGraph,
    model: Callable[[Queries], Scorer],
    rng: torch.Generator,
    *,
    batch_size: int = 1024,
) -> FixedNegatives:
    """Draw negatives for every training triple, both ends.

    Candidates that do not count are drawn again; where too few count, those that do are repeated.

    Args:
        sampler: draws k candidates per query.
        model: turns queries into a scorer, for samplers that need scores.
        rng: on the device of sampler and model.
        batch_size: triples at once; the last batch is filled up with the first triples.
    """
    triples = graph.train.to(rng.device)
    padded = -(-len(triples) // batch_size) * batch_size
    rows = torch.arange(padded, device=rng.device) % len(triples)
    batches = []
    for batch in rows.split(batch_size):
        queries = tail_and_head_queries(triples[batch], len(graph.relations))
        draws = [sampler.sample(queries, model(queries), rng) for _ in range(ROUNDS)]
        ids, usable = _first_counted(draws, len(queries), sampler.k)
        tails, heads = ids.chunk(2)
        batches.append((heads, tails, torch.stack(usable.chunk(2)[::-1], 1)))
    columns = (torch.cat(column)[: len(triples)] for column in zip(*batches))
    return FixedNegatives(triples, *columns)


def _first_counted(
    draws: list[Negatives], num_queries: int, k: int
) -> tuple[Int[Tensor, "B k"], Bool[Tensor, "B"]]:
    ids = torch.cat([ungroup(drawn.ids, num_queries) for drawn in draws], 1)
    mask = torch.cat([drawn.mask for drawn in draws], 1)
    return ids.gather(1, counted_columns(mask, k)), mask.any(1)


def counted_columns(mask: Bool[Tensor, "B K"], k: int) -> Int[Tensor, "B k"]:
    """Columns of the first k candidates that count, repeated where there are fewer."""
    order = mask.int().argsort(dim=1, descending=True, stable=True)
    position = torch.arange(k, device=mask.device) % mask.sum(1, keepdim=True).clamp(min=1)
    return order.gather(1, position)


def bess_arrays(fixed: FixedNegatives) -> dict[str, np.ndarray]:
    """Arguments of BESS-KGE's `TripleBasedShardedNegativeSampler`, and their triples.

    A row without a usable negative holds the answer itself.
    """
    heads, tails = (
        torch.where(fixed.usable[:, end : end + 1], ids, fixed.triples[:, column : column + 1])
        for end, ids, column in ((0, fixed.heads, 0), (1, fixed.tails, 2))
    )
    arrays = {"triples": fixed.triples, "negative_heads": heads, "negative_tails": tails}
    return {name: value.cpu().numpy().astype(np.int32) for name, value in arrays.items()}


def dglke_arrays(fixed: FixedNegatives) -> dict[str, np.ndarray]:
    """Ids of negatives as DGL-KE lays them out with `chunk_size 1`: k after k, triple by triple.

    A `neg_g` for triples i .. j - 1 takes `head` or `tail` [i * k : j * k] as its ids, with
    `num_chunks = j - i`, `chunk_size = 1` and `neg_sample_size = k`.
    """
    arrays = bess_arrays(fixed)
    return {
        "neg_sample_size": np.array(fixed.heads.shape[1]),
        "head": arrays["negative_heads"].astype(np.int64).ravel(),
        "tail": arrays["negative_tails"].astype(np.int64).ravel(),
    }


def dicee_arrays(fixed: FixedNegatives, rng: torch.Generator) -> dict[str, np.ndarray]:
    """`train_set` and `labels` of dicee's `FixedNegSampleDataset`, shuffled.

    Each triple comes with k negatives that replace its head and its tail in turn.
    """
    k = fixed.heads.shape[1]
    replaces_head = torch.arange(k, device=fixed.heads.device) % 2 == 0
    negatives = fixed.triples.unsqueeze(1).repeat(1, k, 1)
    negatives[..., 0] = torch.where(replaces_head, fixed.heads, negatives[..., 0])
    negatives[..., 2] = torch.where(replaces_head, negatives[..., 2], fixed.tails)
    usable = torch.where(replaces_head, fixed.usable[:, :1], fixed.usable[:, 1:])
    triples = torch.cat([fixed.triples, negatives[usable]]).cpu()
    labels = (torch.arange(len(triples)) < len(fixed.triples)).float()
    order = torch.randperm(len(triples), generator=rng)
    return {"train_set": triples[order].numpy(), "labels": labels[order].numpy()}


def write_names(graph: KnowledgeGraph, folder: Path) -> None:
    """Write the splits as ids, and the names of the ids, as DGL-KE's `udd_hrt` reads them.

    Raises:
        ValueError: if a name has a tab or a line end, which the files cannot hold.
    """
    named = {"entities": graph.entities, "relations": graph.relations}
    for kind, names in named.items():
        if broken := [name for name in names if BREAKS_ROWS.search(name)]:
            raise ValueError(
                f"{kind}.tsv cannot hold {printable(broken[0])!r}, a name with a tab or line end; "
                "rename it in the graph"
            )
    for kind, names in named.items():
        rows = (f"{row}\t{name}\n" for row, name in enumerate(names))
        (folder / f"{kind}.tsv").write_text("".join(rows), encoding="utf-8")
    for split in ("train", "valid", "test"):
        rows = ("\t".join(map(str, row)) + "\n" for row in getattr(graph, split).tolist())
        (folder / f"{split}.tsv").write_text("".join(rows), encoding="utf-8")
