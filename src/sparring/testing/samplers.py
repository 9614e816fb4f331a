"""Checks of negative samplers: the contract of `NegativeSampler`, and the density of draws."""

import math
from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sparring.batch import Feedback, Negatives, Queries
from sparring.data.graph import TrainGraph
from sparring.groups import ungroup
from sparring.samplers.base import NegativeSampler
from sparring.testing.fixtures import (
    is_close,
    seeded,
    table_scorer,
    tiny_graph,
    tiny_queries,
    unchanged_random_state,
)
from sparring.testing.report import Report

Make = Callable[[TrainGraph], NegativeSampler]


def check_sampler(make: Make, device: str = "cpu") -> None:
    """Raise AssertionError unless the sampler keeps the contract of `NegativeSampler`.

    Whether draws follow the density that the sampler gives is checked by `check_density`.

    Args:
        make: builds the sampler for a graph of 11 entities; it is given batches of 24 queries.
        device: where the graph lies, and the sampler is moved to.
    """
    report = Report()
    check_contract(report, make, device)
    report.raise_errors()


def check_contract(report: Report, make: Make, device: str = "cpu") -> None:
    """The checks of `check_sampler`, into a report."""
    graph = tiny_graph().to(torch.device(device))
    queries = tiny_queries(graph)
    table = torch.randn(
        len(queries), graph.num_entities, generator=seeded(device, 3), device=device
    )
    sampler, twin, heir = (make(graph).to(device) for _ in range(3))
    _check_repeatable(report, sampler, twin, heir, queries, table)
    drawn = None
    with report.check("needs_scores") as expect:
        asked = []

        def score(ids: Tensor) -> Tensor:
            asked.append(ids.shape[1])
            return table_scorer(table)(ids)

        drawn = sampler.sample(queries, score, seeded(device, 9))
        expect(
            sampler.capabilities.needs_scores or not asked,
            "asked for scores, but needs_scores is False",
        )
    if drawn is not None:
        _check_candidates(report, sampler, graph, queries, drawn)
        _check_known_density(report, sampler, graph, queries, drawn)
        _check_reach(report, sampler, graph, queries, table)
        _check_feedback(report, sampler, queries, table)


