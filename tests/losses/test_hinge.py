import math

import pytest
import torch
from torch.nn import functional as F

from sparring.losses import hinge as module
from sparring.losses.hinge import hinge


@pytest.fixture(params=["loops", "vectors"], autouse=True)
def way(request, monkeypatch):
    if request.param == "vectors":
        monkeypatch.setattr(module, "can_loop", lambda over: False)


def given(dtype=torch.double, shape=(3, 5)):
    rng = torch.Generator().manual_seed(0)
    share = torch.rand(shape, generator=rng, dtype=dtype)
    score = torch.randn(shape, generator=rng, dtype=dtype).requires_grad_()
    shift = torch.randn(shape[0], generator=rng, dtype=dtype).requires_grad_()
    return share, score, shift


@pytest.mark.parametrize("dtype", [torch.float32, torch.double])
def test_what_is_above_0_is_added_up(dtype):
    share, score, shift = given(dtype)
    want = (share * F.relu(score + shift.unsqueeze(1))).sum(1)
    torch.testing.assert_close(hinge(share, score, shift), want)


def test_gradients():
    share, score, shift = given()
    assert torch.autograd.gradcheck(lambda *rest: hinge(share, *rest), (score, shift))


def test_nothing_pulls_on_the_line():
    score, shift = torch.zeros(1, 2, requires_grad=True), torch.zeros(1, requires_grad=True)
    hinge(torch.ones(1, 2), score, shift).sum().backward()
    assert score.grad is not None and not score.grad.any()


def test_nan_is_passed_on():
    """Else training would go on with numbers that are none."""
    score = torch.tensor([[0.0, math.nan], [0.0, 1.0]])
    assert hinge(torch.ones(2, 2), score, torch.zeros(2)).isnan().tolist() == [True, False]


def test_scores_may_lie_anywhere_in_memory():
    share, score, shift = given()
    want = hinge(share, score, shift)
    wide = torch.stack([score, score], 2).transpose(0, 1)
    got = hinge(share.T.contiguous().T, wide[:, :, 1].T, torch.stack([shift, shift], 1)[:, 0])
    torch.testing.assert_close(got, want)
