"""Margin losses, and the weighted mean of a hinge that they are made of."""

import math

import pytest
import torch
from kernels.switch import kernels_on
from loss_cases import on_example, sigmoid_loss
from torch.nn import functional as F

from sparring.kernels.losses import hinge
from sparring.losses import DoubleMarginLoss, MarginRankingLoss, SoftMarginRankingLoss


@pytest.fixture(params=[True, False], ids=["loops", "twins"], autouse=True)
def loops(request):
    with kernels_on(request.param):
        yield


def hinge_arguments(dtype=torch.double, shape=(3, 5)):
    rng = torch.Generator().manual_seed(0)
    weight = torch.rand(shape, generator=rng, dtype=dtype)
    mask = torch.rand(shape, generator=rng) < 0.7
    score = torch.randn(shape, generator=rng, dtype=dtype).requires_grad_()
    shift = torch.randn(shape[0], generator=rng, dtype=dtype).requires_grad_()
    return weight, mask, score, shift


@pytest.mark.parametrize("dtype", [torch.float32, torch.double])
def test_the_mean_of_what_is_above_0(dtype):
    weight, mask, score, shift = hinge_arguments(dtype)
    share = weight * mask
    want = (share * F.relu(score + shift.unsqueeze(1))).sum(1) / share.sum(1)
    torch.testing.assert_close(hinge(weight, mask, score, shift), want)


def test_gradients():
    weight, mask, *rest = hinge_arguments()
    assert torch.autograd.gradcheck(lambda *rest: hinge(weight, mask, *rest), rest)


def test_one_row_of_weights_may_serve_all():
    weight, mask, score, shift = hinge_arguments()
    want = hinge(weight[1].repeat(3, 1), mask, score, shift)
    torch.testing.assert_close(hinge(weight[1].expand(3, 5), mask, score, shift), want)


def test_rows_of_nothing_give_nothing():
    weight, mask, score, shift = hinge_arguments()
    mask[1] = False
    mean = hinge(weight, mask, score, shift)
    mean.sum().backward()
    assert not mean[1] and score.grad is not None and not score.grad[1].any()
    assert shift.grad is not None and not shift.grad[1]


def test_nothing_pulls_on_the_line():
    score, shift = torch.zeros(1, 2, requires_grad=True), torch.zeros(1, requires_grad=True)
    hinge(torch.ones(1, 2), torch.ones(1, 2, dtype=torch.bool), score, shift).sum().backward()
    assert score.grad is not None and not score.grad.any()


def test_nan_is_passed_on():
    """Else training would go on with numbers that are none."""
    score = torch.tensor([[0.0, math.nan], [0.0, 1.0]])
    mean = hinge(torch.ones(2, 2), torch.ones(2, 2, dtype=torch.bool), score, torch.zeros(2))
    assert mean.isnan().tolist() == [True, False]


def test_scores_may_lie_anywhere_in_memory():
    weight, mask, score, shift = hinge_arguments()
    want = hinge(weight, mask, score, shift)
    wide = torch.stack([score, score], 2).transpose(0, 1)
    apart = torch.stack([shift, shift], 1)[:, 0]
    got = hinge(weight.T.contiguous().T, mask.T.contiguous().T, wide[:, :, 1].T, apart)
    torch.testing.assert_close(got, want)


def test_margin_ranking():
    want = ((0 + 0 + 2) / 3 + (3 + 2.5 + 0) / 3) / 2
    torch.testing.assert_close(on_example(MarginRankingLoss()), torch.tensor(want))


def test_pairwise_logistic():
    gaps = [[-2 + 0.5, -3 + 0.5, 1 + 0.5], [2 + 0.5, 1.5 + 0.5, -1 + 0.5]]
    want = sum(sigmoid_loss(-gap) for row in gaps for gap in row) / 6
    torch.testing.assert_close(on_example(SoftMarginRankingLoss(margin=0.5)), torch.tensor(want))


def test_double_margin():
    want = (0 + (0 + 0 + 2.5) / 3 + 2 + (0.5 + 0 + 0) / 3) / 2
    torch.testing.assert_close(
        on_example(DoubleMarginLoss(positive_margin=1.0, negative_margin=0.5)), torch.tensor(want)
    )


def test_the_negative_margin_is_not_above_the_positive_one():
    with pytest.raises(ValueError, match=r"got negative_margin=2\.0 and positive_margin=1\.0"):
        DoubleMarginLoss(positive_margin=1.0, negative_margin=2.0)
