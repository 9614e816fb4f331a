"""Losses with a margin."""

import pytest
import torch
from kernels.switch import kernels_on
from loss_cases import on_example, sigmoid_loss

from sparring.losses import DoubleMarginLoss, MarginRankingLoss, SoftMarginRankingLoss


@pytest.fixture(params=[True, False], ids=["loops", "twins"], autouse=True)
def loops(request):
    with kernels_on(request.param):
        yield


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
