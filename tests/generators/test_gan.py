"""Policy gradients, KBGAN's pool and the neural generator."""

import math

import pytest
import torch
from generator_cases import (
    PROBABILITY,
    TableModel,
    every_list,
    feedback,
    negatives_of,
    no_score,
    same_query,
    small_graph,
)

from sparring.experiments.config import PARTS
from sparring.generators import KBGAN, NeuralGAN
from sparring.generators.gan import policy_gradient
from sparring.models import ComplEx, TransE
from sparring.registry import ConfigError, build, resolve
from sparring.testing import tiny_graph, tiny_queries

P = torch.tensor([0.4, 0.3, 0.15, 0.1, 0.05])
REWARD = torch.tensor([1.0, -2.0, 0.5, 3.0, 0.0])


def gradient_of_each_draw(logit, reward):
    """Policy gradient for each of the five draws, weighed by its probability, and added up."""
    total = torch.zeros(5)
    for pick in range(5):
        log_policy = logit.log_softmax(0)[pick].view(1, 1)
        loss = policy_gradient(log_policy, reward[pick].view(1, 1), torch.ones(1, 1).bool())
        total += logit.softmax(0)[pick].detach() * torch.autograd.grad(loss, logit)[0]
    return total


def test_the_expected_gradient_is_that_of_the_expected_reward():
    logit = P.log().requires_grad_()
    (want,) = torch.autograd.grad(-(logit.softmax(0) * REWARD).sum(), logit)
    torch.testing.assert_close(gradient_of_each_draw(logit, REWARD), want)


def test_a_constant_baseline_leaves_the_expected_gradient():
    logit = P.log().requires_grad_()
    plain, moved = (gradient_of_each_draw(logit, reward) for reward in (REWARD, REWARD - 7))
    torch.testing.assert_close(moved, plain)


def test_a_constant_reward_teaches_nothing():
    logit = P.log().requires_grad_()
    got = gradient_of_each_draw(logit, torch.full((5,), 4.0))
    torch.testing.assert_close(got, torch.zeros(5), atol=1e-6, rtol=0)


def test_draws_that_do_not_count_have_no_part_in_the_gradient():
    log_policy = torch.zeros(2, 2, requires_grad=True)
    mask = torch.tensor([[True, False], [True, True]])
    policy_gradient(log_policy, torch.full((2, 2), 3.0), mask).backward()
    torch.testing.assert_close(log_policy.grad, torch.tensor([[-1.0, 0.0], [-1.0, -1.0]]))


SCORE = torch.tensor([-1.0, 2.0, 0.5, -3.0, 1.0])


def kbgan(**options):
    return KBGAN(small_graph(5), model=TableModel(5), **options)


def learn(made, steps, batch=64, score=SCORE):
    rng = torch.Generator().manual_seed(0)
    queries = same_query(batch)
    return [
        made.observe(feedback(queries, made.sample(queries, no_score, rng), score))
        for _ in range(steps)
    ]


def test_candidates_come_from_a_softmax_inside_the_pool():
    made = kbgan(pool=2, k=1)
    made.model.logit.data[1] = 50.0
    ids = made.sample(same_query(4000), no_score, torch.Generator().manual_seed(0)).ids
    chosen = (ids == 1).float().mean().item()
    in_pool = 1 - (4 / 5) ** 2
    assert abs(chosen - in_pool) < 5 * math.sqrt(in_pool * (1 - in_pool) / 4000)


def test_a_hotter_softmax_is_flatter():
    made = kbgan(temperature=1e6)
    made.model.logit.data[1] = 50.0
    log_policy = made.sample(same_query(9), no_score, torch.Generator().manual_seed(0)).log_policy
    torch.testing.assert_close(
        log_policy.exp(), torch.full_like(log_policy, 1 / 20), rtol=1e-3, atol=0
    )


def test_one_step_follows_reward_less_baseline():
    made = kbgan(k=2, pool=3)
    made.optimizer = torch.optim.SGD(made.parameters(), 1.0)
    made.baseline.fill_(0.5)
    queries = same_query(7)
    drawn = made.sample(queries, no_score, torch.Generator().manual_seed(0))
    gain = ((SCORE[drawn.ids] - 0.5) * drawn.log_policy).mean()
    (want,) = torch.autograd.grad(gain, made.model.logit, retain_graph=True)
    made.observe(feedback(queries, drawn, SCORE))
    torch.testing.assert_close(made.model.logit.data, want)


def test_compatible_steps_add_up_over_the_batch():
    moved = []
    for sum_over_batch in (False, True):
        made = kbgan(sum_over_batch=sum_over_batch)
        made.optimizer = torch.optim.SGD(made.parameters(), 1.0)
        learn(made, steps=1, batch=16)
        moved.append(made.model.logit.data.clone())
    torch.testing.assert_close(moved[1], 16 * moved[0])


def test_what_scores_high_is_proposed_more():
    made = kbgan(lr=0.05)
    learn(made, steps=30)
    assert made.model.logit.argmax() == SCORE.argmax()


def test_a_linear_reward_makes_the_policy_collapse():
    made = kbgan(lr=0.05)
    entropy = [metrics["entropy"].item() for metrics in learn(made, steps=150)]
    assert entropy[0] > 0.99 * math.log(20)
    assert entropy[-1] < entropy[50] < entropy[0]
    assert made.model.logit.softmax(0).max() > 0.9


