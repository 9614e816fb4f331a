"""Small graphs, queries and scorers that contracts are checked on."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from sparring.batch import Queries, Scorer
from sparring.corruption import tail_and_head_queries
from sparring.data.graph import TrainGraph
from sparring.groups import ungroup


def tiny_graph(num_entities: int = 11, num_relations: int = 3, size: int = 40) -> TrainGraph:
    """A random graph of at most `size` distinct triples, always the same one."""
    rng = torch.Generator().manual_seed(1)
    columns = [
        torch.randint(n, (size,), generator=rng)
        for n in (num_entities, num_relations, num_entities)
    ]
    return TrainGraph(torch.stack(columns, 1).unique(dim=0), num_entities, num_relations)


def tiny_queries(graph: TrainGraph, batch: int = 24) -> Queries:
    """Both queries of batch / 2 training triples, spread evenly over the graph."""
    step = len(graph.triples) / (batch // 2)
    rows = (torch.arange(batch // 2) * step).long()
    return tail_and_head_queries(graph.triples[rows], graph.num_relations)


def seeded(device: str | torch.device, seed: int) -> torch.Generator:
    """A random stream on the device."""
    return torch.Generator(device).manual_seed(seed)


def table_scorer(table: Float[Tensor, "B N"]) -> Scorer:
    """A scorer that looks scores up, one row per query."""
    return lambda ids: table.gather(1, ungroup(ids, len(table)))


def is_close(one: Tensor, two: Tensor) -> bool:
    """Equal up to float32 rounding of sums in another order."""
    return torch.allclose(one, two, rtol=1e-4, atol=1e-5)


@contextmanager
def unchanged_random_state() -> Iterator[None]:
    """Raise AssertionError if the block draws from a global random stream."""
    streams = lambda: [torch.get_rng_state(), *torch.cuda.get_rng_state_all()]
    states = streams(), random.getstate(), repr(np.random.get_state())
    yield
    assert all(map(torch.equal, states[0], streams())), "used torch's global random state"
    assert states[1] == random.getstate(), "used Python's global random state"
    assert states[2] == repr(np.random.get_state()), "used NumPy's global random state"


def dummy_scorer(queries: Queries) -> Scorer:
    """A scorer that needs no model: fixed scores that differ between queries and entities."""
    shift = (3 * queries.anchor + queries.relation).unsqueeze(1)
    return lambda ids: ((7 * ungroup(ids, len(queries)) + shift) % 11).float()


def dummy_scores(triples: Int[Tensor, "M 3"], head: Any = None) -> Float[Tensor, "M"]:
    """Fixed scores of triples, for libraries that score triples; `head` is ignored."""
    return ((triples * torch.tensor([3, 1, 7], device=triples.device)).sum(1) % 11).float()
