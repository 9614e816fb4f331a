"""The contracts of samplers, losses and models, callable from any project's tests.

Each `check_*` raises an AssertionError that names the broken promise. All seeds are fixed, so
a check that passes once passes always.
"""

import math
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sparring.batch import Feedback, Negatives, Queries, Scorer, per_query
from sparring.graph.knowledge_graph import TrainGraph
from sparring.graph.sides import both_queries
from sparring.losses import Loss
from sparring.models.base import MainModel
from sparring.samplers.base import NegativeSampler


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
    return both_queries(graph.triples[rows], graph.num_relations)


def table_scorer(table: Float[Tensor, "B N"]) -> Scorer:
    """A scorer that looks scores up, one row per query."""
    return lambda ids: table.gather(1, per_query(ids, len(table)))


def check_sampler(make: Callable[[TrainGraph], NegativeSampler]) -> None:
    """Raise AssertionError unless the sampler keeps the contract of `NegativeSampler`.

    Whether draws follow the stated density is for `check_density` to say.

    Args:
        make: builds the sampler for a graph of 11 entities; it is given batches of 24 queries.
    """
    graph = tiny_graph()
    queries = tiny_queries(graph)
    table = torch.randn(
        len(queries), graph.num_entities, generator=torch.Generator().manual_seed(3)
    )
    sampler = make(graph)
    _check_repeatable(sampler, make(graph), queries, table)
    drawn = _check_scores_are_announced(sampler, queries, table)
    _check_offer(sampler, graph, queries, drawn)
    _check_statement(sampler, graph, queries, drawn)
    _check_reach(sampler, graph, queries, table)
    _check_feedback(sampler, queries, table)


def _check_repeatable(
    sampler: NegativeSampler, twin: NegativeSampler, queries: Queries, table: Tensor
) -> None:
    twin.load_state_dict(sampler.state_dict())
    asked = [queries.anchor.clone(), queries.relation.clone(), queries.answer.clone()]
    with untouched_random_state():
        one = sampler.sample(queries, table_scorer(table), torch.Generator().manual_seed(7))
    torch.rand(3)  # moves the global state, which must make no difference
    two = twin.sample(queries, table_scorer(table), torch.Generator().manual_seed(7))
    assert torch.equal(one.ids, two.ids), "same seed and state, different negatives"
    assert all(map(torch.equal, asked, (queries.anchor, queries.relation, queries.answer))), (
        "sampling changed the queries"
    )
    twin.load_state_dict(sampler.state_dict())
    one = sampler.sample(queries, table_scorer(table), torch.Generator().manual_seed(8))
    two = twin.sample(queries, table_scorer(table), torch.Generator().manual_seed(8))
    assert torch.equal(one.ids, two.ids), "the state of a sampler that was used is not restored"


@contextmanager
def untouched_random_state() -> Iterator[None]:
    """Raise AssertionError if the block draws from a global random stream."""
    states = torch.get_rng_state(), random.getstate(), repr(np.random.get_state())
    yield
    assert torch.equal(states[0], torch.get_rng_state()), "used torch's global random state"
    assert states[1] == random.getstate(), "used Python's global random state"
    assert states[2] == repr(np.random.get_state()), "used NumPy's global random state"


def _check_scores_are_announced(
    sampler: NegativeSampler, queries: Queries, table: Tensor
) -> Negatives:
    asked = []

    def score(ids):
        asked.append(ids.shape[1])
        return table_scorer(table)(ids)

    drawn = sampler.sample(queries, score, torch.Generator().manual_seed(9))
    assert sampler.needs_scores or not asked, "asked for scores, but needs_scores is False"
    return drawn


def _check_offer(
    sampler: NegativeSampler, graph: TrainGraph, queries: Queries, drawn: Negatives
) -> None:
    shape = (len(queries), sampler.k)
    assert len(queries) % len(drawn.ids) == 0, "candidate lists do not divide the batch"
    assert drawn.ids.shape[1] == sampler.k, "k does not match the number of candidates"
    inside = (drawn.ids >= 0) & (drawn.ids < graph.num_entities)
    assert inside.all(), "ids outside the vocabulary"
    for name in ("mask", "weight", "false_negative", "trace"):
        assert getattr(drawn, name).shape == shape, f"{name} is not one number per candidate"
    answers = per_query(drawn.ids, len(queries)) == queries.answer.unsqueeze(1)
    assert not (drawn.mask & answers).any(), "the answer counts as a negative"
    assert (drawn.weight >= 0).all(), "negative weight"
    doubt = drawn.false_negative
    assert ((doubt >= 0) & (doubt <= 1)).all(), "false_negative is no probability"
    for name in ("weight", "false_negative", "log_q", "answer_log_q"):
        value = getattr(drawn, name)
        assert value is None or not value.requires_grad, f"{name} carries gradients"


