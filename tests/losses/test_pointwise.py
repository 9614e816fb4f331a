"""Losses of single scores, against arithmetic done another way and by what they learn."""

import math

import pytest
import torch
from loss_cases import (
    CLOSE,
    RIGHT,
    SIZE,
    WRONG,
    P,
    Q,
    distinct_queries,
    expected,
    flat,
    make_negatives,
    minimum,
    on_example,
    ones,
    scores,
    sigmoid_loss,
)
from torch.nn import functional as F

from sparring.corruption import CorruptBoth
from sparring.losses import (
    NCE,
    BCELoss,
    NNPULoss,
    NSSALoss,
)
from sparring.models import DistMult
from sparring.samplers import KvsAll
from sparring.testing import dummy_scorer, tiny_graph


def test_logistic():
    rows = [
        (sigmoid_loss(2) + (sigmoid_loss(0) + sigmoid_loss(1) + sigmoid_loss(-3)) / 3) / 2,
        (sigmoid_loss(-1) + (sigmoid_loss(-1) + sigmoid_loss(-0.5) + sigmoid_loss(2)) / 3) / 2,
    ]
    torch.testing.assert_close(
        on_example(NSSALoss(margin=0.0, adversarial_temperature=0.0)), torch.tensor(sum(rows) / 2)
    )


def test_a_margin_is_added_to_all_scores():
    shifted = NSSALoss(margin=0.0, adversarial_temperature=0.0)(
        RIGHT + 1.5, WRONG + 1.5, make_negatives(2, 3), ones(2)
    )
    torch.testing.assert_close(
        on_example(NSSALoss(margin=1.5, adversarial_temperature=0.0)), shifted
    )


def test_self_adversarial_weighs_by_softmax():
    share = (0.5 * WRONG).softmax(1)
    rows = (F.softplus(-RIGHT - 9) + (share * F.softplus(WRONG + 9)).sum(1)) / 2
    torch.testing.assert_close(on_example(NSSALoss(adversarial_temperature=0.5)), rows.mean())


def test_self_adversarial_at_a_high_temperature_sees_the_hardest_only():
    hardest = F.softplus(WRONG.amax(1))
    rows = (F.softplus(-RIGHT) + hardest) / 2
    torch.testing.assert_close(
        on_example(NSSALoss(margin=0.0, adversarial_temperature=1e4)), rows.mean()
    )


def test_the_log_sigmoid_loss_learns_the_log_ratio():
    got = minimum(
        lambda score: expected(NSSALoss(margin=0.0, adversarial_temperature=0.0), score), flat()
    )
    torch.testing.assert_close(got, (P / Q).log(), **CLOSE)


@pytest.mark.parametrize("temperature", [0.5, 1.0])
def test_self_adversarial_learns_the_log_ratio_tempered(temperature):
    """Up to the constant at which the weights sum to one."""
    tempered = (P / Q).log() / (1 + temperature)
    constant = (Q.log() + temperature * tempered).logsumexp(0)
    score = (tempered + constant).requires_grad_()
    expected(NSSALoss(margin=0.0, adversarial_temperature=temperature), score).backward()
    torch.testing.assert_close(score.grad, flat(), atol=1e-12, rtol=0)


def row_losses(positive, negative, drawn):
    """The plain loss of each query alone."""
    only = torch.eye(len(positive))
    return torch.stack(
        [
            NSSALoss(margin=0.0, adversarial_temperature=0.0)(positive, negative, drawn, row)
            for row in only
        ]
    )


def test_without_a_query_power_it_is_the_plain_loss():
    positive, negative = scores()
    plain = NSSALoss(margin=2.0, adversarial_temperature=0.5)(
        positive, negative, make_negatives(), ones()
    )
    loss = NSSALoss(margin=2.0, adversarial_temperature=0.5, query_power=0.0)
    torch.testing.assert_close(loss(positive, negative, make_negatives(), ones()), plain)


def test_queries_weigh_by_a_power_of_their_own_answer_if_no_others_are_listed():
    positive, negative = scores()
    weight = (-0.5 * positive.detach()).softmax(0)
    want = (weight * row_losses(positive, negative, make_negatives())).sum()
    loss = NSSALoss(margin=0.0, adversarial_temperature=0.0, query_power=-0.5)
    torch.testing.assert_close(loss(positive, negative, make_negatives(), ones()), want)


def test_listed_known_answers_make_a_query_frequent():
    positive, negative = scores()
    listed = torch.tensor([[False, False, True, True]]).expand(3, 4)
    weight = torch.where(listed, 2.5, 1.0)
    drawn = make_negatives(mask=~listed, p_false_negative=listed.float(), weight=weight)
    mass = 2.5 * negative.detach()[:, 2:].exp().sum(1)
    share = mass**0.7 / (mass**0.7).sum()
    want = (share * row_losses(positive, negative, drawn)).sum()
    loss = NSSALoss(margin=0.0, adversarial_temperature=0.0, query_power=0.7)
    torch.testing.assert_close(loss(positive, negative, drawn, ones()), want)


def test_weights_carry_no_gradient():
    positive, negative = scores()
    loss = NSSALoss(margin=0.0, adversarial_temperature=0.0, query_power=-0.5)
    loss(positive, negative, make_negatives(), ones()).backward()
    weight = (-0.5 * positive.detach()).softmax(0)
    right, wrong = scores()
    (weight * row_losses(right, wrong, make_negatives())).sum().backward()
    torch.testing.assert_close(positive.grad, right.grad)
    torch.testing.assert_close(negative.grad, wrong.grad)


