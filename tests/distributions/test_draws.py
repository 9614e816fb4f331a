"""Draws follow the stated distribution: chi-square tests with fixed seeds, to 5 sigma."""

import math

import pytest
import torch
from kernels.switch import kernels_on

from sparring.batch import Queries, ungroup
from sparring.corruption import tail_and_head_queries
from sparring.samplers import (
    InBatch,
    MaskKnown,
    Popularity,
    ResampleKnown,
    Uniform,
    UniformFiltered,
)
from sparring.testing import tiny_graph

BATCH, K = 300, 60
GRAPH = tiny_graph()


def no_opinion(ids):
    raise AssertionError("these samplers do not look at scores")


def crowded_queries() -> Queries:
    """The training query with most known answers, over and over."""
    queries = tail_and_head_queries(GRAPH.triples, GRAPH.num_relations)
    row = GRAPH.known.count(queries).argmax()
    return queries[row.repeat(BATCH)]


QUERIES = crowded_queries()
KNOWN = GRAPH.known.contains(QUERIES[:1], torch.arange(GRAPH.num_entities).unsqueeze(0))[0]


def draw(sampler, queries=QUERIES, seed=0):
    return sampler.sample(queries, no_opinion, torch.Generator().manual_seed(seed))


def assert_follows(ids, share):
    """Raise AssertionError unless counts of ids look like draws from `share`.

    The cube root of a chi-square over its degrees of freedom is nearly normal (Wilson &
    Hilferty, 1931).
    """
    counts = torch.bincount(ids.flatten(), minlength=len(share)).double()
    share = share.double()
    torch.testing.assert_close(share.sum(), torch.tensor(1.0, dtype=torch.double))
    assert not counts[share == 0].any(), "drawn although impossible"
    expected = (counts.sum() * share)[share > 0]
    assert expected.min() > 5, "too few draws to judge"
    chi = ((counts[share > 0] - expected) ** 2 / expected).sum().item()
    freedom = len(expected) - 1
    spread = 2 / (9 * freedom)
    sigma = ((chi / freedom) ** (1 / 3) - (1 - spread)) / math.sqrt(spread)
    assert sigma < 5, f"{sigma:.1f} sigma from the stated distribution"


def with_rest(share):
    """The share of what does not count comes last."""
    return torch.cat([share, (1 - share.sum()).clamp(min=0).unsqueeze(0)])


def counted_or_rest(drawn):
    return ungroup(drawn.ids, BATCH).masked_fill(~drawn.mask, GRAPH.num_entities)


def stated(sampler):
    everyone = torch.arange(GRAPH.num_entities).unsqueeze(0)
    return sampler.log_prob(QUERIES[:1], everyone)[0].double().exp()


def by_degree(power):
    mass = GRAPH.degree.double() ** power
    return mass / mass.sum()


def test_the_chi_square_notices_a_skew_of_a_tenth():
    share = torch.full((11,), 1 / 11)
    skewed = share.clone()
    skewed[0], skewed[1] = 1.1 / 11, 0.9 / 11
    ids = torch.multinomial(skewed, BATCH * K * 4, True, generator=torch.Generator().manual_seed(0))
    with pytest.raises(AssertionError, match="sigma from the stated distribution"):
        assert_follows(ids, share)


@pytest.mark.parametrize("groups", [None, 100])
def test_uniform_draws_are_uniform(groups):
    share = torch.full((GRAPH.num_entities,), 1 / GRAPH.num_entities)
    assert_follows(draw(Uniform(GRAPH, k=K, groups=groups)).ids, share)


@pytest.mark.parametrize("groups", [None, 100])
@pytest.mark.parametrize("power", [0.0, 0.75, 1.0, 2.0])
def test_popular_draws_follow_a_power_of_the_degree(power, groups):
    drawn = draw(Popularity(GRAPH, k=K, power=power, groups=groups))
    assert_follows(drawn.ids, by_degree(power))


