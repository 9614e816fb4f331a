"""The generator inside a pool."""

import math

import pytest
import torch
from generator_cases import TableModel, heard, offer, same_query, small_graph

from sparring.generators import KBGAN
from sparring.models import ComplEx
from sparring.testing import tiny_graph, tiny_queries

SCORE = torch.tensor([-1.0, 2.0, 0.5, -3.0, 1.0])


def generator(**options):
    return KBGAN(small_graph(5), model=TableModel(5), **options)


def learn(made, steps, batch=64, score=SCORE):
    rng = torch.Generator().manual_seed(0)
    queries = same_query(batch)
    return [
        made.observe(heard(queries, made.sample(queries, None, rng), score)) for _ in range(steps)
    ]


def test_candidates_come_from_a_softmax_inside_the_pool():
    made = generator(pool=2, k=1)
    made.model.logit.data[1] = 50.0
    ids = made.sample(same_query(4000), None, torch.Generator().manual_seed(0)).ids
    chosen = (ids == 1).float().mean().item()
    in_pool = 1 - (4 / 5) ** 2
    assert abs(chosen - in_pool) < 5 * math.sqrt(in_pool * (1 - in_pool) / 4000)


def test_a_hotter_softmax_is_flatter():
    made = generator(temperature=1e6)
    made.model.logit.data[1] = 50.0
    log_policy = made.sample(same_query(9), None, torch.Generator().manual_seed(0)).log_policy
    torch.testing.assert_close(
        log_policy.exp(), torch.full_like(log_policy, 1 / 20), rtol=1e-3, atol=0
    )


def test_one_step_follows_reward_less_baseline():
    made = generator(k=2, pool=3)
    made.optimizer = torch.optim.SGD(made.parameters(), 1.0)
    made.baseline.fill_(0.5)
    queries = same_query(7)
    drawn = made.sample(queries, None, torch.Generator().manual_seed(0))
    gain = ((SCORE[drawn.ids] - 0.5) * drawn.log_policy).mean()
    (want,) = torch.autograd.grad(gain, made.model.logit, retain_graph=True)
    made.observe(heard(queries, drawn, SCORE))
    torch.testing.assert_close(made.model.logit.data, want)


def test_compatible_steps_add_up_over_the_batch():
    moved = []
    for compat in (False, True):
        made = generator(compat=compat)
        made.optimizer = torch.optim.SGD(made.parameters(), 1.0)
        learn(made, steps=1, batch=16)
        moved.append(made.model.logit.data.clone())
    torch.testing.assert_close(moved[1], 16 * moved[0])


def test_what_scores_high_is_proposed_more():
    made = generator(lr=0.05)
    learn(made, steps=30)
    assert made.model.logit.argmax() == SCORE.argmax()


def test_a_linear_reward_makes_the_policy_collapse():
    made = generator(lr=0.05)
    entropy = [told["entropy"].item() for told in learn(made, steps=150)]
    assert entropy[0] > 0.99 * math.log(20)
    assert entropy[-1] < entropy[50] < entropy[0]
    assert made.model.logit.softmax(0).max() > 0.9


def test_the_baseline_is_the_mean_reward_of_the_epoch_before():
    made = generator(epoch=6)
    seen = []
    for level in (1.0, 2.0, 6.0, 9.0):
        learn(made, steps=1, batch=3, score=torch.full((5,), level))
        seen.append(made.baseline.item())
    assert seen == [0.0, 1.5, 1.5, 7.5]


def test_an_epoch_has_a_query_per_training_triple_unless_told_otherwise():
    graph = tiny_graph()
    assert KBGAN(graph, model=ComplEx(graph, dim=4)).epoch == len(graph.triples)


def test_draws_that_do_not_count_have_no_reward():
    made = generator(epoch=100)
    queries = same_query(2)
    ids = torch.tensor([[1], [3]])
    drawn = offer(
        queries,
        ids,
        mask=torch.tensor([[True], [False]]),
        log_policy=torch.zeros(2, 1, requires_grad=True),
    )
    told = made.observe(heard(queries, drawn, SCORE))
    assert told["reward"] == SCORE[1]
    torch.testing.assert_close(made.total, torch.tensor([2.0, 1.0], dtype=torch.double))


def test_the_model_inside_is_regularised_and_restored_like_any_other():
    class Ruled(TableModel):
        def regularization(self, queries):
            return (self.logit - 1).pow(2).sum()

    made = KBGAN(small_graph(5), model=Ruled(5), lr=0.1)
    learn(made, steps=60, score=torch.zeros(5))
    assert made.model.steps == 60
    torch.testing.assert_close(made.model.logit.data, torch.ones(5), atol=0.1, rtol=0)


def test_any_main_model_will_do_inside():
    graph = tiny_graph()
    queries = tiny_queries(graph)
    torch.manual_seed(0)
    made = KBGAN(graph, model=ComplEx(graph, dim=8), k=3)
    drawn = made.sample(queries, None, torch.Generator().manual_seed(0))
    before = made.model.entity.weight.clone()
    made.observe(heard(queries, drawn, torch.randn(graph.num_entities)))
    assert not torch.equal(made.model.entity.weight, before)


def test_a_pool_leaves_a_choice():
    with pytest.raises(ValueError, match="at least 2 entities; got pool=1"):
        generator(pool=1)
