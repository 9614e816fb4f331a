"""The checks notice broken promises: each class below breaks one, and the check must say which."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from sparring.batch import ungroup
from sparring.losses import Loss, NSSALoss, SampledSoftmax, adversarial_weights, weighted_mean
from sparring.models import DistMult, KGEModel
from sparring.models.scorers import DotScorer
from sparring.samplers import Uniform
from sparring.testing import check_density, check_loss, check_model, check_sampler


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


def test_a_density_that_is_not_stated_cannot_be_checked():
    with pytest.raises(AssertionError, match="there is no density to check"):
        check_density(lambda graph: Mute(graph, k=5))


class Constant(Loss):
    def forward(self, positive, negative, negatives, weight):
        return 0 * positive.sum() + 0 * negative.sum()


class PerQuery(Loss):
    def forward(self, positive, negative, negatives, weight):
        return F.softplus(-positive) + F.softplus(negative).mean(1)


class Maskless(Loss):
    def forward(self, positive, negative, negatives, weight):
        wrong = (negatives.weight * F.softplus(negative)).mean(1)
        return weighted_mean(F.softplus(-positive) + wrong, weight)


class Weightless(Loss):
    """Looks at the mask, but not at the weight of candidates."""

    def forward(self, positive, negative, negatives, weight):
        wrong = F.softplus(negative).masked_fill(~negatives.mask, 0.0).mean(1)
        return weighted_mean(F.softplus(-positive) + wrong, weight)


class QueryWeightless(NSSALoss):
    def forward(self, positive, negative, negatives, weight):
        return super().forward(positive, negative, negatives, torch.ones_like(weight))


class FirstMatters(NSSALoss):
    def forward(self, positive, negative, negatives, weight):
        first = F.softplus(negative[:, 0]) * (negatives.weight * negatives.mask)[:, 0]
        return super().forward(positive, negative, negatives, weight) + weighted_mean(first, weight)


class UpsideDown(NSSALoss):
    def forward(self, positive, negative, negatives, weight):
        return super().forward(-positive, negative, negatives, weight)


class HelpsTheWrong(NSSALoss):
    def forward(self, positive, negative, negatives, weight):
        return super().forward(positive, -negative, negatives, weight)


class Overflowing(Loss):
    def forward(self, positive, negative, negatives, weight):
        share = adversarial_weights(negative, negatives, 0.0)
        wrong = (share * torch.log1p(negative.masked_fill(~negatives.mask, 0).exp())).sum(1)
        return weighted_mean(F.softplus(-positive) + wrong, weight)


class EmptyRows(Loss):
    def forward(self, positive, negative, negatives, weight):
        share = negatives.weight * negatives.mask
        wrong = (share * F.softplus(negative)).sum(1) / share.sum(1)
        return weighted_mean(F.softplus(-positive) + wrong, weight)


class Coarse(NSSALoss):
    def forward(self, positive, negative, negatives, weight):
        share = adversarial_weights(negative, negatives, 0.0)
        return weighted_mean(F.softplus(-positive) + (share * F.softplus(negative)).sum(1), weight)


class Half(NSSALoss):
    def forward(self, positive, negative, negatives, weight):
        return super().forward(positive, negative, negatives, weight).half()


class TrippedByAbsence(SampledSoftmax):
    """-inf of what does not count, minus -inf of what is never drawn."""

    def forward(self, positive, negative, negatives, weight):
        absent = negatives.mask.float().log() - negatives.log_q
        return super().forward(positive, negative + absent + negatives.log_q, negatives, weight)


class SecretlyCorrected(SampledSoftmax):
    def forward(self, positive, negative, negatives, weight):
        if negatives.log_q is not None:
            negative = negative - negatives.log_q.nan_to_num(neginf=0.0)
        return super().forward(positive, negative, negatives, weight)


BROKEN_LOSSES = {
    "nothing is learned from these scores": Constant,
    "the loss is not a single number": PerQuery,
    "a masked candidate gets a gradient": Maskless,
    "weight 0 differs from mask False": Weightless,
    "the density of a masked candidate has influence": TrippedByAbsence,
    "a query of weight 0 gets a gradient": QueryWeightless,
    "the order of candidates matters": FirstMatters,
    "a step lowers a right answer": UpsideDown,
    "a step raises a wrong answer": HelpsTheWrong,
    "not finite for a right answer at 1e.09 and wrong ones at 1e.09": Overflowing,
    "not finite without usable negatives": EmptyRows,
    "the loss of bfloat16 scores is computed in bfloat16": Coarse,
    "the loss of float32 scores is not float32": Half,
    "needs_log_q is False, but the density has influence": SecretlyCorrected,
}


@pytest.mark.parametrize("message", BROKEN_LOSSES)
def test_a_broken_loss_is_noticed(message):
    with pytest.raises(AssertionError, match=message):
        check_loss(BROKEN_LOSSES[message]())


class Transposed(DistMult):
    """Scores shared lists in the order of candidates instead of queries."""

    def forward(self, queries):
        score = super().forward(queries)

        def wrong(ids):
            groups, width = ids.shape
            scores = score(ids)
            return scores.unflatten(0, (groups, -1)).mT.reshape(len(queries), width)

        return wrong


class Contagious(DistMult):
    def forward(self, queries):
        query = self.entity(queries.anchor) * self.relation(self.relation_row(queries.relation))
        return DotScorer(query - query.mean(0), self.entity)


class Leaking(DistMult):
    def forward(self, queries):
        score = super().forward(queries)
        return lambda ids: score(ids) + (ungroup(ids, len(queries)) == queries.answer.unsqueeze(1))


class Idle(DistMult):
    def __init__(self, graph, dim):
        super().__init__(graph, dim=dim)
        self.idle = nn.Parameter(torch.ones(3))


class BadPenalty(DistMult):
    def regularization(self, queries):
        return torch.tensor(-1.0)


class NoPenalty(DistMult):
    def regularization(self, queries):
        return torch.tensor(torch.nan)


class Infinite(DistMult):
    def forward(self, queries):
        score = super().forward(queries)
        return lambda ids: score(ids) / 0


class Destructive(DistMult):
    def after_step(self):
        self.entity.weight.data.fill_(torch.nan)


class Moody(DistMult):
    def forward(self, queries):
        torch.rand(1)
        return super().forward(queries)


class Rough(DistMult):
    """Its root has no gradient where the root's argument is 0."""

    def forward(self, queries):
        score = super().forward(queries)
        return lambda ids: score(ids) + (0 * score(ids)).sqrt()


BROKEN_MODELS = {
    "1 candidate lists for 24 queries change the scores|not one score": Transposed,
    "queries influence each other": Contagious,
    "the answer leaks into the scores": Leaking,
    "no gradient reaches idle": Idle,
    "the regularization is below 0": BadPenalty,
    "the regularization is not a finite number": NoPenalty,
    "scores that are not finite": Infinite,
    "after_step breaks the scores": Destructive,
    "used torch's global random state": Moody,
    "the gradient of .* is not finite": Rough,
}


@pytest.mark.parametrize("message", BROKEN_MODELS)
def test_a_broken_model_is_noticed(message):
    torch.manual_seed(0)
    with pytest.raises(AssertionError, match=message):
        check_model(lambda graph: BROKEN_MODELS[message](graph, dim=4))


def test_a_model_that_answers_nothing_is_noticed():
    class Blank(KGEModel):
        def forward(self, queries):
            return lambda ids: torch.zeros(1, 1)

    with pytest.raises(AssertionError, match="not one score per candidate"):
        check_model(lambda graph: Blank())