def _check_statement(
    sampler: NegativeSampler, graph: TrainGraph, queries: Queries, drawn: Negatives
) -> None:
    assert (drawn.log_q is not None) == sampler.states_density, (
        "states_density does not tell whether log_q is stated"
    )
    everyone = torch.arange(graph.num_entities).unsqueeze(0)
    stated = sampler.log_prob(queries, everyone)
    if drawn.log_q is not None:
        assert drawn.log_q[drawn.mask].isfinite().all(), "a counted candidate has no density"
    if drawn.answer_log_q is not None:
        assert drawn.answer_log_q.isfinite().all(), "an answer has no density"
    if stated is None:
        return
    assert drawn.log_q is not None, "log_prob is known, but log_q is not stated"
    at_drawn = stated.gather(1, per_query(drawn.ids, len(queries)))
    assert _close(drawn.log_q, at_drawn), "log_q differs from log_prob"
    if drawn.answer_log_q is not None:
        at_answer = stated.gather(1, queries.answer.unsqueeze(1)).squeeze(1)
        open_to_all = at_answer.isfinite()
        assert _close(drawn.answer_log_q[open_to_all], at_answer[open_to_all]), (
            "answer_log_q differs from log_prob at the answer"
        )
    total = stated.exp().sum(1)
    assert (total <= 1 + 1e-4).all(), "log_prob sums to more than 1"
    counted = drawn.mask.float().mean()
    noise = 5 * math.sqrt(0.25 / drawn.ids.numel())
    assert counted <= total.mean() + noise, "log_prob sums to less than what is offered"


def _check_reach(
    sampler: NegativeSampler, graph: TrainGraph, queries: Queries, table: Tensor
) -> None:
    rng = torch.Generator().manual_seed(10)
    counted = torch.zeros(graph.num_entities)
    for _ in range(60):
        drawn = sampler.sample(queries, table_scorer(table), rng)
        rows = per_query(drawn.ids, len(queries))[drawn.mask]
        counted += torch.bincount(rows, minlength=graph.num_entities)
    assert counted[0] > 0, "entity 0 is never offered"
    assert counted[-1] > 0, "the last entity is never offered"


def _check_feedback(sampler: NegativeSampler, queries: Queries, table: Tensor) -> None:
    score = table_scorer(table)
    drawn = sampler.sample(queries, score, torch.Generator().manual_seed(11))
    learned = [p for p in sampler.parameters() if p.requires_grad]
    before = [p.detach().clone() for p in learned]
    negative = score(drawn.ids)
    told = sampler.observe(
        Feedback(
            queries,
            drawn,
            score(queries.answer.unsqueeze(1)).squeeze(1),
            negative,
            negative.sigmoid() * drawn.mask / len(queries),
        )
    )
    for name, value in told.items():
        assert isinstance(value, Tensor), f"observe reports {name} as no tensor"
        assert value.dim() == 0, f"observe reports {name} as no single number"
        assert not value.requires_grad, f"observe reports {name} with gradients"
    moved = [not torch.equal(a, b) for a, b in zip(before, learned)]
    assert any(moved) or not moved, "feedback never reached the parameters"


