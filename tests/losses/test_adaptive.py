"""Weights that the model sets for itself."""

import torch
from loss_cases import offered, ones, scores

from sparring.losses import NSSALoss


def row_losses(positive, negative, drawn):
    """The plain loss of each query alone."""
    only = torch.eye(len(positive))
    return torch.stack(
        [
            NSSALoss(margin=0.0, adversarial_temperature=0.0)(positive, negative, drawn, row)
            for row in only
        ]
    )


def test_without_gamma_it_is_the_plain_loss():
    positive, negative = scores()
    plain = NSSALoss(margin=2.0, adversarial_temperature=0.5)(positive, negative, offered(), ones())
    loss = NSSALoss(margin=2.0, adversarial_temperature=0.5, query_power=0.0)
    torch.testing.assert_close(loss(positive, negative, offered(), ones()), plain)


def test_queries_weigh_by_a_power_of_their_own_answer_if_no_others_are_shown():
    positive, negative = scores()
    weight = (-0.5 * positive.detach()).softmax(0)
    want = (weight * row_losses(positive, negative, offered())).sum()
    loss = NSSALoss(margin=0.0, adversarial_temperature=0.0, query_power=-0.5)
    torch.testing.assert_close(loss(positive, negative, offered(), ones()), want)


def test_known_answers_shown_make_a_query_common():
    positive, negative = scores()
    shown = torch.tensor([[False, False, True, True]]).expand(3, 4)
    weight = torch.where(shown, 2.5, 1.0)
    drawn = offered(mask=~shown, p_false_negative=shown.float(), weight=weight)
    mass = 2.5 * negative.detach()[:, 2:].exp().sum(1)
    share = mass**0.7 / (mass**0.7).sum()
    want = (share * row_losses(positive, negative, drawn)).sum()
    loss = NSSALoss(margin=0.0, adversarial_temperature=0.0, query_power=0.7)
    torch.testing.assert_close(loss(positive, negative, drawn, ones()), want)


def test_weights_carry_no_gradient():
    positive, negative = scores()
    loss = NSSALoss(margin=0.0, adversarial_temperature=0.0, query_power=-0.5)
    loss(positive, negative, offered(), ones()).backward()
    weight = (-0.5 * positive.detach()).softmax(0)
    right, wrong = scores()
    (weight * row_losses(right, wrong, offered())).sum().backward()
    torch.testing.assert_close(positive.grad, right.grad)
    torch.testing.assert_close(negative.grad, wrong.grad)


def test_both_weights_of_a_query_are_adapted():
    positive, negative = scores()
    loss = NSSALoss(margin=0.0, adversarial_temperature=0.0, query_power=-0.5)
    other = torch.tensor([3.0, 1.0, 2.0])
    factor = (-0.5 * positive.detach()).exp()
    plain = NSSALoss(margin=0.0, adversarial_temperature=0.0)(
        positive, negative, offered(negative_query_weight=other * factor), ones() * factor
    )
    got = loss(positive, negative, offered(negative_query_weight=other), ones())
    torch.testing.assert_close(got, plain)