@pytest.mark.parametrize("power", [0.75, 2.0])
def test_popular_states_a_power_of_the_degree(power):
    sampler = Popularity(GRAPH, k=K, power=power)
    torch.testing.assert_close(stated(sampler), by_degree(power), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("loops", [True, False])
def test_uniform_over_the_unknown_is_uniform_over_the_unknown(loops):
    free = ~KNOWN
    with kernels_on(loops):
        drawn = draw(UniformFiltered(GRAPH, k=K))
    assert_follows(drawn.ids, free / free.sum())
    assert drawn.mask.all()


def test_uniform_over_the_unknown_states_that():
    free = ~KNOWN
    torch.testing.assert_close(stated(UniformFiltered(GRAPH, k=K)), (free / free.sum()).double())


def test_hidden_known_facts_leave_the_others_alone():
    sampler = MaskKnown(GRAPH, inner=Uniform(GRAPH, k=K))
    share = with_rest(~KNOWN / torch.tensor(float(GRAPH.num_entities)))
    assert_follows(counted_or_rest(draw(sampler)), share)


@pytest.mark.parametrize("rounds", [0, 1, 3])
@pytest.mark.parametrize("power", [0.0, 1.0])
def test_redrawing_draws_as_often_as_it_says(rounds, power):
    """Each round leaves the share of known facts to the next; what is left does not count."""
    sampler = ResampleKnown(GRAPH, inner=Popularity(GRAPH, k=K, power=power), rounds=rounds)
    inner = by_degree(power)
    taken = inner[KNOWN].sum()
    by_hand = inner * ~KNOWN * sum(taken**turn for turn in range(rounds + 1))
    torch.testing.assert_close(stated(sampler), by_hand, atol=1e-6, rtol=1e-5)
    assert_follows(counted_or_rest(draw(sampler)), with_rest(by_hand))


def test_shared_lists_are_shared_within_chunks_only():
    drawn = draw(Uniform(GRAPH, k=K, groups=3))
    assert drawn.ids.shape == (3, K)
    assert not torch.equal(drawn.ids[0], drawn.ids[1])


def test_in_batch_candidates_are_as_popular_as_answers():
    rng = torch.Generator().manual_seed(0)
    sampler = InBatch(GRAPH, k=8)
    listed = []
    for _ in range(500):
        rows = torch.randint(len(GRAPH.triples), (8,), generator=rng)
        queries = tail_and_head_queries(GRAPH.triples[rows], GRAPH.num_relations)
        drawn = sampler.sample(queries, no_opinion, rng)
        listed.append(drawn.ids)
    assert_follows(torch.cat(listed), by_degree(1.0))
    torch.testing.assert_close(stated(sampler), by_degree(1.0), atol=1e-6, rtol=1e-5)


def test_in_batch_candidates_are_drawn_without_replacement():
    queries = tail_and_head_queries(GRAPH.triples[:6], GRAPH.num_relations)
    drawn = draw(InBatch(GRAPH, k=12), queries)
    assert torch.equal(drawn.ids.sort().values, queries.answer.sort().values.unsqueeze(0))


@pytest.mark.parametrize(
    "make",
    [
        lambda k: MaskKnown(GRAPH, inner=Uniform(GRAPH, k=k)),
        lambda k: MaskKnown(GRAPH, inner=Popularity(GRAPH, k=k, groups=100)),
        lambda k: ResampleKnown(GRAPH, inner=Uniform(GRAPH, k=k, groups=100), rounds=1),
        lambda k: ResampleKnown(GRAPH, inner=Popularity(GRAPH, k=k)),
        lambda k: UniformFiltered(GRAPH, k=k),
    ],
    ids=["hidden", "hidden-popular", "redrawn", "redrawn-popular", "unknown"],
)
def test_all_ways_to_avoid_known_facts_estimate_the_sum_over_the_unknown(make):
    value = torch.randn(GRAPH.num_entities, generator=torch.Generator().manual_seed(5)).exp()
    drawn = draw(make(K))
    rows = drawn.mask * value[ungroup(drawn.ids, BATCH)] / (K * drawn.log_q.exp())
    lists = rows.nan_to_num().sum(1).unflatten(0, (100, 3)).mean(1)
    error = (lists.mean() - value[~KNOWN].sum()) / (lists.std() / math.sqrt(len(lists)))
    assert error.abs() < 5


def test_the_answer_is_left_out_of_the_sum():
    value = torch.arange(1.0, GRAPH.num_entities + 1)
    drawn = draw(Uniform(GRAPH, k=K))
    rows = (drawn.mask * value[drawn.ids] / (K * drawn.log_q.exp())).sum(1)
    wanted = value.sum() - value[QUERIES.answer[0]]
    assert ((rows.mean() - wanted) / (rows.std() / math.sqrt(BATCH))).abs() < 5
