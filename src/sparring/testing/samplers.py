"""What every negative sampler promises."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from sparring.batch import Feedback, Negatives, Queries, per_query
from sparring.graph.knowledge_graph import TrainGraph
from sparring.samplers.base import NegativeSampler
from sparring.testing.report import Report
from sparring.testing.worlds import (
    close,
    seeded,
    table_scorer,
    tiny_graph,
    tiny_queries,
    untouched_random_state,
)

Make = Callable[[TrainGraph], NegativeSampler]


def check_sampler(make: Make, device: str = "cpu") -> None:
    """Raise AssertionError unless the sampler keeps the contract of `NegativeSampler`.

    Whether draws follow the stated density is for `check_density` to say.

    Args:
        make: builds the sampler for a graph of 11 entities; it is given batches of 24 queries.
        device: where the graph lies, and the sampler is moved to.
    """
    report = Report()
    look_at_contract(report, make, device)
    report.confirm()


def look_at_contract(report: Report, make: Make, device: str = "cpu") -> None:
    """Report every promise of `NegativeSampler` that is broken; see `check_sampler`."""
    graph = tiny_graph().to(torch.device(device))
    queries = tiny_queries(graph)
    table = torch.randn(
        len(queries), graph.num_entities, generator=seeded(device, 3), device=device
    )
    sampler, twin, heir = (make(graph).to(device) for _ in range(3))
    _look_at_repeats(report, sampler, twin, heir, queries, table)
    drawn = None
    with report.about("scores announced") as expect:
        asked = []

        def score(ids):
            asked.append(ids.shape[1])
            return table_scorer(table)(ids)

        drawn = sampler.sample(queries, score, seeded(device, 9))
        expect(sampler.needs_scores or not asked, "asked for scores, but needs_scores is False")
    if drawn is not None:
        _look_at_offer(report, sampler, graph, queries, drawn)
        _look_at_statement(report, sampler, graph, queries, drawn)
        _look_at_reach(report, sampler, graph, queries, table)
        _look_at_feedback(report, sampler, queries, table)


def _look_at_repeats(
    report: Report,
    sampler: NegativeSampler,
    twin: NegativeSampler,
    heir: NegativeSampler,
    queries: Queries,
    table: Tensor,
) -> None:
    draw = lambda who, seed: (
        who.sample(queries, table_scorer(table), seeded(table.device, seed)).ids
    )
    asked = [queries.anchor.clone(), queries.relation.clone(), queries.answer.clone()]
    one = None
    with report.about("own random stream"):
        twin.load_state_dict(sampler.state_dict())
        with untouched_random_state():
            one = draw(sampler, 7)
    if one is None:
        return
    with report.about("reproducible") as expect:
        torch.rand(3)  # moves the global state, which must make no difference
        expect(torch.equal(one, draw(twin, 7)), "same seed and state, different negatives")
    with report.about("queries unchanged") as expect:
        same = all(map(torch.equal, asked, (queries.anchor, queries.relation, queries.answer)))
        expect(same, "sampling changed the queries")
    with report.about("state") as expect:
        heir.load_state_dict(sampler.state_dict())
        same = torch.equal(draw(sampler, 8), draw(heir, 8))
        expect(same, "the state does not hold all that matters")


def _look_at_offer(
    report: Report, sampler: NegativeSampler, graph: TrainGraph, queries: Queries, drawn: Negatives
) -> None:
    shape = (len(queries), sampler.k)
    with report.about("number of candidates") as expect:
        expect(len(queries) % len(drawn.ids) == 0, "candidate lists do not divide the batch")
        same = drawn.ids.shape[1] == sampler.k
        expect(same, "k does not match the number of candidates")
        for name in ("mask", "weight", "false_negative", "trace"):
            same = getattr(drawn, name).shape == shape
            expect(same, f"{name} is not one number per candidate")
    with report.about("ids in range") as expect:
        inside = (drawn.ids >= 0) & (drawn.ids < graph.num_entities)
        expect(inside.all(), "ids outside the vocabulary")
    with report.about("answer") as expect:
        answers = per_query(drawn.ids, len(queries)) == queries.answer.unsqueeze(1)
        expect(not (drawn.mask & answers).any(), "the answer counts as a negative")
    with report.about("weights and doubts") as expect:
        expect((drawn.weight >= 0).all(), "negative weight")
        doubt = drawn.false_negative
        expect(((doubt >= 0) & (doubt <= 1)).all(), "false_negative is no probability")
        for name in ("weight", "false_negative", "log_q", "answer_log_q"):
            value = getattr(drawn, name)
            expect(value is None or not value.requires_grad, f"{name} carries gradients")


def _look_at_statement(
    report: Report, sampler: NegativeSampler, graph: TrainGraph, queries: Queries, drawn: Negatives
) -> None:
    everyone = torch.arange(graph.num_entities, device=drawn.ids.device).unsqueeze(0)
    with report.about("stated density") as expect:
        expect(
            (drawn.log_q is not None) == sampler.states_density,
            "states_density does not tell whether log_q is stated",
        )
        expect(
            drawn.log_q is None
            or (drawn.answer_log_q is not None) == sampler.states_answer_density,
            "states_answer_density does not tell whether answer_log_q is stated",
        )
        stated = sampler.log_prob(queries, everyone)
        expect(
            (stated is not None) == sampler.closed_density,
            "closed_density does not tell whether log_prob is known",
        )
        if drawn.log_q is not None:
            known = drawn.log_q[drawn.mask].isfinite().all()
            expect(known, "a counted candidate has no density")
        if drawn.answer_log_q is not None:
            expect(drawn.answer_log_q.isfinite().all(), "an answer has no density")
        if stated is None:
            return
        assert drawn.log_q is not None, "log_prob is known, but log_q is not stated"
        at_drawn = stated.gather(1, per_query(drawn.ids, len(queries)))
        expect(close(drawn.log_q, at_drawn), "log_q differs from log_prob")
        if drawn.answer_log_q is not None:
            at_answer = stated.gather(1, queries.answer.unsqueeze(1)).squeeze(1)
            open_to_all = at_answer.isfinite()
            expect(
                close(drawn.answer_log_q[open_to_all], at_answer[open_to_all]),
                "answer_log_q differs from log_prob at the answer",
            )
        total = stated.exp().sum(1)
        expect((total <= 1 + 1e-4).all(), "log_prob sums to more than 1")
        counted = drawn.mask.float().mean()
        noise = 5 * math.sqrt(0.25 / drawn.ids.numel())
        less = counted <= total.mean() + noise
        expect(less, "log_prob sums to less than what is offered")


def _look_at_reach(
    report: Report, sampler: NegativeSampler, graph: TrainGraph, queries: Queries, table: Tensor
) -> None:
    rng = seeded(table.device, 10)
    counted = torch.zeros(graph.num_entities, device=table.device)
    with report.about("reach") as expect:
        for _ in range(60):
            drawn = sampler.sample(queries, table_scorer(table), rng)
            rows = per_query(drawn.ids, len(queries))[drawn.mask]
            counted += torch.bincount(rows, minlength=graph.num_entities)[: graph.num_entities]
        expect(counted[0] > 0, "entity 0 is never offered")
        expect(counted[-1] > 0, "the last entity is never offered")


def _look_at_feedback(
    report: Report, sampler: NegativeSampler, queries: Queries, table: Tensor
) -> None:
    score = table_scorer(table)
    with report.about("feedback") as expect:
        drawn = sampler.sample(queries, score, seeded(table.device, 11))
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
            expect(value.dim() == 0, f"observe reports {name} as no single number")
            expect(not value.requires_grad, f"observe reports {name} with gradients")
        moved = [not torch.equal(a, b) for a, b in zip(before, learned)]
        expect(any(moved) or not moved, "feedback never reached the parameters")