def _check_repeatable(
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
    with report.check("own random stream"):
        twin.load_state_dict(sampler.state_dict())
        with unchanged_random_state():
            one = draw(sampler, 7)
    if one is None:
        return
    with report.check("reproducible") as expect:
        torch.rand(3)  # moves the global state, which must make no difference
        expect(torch.equal(one, draw(twin, 7)), "same seed and state, different negatives")
    with report.check("queries unchanged") as expect:
        same = all(map(torch.equal, asked, (queries.anchor, queries.relation, queries.answer)))
        expect(same, "sampling changed the queries")
    with report.check("state") as expect:
        heir.load_state_dict(sampler.state_dict())
        same = torch.equal(draw(sampler, 8), draw(heir, 8))
        expect(same, "state_dict does not hold all that draws depend on")


def _check_candidates(
    report: Report, sampler: NegativeSampler, graph: TrainGraph, queries: Queries, drawn: Negatives
) -> None:
    shape = (len(queries), sampler.k)
    with report.check("number of candidates") as expect:
        expect(len(queries) % len(drawn.ids) == 0, "candidate lists do not divide the batch")
        same = drawn.ids.shape[1] == sampler.k
        expect(same, "k does not match the number of candidates")
        for name in ("mask", "weight", "p_false_negative", "log_policy"):
            same = getattr(drawn, name).shape == shape
            expect(same, f"{name} is not one number per candidate")
    with report.check("ids in range") as expect:
        inside = (drawn.ids >= 0) & (drawn.ids < graph.num_entities)
        expect(inside.all(), "ids outside the vocabulary")
    with report.check("answer") as expect:
        answers = ungroup(drawn.ids, len(queries)) == queries.answer.unsqueeze(1)
        expect(not (drawn.mask & answers).any(), "the answer counts as a negative")
    with report.check("weights and probabilities") as expect:
        expect((drawn.weight >= 0).all(), "a weight is below 0")
        probability = drawn.p_false_negative
        inside = (probability >= 0) & (probability <= 1)
        expect(inside.all(), "p_false_negative is not a probability")
        for name in ("weight", "p_false_negative", "log_q", "answer_log_q"):
            value = getattr(drawn, name)
            expect(value is None or not value.requires_grad, f"{name} carries gradients")


def _check_known_density(
    report: Report, sampler: NegativeSampler, graph: TrainGraph, queries: Queries, drawn: Negatives
) -> None:
    everyone = torch.arange(graph.num_entities, device=drawn.ids.device).unsqueeze(0)
    with report.check("known density") as expect:
        expect(
            (drawn.log_q is not None) == sampler.capabilities.has_log_q,
            "has_log_q is wrong about log_q",
        )
        expect(
            drawn.log_q is None
            or (drawn.answer_log_q is not None) == sampler.capabilities.has_answer_log_q,
            "has_answer_log_q is wrong about answer_log_q",
        )
        log_prob = sampler.log_prob(queries, everyone)
        expect(
            (log_prob is not None) == sampler.capabilities.has_log_prob,
            "has_log_prob is wrong about log_prob",
        )
        if drawn.log_q is not None:
            known = drawn.log_q[drawn.mask].isfinite().all()
            expect(known, "a counted candidate has no density")
        if drawn.answer_log_q is not None:
            expect(drawn.answer_log_q.isfinite().all(), "an answer has no density")
        if log_prob is None:
            return
        assert drawn.log_q is not None, "log_prob is known, but log_q is None"
        at_drawn = log_prob.gather(1, ungroup(drawn.ids, len(queries)))
        expect(is_close(drawn.log_q, at_drawn), "log_q differs from log_prob")
        if drawn.answer_log_q is not None:
            at_answer = log_prob.gather(1, queries.answer.unsqueeze(1)).squeeze(1)
            open_to_all = at_answer.isfinite()
            expect(
                is_close(drawn.answer_log_q[open_to_all], at_answer[open_to_all]),
                "answer_log_q differs from log_prob at the answer",
            )
        total = log_prob.exp().sum(1)
        expect((total <= 1 + 1e-4).all(), "log_prob sums to more than 1")
        counted = drawn.mask.float().mean()
        noise = 5 * math.sqrt(0.25 / drawn.ids.numel())
        less = counted <= total.mean() + noise
        expect(less, "log_prob sums to less than the share of candidates that count")


def _check_reach(
    report: Report, sampler: NegativeSampler, graph: TrainGraph, queries: Queries, table: Tensor
) -> None:
    rng = seeded(table.device, 10)
    counted = torch.zeros(graph.num_entities, device=table.device)
    with report.check("reach") as expect:
        for _ in range(60):
            drawn = sampler.sample(queries, table_scorer(table), rng)
            rows = ungroup(drawn.ids, len(queries))[drawn.mask]
            counted += torch.bincount(rows, minlength=graph.num_entities)[: graph.num_entities]
        expect(counted[0] > 0, "entity 0 is never drawn")
        expect(counted[-1] > 0, "the last entity is never drawn")


def _check_feedback(
    report: Report, sampler: NegativeSampler, queries: Queries, table: Tensor
) -> None:
    score = table_scorer(table)
    with report.check("feedback") as expect:
        drawn = sampler.sample(queries, score, seeded(table.device, 11))
        learned = [p for p in sampler.parameters() if p.requires_grad]
        before = [p.detach().clone() for p in learned]
        negative = score(drawn.ids)
        metrics = sampler.observe(
            Feedback(
                queries,
                drawn,
                score(queries.answer.unsqueeze(1)).squeeze(1),
                negative,
                negative.sigmoid() * drawn.mask / len(queries),
            )
        )
        for name, value in metrics.items():
            assert isinstance(value, Tensor), f"observe returns {name}, which is not a tensor"
            expect(value.dim() == 0, f"observe returns {name}, which is not a single number")
            expect(not value.requires_grad, f"observe returns {name} with gradients")
        moved = [not torch.equal(a, b) for a, b in zip(before, learned)]
        expect(any(moved) or not moved, "feedback never reached the parameters")


DRAWS, COPIES, QUERIES = 100, 4, 24
CHANCE = 1e-9  # that a sampler which follows its density fails the chi-square test


def check_density(make: Make, device: str = "cpu") -> None:
    """Raise AssertionError unless draws follow the density that the sampler gives for them.

    For every query and every entity that counts at least once, the sum over the entity's
    counted appearances of 1 / (K exp(log_q)) must be 1 in the mean over many draws, to 5 sigma.
    Where `log_prob` is known, counts must also pass Pearson's chi-square test against it.

    Args:
        make: builds the sampler for a graph of 11 entities; it is given batches of 96 queries.
        device: where the graph lies, and the sampler is moved to.
    """
    report = Report()
    check_densities(report, make, device)
    report.raise_errors()


def check_densities(report: Report, make: Make, device: str = "cpu") -> None:
    """The checks of `check_density`, into a report."""
    with report.check("density") as expect:
        graph = tiny_graph().to(torch.device(device))
        queries = tiny_queries(graph, QUERIES)[torch.arange(COPIES * QUERIES) % QUERIES]
        sampler = make(graph).to(device)
        rng = seeded(device, 12)
        table = torch.randn(QUERIES, graph.num_entities, generator=rng, device=device)
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
        found = found.unflatten(1, (COPIES, QUERIES)).mean(1)
        mean, deviation = found.mean(0), found.std(0)
        # an entity that is drawn every time has no deviation, only rounding
        sigma = (mean - 1).abs() / (deviation / math.sqrt(DRAWS) + 1e-6)
        worst = (sigma * (mean > 0)).max().item()
        expect(worst < 5, f"log_q is not the density of the draws: off by {worst:.1f} sigma")
        hidden = (drawn_times > 0) & (counts == 0)
        _check_counts(expect, sampler, queries, counts, hidden)


def _check_counts(
    expect: Callable[..., None],
    sampler: NegativeSampler,
    queries: Queries,
    counts: Float[Tensor, "B N"],
    hidden: Bool[Tensor, "B N"],
) -> None:
    """Chi-square test of each query's counts; candidates that never count share one more cell."""
    everyone = torch.arange(counts.shape[1], device=counts.device).unsqueeze(0)
    log_prob = sampler.log_prob(queries, everyone)
    if log_prob is None:
        return
    draws = DRAWS * sampler.k
    expected = (draws * log_prob.double().exp()).masked_fill(hidden, 0.0)
    never = (expected == 0) & (counts > 0)
    expect(not never.any(), f"{int(counts[never].sum())} draws that log_prob calls impossible")
    rest = lambda cells: (draws - cells.sum(1, keepdim=True)).clamp(min=0)
    pairs = [torch.cat([cells, rest(cells)], 1)[:QUERIES] for cells in (counts, expected)]
    chance = min(chi_square(*pair) for pair in zip(*pairs))
    expect(
        chance > CHANCE / QUERIES,
        f"draws do not follow log_prob: p = {chance:.0e} by a chi-square test of {QUERIES} queries",
    )


def chi_square(counts: Float[Tensor, "n"] | Int[Tensor, "n"], expected: Tensor) -> float:
    """P-value of the counts, by Pearson's chi-square test.

    Cells of fewer than 5 expected counts are merged with the smallest of the others.
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
    statistic = ((counts - expected) ** 2 / expected).sum()
    return torch.special.gammaincc(
        torch.full_like(statistic, (cells - 1) / 2), statistic / 2
    ).item()
