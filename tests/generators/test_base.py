"""What all generators have in common: draws, features, names, resuming, and no leak either way."""

import pytest
import torch
from zoo import GENERATORS

from sparring.corruption import CorruptBoth, tail_and_head_queries
from sparring.data.graph import TrainGraph
from sparring.experiments.config import PARTS
from sparring.generators import NegativeGenerator
from sparring.generators.base import sample_columns, structural_features
from sparring.losses import NSSALoss
from sparring.models import DistMult
from sparring.registry import build
from sparring.testing import tiny_graph, tiny_queries
from sparring.training import TrainingStep, checkpoint

FAMILY = PARTS["sampler"][0]


def test_options_of_generators_can_change_while_training():
    inner = {"name": "softmax-generator", "k": 3}
    change = {"option": "uniform_mix", "start": 0.9, "end": 0.1, "steps": 10}
    spec = {"name": "curriculum", "inner": inner, **change}
    assert build(spec, FAMILY, "sampler", graph=tiny_graph()).inner.uniform_mix == 0.9


def test_generators_can_be_wrapped_like_any_sampler():
    spec = {"name": "hide-known", "inner": {"name": "adversarial-tree", "k": 3}}
    assert build(spec, FAMILY, "sampler", graph=tiny_graph()).k == 3


LEARNING = sorted(set(GENERATORS) - {"midx", "midx-exact"})


def step_of(name):
    torch.manual_seed(0)
    graph = tiny_graph()
    parts = (
        DistMult(graph, dim=8),
        GENERATORS[name](graph),
        NSSALoss(margin=0.0, adversarial_temperature=0.0),
        CorruptBoth(graph),
    )
    step = TrainingStep(*parts)
    return (
        step,
        torch.optim.Adam(step.trainable_parameters(), 0.05),
        torch.Generator().manual_seed(0),
    )


def run(step, optimizer, rng, times):
    triples = tiny_graph().triples
    return [step(triples[i : i + 6], optimizer, rng) for i in range(times)]


def copies(module):
    return [parameter.detach().clone() for parameter in module.parameters()]


def equal(one, two):
    return all(map(torch.equal, one, two))


@pytest.mark.parametrize("name", GENERATORS)
def test_a_resumed_run_is_the_unbroken_one_bit_for_bit(name, tmp_path):
    whole = step_of(name)
    run(*whole, 4)
    state = {
        "step": whole[0].state_dict(),
        "optimizer": whole[1].state_dict(),
        "rng": whole[2].get_state(),
    }
    checkpoint.save(tmp_path, "last", state)
    run(*whole, 4)

    back = checkpoint.load(tmp_path, "last")
    resumed = step_of(name)
    resumed[0].load_state_dict(back["step"])
    resumed[1].load_state_dict(back["optimizer"])
    resumed[2].set_state(back["rng"])
    run(*resumed, 4)
    assert equal(copies(whole[0]), copies(resumed[0]))
    queries = tiny_queries(tiny_graph())
    drawn = [
        one.sampler.sample(queries, one.model(queries), rng) for one, _, rng in (whole, resumed)
    ]
    assert torch.equal(drawn[0].ids, drawn[1].ids)


@pytest.mark.parametrize("name", LEARNING)
def test_the_main_model_learns_the_same_whether_the_generator_learns_or_not(name, monkeypatch):
    learned = []
    for frozen in (False, True):
        step, optimizer, rng = step_of(name)
        if frozen:
            monkeypatch.setattr(step.sampler, "observe", lambda feedback: {})
        run(step, optimizer, rng, 1)
        learned.append(copies(step.model))
    assert equal(*learned)


@pytest.mark.parametrize("name", LEARNING)
def test_the_main_loss_does_not_reach_the_generator(name, monkeypatch):
    step, optimizer, rng = step_of(name)
    monkeypatch.setattr(step.sampler, "observe", lambda feedback: {})
    before = copies(step.sampler)
    run(step, optimizer, rng, 2)
    assert equal(before, copies(step.sampler))
    assert all(parameter.grad is None for parameter in step.sampler.parameters())


@pytest.mark.parametrize("name", LEARNING)
def test_the_generators_step_leaves_the_main_gradients_alone(name, monkeypatch):
    step, optimizer, rng = step_of(name)
    listen, seen = step.sampler.observe, []

    def observe(feedback):
        seen.extend(parameter.grad.clone() for parameter in step.model.parameters())
        return listen(feedback)

    monkeypatch.setattr(step.sampler, "observe", observe)
    run(step, optimizer, rng, 1)
    assert equal(seen, [parameter.grad for parameter in step.model.parameters()])


def test_a_generator_that_estimates_nothing_says_zero():
    class Plain(NegativeGenerator):
        def sample(self, queries, score, rng):
            return self.to_negatives(queries, torch.zeros(len(queries), self.k, dtype=torch.long))

    p = Plain(k=2).p_false_negative(tiny_queries(tiny_graph()), torch.zeros(1, 3).long())
    assert torch.equal(p, torch.zeros(24, 3))


P = torch.tensor([0.4, 0.3, 0.15, 0.1, 0.05])
REWARD = torch.tensor([1.0, -2.0, 0.5, 3.0, 0.0])


def test_draws_follow_the_probabilities():
    rng = torch.Generator().manual_seed(0)
    seen = torch.bincount(sample_columns(P.log().unsqueeze(0), 20_000, rng)[0], minlength=5)
    error = (seen / 20_000 - P).abs() / (P * (1 - P) / 20_000).sqrt()
    assert error.max() < 4


def test_what_has_probability_zero_is_never_drawn():
    log_prob = torch.tensor([[0.0, 0.5, 0.0, 0.5, 0.0]]).log()
    drawn = sample_columns(log_prob, 1000, torch.Generator().manual_seed(0))
    assert set(drawn.unique().tolist()) == {1, 3}


def test_features_are_principal_components_of_relation_counts():
    graph = tiny_graph()
    queries = tail_and_head_queries(graph.triples, graph.num_relations)
    count = torch.zeros(graph.num_entities, 2 * graph.num_relations, dtype=torch.double)
    one = torch.ones(len(queries), dtype=torch.double)
    count.index_put_((queries.answer, queries.relation), one, accumulate=True)
    centred = count.log1p() - count.log1p().mean(0)
    left, _, _ = torch.linalg.svd(centred, full_matrices=False)
    got = structural_features(graph, dim=3, rounds=60).double()
    want = left[:, :3] * graph.num_entities**0.5
    torch.testing.assert_close(
        (got * want).mean(0).abs(), torch.ones(3).double(), rtol=1e-4, atol=0
    )


def test_features_beyond_what_the_graph_has_are_zero():
    got = structural_features(tiny_graph(), dim=16)
    assert got.shape == (11, 16)
    assert not got[:, 6:].any()


def test_entities_that_occur_alike_have_the_same_features():
    graph = TrainGraph(torch.tensor([[0, 0, 1], [2, 0, 3], [4, 1, 1]]), 6, 2)
    got = structural_features(graph, dim=2)
    torch.testing.assert_close(got[0], got[2])
    assert not torch.allclose(got[0], got[1])


def test_features_of_a_graph_in_which_all_are_alike_are_zero():
    graph = TrainGraph(torch.tensor([[0, 0, 1], [1, 0, 0]]), 2, 1)
    assert not structural_features(graph, dim=2).any()


def test_features_are_the_same_every_time():
    torch.manual_seed(0)
    one = structural_features(tiny_graph())
    torch.manual_seed(1)
    assert torch.equal(one, structural_features(tiny_graph()))
