"""Trajectory balance over groups and members."""

import functools

import pytest
import torch
from generator_cases import heard, offer, same_query, small_graph

from sparring.data.graph import TrainGraph
from sparring.generators import FlowGenerator
from sparring.testing import tiny_graph, tiny_queries

SCORE = torch.randn(8, generator=torch.Generator().manual_seed(3))
DOUBT = torch.tensor([0.0, 0.5, 0.0, 0.0, 0.9, 0.0, 0.0, 0.0])


@functools.cache
def trained():
    torch.manual_seed(0)
    made = FlowGenerator(small_graph(8), k=6, lr=0.05, temperature=2.0)
    queries, rng = same_query(16, 0), torch.Generator().manual_seed(0)
    for _ in range(400):
        ids = made.sample(queries, None, rng).ids
        drawn = offer(queries, ids, p_false_negative=DOUBT[ids])
        told = made.observe(heard(queries, drawn, SCORE))
    return made, told["generator_loss"].item()


def test_it_becomes_proportional_to_the_discounted_reward():
    made, loss = trained()
    reward = (SCORE / 2).exp() * (1 - DOUBT)
    learned = made.log_policy(same_query(1))[0].exp()
    torch.testing.assert_close(learned, reward / reward.sum(), atol=0.01, rtol=0)
    assert loss < 1e-3


def test_the_total_is_the_sum_of_rewards():
    made, _ = trained()
    total = ((SCORE / 2).exp() * (1 - DOUBT)).sum().log()
    torch.testing.assert_close(made.log_total(same_query(1))[0, 0], total, atol=0.02, rtol=0)


def test_what_is_surely_a_fact_or_does_not_count_has_no_part():
    torch.manual_seed(0)
    made = FlowGenerator(small_graph(8), k=3)
    queries = same_query(1, 0)
    ids = torch.tensor([[1, 2, 3]])
    mask, doubt = torch.tensor([[True, False, True]]), torch.tensor([[0.0, 0.0, 1.0]])
    drawn = offer(queries, ids, mask=mask, p_false_negative=doubt)
    gap = made.log_total(queries)[0, 0] + made.log_policy(queries)[0, 1] - SCORE[1]
    told = made.observe(heard(queries, drawn, SCORE))
    torch.testing.assert_close(told["generator_loss"], gap.detach() ** 2)


def test_the_policy_is_the_groups_softmax_times_the_members():
    torch.manual_seed(0)
    graph = tiny_graph()
    queries = tiny_queries(graph)
    made = FlowGenerator(graph, k=2)
    of_group = made.choice(made.member.context(queries)).softmax(1)
    logit = made.member(queries, made.everyone)
    want = torch.zeros_like(logit)
    for group in range(made.num_groups):
        members = made.group == group
        want[:, members] = of_group[:, [group]] * logit[:, members].softmax(1)
    torch.testing.assert_close(made.log_policy(queries).exp(), want)


def test_the_policy_stays_a_distribution_however_far_logits_are_apart():
    torch.manual_seed(0)
    made = FlowGenerator(tiny_graph(), k=2)
    made.member.bias.data = torch.linspace(-1e4, 1e4, 11)
    policy = made.log_policy(tiny_queries(tiny_graph()))
    assert policy.isfinite().all()
    torch.testing.assert_close(policy.exp().sum(1), torch.ones(24))


def test_entities_fall_into_about_the_root_of_their_number_of_groups():
    group = FlowGenerator(tiny_graph(num_entities=64, size=200), k=2).group
    assert torch.bincount(group).tolist() == [8] * 8


def test_the_number_of_groups_can_be_chosen():
    assert FlowGenerator(tiny_graph(), k=2, groups=2).num_groups == 2


def test_types_are_groups_where_the_graph_has_them():
    """The first type counts, and entities without a type are together."""
    pairs = torch.tensor([[0, 3], [1, 1], [1, 3], [4, 1]])
    graph = TrainGraph(torch.tensor([[0, 0, 1]]), 6, 1, pairs)
    assert FlowGenerator(graph, k=2).group.tolist() == [1, 0, 2, 2, 0, 2]


def test_there_is_at_least_one_group():
    with pytest.raises(ValueError, match="at least one group; got groups=0"):
        FlowGenerator(tiny_graph(), k=2, groups=0)
