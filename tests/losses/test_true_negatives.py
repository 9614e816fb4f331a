"""The softmax over true negatives: its promises, one by one."""

import math
from dataclasses import replace

import pytest
import torch
from loss_cases import offered, ones, scores
from torch.nn import functional as F

from sparring.corruption import CorruptBoth
from sparring.losses import SampledSoftmax, TrueNegativeSoftmax
from sparring.samplers import AllEntities
from sparring.testing import tiny_graph


def judge(loss, positive, negative, drawn):
    return loss(positive, negative, drawn, ones(len(positive)))


def test_with_a_uniform_sampler_it_is_softmax():
    positive, negative = scores()
    flat = offered(log_q=torch.full((3, 4), -5.0), answer_log_q=torch.full((3,), -5.0))
    got = judge(TrueNegativeSoftmax(temperature=0.5), positive, negative, flat)
    torch.testing.assert_close(
        got, judge(SampledSoftmax(temperature=0.5), positive, negative, flat)
    )


@pytest.mark.parametrize("correct_answer", [True, False])
def test_with_every_entity_once_it_is_the_full_softmax(correct_answer):
    graph = tiny_graph()
    queries = CorruptBoth(graph)(graph.triples, torch.Generator())
    table = torch.randn(len(queries), graph.num_entities)
    drawn = AllEntities(graph).sample(queries, lambda ids: table, torch.Generator())
    positive = table.gather(1, queries.answer.unsqueeze(1)).squeeze(1)
    loss = TrueNegativeSoftmax(correct_answer=correct_answer)
    got = loss(positive, table, drawn, queries.weight)
    torch.testing.assert_close(got, F.cross_entropy(table, queries.answer))


def test_a_constant_shift_of_the_density_makes_no_difference():
    positive, negative = scores()
    drawn = offered()
    moved = replace(drawn, log_q=drawn.log_q + 2, answer_log_q=drawn.answer_log_q + 2)
    loss = TrueNegativeSoftmax()
    before, after = (judge(loss, positive, negative, one) for one in (drawn, moved))
    torch.testing.assert_close(before, after)


def test_a_certain_false_negative_gets_no_gradient():
    positive, negative = scores()
    doubt = torch.tensor([[0.0, 1.0, 0.3, 0.0]]).expand(3, 4)
    judge(TrueNegativeSoftmax(), positive, negative, offered(p_false_negative=doubt)).backward()
    assert not negative.grad[:, 1].any()
    assert negative.grad[:, [0, 2, 3]].all()


def test_doubt_lets_a_candidate_count_for_less():
    positive, negative = scores()
    doubt = torch.tensor([[0.0, 0.9, 0.3, 0.0]]).expand(3, 4)
    doubted, weighed = offered(p_false_negative=doubt), offered(weight=1 - doubt)
    got = judge(TrueNegativeSoftmax(), positive, negative, doubted)
    torch.testing.assert_close(
        got, judge(SampledSoftmax(correction="both"), positive, negative, weighed)
    )


def test_expected_missing_answers_are_taken_off_the_sum():
    """K times the number missing times the mean over known answers, here two of weight 3."""
    positive, negative = scores(1, 6)
    mask = torch.tensor([[True] * 4 + [False] * 2])
    drawn = offered(
        1,
        6,
        mask=mask,
        weight=torch.tensor([[1.0] * 4 + [3.0] * 2]),
        p_false_negative=(~mask).float(),
        log_q=torch.full((1, 6), -4.0),
        answer_log_q=torch.full((1,), -4.0),
    )
    missing = 6 * 0.01 / 0.99
    total = (negative[0, :4] + 4).exp().sum()
    rest = total - 6 * missing * negative[0, 4:].exp().mean()
    right = (positive[0] + 4).exp()
    loss = TrueNegativeSoftmax(false_negatives="count", missing_rate=0.01)
    got = judge(loss, positive, negative, drawn)
    torch.testing.assert_close(got, -(right / (right + rest)).log())


def test_without_known_answers_the_own_answer_stands_for_them():
    positive, negative = scores()
    drawn = offered()
    total = (negative - drawn.log_q).exp().sum(1)
    rest = total - 4 * 0.02 / 0.98 * positive.exp()
    right = (positive - drawn.answer_log_q).exp()
    want = -(right / (right + rest)).log().mean()
    loss = TrueNegativeSoftmax(false_negatives="count", missing_rate=0.02)
    torch.testing.assert_close(judge(loss, positive, negative, drawn), want)


def test_a_share_of_the_sum_always_remains():
    positive, negative = torch.full((2,), 30.0), torch.zeros(2, 3)
    drawn = offered(2, 3, log_q=torch.zeros(2, 3), answer_log_q=torch.zeros(2))
    loss = TrueNegativeSoftmax(false_negatives="count", missing_rate=0.5, min_share=0.25)
    got = judge(loss, positive, negative, drawn)
    torch.testing.assert_close(got, F.softplus(torch.tensor(math.log(3 * 0.25) - 30)))


def test_uncorrected_answers_need_no_density():
    positive, negative = scores()
    blind = offered(answer_log_q=None)
    got = judge(TrueNegativeSoftmax(correct_answer=False), positive, negative, blind)
    want = judge(SampledSoftmax(correction="negatives"), positive, negative, blind)
    torch.testing.assert_close(got, want)


def test_doubt_has_one_of_two_names():
    with pytest.raises(ValueError, match="false_negatives is one of each, count; got 'some'"):
        TrueNegativeSoftmax(false_negatives="some")


@pytest.mark.parametrize(
    "options", [{"missing_rate": 1.0}, {"missing_rate": -0.1}, {"min_share": 0.0}]
)
def test_shares_are_shares(options):
    with pytest.raises(
        ValueError, match="missing_rate must be at least 0 and below 1, and min_share"
    ):
        TrueNegativeSoftmax(**options)
