"""The checks of samplers notice broken promises: each class below breaks one."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from sparring.groups import ungroup
from sparring.samplers import Uniform
from sparring.testing import check_density, check_sampler


def changed(**changes):
    """A uniform sampler whose negatives are changed: each field by a function of them."""

    class Changed(Uniform):
        def sample(self, queries, score, rng):
            drawn = super().sample(queries, score, rng)
            return replace(drawn, **{name: new(drawn) for name, new in changes.items()})

    return Changed


class GlobalRandom(Uniform):
    def sample(self, queries, score, rng):
        return self.to_negatives(queries, torch.randint(self.num_entities, (len(queries), self.k)))


class PythonRandom(Uniform):
    def sample(self, queries, score, rng):
        import random

        random.random()
        return super().sample(queries, score, rng)


class NumpyRandom(Uniform):
    def sample(self, queries, score, rng):
        import numpy as np

        np.random.rand()
        return super().sample(queries, score, rng)


class Forgetful(Uniform):
    """Draws depend on a counter that is not saved."""

    calls = 0

    def sample(self, queries, score, rng):
        self.calls += 1
        drawn = super().sample(queries, score, rng)
        return self.to_negatives(queries, (drawn.ids + self.calls) % self.num_entities)


class Meddling(Uniform):
    def sample(self, queries, score, rng):
        queries.answer.zero_()
        return super().sample(queries, score, rng)


class Asking(Uniform):
    def sample(self, queries, score, rng):
        drawn = super().sample(queries, score, rng)
        score(drawn.ids)
        return drawn


class WrongWidth(Uniform):
    def sample(self, queries, score, rng):
        drawn = super().sample(queries, score, rng)
        return self.to_negatives(queries, drawn.ids[:, 1:])


class OutOfRange(Uniform):
    def sample(self, queries, score, rng):
        return self.to_negatives(queries, super().sample(queries, score, rng).ids + 1)


class NeverFirst(Uniform):
    def sample(self, queries, score, rng):
        return self.to_negatives(queries, super().sample(queries, score, rng).ids.clamp(min=1))


class NeverLast(Uniform):
    def sample(self, queries, score, rng):
        ids = super().sample(queries, score, rng).ids
        return self.to_negatives(queries, ids.clamp(max=self.num_entities - 2))


class Mute(Uniform):
    def log_prob(self, queries, ids):
        return None


class TwiceTheDensity(Uniform):
    def log_prob(self, queries, ids):
        return super().log_prob(queries, ids) + 0.7


class HalfTheDensity(Uniform):
    def log_prob(self, queries, ids):
        return super().log_prob(queries, ids) - 0.7


class SkewedDraws(Uniform):
    """States the uniform density, but draws entity 0 more often."""

    def sample(self, queries, score, rng):
        ids = super().sample(queries, score, rng).ids
        return self.to_negatives(queries, ids * (torch.rand(ids.shape, generator=rng) > 0.05))


class NoDensityAtTheAnswer(Uniform):
    def answer_log_prob(self, queries):
        return torch.full((len(queries),), -torch.inf)


class OtherDensityAtTheAnswer(Uniform):
    def answer_log_prob(self, queries):
        return super().answer_log_prob(queries) + 1


class Learning(Uniform):
    def __init__(self, graph, k):
        super().__init__(graph, k=k)
        self.dummy_scores = nn.Parameter(torch.zeros(graph.num_entities))


class ReportsFloats(Uniform):
    def observe(self, feedback):
        return {"heard": 1.0}


class ReportsRows(Uniform):
    def observe(self, feedback):
        return {"heard": feedback.positive}


BROKEN_SAMPLERS = {
    "used torch's global random state": GlobalRandom,
    "used Python's global random state": PythonRandom,
    "used NumPy's global random state": NumpyRandom,
    "state_dict does not hold all that draws depend on": Forgetful,
    "sampling changed the queries": Meddling,
    "asked for scores, but needs_scores is False": Asking,
    "k does not match the number of candidates": WrongWidth,
    "ids outside the vocabulary": OutOfRange,
    "the answer counts as a negative": changed(mask=lambda drawn: torch.ones_like(drawn.mask)),
    "a weight is below 0": changed(weight=lambda drawn: drawn.weight - 2),
    "p_false_negative is not a probability": changed(
        p_false_negative=lambda drawn: drawn.p_false_negative + 2
    ),
    "weight carries gradients": changed(weight=lambda drawn: drawn.weight.clone().requires_grad_()),
    "log_q carries gradients": changed(log_q=lambda drawn: drawn.log_q.clone().requires_grad_()),
    "entity 0 is never drawn": NeverFirst,
    "the last entity is never drawn": NeverLast,
    "has_log_q is wrong about log_q": Mute,
    "a counted candidate has no density": changed(log_q=lambda drawn: drawn.log_q - torch.inf),
    "an answer has no density": NoDensityAtTheAnswer,
    "answer_log_q differs from log_prob at the answer": OtherDensityAtTheAnswer,
    "log_q differs from log_prob": changed(log_q=lambda drawn: drawn.log_q + 0.1),
    "log_prob sums to more than 1": TwiceTheDensity,
    "log_prob sums to less than the share of candidates that count": HalfTheDensity,
    "feedback never reached the parameters": Learning,
    "observe returns heard, which is not a tensor": ReportsFloats,
    "observe returns heard, which is not a single number": ReportsRows,
}


@pytest.mark.parametrize("message", BROKEN_SAMPLERS)
def test_a_broken_sampler_is_noticed(message):
    with pytest.raises(AssertionError, match=message):
        check_sampler(lambda graph: BROKEN_SAMPLERS[message](graph, k=5))


@pytest.mark.parametrize("broken", [SkewedDraws, TwiceTheDensity, HalfTheDensity])
def test_draws_that_do_not_follow_their_density_are_noticed(broken):
    with pytest.raises(AssertionError, match=r"log_q is not the density of the draws: off by"):
        check_density(lambda graph: broken(graph, k=5))


class OtherLogProb(Uniform):
    """The draws come with their density, but `log_prob` prefers entity 0 to entity 1."""

    def sample(self, queries, score, rng):
        drawn = super().sample(queries, score, rng)
        return replace(drawn, log_q=Uniform.log_prob(self, queries, drawn.ids))

    def log_prob(self, queries, ids):
        shift = torch.zeros(self.num_entities)
        shift[:2] = torch.tensor([1.9, 0.1]).log()
        return super().log_prob(queries, ids) + ungroup(shift[ids], len(queries))


def test_draws_that_do_not_follow_log_prob_are_noticed():
    with pytest.raises(AssertionError, match="draws do not follow log_prob: p = "):
        check_density(lambda graph: OtherLogProb(graph, k=5))


def test_a_density_that_is_not_stated_cannot_be_checked():
    with pytest.raises(AssertionError, match="there is no density to check"):
        check_density(lambda graph: Mute(graph, k=5))
