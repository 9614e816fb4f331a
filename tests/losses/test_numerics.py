"""Gradients against finite differences, and options that cannot work."""

import pytest
import torch
from loss_cases import offered, ones, scores

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
    doubt = 0.3 * torch.rand(3, 4, generator=rng)
    mask = torch.tensor([[True, True, True, False]]).expand(3, 4)
    drawn = offered(mask=mask, p_false_negative=doubt, weight=0.5 + doubt)
    loss = lambda right, wrong: SMOOTH[name](right, wrong, drawn, torch.tensor([1.0, 2.0, 0.5]))
    assert torch.autograd.gradcheck(loss, scores())


@pytest.mark.parametrize("smoothing", [-0.1, 1.0])
@pytest.mark.parametrize("make", [BCELoss, SampledSoftmax])
def test_smoothing_is_a_share_below_one(make, smoothing):
    with pytest.raises(ValueError, match=f"at least 0 and below 1; got {smoothing}"):
        make(label_smoothing=smoothing)


def test_a_negative_has_no_target_below_zero():
    with pytest.raises(ValueError, match=r"must not be below 0; got -0\.5"):
        SampledSoftmax(negative_target=-0.5)


def test_the_ceiling_is_below_the_floor():
    with pytest.raises(ValueError, match=r"got negative_margin=2\.0 and positive_margin=1\.0"):
        DoubleMarginLoss(positive_margin=1.0, negative_margin=2.0)


@pytest.mark.parametrize(
    "loss", [SampledSoftmax(correction="negatives"), NCE(), TrueNegativeSoftmax()], ids=repr
)
def test_a_missing_density_is_an_error(loss):
    with pytest.raises(ValueError, match="needs log_q, which this sampler does not know; use"):
        loss(*scores(), offered(log_q=None), ones())


@pytest.mark.parametrize(
    "loss", [SampledSoftmax(correction="both"), NCE(), TrueNegativeSoftmax()], ids=repr
)
def test_a_missing_density_at_the_answer_is_an_error(loss):
    with pytest.raises(ValueError, match="correcting the answer needs its log_q, which"):
        loss(*scores(), offered(answer_log_q=None), ones())
