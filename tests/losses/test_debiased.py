"""Losses that subtract what facts among the negatives contribute."""

import math

import pytest
import torch
from loss_cases import offered, ones, scores

from sparring.losses import HardDebiased, HaSa, NNPULoss, SampledSoftmax


def judge(loss, positive, negative, drawn):
    return loss(positive, negative, drawn, ones(len(positive)))


def test_debiased_without_a_prior_is_softmax():
    positive, negative = scores()
    drawn = offered()
    got = judge(HardDebiased(hardness=0.0, prior=0.0, temperature=0.5), positive, negative, drawn)
    torch.testing.assert_close(
        got, judge(SampledSoftmax(temperature=0.5), positive, negative, drawn)
    )


def test_hard_debiased_without_hardness_is_debiased():
    positive, negative = scores()
    drawn = offered()
    hard = judge(HardDebiased(prior=0.01, hardness=0.0), positive, negative, drawn)
    torch.testing.assert_close(
        hard, judge(HardDebiased(hardness=0.0, prior=0.01), positive, negative, drawn)
    )


@pytest.mark.parametrize("min_score", [None, -1.0])
def test_debiased_is_the_papers_formula(min_score):
    positive, negative = scores()
    prior, cold = 0.05, 0.5
    right, wrong = (positive / cold).exp(), (negative / cold).exp()
    estimate = (wrong.mean(1) - prior * right) / (1 - prior)
    least = 0.0 if min_score is None else math.exp(min_score / cold)
    want = -(right / (right + 4 * estimate.clamp(min=least))).log().mean()
    loss = HardDebiased(hardness=0.0, prior=prior, temperature=cold, min_score=min_score)
    torch.testing.assert_close(judge(loss, positive, negative, offered()), want)


def test_hard_debiased_is_the_papers_formula():
    positive, negative = scores()
    prior, hardness = 0.02, 1.5
    right, wrong = positive.exp(), negative.exp()
    importance = wrong**hardness
    drawn = (importance * wrong).mean(1) / importance.mean(1)
    want = -(right / (right + 4 * (drawn - prior * right) / (1 - prior))).log().mean()
    loss = HardDebiased(prior=prior, hardness=hardness)
    torch.testing.assert_close(judge(loss, positive, negative, offered()), want)


def test_an_answer_that_explains_all_negatives_leaves_nothing_to_learn():
    positive, negative = torch.full((2,), 5.0), torch.zeros(2, 3, requires_grad=True)
    loss = judge(HardDebiased(hardness=0.0, prior=0.5), positive, negative, offered(2, 3))
    loss.backward()
    assert loss == 0
    assert not negative.grad.any()


def test_hasa_without_prior_and_hardness_is_softmax_with_a_margin():
    positive, negative = scores()
    drawn = offered()
    got = judge(HaSa(prior=0.0, hardness=0.0, margin=1.0), positive, negative, drawn)
    torch.testing.assert_close(got, judge(SampledSoftmax(), positive - 1, negative, drawn))


def test_hasa_weighs_negatives_by_their_softmax():
    positive, negative = scores()
    share = negative.detach().softmax(1)
    wrong = 4 * (share * negative.exp()).sum(1)
    right = (positive - 1).exp()
    want = -(right / (right + wrong)).log().mean()
    torch.testing.assert_close(judge(HaSa(prior=0.0), positive, negative, offered()), want)


def naive_hasa(positive, negative, doubt, prior, count, judged):
    share, suspect = judged.softmax(1), doubt * judged.exp()
    suspect = suspect / suspect.sum(1, keepdim=True)
    mass = (share * negative.exp()).sum(1) - prior * (suspect * negative.exp()).sum(1)
    right = (positive - 1).exp()
    return -(right / (right + count / (1 - prior) * mass.clamp(min=0))).log().mean()


def test_hasa_takes_off_the_suspects():
    positive, negative = scores()
    doubt = torch.tensor([[0.5, 0.0, 0.2, 0.0]]).expand(3, 4)
    got = judge(HaSa(prior=0.3), positive, negative, offered(p_false_negative=doubt))
    want = naive_hasa(positive, negative, doubt, 0.3, 4, negative.detach())
    torch.testing.assert_close(got, want)


def test_hasa_compatible_judges_by_scores_of_unit_length_and_counts_500():
    positive, negative = scores()
    doubt = torch.tensor([[0.5, 0.0, 0.2, 0.0]]).expand(3, 4)
    got = judge(HaSa(prior=0.3, compat=True), positive, negative, offered(p_false_negative=doubt))
    unit = negative.detach() / negative.detach().norm(dim=1, keepdim=True)
    torch.testing.assert_close(got, naive_hasa(positive, negative, doubt, 0.3, 500, unit))


def test_hasa_leaves_nothing_to_learn_where_the_suspects_explain_all_negatives():
    negative = torch.tensor([[5.0, 0.0, 0.0]], requires_grad=True)
    doubt = torch.tensor([[1.0, 0.0, 0.0]])
    loss = judge(
        HaSa(prior=0.9, hardness=0.0),
        torch.zeros(1),
        negative,
        offered(1, 3, p_false_negative=doubt),
    )
    loss.backward()
    assert loss == 0
    assert not negative.grad.any()


def test_known_facts_are_suspects_though_they_do_not_count():
    positive, negative = scores(1, 3)
    mask, doubt = torch.tensor([[True, True, False]]), torch.tensor([[0.0, 0.0, 1.0]])
    drawn = offered(1, 3, mask=mask, p_false_negative=doubt)
    got = judge(HaSa(prior=0.01, hardness=0.0), positive, negative, drawn)
    mass = negative[0, :2].exp().mean() - 0.01 * negative[0, 2].exp()
    right = (positive[0] - 1).exp()
    torch.testing.assert_close(got, -(right / (right + 2 / 0.99 * mass)).log())


@pytest.mark.parametrize("make", [HardDebiased, HaSa, NNPULoss])
@pytest.mark.parametrize("prior", [-0.1, 1.0])
def test_a_prior_is_a_share_below_one(make, prior):
    with pytest.raises(ValueError, match=f"prior of a false negative .* got {prior}"):
        make(prior=prior)
