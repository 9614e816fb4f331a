"""Forward KL: the optimum, and what is refused."""

import math

import pytest
import torch
from generator_cases import SHARE, every_list, heard, offer, same_query, small_graph

from sparring.generators import SoftmaxGenerator


def generator(entities=3, **options):
    """A policy of biases alone, so that every entity has a logit of its own."""
    made = SoftmaxGenerator(small_graph(entities), **{"k": 2, "floor": 0.0} | options)
    torch.nn.init.zeros_(made.policy.entity.weight)
    return made


def gradient(made, feedback):
    made.observe(feedback)
    return made.policy.bias.grad.clone()


@pytest.mark.parametrize("k", [2, 3])
def test_the_optimum_is_the_softmax_of_scores_less_doubt(k):
    """Over all lists of k draws of q, the gradient is zero if q is (1 - doubt) * exp(score / T)."""
    made = generator(k=k, likelihood=0.0, temperature=2.0, lr=0.0)
    made.policy.bias.data = SHARE.log()
    ids = every_list(k)
    doubt = torch.tensor([0.2, 0.6, 0.0])
    drawn = offer(same_query(len(ids)), ids, p_false_negative=doubt[ids])
    score = 2 * (SHARE / (1 - doubt)).log()
    there = gradient(made, heard(same_query(len(ids), 0), drawn, score + 5))
    torch.testing.assert_close(there, torch.zeros(3), atol=1e-6, rtol=0)


def test_elsewhere_the_gradient_leads_to_what_scores_higher():
    made = generator(likelihood=0.0, lr=0.0)
    made.policy.bias.data = SHARE.log()
    ids = every_list(2)
    drawn = offer(same_query(len(ids)), ids)
    score = SHARE.log() + torch.tensor([0.0, 1.0, 0.0])
    got = gradient(made, heard(same_query(len(ids), 0), drawn, score))
    assert got[1] < -0.05
    assert (got[[0, 2]] > 0).all()


def test_it_learns_the_softmax_of_fixed_scores():
    made = generator(8, k=4, floor=0.1, likelihood=0.0, lr=0.05)
    score = torch.randn(8, generator=torch.Generator().manual_seed(3))
    rng = torch.Generator().manual_seed(0)
    queries = same_query(64, 0)
    for _ in range(200):
        drawn = made.sample(queries, None, rng)
        every = offer(queries, drawn.ids)
        made.observe(heard(queries, every, score))
    learned = made.log_policy(queries[:1])[0].detach()
    want = score.log_softmax(0)
    assert (want.exp() * (want - learned)).sum() < 0.02


def test_likelihood_pulls_the_density_towards_the_answers():
    made = generator(likelihood=1.0, lr=0.1)
    queries = same_query(8, 2)
    rng = torch.Generator().manual_seed(0)
    for _ in range(50):
        made.observe(heard(queries, made.sample(queries, None, rng), torch.zeros(3)))
    assert made.log_policy(queries)[0].argmax() == 2


def test_the_floor_bounds_importance_weights():
    made = generator(5, floor=0.2)
    made.policy.bias.data[0] = 40.0
    log_q = made.log_prob(same_query(1), torch.arange(5).unsqueeze(0))
    torch.testing.assert_close(log_q[0, 1:], torch.full((4,), math.log(0.2 / 5)))


def test_a_query_without_counted_candidates_teaches_nothing():
    made = generator(likelihood=0.0)
    queries = same_query(2, 0)
    drawn = offer(queries, torch.tensor([[0, 1], [1, 2]]), mask=torch.zeros(2, 2).bool())
    got = gradient(made, heard(queries, drawn, torch.zeros(3)))
    assert torch.equal(got, torch.zeros(3))


def test_a_single_candidate_is_refused():
    with pytest.raises(ValueError, match="so it needs at least 2; got k=1"):
        SoftmaxGenerator(small_graph(), k=1)


@pytest.mark.parametrize("floor", [-0.1, 1.0])
def test_the_floor_is_a_share(floor):
    with pytest.raises(ValueError, match=f"a share of the draws below 1; got {floor}"):
        generator(floor=floor)
