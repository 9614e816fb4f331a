"""Small graphs, queries and scorers that contracts are checked on.

What checks find, in plain words."""

import random
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from sparring.batch import Queries, Scorer, ungroup
from sparring.corruption import tail_and_head_queries
from sparring.data.graph import TrainGraph


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


def close(one: Tensor, two: Tensor) -> bool:
    """Equal up to float32 rounding of sums in another order."""
    return torch.allclose(one, two, rtol=1e-4, atol=1e-5)


@contextmanager
def untouched_random_state() -> Iterator[None]:
    """Raise AssertionError if the block draws from a global random stream."""
    streams = lambda: [torch.get_rng_state(), *torch.cuda.get_rng_state_all()]
    states = streams(), random.getstate(), repr(np.random.get_state())
    yield
    assert all(map(torch.equal, states[0], streams())), "used torch's global random state"
    assert states[1] == random.getstate(), "used Python's global random state"
    assert states[2] == repr(np.random.get_state()), "used NumPy's global random state"


Severity = Literal["error", "warning"]
PATIENCE = 60  # seconds


@dataclass(frozen=True)
class Violation:
    """One thing that is wrong.

    Attributes:
        about: what was looked at, such as "ids in range".
        words: what is wrong with it.
        severity: an "error" is wrong whatever was meant; a "warning" may be meant.
    """

    about: str
    words: str
    severity: Severity = "error"


class Report:
    """Collects faults instead of stopping at the first.

    Attributes:
        looked_at: everything that was looked at, in order, with or without faults.
    """

    def __init__(self):
        self.faults: list[Violation] = []
        self.looked_at: list[str] = []

    @contextmanager
    def about(self, what: str) -> Iterator[Callable[..., None]]:
        """Look at one thing: gives `expect(kept, words, severity)`. What is raised is a fault."""

        def expect(kept: Any, words: str, severity: Severity = "error") -> None:
            if not kept:
                self.faults.append(Violation(what, words, severity))

        if what not in self.looked_at:
            self.looked_at.append(what)
        try:
            with time_limit(PATIENCE):
                yield expect
        except AssertionError as error:
            expect(False, str(error))
        except Exception as error:  # whatever a sampler may raise
            first = (str(error).splitlines() or [""])[0]
            expect(False, f"raised {type(error).__name__}: {first}")

    @property
    def errors(self) -> list[Violation]:
        """The faults that are wrong whatever was meant."""
        return [fault for fault in self.faults if fault.severity == "error"]

    def confirm(self) -> None:
        """Raise AssertionError with all errors, if there are any."""
        assert not self.errors, "; ".join(fault.words for fault in self.errors)


@contextmanager
def time_limit(seconds: int) -> Iterator[None]:
    """Raise TimeoutError in a block that takes longer; only the main thread can be limited."""

    def stop(number, frame):
        raise TimeoutError(f"no answer within {seconds} seconds")

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


CHANCE = 1e-9  # that a sampler which follows its density is told that it does not


def chi_square(counts: Float[Tensor, "n"] | Int[Tensor, "n"], expected: Tensor) -> float:
    """Chance of counts at least as far from those expected, by Pearson's test.

    Cells of fewer than 5 expected counts are judged together with the smallest of the others.
    """
    counts, expected = counts.double(), expected.double()
    order = expected.argsort(descending=True)
    counts, expected = counts[order], expected[order]
    cells = max(int((expected >= 5).sum()), 1)
    merge = torch.arange(len(counts), device=counts.device).clamp(max=cells - 1)
    counts = counts.new_zeros(cells).index_add_(0, merge, counts)
    expected = expected.new_zeros(cells).index_add_(0, merge, expected)
    if cells < 2:
        return 1.0
    far = ((counts - expected) ** 2 / expected).sum()
    return torch.special.gammaincc(torch.full_like(far, (cells - 1) / 2), far / 2).item()
