"""Checks name what is wrong with samplers of any library: each maker below breaks one thing."""

import math
import time
from dataclasses import replace

import pytest
import torch
from samplers.worlds import graph_of
from zoo import SAMPLERS

from sparring.corruption import tail_and_head_queries, to_triples
from sparring.samplers import MaskKnown, Popularity, Uniform
from sparring.testing import ExternalSampler, Report, report_external, report_sampler, tiny_graph
from sparring.testing.external import external_maker
from sparring.testing.report import time_limit
from sparring.testing.samplers import chi_square


def uniform(graph, width, seed):
    """A sound sampler, but for known facts: another entity at one end."""
    rng = torch.Generator().manual_seed(seed)

    def draw(triples):
        shape = (len(triples), width)
        corrupted = triples.unsqueeze(1).repeat(1, width, 1)
        column = 2 * torch.randint(2, shape, generator=rng).unsqueeze(2)
        before = corrupted.gather(2, column)
        other = torch.randint(graph.num_entities - 1, (*shape, 1), generator=rng)
        corrupted.scatter_(2, column, other + (other >= before))
        return corrupted, torch.ones(shape, dtype=torch.bool)

    return draw


def changed(change):
    """The same with its corruptions changed, by a function of graph, triples and corruptions."""

    def make(graph, width, seed):
        draw = uniform(graph, width, seed)

        def other(triples):
            corrupted, mask = draw(triples)
            return change(graph, triples, corrupted), mask

        return other

    return make


def once(graph, width, seed):
    """Draws at the first call only."""
    draw, kept = uniform(graph, width, seed), []

    def other(triples):
        kept.append(draw(triples))
        return kept[0]

    return other


def crash_on_pairs(graph, width, seed):
    if graph.num_entities == 2:
        raise IndexError("no room")
    return uniform(graph, width, seed)


def refuse_pairs(graph, width, seed):
    if graph.num_entities == 2:
        raise ValueError("two entities are too few")
    return uniform(graph, width, seed)


def meddling(graph, width, seed):
    draw = uniform(graph, width, seed)

    def other(triples):
        found = draw(triples)
        triples[0] = 0
        return found

    return other


def at(column, value):
    def change(graph, triples, corrupted):
        corrupted[..., column] = value(corrupted[..., column])
        return corrupted

    return changed(change)


def give_back(graph, triples, corrupted):
    corrupted[:, 0] = triples
    return corrupted


def both_ends(graph, triples, corrupted):
    corrupted[:, 0, [0, 2]] = (triples[:, [0, 2]] + 1) % graph.num_entities
    return corrupted


def keep_tails(graph, triples, corrupted):
    moved = corrupted[..., 2] != triples[:, 2:]
    corrupted[..., 0][moved] = corrupted[..., 2][moved]
    corrupted[..., 2] = triples[:, 2:]
    return corrupted


def first_for_all(graph, triples, corrupted):
    return corrupted[:, :1].expand_as(corrupted)


def skewed(graph, triples, corrupted):
    tails = tail_and_head_queries(triples, graph.num_relations)[: len(triples)]
    own = torch.full_like(corrupted[..., 0], 5)
    some = to_triples(tails, own, graph.num_relations)
    often = torch.arange(len(triples)).view(-1, 1, 1) % 6 == 0
    return torch.where(often & (triples[:, 2] != 5).view(-1, 1, 1), some, corrupted)


BROKEN = {
    "K is ignored: asked for 2 per triple, got 1": lambda graph, width, seed: uniform(
        graph, 1, seed
    ),
    "the mask does not have one value per candidate": lambda graph, width, seed: (
        lambda triples: (
            uniform(graph, width, seed)(triples)[0],
            torch.ones(3, dtype=torch.bool),
        )
    ),
    "ids are torch.int32": changed(lambda graph, triples, corrupted: corrupted.int()),
    "of the ids are not entities": at(0, lambda ids: ids + 3),
    "the triple itself is returned as its own negative: 20.0%": changed(give_back),
    "the relation is replaced": at(1, lambda ids: (ids + 1) % 3),
    "both ends are replaced in 2": changed(both_ends),
    "no tail is ever replaced": changed(keep_tails),
    "entity 0 is never drawn": at(0, lambda ids: ids.clamp(min=1)),
    "the last entity, 10, is never drawn": at(2, lambda ids: ids.clamp(max=9)),
    "never drawn: entities [4]": at(0, lambda ids: ids + (ids == 4)),
    "of the negatives are facts of the training graph; nothing": uniform,
    "the same negatives for every batch": once,
    "all candidates of a triple are the same, for 100.0%": changed(first_for_all),
    "replaced tails are not uniform: p =": changed(skewed),
    "the same seed gives other negatives": lambda graph, width, seed: uniform(
        graph, width, time.perf_counter_ns()
    ),
    "another seed gives the same negatives": lambda graph, width, seed: uniform(graph, width, 0),
    "sampling changed the triples that were passed in": meddling,
    "raised IndexError: no room": crash_on_pairs,
}
# entity 0, 4 and 10 are drawn at the other end
ONE_ENDED = {"entity 0 is never drawn", "the last entity, 10, is never drawn"} | {
    "never drawn: entities [4]"
}


