"""Negatives drawn once, as the fixed arrays that DGL-KE, BESS-KGE and dicee can be handed.

No library is imported: these are layouts of NumPy arrays, read from the libraries' sources."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from sparring.batch import Negatives, Queries, Scorer, ungroup
from sparring.corruption import tail_and_head_queries
from sparring.data.graph import KnowledgeGraph
from sparring.samplers.base import NegativeSampler

ROUNDS = 8  # draws for a batch, of which the first k candidates that count are kept


@dataclass(frozen=True, eq=False)
class FixedNegatives:
    """k heads and k tails for each training triple.

    Attributes:
        to_triples: False for the candidates of a side that never got one that counts, because all
            entities answer it; these are not to be used.
    """

    triples: Int[Tensor, "T 3"]
    heads: Int[Tensor, "T k"]
    tails: Int[Tensor, "T k"]
    to_triples: Bool[Tensor, "T 2"]


@torch.no_grad()
def drawn_once(
    sampler: NegativeSampler,
    graph: KnowledgeGraph,
    score: Callable[[Queries], Scorer],
    rng: torch.Generator,
    *,
    batch: int = 1024,
) -> FixedNegatives:
    """The sampler's negatives for every training triple, both sides.

    Candidates that do not count are drawn anew; where too few do, those that do are repeated.

    Args:
        score: the main model's opinion, for samplers that ask for it.
        batch: triples at once; the last ones make a full batch with the first.
    """
    triples = graph.train.to(rng.device)
    rows = torch.arange(-(-len(triples) // batch) * batch, device=rng.device) % len(triples)
    found = []
    for some in rows.split(batch):
        queries = tail_and_head_queries(triples[some], len(graph.relations))
        draws = [sampler.sample(queries, score(queries), rng) for _ in range(ROUNDS)]
        ids, counts = _first(draws, len(queries), sampler.k)
        tails, heads = ids.chunk(2)
        found.append((heads, tails, torch.stack(counts.chunk(2)[::-1], 1)))
    parts = (torch.cat(part)[: len(triples)] for part in zip(*found))
    return FixedNegatives(triples, *parts)


def _first(
    draws: list[Negatives], batch: int, k: int
) -> tuple[Int[Tensor, "B k"], Bool[Tensor, "B"]]:
    ids = torch.cat([ungroup(drawn.ids, batch) for drawn in draws], 1)
    mask = torch.cat([drawn.mask for drawn in draws], 1)
    return ids.gather(1, that_count(mask, k)), mask.any(1)


def that_count(mask: Bool[Tensor, "B K"], k: int) -> Int[Tensor, "B k"]:
    """Columns of the first k candidates that count, from the first again where they are fewer."""
    order = mask.int().argsort(dim=1, descending=True, stable=True)
    place = torch.arange(k, device=mask.device) % mask.sum(1, keepdim=True).clamp(min=1)
    return order.gather(1, place)


def bess_arrays(fixed: FixedNegatives) -> dict[str, np.ndarray]:
    """Arguments of BESS-KGE's `TripleBasedShardedNegativeSampler`, and the triples they are for.

    In a row without a usable negative, the array holds the answer itself.
    """
    heads, tails = (
        torch.where(
            fixed.to_triples[:, side : side + 1], ids, fixed.triples[:, column : column + 1]
        )
        for side, ids, column in ((0, fixed.heads, 0), (1, fixed.tails, 2))
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

    Each triple comes with k negatives, heads and tails taking turns.
    """
    k = fixed.heads.shape[1]
    head = torch.arange(k, device=fixed.heads.device) % 2 == 0
    wrong = fixed.triples.unsqueeze(1).repeat(1, k, 1)
    wrong[..., 0] = torch.where(head, fixed.heads, wrong[..., 0])
    wrong[..., 2] = torch.where(head, wrong[..., 2], fixed.tails)
    counts = torch.where(head, fixed.to_triples[:, :1], fixed.to_triples[:, 1:])
    both = torch.cat([fixed.triples, wrong[counts]]).cpu()
    labels = (torch.arange(len(both)) < len(fixed.triples)).float()
    order = torch.randperm(len(both), generator=rng)
    return {"train_set": both[order].numpy(), "labels": labels[order].numpy()}


def write_names(graph: KnowledgeGraph, folder: Path) -> None:
    """The splits as ids and the names they stand for, as DGL-KE's `udd_hrt` reads them."""
    for kind, names in (("entities", graph.entities), ("relations", graph.relations)):
        rows = (f"{row}\t{name}\n" for row, name in enumerate(names))
        (folder / f"{kind}.tsv").write_text("".join(rows), encoding="utf-8")
    for split in ("train", "valid", "test"):
        rows = ("\t".join(map(str, row)) + "\n" for row in getattr(graph, split).tolist())
        (folder / f"{split}.tsv").write_text("".join(rows), encoding="utf-8")