def check_density(make: Callable[[TrainGraph], NegativeSampler]) -> None:
    """Raise AssertionError unless `log_q` makes importance sums unbiased, to 5 sigma.

    For every query and every entity that counts at least once, the sum over the entity's
    counted appearances of 1 / (K exp(log_q)) must be 1 in the mean over many draws.

    Args:
        make: builds the sampler for a graph of 11 entities; it is given batches of 96 queries.
    """
    graph = tiny_graph()
    draws, copies, asked = 100, 4, 24
    queries = tiny_queries(graph, asked)[torch.arange(copies * asked) % asked]
    sampler = make(graph)
    rng = torch.Generator().manual_seed(12)
    table = torch.randn(asked, graph.num_entities, generator=rng).repeat(copies, 1)
    found = torch.zeros(draws, copies * asked, graph.num_entities, dtype=torch.double)
    for one in found:
        drawn = sampler.sample(queries, table_scorer(table), rng)
        assert drawn.log_q is not None, "there is no density to check"
        share = drawn.mask * (-drawn.log_q.double()).exp().nan_to_num(posinf=0.0) / sampler.k
        one.scatter_add_(1, per_query(drawn.ids, len(queries)), share)
    found = found.unflatten(1, (copies, asked)).mean(1)
    mean, deviation = found.mean(0), found.std(0)
    # an entity that is offered every time has no deviation, only rounding
    sigma = (mean - 1).abs() / (deviation / math.sqrt(draws) + 1e-6)
    worst = (sigma * (mean > 0)).max().item()
    assert worst < 5, f"log_q is not the density of the draws: off by {worst:.1f} sigma"


def check_loss(loss: Loss) -> None:
    """Raise AssertionError unless the loss keeps the contract of `Loss`."""
    case = _LossCase()
    value, right, wrong = case.judge(loss)
    assert value.dtype == torch.float32, "the loss of float32 scores is not float32"
    assert right.any() and wrong.any(), "nothing is learned from these scores"
    _check_what_counts(loss, case)
    _check_directions(loss, case)
    _check_extremes(loss, case)
    _check_precision(loss, case)
    blind = replace(case.negatives, log_q=None, answer_log_q=None)
    if not loss.needs_density:
        again = case.judge(loss, negatives=blind)[0]
        assert torch.equal(value, again), "needs_density is False, but the density matters"


class _LossCase:
    """Scores of 6 queries and 5 candidates each, about a third of which do not count."""

    def __init__(self):
        rng = torch.Generator().manual_seed(4)
        shape = (6, 5)
        self.positive = torch.randn(6, generator=rng)
        self.negative = torch.randn(shape, generator=rng)
        self.weight = torch.rand(6, generator=rng) + 0.5
        mask = torch.rand(shape, generator=rng) < 0.6
        mask[:, 0], mask[0, 1] = True, False
        self.log_q = -3 * torch.rand(shape, generator=rng)
        self.answer_log_q = -3 * torch.rand(6, generator=rng)
        self.negatives = Negatives(
            ids=torch.randint(20, shape, generator=rng),
            mask=mask,
            weight=torch.rand(shape, generator=rng) + 0.5,
            false_negative=torch.zeros(shape),
            trace=torch.zeros(shape),
            log_q=self.log_q,
            answer_log_q=self.answer_log_q,
        )

    def judge(self, loss: Loss, **changes) -> tuple[Tensor, Tensor, Tensor]:
        """The loss, and its gradients at positive and negative scores."""
        given = vars(self) | changes
        scores = [given[name].clone().requires_grad_() for name in ("positive", "negative")]
        value = loss(*scores, given["negatives"], given["weight"])
        assert value.shape == (), "the loss is not a single number"
        value.backward()
        right, wrong = (torch.zeros_like(x) if x.grad is None else x.grad for x in scores)
        return value.detach(), right, wrong


def _check_what_counts(loss: Loss, case: _LossCase) -> None:
    mask = case.negatives.mask
    plain = case.judge(loss)
    assert not plain[2][~mask].any(), "a masked candidate gets a gradient"
    for other in (50.0, -50.0, 1e9):
        moved = case.judge(loss, negative=case.negative.masked_fill(~mask, other))
        assert all(map(_close, moved, plain)), "a masked candidate has influence"

    weightless = replace(
        case.negatives, mask=torch.ones_like(mask), weight=case.negatives.weight * mask
    )
    got = case.judge(loss, negatives=weightless)
    assert all(map(_close, got, plain)), "weight 0 differs from mask False"

    order = torch.tensor([3, 0, 4, 1, 2])
    turned = case.negatives.choose(order.expand(6, -1))
    turned = replace(turned, log_q=case.log_q[:, order], answer_log_q=case.answer_log_q)
    again = case.judge(loss, negative=case.negative[:, order], negatives=turned)
    assert _close(again[0], plain[0]), "the order of candidates matters"

    quiet = case.weight * (torch.arange(6) != 2)
    silent = case.judge(loss, weight=quiet)
    assert not silent[1][2].any() and not silent[2][2].any(), "a query of weight 0 gets a gradient"
    loud = case.negative.index_fill(0, torch.tensor([2]), 70.0)
    assert _close(case.judge(loss, negative=loud, weight=quiet)[0], silent[0]), (
        "a query of weight 0 has influence"
    )


