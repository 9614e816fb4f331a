"""What all losses share: gradients, densities, weights of queries, ranges of options."""

from dataclasses import replace

import pytest
import torch
from loss_cases import (
    make_negatives,
    on_example,
    ones,
    scores,
)

from sparring.losses import (
    NCE,
    BCELoss,
    DoubleMarginLoss,
    HardDebiased,
    HaSa,
    NNPULoss,
    NSSALoss,
    SampledSoftmax,
    SoftMarginRankingLoss,
    TrueNegativeSoftmax,
)

# without weights that depend on scores and are held fixed
SMOOTH = {
    "debiased": HardDebiased(hardness=0.0, prior=0.05),
    "emu": SampledSoftmax(negative_target=0.5),
    "hasa": HaSa(prior=0.05, hardness=0.0),
    "logistic": NSSALoss(margin=1.0, adversarial_temperature=0.0),
    "nce": NCE(),
    "nce-mean": NCE(mean=True),
    "non-negative": NNPULoss(prior=0.1),
    "pairwise-logistic": SoftMarginRankingLoss(margin=1.0),
    "smoothed-logistic": BCELoss(label_smoothing=0.1),
    "smoothed-softmax": SampledSoftmax(label_smoothing=0.1, compat=True),
    "softmax": SampledSoftmax(temperature=0.5),
    "softmax-both": SampledSoftmax(correction="both"),
    "softmax-negatives": SampledSoftmax(correction="negatives"),
    "summed": BCELoss(),
    "true-negatives": TrueNegativeSoftmax(temperature=2.0),
    "true-negatives-count": TrueNegativeSoftmax(false_negatives="count", missing_rate=0.02),
}


@pytest.mark.parametrize("name", SMOOTH)
def test_gradients_match_finite_differences(name):
    rng = torch.Generator().manual_seed(5)
    probability = 0.3 * torch.rand(3, 4, generator=rng)
    mask = torch.tensor([[True, True, True, False]]).expand(3, 4)
    drawn = make_negatives(mask=mask, p_false_negative=probability, weight=0.5 + probability)
    loss = lambda right, wrong: SMOOTH[name](right, wrong, drawn, torch.tensor([1.0, 2.0, 0.5]))
    assert torch.autograd.gradcheck(loss, scores())


@pytest.mark.parametrize("smoothing", [-0.1, 1.0])
@pytest.mark.parametrize("make", [BCELoss, SampledSoftmax])
def test_smoothing_is_a_share_below_one(make, smoothing):
    with pytest.raises(ValueError, match=f"at least 0 and below 1; got {smoothing}"):
        make(label_smoothing=smoothing)


@pytest.mark.parametrize(
    "loss", [SampledSoftmax(correction="negatives"), NCE(), TrueNegativeSoftmax()], ids=repr
)
def test_a_missing_density_is_an_error(loss):
    with pytest.raises(ValueError, match="needs log_q, which this sampler does not know; use"):
        loss(*scores(), make_negatives(log_q=None), ones())


@pytest.mark.parametrize(
    "loss", [SampledSoftmax(correction="both"), NCE(), TrueNegativeSoftmax()], ids=repr
)
def test_a_missing_density_at_the_answer_is_an_error(loss):
    with pytest.raises(ValueError, match="correcting the answer needs its log_q, which"):
        loss(*scores(), make_negatives(answer_log_q=None), ones())


def test_what_does_not_count_may_have_a_density_of_zero():
    drawn = make_negatives(2, 3, mask=torch.tensor([[True, True, False]] * 2))
    never = replace(drawn, log_q=drawn.log_q.masked_fill(~drawn.mask, -torch.inf))
    for loss in (SampledSoftmax(correction="both"), NCE(), NCE(mean=True), TrueNegativeSoftmax()):
        torch.testing.assert_close(on_example(loss, never), on_example(loss, drawn))


@pytest.mark.parametrize(
    "loss",
    [
        NSSALoss(margin=0.0, adversarial_temperature=0.0),
        NSSALoss(),
        BCELoss(),
        NCE(),
        DoubleMarginLoss(),
        BCELoss(label_smoothing=0.1),
    ],
    ids=lambda loss: type(loss).__name__,
)
def test_negatives_may_weigh_otherwise_than_answers(loss):
    weight, other = torch.tensor([1.0, 3.0]), torch.tensor([5.0, 1.0])
    nothing = make_negatives(2, 3, mask=torch.zeros(2, 3, dtype=torch.bool))
    of_answers = on_example(loss, nothing, weight)
    of_negatives = on_example(loss, weight=other) - on_example(loss, nothing, other)
    got = on_example(loss, make_negatives(2, 3, negative_query_weight=other), weight)
    torch.testing.assert_close(got, of_answers + of_negatives)


@pytest.mark.parametrize("make", [HardDebiased, HaSa, NNPULoss])
@pytest.mark.parametrize("prior", [-0.1, 1.0])
def test_a_prior_is_a_share_below_one(make, prior):
    with pytest.raises(ValueError, match=f"prior of a false negative .* got {prior}"):
        make(prior=prior)
