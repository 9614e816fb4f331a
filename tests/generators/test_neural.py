"""The neural generator's optimum, its pool, and what is refused."""

import pytest
import torch
from generator_cases import SHARE, every_list, heard, offer, same_query, small_graph

from sparring.generators import NeuralGAN
from sparring.testing import tiny_graph, tiny_queries


def gradient_at_share(score, entropy):
    """Over all draws of q = SHARE, with biases alone as parameters."""
    made = NeuralGAN(small_graph(), k=1, entropy=entropy, lr=0.0)
    torch.nn.init.zeros_(made.policy.entity.weight)
    made.policy.bias.data = SHARE.log()
    queries, ids = same_query(4, 0), every_list(1)
    log_policy = made.log_share(queries, made.everyone).gather(1, ids)
    made.observe(heard(queries, offer(queries, ids, log_policy=log_policy), score))
    return made.policy.bias.grad


@pytest.mark.parametrize("entropy", [0.5, 2.0])
def test_the_optimum_is_the_softmax_of_scores_over_the_weight_of_entropy(entropy):
    got = gradient_at_share(entropy * SHARE.log() + 3, entropy)
    torch.testing.assert_close(got, torch.zeros(3), atol=1e-6, rtol=0)


def test_without_entropy_the_gradient_is_that_of_the_expected_score():
    score = torch.tensor([1.0, -1.0, 4.0])
    logit = SHARE.log().requires_grad_()
    (want,) = torch.autograd.grad(-(logit.softmax(0) * score).sum(), logit)
    torch.testing.assert_close(gradient_at_share(score, 0.0), want)


def test_the_pool_holds_each_entity_once_and_serves_the_whole_batch():
    graph = tiny_graph()
    made = NeuralGAN(graph, k=40, pool=4)
    drawn = made.sample(tiny_queries(graph), None, torch.Generator().manual_seed(0))
    assert len(drawn.ids.unique()) == 4
    assert drawn.answer_log_q is None


def test_what_is_proposed_depends_on_anchor_and_relation():
    graph = tiny_graph()
    queries = tiny_queries(graph)
    torch.manual_seed(0)
    made = NeuralGAN(graph, k=2)
    table = made.log_prob(queries, torch.arange(graph.num_entities).unsqueeze(0))
    pair = torch.stack([queries.anchor, queries.relation], 1)
    same = (pair.unsqueeze(0) == pair.unsqueeze(1)).all(2)
    apart = torch.cdist(table, table)
    assert (apart[same] < 1e-6).all()
    assert (apart[~same] > 1e-4).all()


@pytest.mark.parametrize("pool", [0, 12])
def test_a_pool_is_part_of_the_graph(pool):
    with pytest.raises(ValueError, match=f"a pool of {pool} cannot be drawn from 11 entities"):
        NeuralGAN(tiny_graph(), k=2, pool=pool)