def test_the_baseline_is_the_mean_reward_of_the_epoch_before():
    made = kbgan(queries_per_epoch=6)
    seen = []
    for level in (1.0, 2.0, 6.0, 9.0):
        learn(made, steps=1, batch=3, score=torch.full((5,), level))
        seen.append(made.baseline.item())
    assert seen == [0.0, 1.5, 1.5, 7.5]


def test_an_epoch_has_a_query_per_training_triple_by_default():
    graph = tiny_graph()
    assert KBGAN(graph, model=ComplEx(graph, dim=4)).queries_per_epoch == len(graph.triples)


def test_draws_that_do_not_count_have_no_reward():
    made = kbgan(queries_per_epoch=100)
    queries = same_query(2)
    ids = torch.tensor([[1], [3]])
    drawn = negatives_of(
        queries,
        ids,
        mask=torch.tensor([[True], [False]]),
        log_policy=torch.zeros(2, 1, requires_grad=True),
    )
    metrics = made.observe(feedback(queries, drawn, SCORE))
    assert metrics["reward"] == SCORE[1]
    torch.testing.assert_close(made.total, torch.tensor([2.0, 1.0], dtype=torch.double))


def test_the_model_inside_is_regularized_and_restored_like_any_other():
    class Ruled(TableModel):
        def regularization(self, queries):
            return (self.logit - 1).pow(2).sum()

    made = KBGAN(small_graph(5), model=Ruled(5), lr=0.1)
    learn(made, steps=60, score=torch.zeros(5))
    assert made.model.steps == 60
    torch.testing.assert_close(made.model.logit.data, torch.ones(5), atol=0.1, rtol=0)


def test_any_model_will_do_inside():
    graph = tiny_graph()
    queries = tiny_queries(graph)
    torch.manual_seed(0)
    made = KBGAN(graph, model=ComplEx(graph, dim=8), k=3)
    drawn = made.sample(queries, no_score, torch.Generator().manual_seed(0))
    before = made.model.entity.weight.clone()
    made.observe(feedback(queries, drawn, torch.randn(graph.num_entities)))
    assert not torch.equal(made.model.entity.weight, before)


def test_a_pool_leaves_a_choice():
    with pytest.raises(ValueError, match="at least 2 entities; got pool=1"):
        kbgan(pool=1)


FAMILY = PARTS["sampler"][0]


GENERATORS = [
    make for make in FAMILY.values() if make.__module__.startswith("sparring.generators.")
]


def test_the_model_inside_a_generator_is_any_model_by_name():
    spec = {"name": "kbgan", "model": {"name": "transe", "dim": 6, "norm": 2}}
    made = build(spec, FAMILY, "sampler", graph=tiny_graph())
    assert isinstance(made.model, TransE)
    assert made.model.dim == 6


def test_the_model_inside_is_resolved_with_its_defaults():
    full = resolve({"name": "kbgan", "model": {"name": "transe"}}, FAMILY, "sampler")
    assert full["model"]["norm"] == 1


def test_a_sampler_is_no_model():
    spec = {"name": "kbgan", "model": {"name": "uniform", "k": 3}}
    with pytest.raises(ConfigError, match=r"\[sampler.model\] unknown name 'uniform'"):
        build(spec, FAMILY, "sampler", graph=tiny_graph())


def test_a_model_is_no_sampler():
    with pytest.raises(ConfigError, match=r"\[sampler\] unknown name 'transe'"):
        build({"name": "transe"}, FAMILY, "sampler", graph=tiny_graph())


def gradient_at_share(score, entropy):
    """Over all draws of q = PROBABILITY, with biases alone as parameters."""
    made = NeuralGAN(small_graph(), k=1, entropy_weight=entropy, lr=0.0)
    torch.nn.init.zeros_(made.policy.entity.weight)
    made.policy.bias.data = PROBABILITY.log()
    queries, ids = same_query(4, 0), every_list(1)
    log_policy = made.log_prob_in(made.all_ids, queries).gather(1, ids)
    made.observe(feedback(queries, negatives_of(queries, ids, log_policy=log_policy), score))
    return made.policy.bias.grad


@pytest.mark.parametrize("entropy", [0.5, 2.0])
def test_the_optimum_is_the_softmax_of_scores_over_the_weight_of_entropy(entropy):
    got = gradient_at_share(entropy * PROBABILITY.log() + 3, entropy)
    torch.testing.assert_close(got, torch.zeros(3), atol=1e-6, rtol=0)


def test_without_entropy_the_gradient_is_that_of_the_expected_score():
    score = torch.tensor([1.0, -1.0, 4.0])
    logit = PROBABILITY.log().requires_grad_()
    (want,) = torch.autograd.grad(-(logit.softmax(0) * score).sum(), logit)
    torch.testing.assert_close(gradient_at_share(score, 0.0), want)


def test_the_pool_holds_each_entity_once_and_serves_the_whole_batch():
    graph = tiny_graph()
    made = NeuralGAN(graph, k=40, pool=4)
    drawn = made.sample(tiny_queries(graph), no_score, torch.Generator().manual_seed(0))
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
