"""Forward KL over all entities, and trajectory balance over groups and members."""

import functools
import math

import pytest
import torch
from generator_cases import (
    PROBABILITY,
    every_list,
    feedback,
    negatives_of,
    no_score,
    same_query,
    small_graph,
)

from sparring.data.graph import TrainGraph
from sparring.generators import FlowGenerator, SoftmaxGenerator
from sparring.testing import tiny_graph, tiny_queries


def softmax_generator(entities=3, **options):
    """A policy of biases alone, so that every entity has a logit of its own."""
    made = SoftmaxGenerator(small_graph(entities), **{"k": 2, "uniform_mix": 0.0} | options)
    torch.nn.init.zeros_(made.policy.entity.weight)
    return made


def softmax_gradient(made, feedback):
    made.observe(feedback)
    return made.policy.bias.grad.clone()


@pytest.mark.parametrize("k", [2, 3])
def test_the_optimum_is_the_softmax_of_scores_less_false_negatives(k):
    """Over all lists of k draws, the gradient is zero if q is (1 - p) * exp(score / T)."""
    made = softmax_generator(k=k, answer_loss_weight=0.0, temperature=2.0, lr=0.0)
    made.policy.bias.data = PROBABILITY.log()
    ids = every_list(k)
    p_false_negative = torch.tensor([0.2, 0.6, 0.0])
    drawn = negatives_of(same_query(len(ids)), ids, p_false_negative=p_false_negative[ids])
    score = 2 * (PROBABILITY / (1 - p_false_negative)).log()
    there = softmax_gradient(made, feedback(same_query(len(ids), 0), drawn, score + 5))
    torch.testing.assert_close(there, torch.zeros(3), atol=1e-6, rtol=0)


def test_elsewhere_the_gradient_leads_to_what_scores_higher():
    made = softmax_generator(answer_loss_weight=0.0, lr=0.0)
    made.policy.bias.data = PROBABILITY.log()
    ids = every_list(2)
    drawn = negatives_of(same_query(len(ids)), ids)
    score = PROBABILITY.log() + torch.tensor([0.0, 1.0, 0.0])
    got = softmax_gradient(made, feedback(same_query(len(ids), 0), drawn, score))
    assert got[1] < -0.05
    assert (got[[0, 2]] > 0).all()


def test_it_learns_the_softmax_of_fixed_scores():
    made = softmax_generator(8, k=4, uniform_mix=0.1, answer_loss_weight=0.0, lr=0.05)
    score = torch.randn(8, generator=torch.Generator().manual_seed(3))
    rng = torch.Generator().manual_seed(0)
    queries = same_query(64, 0)
    for _ in range(200):
        drawn = made.sample(queries, no_score, rng)
        every = negatives_of(queries, drawn.ids)
        made.observe(feedback(queries, every, score))
    learned = made.log_policy(queries[:1])[0].detach()
    want = score.log_softmax(0)
    assert (want.exp() * (want - learned)).sum() < 0.02


def test_likelihood_pulls_the_density_towards_the_answers():
    made = softmax_generator(answer_loss_weight=1.0, lr=0.1)
    queries = same_query(8, 2)
    rng = torch.Generator().manual_seed(0)
    for _ in range(50):
        made.observe(feedback(queries, made.sample(queries, no_score, rng), torch.zeros(3)))
    assert made.log_policy(queries)[0].argmax() == 2


def test_the_uniform_mix_bounds_importance_weights():
    made = softmax_generator(5, uniform_mix=0.2)
    made.policy.bias.data[0] = 40.0
    log_q = made.log_prob(same_query(1), torch.arange(5).unsqueeze(0))
    torch.testing.assert_close(log_q[0, 1:], torch.full((4,), math.log(0.2 / 5)))


def test_a_query_without_counted_candidates_teaches_nothing():
    made = softmax_generator(answer_loss_weight=0.0)
    queries = same_query(2, 0)
    drawn = negatives_of(queries, torch.tensor([[0, 1], [1, 2]]), mask=torch.zeros(2, 2).bool())
    got = softmax_gradient(made, feedback(queries, drawn, torch.zeros(3)))
    assert torch.equal(got, torch.zeros(3))


def test_a_single_candidate_is_refused():
    with pytest.raises(ValueError, match="so it needs at least 2; got k=1"):
        SoftmaxGenerator(small_graph(), k=1)


@pytest.mark.parametrize("uniform_mix", [-0.1, 1.0])
def test_the_uniform_mix_is_a_probability(uniform_mix):
    with pytest.raises(ValueError, match=f"a probability below 1; got uniform_mix={uniform_mix}"):
        softmax_generator(uniform_mix=uniform_mix)


SCORE = torch.randn(8, generator=torch.Generator().manual_seed(3))
P_FALSE = torch.tensor([0.0, 0.5, 0.0, 0.0, 0.9, 0.0, 0.0, 0.0])


@functools.cache
def trained_flow():
    torch.manual_seed(0)
    made = FlowGenerator(small_graph(8), k=6, lr=0.05, temperature=2.0)
    queries, rng = same_query(16, 0), torch.Generator().manual_seed(0)
    for _ in range(400):
        ids = made.sample(queries, no_score, rng).ids
        drawn = negatives_of(queries, ids, p_false_negative=P_FALSE[ids])
        metrics = made.observe(feedback(queries, drawn, SCORE))
    return made, metrics["generator_loss"].item()


def test_it_becomes_proportional_to_the_discounted_reward():
    made, loss = trained_flow()
    reward = (SCORE / 2).exp() * (1 - P_FALSE)
    learned = made.log_policy(same_query(1))[0].exp()
    torch.testing.assert_close(learned, reward / reward.sum(), atol=0.01, rtol=0)
    assert loss < 1e-3


def test_the_total_is_the_sum_of_rewards():
    made, _ = trained_flow()
    total = ((SCORE / 2).exp() * (1 - P_FALSE)).sum().log()
    torch.testing.assert_close(made.log_total(same_query(1))[0, 0], total, atol=0.02, rtol=0)


def test_what_is_surely_a_fact_or_does_not_count_has_no_part():
    torch.manual_seed(0)
    made = FlowGenerator(small_graph(8), k=3)
    queries = same_query(1, 0)
    ids = torch.tensor([[1, 2, 3]])
    mask, p_false_negative = torch.tensor([[True, False, True]]), torch.tensor([[0.0, 0.0, 1.0]])
    drawn = negatives_of(queries, ids, mask=mask, p_false_negative=p_false_negative)
    gap = made.log_total(queries)[0, 0] + made.log_policy(queries)[0, 1] - SCORE[1]
    metrics = made.observe(feedback(queries, drawn, SCORE))
    torch.testing.assert_close(metrics["generator_loss"], gap.detach() ** 2)


def test_the_policy_is_the_groups_softmax_times_the_members():
    torch.manual_seed(0)
    graph = tiny_graph()
    queries = tiny_queries(graph)
    made = FlowGenerator(graph, k=2)
    of_group = made.choice(made.member.context(queries)).softmax(1)
    logit = made.member(queries, made.all_ids)
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
