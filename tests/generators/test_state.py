"""What generators keep, and what they keep apart: resuming, and no leak either way."""

import pytest
import torch
from zoo import GENERATORS

from sparring.corruption import CorruptBoth
from sparring.generators import MultiIndex, NegativeGenerator
from sparring.losses import NSSALoss
from sparring.models import DistMult
from sparring.testing import tiny_graph, tiny_queries
from sparring.training import TrainingStep, checkpoint

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
def test_the_main_model_learns_the_same_whether_its_opponent_learns_or_not(name, monkeypatch):
    learned = []
    for deaf in (False, True):
        step, optimizer, rng = step_of(name)
        if deaf:
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


def test_a_generator_that_estimates_no_doubt_has_none():
    class Plain(NegativeGenerator):
        def sample(self, queries, score, rng):
            return self.to_negatives(queries, torch.zeros(len(queries), self.k, dtype=torch.long))

    doubt = Plain(k=2).p_false_negative(tiny_queries(tiny_graph()), torch.zeros(1, 3).long())
    assert torch.equal(doubt, torch.zeros(24, 3))


def test_an_index_is_restored_with_its_codes():
    graph = tiny_graph()
    queries = tiny_queries(graph)
    made, fresh = (MultiIndex(graph, k=2, codes=3) for _ in range(2))
    torch.manual_seed(0)
    made.sample(queries, DistMult(graph, dim=8)(queries), torch.Generator())
    fresh.load_state_dict(made.state_dict())
    assert fresh.drawn == 1
    assert all(torch.equal(made.index[name], part) for name, part in fresh.index.items())
