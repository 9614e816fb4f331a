"""What every negative sampler promises."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from sparring.batch import Feedback, Negatives, Queries, per_query
from sparring.graph.knowledge_graph import TrainGraph
from sparring.samplers.base import NegativeSampler
from sparring.testing.worlds import (
    close,
    table_scorer,
    tiny_graph,
    tiny_queries,
    untouched_random_state,
)


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
    _check_repeatable(sampler, make(graph), make(graph), queries, table)
    drawn = _check_scores_are_announced(sampler, queries, table)
    _check_offer(sampler, graph, queries, drawn)
    _check_statement(sampler, graph, queries, drawn)
    _check_reach(sampler, graph, queries, table)
    _check_feedback(sampler, queries, table)


def _check_repeatable(
    sampler: NegativeSampler,
    twin: NegativeSampler,
    heir: NegativeSampler,
    queries: Queries,
    table: Tensor,
) -> None:
    draw = lambda who, seed: (
        who.sample(queries, table_scorer(table), torch.Generator().manual_seed(seed)).ids
    )
    twin.load_state_dict(sampler.state_dict())
    asked = [queries.anchor.clone(), queries.relation.clone(), queries.answer.clone()]
    with untouched_random_state():
        one = draw(sampler, 7)
    torch.rand(3)  # moves the global state, which must make no difference
    assert torch.equal(one, draw(twin, 7)), "same seed and state, different negatives"
    assert all(map(torch.equal, asked, (queries.anchor, queries.relation, queries.answer))), (
        "sampling changed the queries"
    )
    heir.load_state_dict(sampler.state_dict())
    assert torch.equal(draw(sampler, 8), draw(heir, 8)), "the state does not hold all that matters"


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
    if drawn.log_q is not None:
        assert (drawn.answer_log_q is not None) == sampler.states_answer_density, (
            "states_answer_density does not tell whether answer_log_q is stated"
        )
    everyone = torch.arange(graph.num_entities).unsqueeze(0)
    stated = sampler.log_prob(queries, everyone)
    assert (stated is not None) == sampler.closed_density, (
        "closed_density does not tell whether log_prob is known"
    )
    if drawn.log_q is not None:
        assert drawn.log_q[drawn.mask].isfinite().all(), "a counted candidate has no density"
    if drawn.answer_log_q is not None:
        assert drawn.answer_log_q.isfinite().all(), "an answer has no density"
    if stated is None:
        return
    assert drawn.log_q is not None, "log_prob is known, but log_q is not stated"
    at_drawn = stated.gather(1, per_query(drawn.ids, len(queries)))
    assert close(drawn.log_q, at_drawn), "log_q differs from log_prob"
    if drawn.answer_log_q is not None:
        at_answer = stated.gather(1, queries.answer.unsqueeze(1)).squeeze(1)
        open_to_all = at_answer.isfinite()
        assert close(drawn.answer_log_q[open_to_all], at_answer[open_to_all]), (
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