def words(report):
    return [violation.message for violation in report.violations]


@pytest.mark.parametrize("message", [name for name in BROKEN if name not in ONE_ENDED])
def test_what_is_wrong_is_named(message):
    found = words(report_external(ExternalSampler("it", BROKEN[message], uniform=True)))
    assert any(message in one for one in found), found


@pytest.mark.parametrize("message", sorted(ONE_ENDED))
def test_an_entity_that_is_never_drawn_is_named(message):
    column = 2 if "last" in message else 0

    def make(graph, width, seed):
        draw = BROKEN[message](graph, width, seed)

        def other(triples):
            corrupted, mask = draw(triples)
            return corrupted, mask & (corrupted[..., 2 - column] == triples[:, [2 - column]])

        return other

    assert message in words(report_external(ExternalSampler("it", make)))


def test_a_sampler_without_violations_has_only_a_warning():
    report = report_external(ExternalSampler("it", uniform, uniform=True))
    assert [violation.severity for violation in report.violations] == ["warning"]
    assert {"reach", "density", "known facts", "variety"} <= set(report.checks)
    report.raise_errors()


def test_facts_in_what_is_filtered_are_an_error():
    report = report_external(ExternalSampler("it", uniform, filtered=True))
    assert any(
        "training graph, though the sampler is filtered" in violation.message
        for violation in report.errors
    )


def test_to_refuse_a_graph_is_fair():
    assert len(report_external(ExternalSampler("it", refuse_pairs)).violations) == 1


@pytest.mark.slow
def test_a_sampler_that_does_not_answer_is_stopped():
    with pytest.raises(TimeoutError, match="no answer within 1 seconds"), time_limit(1):
        while True:
            pass


def test_an_external_sampler_needs_a_number_of_candidates():
    with pytest.raises(ValueError, match="it needs at least one number of candidates in `widths`"):
        ExternalSampler("it", uniform, widths=())


@pytest.mark.slow
@pytest.mark.parametrize("name", SAMPLERS)
def test_samplers_of_the_library_have_no_errors(name):
    """Contract and density are checked elsewhere."""
    make = external_maker(lambda graph, width: SAMPLERS[name](graph))
    report = report_external(ExternalSampler(name, make, widths=(SAMPLERS[name](tiny_graph()).k,)))
    assert not report.errors


def test_a_filtered_sampler_is_recognized():
    make = lambda graph, width: MaskKnown(graph, inner=Uniform(graph, k=width))
    assert not report_sampler(make, "it", widths=(4,), filtered=True).violations


def test_what_two_checks_find_is_reported_once():
    class NeverFirst(Uniform):
        def sample(self, queries, score, rng):
            ids = super().sample(queries, score, rng).ids
            return self.to_negatives(queries, ids.clamp(min=1))

    make = lambda graph, width: NeverFirst(graph, k=width)
    report = report_sampler(make, "it", widths=(5,))
    assert [violation.message for violation in report.violations if violation.check == "reach"] == [
        "entity 0 is never drawn"
    ]
    assert any("by a chi-square test" in violation.message for violation in report.errors)


def test_draws_that_were_called_impossible_are_counted():
    class Timid(Popularity):
        def log_prob(self, queries, ids):
            return super().log_prob(queries, ids).masked_fill(ids == 3, -torch.inf)

        def to_negatives(self, queries, ids):
            return replace(super().to_negatives(queries, ids), log_q=torch.zeros(ids.shape))

    report = report_sampler(lambda graph, width: Timid(graph, k=width), "it", widths=(5,))
    assert any(
        "draws that log_prob calls impossible" in violation.message for violation in report.errors
    )


def test_ours_draw_one_end_at_random():
    graph = graph_of((0, 0, 1), (1, 0, 2), num_entities=6, num_relations=2)
    draw = external_maker(lambda graph, width: Uniform(graph, k=width))(graph, 50, 3)
    corrupted, _ = draw(graph.triples.repeat(20, 1))
    changed = (corrupted != graph.triples.repeat(20, 1).unsqueeze(1)).any(1)
    assert not changed[:, 1].any()
    assert changed[:, 0].any() and changed[:, 2].any()
    assert not (changed[:, 0] & changed[:, 2]).any()


@pytest.mark.parametrize(
    ("counts", "expected", "chance"),
    [
        ([10, 10], [10, 10], 1.0),
        ([50, 50, 80], [60, 60, 60], math.exp(-5)),  # 10 on two degrees of freedom
        ([5, 1, 0], [5, 0.5, 0.5], 1.0),
    ],
)
def test_chi_square_by_hand(counts, expected, chance):
    got = chi_square(torch.tensor(counts), torch.tensor(expected))
    assert got == pytest.approx(chance, rel=1e-9)


def test_a_report_goes_on_after_a_violation():
    report = Report()
    with report.check("one") as expect:
        expect(False, "wrong", "warning")
        raise RuntimeError("first line\nsecond line")
    with report.check("two"):
        pass
    assert report.checks == ["one", "two"]
    assert words(report) == ["wrong", "raised RuntimeError: first line"]
    with pytest.raises(AssertionError, match="raised RuntimeError: first line"):
        report.raise_errors()
