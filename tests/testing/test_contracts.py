"""The checks of losses and models notice broken promises: each class below breaks one."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from sparring.groups import ungroup
from sparring.losses import Loss, NSSALoss, SampledSoftmax, adversarial_weights, weighted_mean
from sparring.models import DistMult, KGEModel
from sparring.models.scorers import DotScorer
from sparring.testing import check_loss, check_model


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
