"""What every main model promises."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from sparring.batch import Queries, scores_of_some
from sparring.graph.knowledge_graph import TrainGraph
from sparring.models.base import MainModel
from sparring.testing.worlds import (
    close,
    seeded,
    table_scorer,
    tiny_graph,
    tiny_queries,
    untouched_random_state,
)


def check_model(make: Callable[[TrainGraph], MainModel], device: str = "cpu") -> None:
    """Raise AssertionError unless the model keeps the contract of `MainModel`.

    Every way of listing candidates gives the same scores, each query is scored by itself and
    without its answer, and every parameter can learn.

    Args:
        make: builds the model for a graph of 11 entities.
        device: where the graph lies, and the model is moved to.
    """
    graph = tiny_graph().to(torch.device(device))
    queries = tiny_queries(graph)
    model = make(graph).to(device).eval()
    everyone = torch.arange(graph.num_entities, device=device).unsqueeze(0)
    with untouched_random_state():
        table = model(queries)(everyone)
    assert table.shape == (len(queries), graph.num_entities), "not one score per candidate"
    assert table.isfinite().all(), "scores that are not finite"

    score = model(queries)
    rng = seeded(device, 5)
    for groups in (1, 3, len(queries)):
        ids = torch.randint(graph.num_entities, (groups, 5), generator=rng, device=device)
        same = close(score(ids), table_scorer(table)(ids))
        assert same, f"{groups} candidate lists for {len(queries)} queries change the scores"
    assert close(model(queries[5:7])(everyone), table[5:7]), "queries influence each other"
    some = slice(1, None, 3)
    same = close(scores_of_some(score, some, everyone), table[some])
    assert same, "the scorer tells other scores when asked for some queries alone"
    other = replace(queries, answer=(queries.answer + 1) % graph.num_entities)
    assert close(model(other)(everyone), table), "the answer leaks into the scores"

    penalty = model.penalty(queries)
    assert penalty.shape == () and penalty.isfinite(), "the penalty is not a finite number"
    assert penalty >= 0, "the penalty is below 0"
    _check_gradients(model.train(), queries, everyone)


def _check_gradients(model: MainModel, queries: Queries, everyone: Tensor) -> None:
    model.zero_grad()
    scores = model(queries)(everyone)
    rng = seeded(scores.device, 6)
    wanted = torch.randn(scores.shape, generator=rng, device=scores.device)
    (scores * wanted).sum().backward()
    for name, parameter in model.named_parameters():
        grad = parameter.grad
        if not parameter.requires_grad:
            continue
        assert grad is not None and grad.to_dense().any(), f"no gradient reaches {name}"
        assert grad.to_dense().isfinite().all(), f"the gradient of {name} is not finite"
    model.after_step()
    assert model(queries)(everyone).isfinite().all(), "after_step breaks the scores"
