"""Drawing by inverse transform, and the gradient of an expected reward."""

import torch

from sparring.generators.base import draw, policy_gradient

P = torch.tensor([0.4, 0.3, 0.15, 0.1, 0.05])
REWARD = torch.tensor([1.0, -2.0, 0.5, 3.0, 0.0])


def gradient_of_each_draw(logit, reward):
    """Policy gradient for each of the five draws, weighed by its probability, and added up."""
    total = torch.zeros(5)
    for pick in range(5):
        log_policy = logit.log_softmax(0)[pick].view(1, 1)
        loss = policy_gradient(log_policy, reward[pick].view(1, 1), torch.ones(1, 1).bool())
        total += logit.softmax(0)[pick].detach() * torch.autograd.grad(loss, logit)[0]
    return total


def test_the_expected_gradient_is_that_of_the_expected_reward():
    logit = P.log().requires_grad_()
    (want,) = torch.autograd.grad(-(logit.softmax(0) * REWARD).sum(), logit)
    torch.testing.assert_close(gradient_of_each_draw(logit, REWARD), want)


def test_a_constant_baseline_leaves_the_expected_gradient():
    logit = P.log().requires_grad_()
    plain, moved = (gradient_of_each_draw(logit, reward) for reward in (REWARD, REWARD - 7))
    torch.testing.assert_close(moved, plain)


def test_a_constant_reward_teaches_nothing():
    logit = P.log().requires_grad_()
    got = gradient_of_each_draw(logit, torch.full((5,), 4.0))
    torch.testing.assert_close(got, torch.zeros(5), atol=1e-6, rtol=0)


def test_draws_that_do_not_count_have_no_part_in_the_gradient():
    log_policy = torch.zeros(2, 2, requires_grad=True)
    mask = torch.tensor([[True, False], [True, True]])
    policy_gradient(log_policy, torch.full((2, 2), 3.0), mask).backward()
    torch.testing.assert_close(log_policy.grad, torch.tensor([[-1.0, 0.0], [-1.0, -1.0]]))


def test_draws_follow_the_shares():
    rng = torch.Generator().manual_seed(0)
    seen = torch.bincount(draw(P.log().unsqueeze(0), 20_000, rng)[0], minlength=5)
    error = (seen / 20_000 - P).abs() / (P * (1 - P) / 20_000).sqrt()
    assert error.max() < 4


def test_what_has_no_share_is_never_drawn():
    share = torch.tensor([[0.0, 0.5, 0.0, 0.5, 0.0]]).log()
    drawn = draw(share, 1000, torch.Generator().manual_seed(0))
    assert set(drawn.unique().tolist()) == {1, 3}
