"""What each loss estimates, on a table of scores where expectations can be spelled out."""

import itertools

import pytest
import torch
from loss_cases import centred, minimum, offered, ones

from sparring.losses import NCE, BCELoss, NSSALoss, SampledSoftmax, TrueNegativeSoftmax

P = torch.tensor([0.4, 0.3, 0.15, 0.1, 0.05], dtype=torch.double)
Q = torch.tensor([0.05, 0.5, 0.1, 0.25, 0.1], dtype=torch.double)
SIZE = len(P)
CLOSE = {"atol": 1e-4, "rtol": 0.0}


def expected(loss, score, times=1.0):
    """The loss over answers from P, with negatives at their expectation: all, weighed by Q."""
    share = (times * Q).expand(SIZE, SIZE)
    drawn = offered(
        SIZE, SIZE, weight=share, log_q=Q.log().expand(SIZE, SIZE), answer_log_q=Q.log()
    )
    return loss(score, score.expand(SIZE, SIZE), drawn, P)


def every_draw(loss, score, k):
    """The loss over answers from P and all lists of k draws from Q, each by its probability."""
    lists = torch.tensor(list(itertools.product(range(SIZE), repeat=k + 1)))
    answer, ids = lists[:, 0], lists[:, 1:]
    drawn = offered(len(lists), k, log_q=Q.log()[ids], answer_log_q=Q.log()[answer])
    return loss(score[answer], score[ids], drawn, P[answer] * Q[ids].prod(1))


def flat():
    return torch.zeros(SIZE, dtype=torch.double)


@pytest.mark.parametrize("times", [1.0, 7.0])
def test_binary_losses_learn_log_p_less_log_of_k_times_q(times):
    got = minimum(lambda score: expected(BCELoss(), score, times), flat())
    torch.testing.assert_close(got, (P / (times * Q)).log(), **CLOSE)


def test_the_log_sigmoid_loss_learns_the_log_ratio():
    got = minimum(
        lambda score: expected(NSSALoss(margin=0.0, adversarial_temperature=0.0), score), flat()
    )
    torch.testing.assert_close(got, (P / Q).log(), **CLOSE)


def test_nce_learns_log_p_whatever_the_sampler():
    got = minimum(lambda score: expected(NCE(), score, SIZE), flat())
    torch.testing.assert_close(got, P.log(), **CLOSE)


def test_mean_nce_learns_log_p_whatever_the_sampler():
    got = minimum(lambda score: expected(NCE(mean=True), score), flat())
    torch.testing.assert_close(got, P.log(), **CLOSE)


@pytest.mark.parametrize("temperature", [0.5, 1.0])
def test_self_adversarial_learns_the_log_ratio_tempered(temperature):
    """Up to the constant at which the weights sum to one."""
    tempered = (P / Q).log() / (1 + temperature)
    constant = (Q.log() + temperature * tempered).logsumexp(0)
    score = (tempered + constant).requires_grad_()
    expected(NSSALoss(margin=0.0, adversarial_temperature=temperature), score).backward()
    torch.testing.assert_close(score.grad, flat(), atol=1e-12, rtol=0)


@pytest.mark.parametrize("k", [1, 2])
def test_softmax_learns_the_log_ratio(k):
    got = minimum(lambda score: every_draw(SampledSoftmax(), score, k), flat())
    torch.testing.assert_close(centred(got), centred((P / Q).log()), **CLOSE)


def test_a_perfect_sampler_with_an_uncorrected_loss_destroys_the_model():
    lists = torch.tensor(list(itertools.product(range(SIZE), repeat=2)))
    answer, ids = lists[:, 0], lists[:, 1:]
    weight = P[answer] * P[ids].prod(1)
    loss = lambda score: SampledSoftmax()(score[answer], score[ids], offered(len(lists), 1), weight)
    got = minimum(loss, P.log())
    torch.testing.assert_close(centred(got), flat(), **CLOSE)


@pytest.mark.parametrize("k", [1, 2])
@pytest.mark.parametrize(
    "loss",
    [SampledSoftmax(correction="both"), TrueNegativeSoftmax()],
    ids=["both", "true-negatives"],
)
def test_corrected_on_both_sides_softmax_learns_log_p_for_any_k(loss, k):
    got = minimum(lambda score: every_draw(loss, score, k), flat())
    torch.testing.assert_close(centred(got), centred(P.log()), **CLOSE)


def test_emu_forbids_to_tell_negatives_from_the_answer():
    """With n negatives the answer's probability comes to rest at 1 / (1 + n beta)."""
    loss = lambda score: SampledSoftmax(negative_target=0.53)(
        score, torch.zeros(1, 256), offered(1, 256), ones(1)
    )
    score = minimum(loss, torch.zeros(1, dtype=torch.double))
    chance = score.exp() / (score.exp() + 256)
    torch.testing.assert_close(chance.item(), 1 / (1 + 256 * 0.53), atol=1e-6, rtol=0)


def counts(share, size, runs, rng):
    """How often each entity is drawn, in several runs."""
    drawn = torch.multinomial(share, runs * size, replacement=True, generator=rng)
    run = torch.arange(runs).repeat_interleave(size)
    return torch.bincount(run * SIZE + drawn, minlength=runs * SIZE).view(runs, SIZE).double()


def test_negative_sampling_is_least_at_the_log_ratio_of_counts():
    right, wrong = counts(P, 500, 1, torch.Generator().manual_seed(0))[0], 900 * Q
    score = (right / wrong).log().requires_grad_()
    drawn = offered(SIZE, SIZE, weight=(wrong / right.sum()).expand(SIZE, SIZE))
    BCELoss()(score, score.expand(SIZE, SIZE), drawn, right).backward()
    torch.testing.assert_close(score.grad, flat(), atol=1e-12, rtol=0)


def test_negative_sampling_has_the_covariance_of_theorem_2():
    """diag(1 / m) - (1 + 1 / k) with m = k p q / (p + k q), over the positives (Yang, 2020).

    Estimates are log-ratios of counts, less the log-ratio of their rates.
    """
    k, positives, runs = 2, 1_500, 3_000
    rng = torch.Generator().manual_seed(0)
    right, wrong = counts(P, positives, runs, rng), counts(Q, k * positives, runs, rng)
    got = (right / wrong).log().T.cov() * positives
    mass = k * P * Q / (P + k * Q)
    torch.testing.assert_close(got.diag(), 1 / mass - (1 + 1 / k), rtol=0.12, atol=0)
    apart = got[~torch.eye(SIZE, dtype=torch.bool)].mean().item()
    assert abs(apart + 1 + 1 / k) < 0.3