def test_both_weights_of_a_query_are_adapted():
    positive, negative = scores()
    loss = NSSALoss(margin=0.0, adversarial_temperature=0.0, query_power=-0.5)
    other = torch.tensor([3.0, 1.0, 2.0])
    factor = (-0.5 * positive.detach()).exp()
    plain = NSSALoss(margin=0.0, adversarial_temperature=0.0)(
        positive, negative, make_negatives(negative_query_weight=other * factor), ones() * factor
    )
    got = loss(positive, negative, make_negatives(negative_query_weight=other), ones())
    torch.testing.assert_close(got, plain)


def test_summed_logistic_is_binary_cross_entropy():
    score = torch.cat([RIGHT.unsqueeze(1), WRONG], 1)
    label = torch.zeros_like(score).index_fill(1, torch.tensor([0]), 1.0)
    want = F.binary_cross_entropy_with_logits(score, label, reduction="sum") / 2
    torch.testing.assert_close(on_example(BCELoss()), want)


@pytest.mark.parametrize("compat, added", [(False, 0.2), (True, 1.0)])
def test_smoothed_kvs_all_is_the_textbook_sum(compat, added):
    """One binary cross-entropy per distinct query over all entities, with smoothed labels."""
    torch.manual_seed(0)
    graph = tiny_graph()
    model = DistMult(graph, dim=8)
    queries = CorruptBoth(graph)(graph.triples, torch.Generator())
    drawn = KvsAll(graph).sample(queries, dummy_scorer(queries), torch.Generator())
    positive = model(queries)(queries.answer.unsqueeze(1)).squeeze(1)
    loss = BCELoss(label_smoothing=0.2, compat=compat)
    got = loss(positive, model(queries)(drawn.ids), drawn, queries.weight) * len(queries)
    distinct, label = distinct_queries(graph)
    table = model(distinct)(torch.arange(graph.num_entities).unsqueeze(0))
    label = 0.8 * label + added / graph.num_entities
    want = F.binary_cross_entropy_with_logits(table, label, reduction="sum")
    torch.testing.assert_close(got, want)


@pytest.mark.parametrize("times", [1.0, 7.0])
def test_binary_losses_learn_log_p_less_log_of_k_times_q(times):
    got = minimum(lambda score: expected(BCELoss(), score, times), flat())
    torch.testing.assert_close(got, (P / (times * Q)).log(), **CLOSE)


def counts(share, size, runs, rng):
    """How often each entity is drawn, in several runs."""
    drawn = torch.multinomial(share, runs * size, replacement=True, generator=rng)
    run = torch.arange(runs).repeat_interleave(size)
    return torch.bincount(run * SIZE + drawn, minlength=runs * SIZE).view(runs, SIZE).double()


def test_negative_sampling_is_least_at_the_log_ratio_of_counts():
    right, wrong = counts(P, 500, 1, torch.Generator().manual_seed(0))[0], 900 * Q
    score = (right / wrong).log().requires_grad_()
    drawn = make_negatives(SIZE, SIZE, weight=(wrong / right.sum()).expand(SIZE, SIZE))
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


def test_nce_lowers_every_score_by_log_of_k_times_the_density():
    drawn = make_negatives(2, 3)
    shifted = BCELoss()(
        RIGHT - drawn.answer_log_q - math.log(3), WRONG - drawn.log_q - math.log(3), drawn, ones(2)
    )
    torch.testing.assert_close(on_example(NCE(), drawn), shifted)


def test_mean_nce_is_the_log_sigmoid_loss_with_a_margin_of_minus_log_q():
    drawn = make_negatives(
        2, 3, log_q=torch.full((2, 3), -2.0), answer_log_q=torch.full((2,), -2.0)
    )
    torch.testing.assert_close(
        on_example(NCE(mean=True), drawn),
        2 * on_example(NSSALoss(margin=2.0, adversarial_temperature=0.0)),
    )


def test_nce_learns_log_p_whatever_the_sampler():
    got = minimum(lambda score: expected(NCE(), score, SIZE), flat())
    torch.testing.assert_close(got, P.log(), **CLOSE)


def test_mean_nce_learns_log_p_whatever_the_sampler():
    got = minimum(lambda score: expected(NCE(mean=True), score), flat())
    torch.testing.assert_close(got, P.log(), **CLOSE)


def test_non_negative_takes_off_what_answers_would_add():
    prior = 0.1
    wrong = (sum(map(sigmoid_loss, (0, 1, -3))) + sum(map(sigmoid_loss, (-1, -0.5, 2)))) / 6
    mistaken = prior * (sigmoid_loss(-2) + sigmoid_loss(1)) / 2
    want = prior * (sigmoid_loss(2) + sigmoid_loss(-1)) / 2 + wrong - mistaken
    torch.testing.assert_close(on_example(NNPULoss(prior=prior)), torch.tensor(want))


def test_non_negative_never_rewards_easy_negatives():
    positive, negative = torch.full((2,), 50.0), torch.full((2, 3), -50.0, requires_grad=True)
    loss = NNPULoss(prior=0.5)(positive, negative, make_negatives(2, 3), ones(2))
    loss.backward()
    assert 0 <= loss < 1e-20
    assert not negative.grad.any()


def test_queries_without_negatives_do_not_dilute_the_unlabelled_risk():
    drawn = make_negatives(2, 3, mask=torch.tensor([[True] * 3, [False] * 3]))
    want = sum(map(sigmoid_loss, (0, 1, -3))) / 3
    torch.testing.assert_close(on_example(NNPULoss(prior=0.0), drawn), torch.tensor(want))
