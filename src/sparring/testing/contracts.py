"""Checks of losses and models."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from sparring.batch import Negatives, Queries, score_rows
from sparring.data.graph import TrainGraph
from sparring.losses import Loss
from sparring.models.base import KGEModel
from sparring.testing.fixtures import (
    is_close,
    seeded,
    table_scorer,
    tiny_graph,
    tiny_queries,
    unchanged_random_state,
)


def check_loss(loss: Loss, *, device: str = "cpu") -> None:
    """Raise AssertionError unless the loss keeps the rules of `Loss`.

    Unless its `soft_labels` is True, a step must never lower an answer nor raise a negative.

    Args:
        loss: the loss to check.
        device: of the scores; the loss is moved there.
    """
    loss, case = loss.to(device), Case(device)
    value, right, wrong = case.evaluate(loss)
    assert value.dtype == torch.float32, "the loss of float32 scores is not float32"
    assert right.any() and wrong.any(), "nothing is learned from these scores"
    _check_what_counts(loss, case)
    if not loss.soft_labels:
        _check_directions(loss, case)
    _check_extremes(loss, case)
    _check_precision(loss, case)
    blind = replace(case.negatives, log_q=None, answer_log_q=None)
    if not loss.needs_log_q:
        again = case.evaluate(loss, negatives=blind)[0]
        assert torch.equal(value, again), "needs_log_q is False, but the density has influence"


class Case:
    """Scores of 6 queries and 5 candidates each, about a third of which do not count."""

    def __init__(self, device: str = "cpu"):
        rng, shape = torch.Generator().manual_seed(4), (6, 5)
        normal = lambda *size: torch.randn(size, generator=rng).to(device)
        uniform = lambda *size: torch.rand(size, generator=rng).to(device)
        self.positive, self.negative = normal(6), normal(*shape)
        self.weight = uniform(6) + 0.5
        mask = uniform(*shape) < 0.6
        mask[:, 0], mask[0, 1] = True, False
        self.log_q, self.answer_log_q = -3 * uniform(*shape), -3 * uniform(6)
        self.negatives = Negatives(
            blocks=(torch.randint(20, shape, generator=rng).to(device),),
            mask=mask,
            weight=uniform(*shape) + 0.5,
            p_false_negative=torch.zeros(shape, device=device),
            log_policy=torch.zeros(shape, device=device),
            log_q=self.log_q,
            answer_log_q=self.answer_log_q,
        )

    def evaluate(self, loss: Loss, **changes) -> tuple[Tensor, Tensor, Tensor]:
        """The loss, and its gradients at positive and negative scores."""
        given = vars(self) | changes
        scores = [given[name].clone().requires_grad_() for name in ("positive", "negative")]
        value = loss(*scores, given["negatives"], given["weight"])
        assert value.shape == (), "the loss is not a single number"
        value.backward()
        right, wrong = (torch.zeros_like(x) if x.grad is None else x.grad for x in scores)
        return value.detach(), right, wrong


def _check_what_counts(loss: Loss, case: Case) -> None:
    mask = case.negatives.mask
    plain = case.evaluate(loss)
    assert not plain[2][~mask].any(), "a masked candidate gets a gradient"
    for other in (50.0, -50.0, 1e9):
        moved = case.evaluate(loss, negative=case.negative.masked_fill(~mask, other))
        assert all(map(is_close, moved, plain)), "a masked candidate has influence"

    never = replace(case.negatives, log_q=case.log_q.masked_fill(~mask, -torch.inf))
    got = case.evaluate(loss, negatives=never)
    assert all(map(is_close, got, plain)), "the density of a masked candidate has influence"
    weightless = replace(
        case.negatives, mask=torch.ones_like(mask), weight=case.negatives.weight * mask
    )
    got = case.evaluate(loss, negatives=weightless)
    assert all(map(is_close, got, plain)), "weight 0 differs from mask False"

    order = torch.tensor([3, 0, 4, 1, 2], device=mask.device)
    turned = case.negatives.gather(order.expand(6, -1))
    turned = replace(turned, log_q=case.log_q[:, order], answer_log_q=case.answer_log_q)
    again = case.evaluate(loss, negative=case.negative[:, order], negatives=turned)
    assert is_close(again[0], plain[0]), "the order of candidates matters"

    quiet = case.weight * (torch.arange(6, device=mask.device) != 2)
    silent = case.evaluate(loss, weight=quiet)
    assert not silent[1][2].any() and not silent[2][2].any(), "a query of weight 0 gets a gradient"
    loud = case.negative.index_fill(0, torch.tensor([2], device=mask.device), 70.0)
    assert is_close(case.evaluate(loss, negative=loud, weight=quiet)[0], silent[0]), (
        "a query of weight 0 has influence"
    )


def _check_directions(loss: Loss, case: Case) -> None:
    for scale in (0.1, 1.0, 10.0):
        _, right, wrong = case.evaluate(
            loss, positive=scale * case.positive, negative=scale * case.negative
        )
        assert (right <= 0).all(), "a step lowers a right answer"
        assert (wrong >= 0).all(), "a step raises a wrong answer"


def _check_extremes(loss: Loss, case: Case) -> None:
    for right in (1e9, -1e9):
        for wrong in (1e9, -1e9):
            got = case.evaluate(
                loss,
                positive=torch.full_like(case.positive, right),
                negative=torch.full_like(case.negative, wrong),
            )
            assert all(part.isfinite().all() for part in got), (
                f"not finite for a right answer at {right:g} and wrong ones at {wrong:g}"
            )
    mask = case.negatives.mask.clone()
    mask[1] = False
    got = case.evaluate(loss, negatives=replace(case.negatives, mask=mask))
    assert all(part.isfinite().all() for part in got), "not finite without usable negatives"
    assert not got[2][1].any(), "a query without usable negatives has a gradient at them"


def _check_precision(loss: Loss, case: Case) -> None:
    right, wrong = case.positive.bfloat16(), case.negative.bfloat16()
    got = case.evaluate(loss, positive=right, negative=wrong)[0]
    exact = case.evaluate(loss, positive=right.float(), negative=wrong.float())[0]
    assert got.dtype == torch.float32, "the loss of bfloat16 scores is not float32"
    assert torch.equal(got, exact), "the loss of bfloat16 scores is computed in bfloat16"


def check_model(make: Callable[[TrainGraph], KGEModel], device: str = "cpu") -> None:
    """Raise AssertionError unless the model keeps the contract of `KGEModel`.

    Every way of listing candidates gives the same scores, each query is scored by itself and
    without its answer, and every parameter can learn.

    Args:
        make: builds the model for a graph of 11 entities.
        device: of the graph; the model is moved there.
    """
    graph = tiny_graph().to(torch.device(device))
    queries = tiny_queries(graph)
    model = make(graph).to(device).eval()
    everyone = torch.arange(graph.num_entities, device=device).unsqueeze(0)
    with unchanged_random_state():
        table = model(queries)(everyone)
    assert table.shape == (len(queries), graph.num_entities), "not one score per candidate"
    assert table.isfinite().all(), "scores that are not finite"

    score = model(queries)
    rng = seeded(device, 5)
    for groups in (1, 3, len(queries)):
        ids = torch.randint(graph.num_entities, (groups, 5), generator=rng, device=device)
        same = is_close(score(ids), table_scorer(table)(ids))
        assert same, f"{groups} candidate lists for {len(queries)} queries change the scores"
    assert is_close(model(queries[5:7])(everyone), table[5:7]), "queries influence each other"
    some = slice(1, None, 3)
    same = is_close(score_rows(score, some, everyone), table[some])
    assert same, "the scorer of some queries gives other scores"
    other = replace(queries, answer=(queries.answer + 1) % graph.num_entities)
    assert is_close(model(other)(everyone), table), "the answer leaks into the scores"

    regularization = model.regularization(queries)
    assert regularization.shape == () and regularization.isfinite(), (
        "the regularization is not a finite number"
    )
    assert regularization >= 0, "the regularization is below 0"
    _check_gradients(model.train(), queries, everyone)


def _check_gradients(model: KGEModel, queries: Queries, everyone: Tensor) -> None:
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