def _check_directions(loss: Loss, case: _LossCase) -> None:
    value, right, wrong = case.judge(loss)
    assert (right <= 0).all(), "a step lowers a right answer"
    assert (wrong >= 0).all(), "a step raises a wrong answer"
    for row in range(6):
        raised = case.positive.clone()
        raised[row] += 1.0
        assert case.judge(loss, positive=raised)[0] <= value + 1e-6, (
            "raising a right answer raises the loss"
        )
    assert case.judge(loss, negative=case.negative - 1.0)[0] <= value + 1e-6, (
        "lowering all wrong answers raises the loss"
    )


def _check_extremes(loss: Loss, case: _LossCase) -> None:
    for right in (1e9, -1e9):
        for wrong in (1e9, -1e9):
            got = case.judge(
                loss,
                positive=torch.full_like(case.positive, right),
                negative=torch.full_like(case.negative, wrong),
            )
            assert all(part.isfinite().all() for part in got), (
                f"not finite for a right answer at {right:g} and wrong ones at {wrong:g}"
            )
    mask = case.negatives.mask.clone()
    mask[1] = False
    got = case.judge(loss, negatives=replace(case.negatives, mask=mask))
    assert all(part.isfinite().all() for part in got), "not finite without usable negatives"
    assert not got[2][1].any(), "a gradient at negatives none of which count"


def _check_precision(loss: Loss, case: _LossCase) -> None:
    right, wrong = case.positive.bfloat16(), case.negative.bfloat16()
    got = case.judge(loss, positive=right, negative=wrong)[0]
    exact = case.judge(loss, positive=right.float(), negative=wrong.float())[0]
    assert got.dtype == torch.float32, "the loss of bfloat16 scores is not float32"
    assert torch.equal(got, exact), "the loss of bfloat16 scores is computed in bfloat16"


def check_model(make: Callable[[TrainGraph], MainModel]) -> None:
    """Raise AssertionError unless the model keeps the contract of `MainModel`.

    Every way of listing candidates gives the same scores, each query is scored by itself and
    without its answer, and every parameter can learn.

    Args:
        make: builds the model for a graph of 11 entities.
    """
    graph = tiny_graph()
    queries = tiny_queries(graph)
    model = make(graph).eval()
    everyone = torch.arange(graph.num_entities).unsqueeze(0)
    with untouched_random_state():
        table = model(queries)(everyone)
    assert table.shape == (len(queries), graph.num_entities), "not one score per candidate"
    assert table.isfinite().all(), "scores that are not finite"

    score = model(queries)
    rng = torch.Generator().manual_seed(5)
    for groups in (1, 3, len(queries)):
        ids = torch.randint(graph.num_entities, (groups, 5), generator=rng)
        same = _close(score(ids), table_scorer(table)(ids))
        assert same, f"{groups} candidate lists for {len(queries)} queries change the scores"
    assert _close(model(queries[5:7])(everyone), table[5:7]), "queries influence each other"
    other = replace(queries, answer=(queries.answer + 1) % graph.num_entities)
    assert _close(model(other)(everyone), table), "the answer leaks into the scores"

    penalty = model.penalty(queries)
    assert penalty.shape == () and penalty.isfinite(), "the penalty is not a finite number"
    assert penalty >= 0, "the penalty is below 0"
    _check_gradients(model.train(), queries, everyone)


def _check_gradients(model: MainModel, queries: Queries, everyone: Tensor) -> None:
    model.zero_grad()
    scores = model(queries)(everyone)
    wanted = torch.randn(scores.shape, generator=torch.Generator().manual_seed(6))
    (scores * wanted).sum().backward()
    for name, parameter in model.named_parameters():
        grad = parameter.grad
        if not parameter.requires_grad:
            continue
        assert grad is not None and grad.to_dense().any(), f"no gradient reaches {name}"
        assert grad.to_dense().isfinite().all(), f"the gradient of {name} is not finite"
    model.after_step()
    assert model(queries)(everyone).isfinite().all(), "after_step breaks the scores"


def _close(one: Tensor, two: Tensor) -> bool:
    return torch.allclose(one, two, rtol=1e-4, atol=1e-5)
