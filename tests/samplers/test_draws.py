import torch

from sparring.samplers.base import gumbel, repeated


def test_repetitions_are_found():
    got = repeated(torch.tensor([[3, 1, 3, 3, 1], [0, 1, 2, 3, 4]]))
    assert got.tolist() == [[False, False, True, True, True], [False] * 5]


def test_the_highest_sum_of_logarithm_and_noise_falls_by_share():
    share = torch.tensor([0.1, 0.2, 0.7]).expand(20_000, 3)
    noise = gumbel(share, torch.Generator().manual_seed(0))
    top = torch.bincount((share.log() + noise).argmax(1), minlength=3) / 20_000
    torch.testing.assert_close(top, share[0], atol=0.017, rtol=0.0)  # 5 sigma
