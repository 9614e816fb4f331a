"""What ranking holds at its peak, by PyTorch's own account."""

import pytest
import torch
from evaluation.fixtures import seeded
from torch.profiler import ProfilerActivity, profile

from sparring import kernels
from sparring.data.graph import TrainGraph
from sparring.evaluation.ranking import chunk_sizes, evaluate
from sparring.models import ComplEx, TransE, TransH

ENTITIES, DIM = 3000, 64
BYTES = {
    "inner products": (ComplEx, {}, 4),
    "L1 distances": (TransE, {}, 4),
    "L2 distances": (TransE, {"norm": 2}, 12),
    "projections": (TransH, {}, 24),
}


def world():
    head, tail = torch.randint(ENTITIES, (2, 4000), generator=seeded())
    return TrainGraph(torch.stack([head, head % 7, tail], 1), ENTITIES, 7)


def held(work):
    """Bytes that the work held at its peak, beside what was there before."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as watch:
        work()
    events = watch.profiler.kineto_results.events()
    steps = [event for event in events if event.name() == "[memory]"]
    steps.sort(key=lambda event: event.start_ns())
    return torch.tensor([event.nbytes() for event in steps]).cumsum(0).max().item()


def over(graph, kind, options, max_scores):
    """Bytes held beyond the vectors of a chunk's entities, per score; and scores held at once."""
    torch.manual_seed(0)
    model = kind(graph, dim=DIM, **options)
    some = graph.triples[:600]
    work = lambda: evaluate(model, some, graph.known, max_scores=max_scores)
    work()  # what is made once and kept, such as the search table of facts
    batch, chunk = chunk_sizes(1024, max_scores, ENTITIES)
    return (held(work) - 4 * DIM * chunk) / (batch * chunk)


@pytest.mark.parametrize("max_scores", [2**17, 2**19, 2**21])
@pytest.mark.parametrize("kind, options, most", BYTES.values(), ids=BYTES)
def test_each_score_takes_no_more_than_is_said(kind, options, most, max_scores):
    assert over(world(), kind, options, max_scores) < most + 3


def test_where_loops_do_not_compare_it_is_nine_bytes():
    with kernels.disabled():
        assert 8 < over(world(), ComplEx, {}, 2**21) < 9.5
