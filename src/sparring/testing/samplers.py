"""What every negative sampler promises.

Do draws follow the density that a sampler states?"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sparring.batch import Feedback, Negatives, Queries, ungroup
from sparring.data.graph import TrainGraph
from sparring.samplers.base import NegativeSampler
from sparring.testing.fixtures import (
    CHANCE,
    Report,
    chi_square,
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
        expect(
            sampler.capabilities.needs_scores or not asked,
            "asked for scores, but needs_scores is False",
        )
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
        for name in ("mask", "weight", "p_false_negative", "log_policy"):
            same = getattr(drawn, name).shape == shape
            expect(same, f"{name} is not one number per candidate")
    with report.about("ids in range") as expect:
        inside = (drawn.ids >= 0) & (drawn.ids < graph.num_entities)
        expect(inside.all(), "ids outside the vocabulary")
    with report.about("answer") as expect:
        answers = ungroup(drawn.ids, len(queries)) == queries.answer.unsqueeze(1)
        expect(not (drawn.mask & answers).any(), "the answer counts as a negative")
    with report.about("weights and doubts") as expect:
        expect((drawn.weight >= 0).all(), "negative weight")
        doubt = drawn.p_false_negative
        expect(((doubt >= 0) & (doubt <= 1)).all(), "p_false_negative is no probability")
        for name in ("weight", "p_false_negative", "log_q", "answer_log_q"):
            value = getattr(drawn, name)
            expect(value is None or not value.requires_grad, f"{name} carries gradients")


def _look_at_statement(
    report: Report, sampler: NegativeSampler, graph: TrainGraph, queries: Queries, drawn: Negatives
) -> None:
    everyone = torch.arange(graph.num_entities, device=drawn.ids.device).unsqueeze(0)
    with report.about("stated density") as expect:
        expect(
            (drawn.log_q is not None) == sampler.capabilities.has_log_q,
            "has_log_q does not tell whether log_q is stated",
        )
        expect(
            drawn.log_q is None
            or (drawn.answer_log_q is not None) == sampler.capabilities.has_answer_log_q,
            "has_answer_log_q does not tell whether answer_log_q is stated",
        )
        stated = sampler.log_prob(queries, everyone)
        expect(
            (stated is not None) == sampler.capabilities.has_log_prob,
            "has_log_prob does not tell whether log_prob is known",
        )
        if drawn.log_q is not None:
            known = drawn.log_q[drawn.mask].isfinite().all()
            expect(known, "a counted candidate has no density")
        if drawn.answer_log_q is not None:
            expect(drawn.answer_log_q.isfinite().all(), "an answer has no density")
        if stated is None:
            return
        assert drawn.log_q is not None, "log_prob is known, but log_q is not stated"
        at_drawn = stated.gather(1, ungroup(drawn.ids, len(queries)))
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
            rows = ungroup(drawn.ids, len(queries))[drawn.mask]
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


DRAWS, COPIES, ASKED = 100, 4, 24


def check_density(make: Make, device: str = "cpu") -> None:
    """Raise AssertionError unless draws follow the density that is stated for them.

    For every query and every entity that counts at least once, the sum over the entity's
    counted appearances of 1 / (K exp(log_q)) must be 1 in the mean over many draws, to 5 sigma.
    Where `log_prob` is known, counts must also pass Pearson's chi-square test against it.

    Args:
        make: builds the sampler for a graph of 11 entities; it is given batches of 96 queries.
        device: where the graph lies, and the sampler is moved to.
    """
    report = Report()
    look_at_density(report, make, device)
    report.confirm()


def look_at_density(report: Report, make: Make, device: str = "cpu") -> None:
    """Report draws that do not follow their density; see `check_density`."""
    with report.about("density") as expect:
        graph = tiny_graph().to(torch.device(device))
        queries = tiny_queries(graph, ASKED)[torch.arange(COPIES * ASKED) % ASKED]
        sampler = make(graph).to(device)
        rng = seeded(device, 12)
        table = torch.randn(ASKED, graph.num_entities, generator=rng, device=device)
        table = table.repeat(COPIES, 1)
        size = (DRAWS, len(queries), graph.num_entities)
        found = torch.zeros(size, dtype=torch.double, device=device)
        drawn_times, counts = found.new_zeros(2, *size[1:])
        for one in found:
            drawn = sampler.sample(queries, table_scorer(table), rng)
            assert drawn.log_q is not None, "there is no density to check"
            share = drawn.mask * (-drawn.log_q.double()).exp().nan_to_num(posinf=0.0) / sampler.k
            ids = ungroup(drawn.ids, len(queries))
            one.scatter_add_(1, ids, share)
            counts.scatter_add_(1, ids, drawn.mask.double())
            drawn_times.scatter_add_(1, ids, torch.ones_like(share))
        found = found.unflatten(1, (COPIES, ASKED)).mean(1)
        mean, deviation = found.mean(0), found.std(0)
        # an entity that is offered every time has no deviation, only rounding
        sigma = (mean - 1).abs() / (deviation / math.sqrt(DRAWS) + 1e-6)
        worst = (sigma * (mean > 0)).max().item()
        expect(worst < 5, f"log_q is not the density of the draws: off by {worst:.1f} sigma")
        hidden = (drawn_times > 0) & (counts == 0)
        _look_at_counts(expect, sampler, queries, counts, hidden)


def _look_at_counts(
    expect: Callable[..., None],
    sampler: NegativeSampler,
    queries: Queries,
    counts: Float[Tensor, "B N"],
    hidden: Bool[Tensor, "B N"],
) -> None:
    """Chi-square of each query's counts; what never counts and what is left are one more cell."""
    everyone = torch.arange(counts.shape[1], device=counts.device).unsqueeze(0)
    stated = sampler.log_prob(queries, everyone)
    if stated is None:
        return
    draws = DRAWS * sampler.k
    expected = (draws * stated.double().exp()).masked_fill(hidden, 0.0)
    never = (expected == 0) & (counts > 0)
    expect(not never.any(), f"{int(counts[never].sum())} draws that log_prob calls impossible")
    rest = lambda cells: (draws - cells.sum(1, keepdim=True)).clamp(min=0)
    pairs = [torch.cat([cells, rest(cells)], 1)[:ASKED] for cells in (counts, expected)]
    chance = min(chi_square(*pair) for pair in zip(*pairs))
    expect(
        chance > CHANCE / ASKED,
        "draws do not follow log_prob: by chi-square, the chance of the counts of one of "
        f"{ASKED} queries is {chance:.0e}",
    )
