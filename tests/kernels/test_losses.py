"""The weighted mean of a hinge: the loop, its twin, and their gradients."""

import math

import pytest
import torch
from kernels.switch import kernels_on
from torch.nn import functional as F

from sparring.kernels.losses import hinge


@pytest.fixture(params=[True, False], ids=["loops", "twins"], autouse=True)
def loops(request):
    with kernels_on(request.param):
        yield


def arguments(dtype=torch.double, shape=(3, 5)):
    rng = torch.Generator().manual_seed(0)
    weight = torch.rand(shape, generator=rng, dtype=dtype)
    mask = torch.rand(shape, generator=rng) < 0.7
    score = torch.randn(shape, generator=rng, dtype=dtype).requires_grad_()
    shift = torch.randn(shape[0], generator=rng, dtype=dtype).requires_grad_()
    return weight, mask, score, shift


@pytest.mark.parametrize("dtype", [torch.float32, torch.double])
def test_the_mean_of_what_is_above_0(dtype):
    weight, mask, score, shift = arguments(dtype)
    share = weight * mask
    want = (share * F.relu(score + shift.unsqueeze(1))).sum(1) / share.sum(1)
    torch.testing.assert_close(hinge(weight, mask, score, shift), want)


def test_gradients():
    weight, mask, *rest = arguments()
    assert torch.autograd.gradcheck(lambda *rest: hinge(weight, mask, *rest), rest)


def test_one_row_of_weights_may_serve_all():
    weight, mask, score, shift = arguments()
    want = hinge(weight[1].repeat(3, 1), mask, score, shift)
    torch.testing.assert_close(hinge(weight[1].expand(3, 5), mask, score, shift), want)


def test_rows_of_nothing_give_nothing():
    weight, mask, score, shift = arguments()
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
    weight, mask, score, shift = arguments()
    want = hinge(weight, mask, score, shift)
    wide = torch.stack([score, score], 2).transpose(0, 1)
    apart = torch.stack([shift, shift], 1)[:, 0]
    got = hinge(weight.T.contiguous().T, mask.T.contiguous().T, wide[:, :, 1].T, apart)
    torch.testing.assert_close(got, want)
