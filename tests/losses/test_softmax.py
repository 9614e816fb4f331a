"""Softmax losses, against arithmetic done another way and by what they learn."""

import itertools
import math
from dataclasses import replace

import pytest
import torch
from loss_cases import (
    CLOSE,
    RIGHT,
    SIZE,
    WRONG,
    P,
    Q,
    centred,
    distinct_queries,
    evaluate,
    every_draw,
    flat,
    make_negatives,
    minimum,
    on_example,
    ones,
    scores,
)
from torch.nn import functional as F

from sparring.corruption import CorruptBoth
from sparring.losses import (
    HardDebiased,
    HaSa,
    SampledSoftmax,
    TrueNegativeSoftmax,
)
from sparring.models import DistMult
from sparring.samplers import AllEntities
from sparring.testing import dummy_scorer, tiny_graph


def test_softmax_is_cross_entropy():
    score = torch.cat([RIGHT.unsqueeze(1), WRONG], 1)
    want = F.cross_entropy(score / 0.5, torch.zeros(2, dtype=torch.long))
    torch.testing.assert_close(on_example(SampledSoftmax(temperature=0.5)), want)


def test_softmax_corrects_negatives_by_log_of_k_times_the_density():
    drawn = make_negatives(2, 3)
    plain = SampledSoftmax()(RIGHT, WRONG - drawn.log_q - math.log(3), drawn, ones(2))
    torch.testing.assert_close(on_example(SampledSoftmax(correction="negatives"), drawn), plain)


def test_softmax_corrects_answers_too():
    drawn = make_negatives(2, 3)
    plain = SampledSoftmax()(RIGHT - drawn.answer_log_q, WRONG - drawn.log_q, drawn, ones(2))
    torch.testing.assert_close(on_example(SampledSoftmax(correction="both"), drawn), plain)


def test_the_refined_correction_has_the_gradient_of_the_papers_identity():
    """(1 - P), held fixed, times the gradient of log of the corrected negatives - answer."""
    drawn = make_negatives(3, 4)
    positive, negative = scores()
    SampledSoftmax(correction="refined")(positive, negative, drawn, ones()).backward()
    right, wrong = scores()
    others = (wrong - drawn.log_q).logsumexp(1) - math.log(4)
    mistake = 1 - (right.exp() / (right.exp() + others.exp())).detach()
    (mistake * (others - right)).mean().backward()
    torch.testing.assert_close(positive.grad, right.grad)
    torch.testing.assert_close(negative.grad, wrong.grad)


def test_smoothed_softmax_over_all_entities_is_cross_entropy_with_label_smoothing():
    graph = tiny_graph()
    queries = CorruptBoth(graph)(graph.triples, torch.Generator())
    table = torch.randn(len(queries), graph.num_entities)
    drawn = AllEntities(graph).sample(queries, lambda ids: table, torch.Generator())
    positive = table.gather(1, queries.answer.unsqueeze(1)).squeeze(1)
    got = SampledSoftmax(label_smoothing=0.3)(positive, table, drawn, queries.weight)
    want = F.cross_entropy(table, queries.answer, label_smoothing=0.3)
    torch.testing.assert_close(got, want)


def test_smoothed_softmax_compatible_adds_a_full_share_and_rescales():
    graph = tiny_graph()
    queries = CorruptBoth(graph)(graph.triples, torch.Generator())
    size = graph.num_entities
    table = torch.randn(len(queries), size)
    drawn = AllEntities(graph).sample(queries, lambda ids: table, torch.Generator())
    positive = table.gather(1, queries.answer.unsqueeze(1)).squeeze(1)
    got = SampledSoftmax(label_smoothing=0.3, compat=True)(positive, table, drawn, queries.weight)
    label = 0.7 * F.one_hot(queries.answer, size) + 1 / size
    want = F.cross_entropy(table, F.normalize(label, p=1, dim=1))
    torch.testing.assert_close(got, want)


def test_kvs_all_with_labels_that_sum_to_one_is_softmax_with_inverse_count_weights():
    torch.manual_seed(0)
    graph = tiny_graph()
    model = DistMult(graph, dim=8)
    corruption = CorruptBoth(graph, subsampling=1.0, subsampling_method="uniq")
    queries = corruption(graph.triples, torch.Generator())
    drawn = AllEntities(graph).sample(queries, dummy_scorer(queries), torch.Generator())
    table = model(queries)(drawn.ids)
    positive = table.gather(1, queries.answer.unsqueeze(1)).squeeze(1)
    got = SampledSoftmax(label_smoothing=0.0)(positive, table, drawn, queries.weight)
    distinct, label = distinct_queries(graph)
    table = model(distinct)(torch.arange(graph.num_entities).unsqueeze(0))
    torch.testing.assert_close(got, F.cross_entropy(table, label / label.sum(1, keepdim=True)))


def test_the_target_of_emu_gives_every_negative_beta():
    score = torch.cat([RIGHT.unsqueeze(1), WRONG], 1)
    target = torch.tensor([[1.0, 0.2, 0.2, 0.2]]).expand(2, 4) / 1.6
    torch.testing.assert_close(
        on_example(SampledSoftmax(negative_target=0.2)), F.cross_entropy(score, target)
    )


def test_a_negative_has_no_target_below_zero():
    with pytest.raises(ValueError, match=r"must not be below 0; got -0\.5"):
        SampledSoftmax(negative_target=-0.5)


@pytest.mark.parametrize("k", [1, 2])
def test_softmax_learns_the_log_ratio(k):
    got = minimum(lambda score: every_draw(SampledSoftmax(), score, k), flat())
    torch.testing.assert_close(centred(got), centred((P / Q).log()), **CLOSE)


def test_a_perfect_sampler_with_an_uncorrected_loss_destroys_the_model():
    lists = torch.tensor(list(itertools.product(range(SIZE), repeat=2)))
    answer, ids = lists[:, 0], lists[:, 1:]
    weight = P[answer] * P[ids].prod(1)
    loss = lambda score: SampledSoftmax()(
        score[answer], score[ids], make_negatives(len(lists), 1), weight
    )
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
        score, torch.zeros(1, 256), make_negatives(1, 256), ones(1)
    )
    score = minimum(loss, torch.zeros(1, dtype=torch.double))
    chance = score.exp() / (score.exp() + 256)
    torch.testing.assert_close(chance.item(), 1 / (1 + 256 * 0.53), atol=1e-6, rtol=0)


def test_debiased_without_a_prior_is_softmax():
    positive, negative = scores()
    drawn = make_negatives()
    got = evaluate(
        HardDebiased(hardness=0.0, prior=0.0, temperature=0.5), positive, negative, drawn
    )
    torch.testing.assert_close(
        got, evaluate(SampledSoftmax(temperature=0.5), positive, negative, drawn)
    )


def test_hard_debiased_without_hardness_is_debiased():
    positive, negative = scores()
    drawn = make_negatives()
    hard = evaluate(HardDebiased(prior=0.01, hardness=0.0), positive, negative, drawn)
    torch.testing.assert_close(
        hard, evaluate(HardDebiased(hardness=0.0, prior=0.01), positive, negative, drawn)
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
    torch.testing.assert_close(evaluate(loss, positive, negative, make_negatives()), want)


def test_hard_debiased_is_the_papers_formula():
    positive, negative = scores()
    prior, hardness = 0.02, 1.5
    right, wrong = positive.exp(), negative.exp()
    importance = wrong**hardness
    drawn = (importance * wrong).mean(1) / importance.mean(1)
    want = -(right / (right + 4 * (drawn - prior * right) / (1 - prior))).log().mean()
    loss = HardDebiased(prior=prior, hardness=hardness)
    torch.testing.assert_close(evaluate(loss, positive, negative, make_negatives()), want)


def test_an_answer_that_explains_all_negatives_leaves_nothing_to_learn():
    positive, negative = torch.full((2,), 5.0), torch.zeros(2, 3, requires_grad=True)
    loss = evaluate(HardDebiased(hardness=0.0, prior=0.5), positive, negative, make_negatives(2, 3))
    loss.backward()
    assert loss == 0
    assert not negative.grad.any()


def test_hasa_without_prior_and_hardness_is_softmax_with_a_margin():
    positive, negative = scores()
    drawn = make_negatives()
    got = evaluate(HaSa(prior=0.0, hardness=0.0, margin=1.0), positive, negative, drawn)
    torch.testing.assert_close(got, evaluate(SampledSoftmax(), positive - 1, negative, drawn))


def test_hasa_weighs_negatives_by_their_softmax():
    positive, negative = scores()
    share = negative.detach().softmax(1)
    wrong = 4 * (share * negative.exp()).sum(1)
    right = (positive - 1).exp()
    want = -(right / (right + wrong)).log().mean()
    torch.testing.assert_close(
        evaluate(HaSa(prior=0.0), positive, negative, make_negatives()), want
    )


def naive_hasa(positive, negative, probability, prior, count, logit):
    share, suspect = logit.softmax(1), probability * logit.exp()
    suspect = suspect / suspect.sum(1, keepdim=True)
    mass = (share * negative.exp()).sum(1) - prior * (suspect * negative.exp()).sum(1)
    right = (positive - 1).exp()
    return -(right / (right + count / (1 - prior) * mass.clamp(min=0))).log().mean()


def test_hasa_takes_off_the_suspects():
    positive, negative = scores()
    probability = torch.tensor([[0.5, 0.0, 0.2, 0.0]]).expand(3, 4)
    got = evaluate(
        HaSa(prior=0.3), positive, negative, make_negatives(p_false_negative=probability)
    )
    want = naive_hasa(positive, negative, probability, 0.3, 4, negative.detach())
    torch.testing.assert_close(got, want)


def test_hasa_compatible_weights_by_scores_of_unit_length_and_counts_500():
    positive, negative = scores()
    probability = torch.tensor([[0.5, 0.0, 0.2, 0.0]]).expand(3, 4)
    got = evaluate(
        HaSa(prior=0.3, compat=True),
        positive,
        negative,
        make_negatives(p_false_negative=probability),
    )
    unit = negative.detach() / negative.detach().norm(dim=1, keepdim=True)
    torch.testing.assert_close(got, naive_hasa(positive, negative, probability, 0.3, 500, unit))


def test_hasa_leaves_nothing_to_learn_where_the_suspects_explain_all_negatives():
    negative = torch.tensor([[5.0, 0.0, 0.0]], requires_grad=True)
    probability = torch.tensor([[1.0, 0.0, 0.0]])
    loss = evaluate(
        HaSa(prior=0.9, hardness=0.0),
        torch.zeros(1),
        negative,
        make_negatives(1, 3, p_false_negative=probability),
    )
    loss.backward()
    assert loss == 0
    assert not negative.grad.any()


def test_known_facts_are_suspects_though_they_do_not_count():
    positive, negative = scores(1, 3)
    mask, probability = torch.tensor([[True, True, False]]), torch.tensor([[0.0, 0.0, 1.0]])
    drawn = make_negatives(1, 3, mask=mask, p_false_negative=probability)
    got = evaluate(HaSa(prior=0.01, hardness=0.0), positive, negative, drawn)
    mass = negative[0, :2].exp().mean() - 0.01 * negative[0, 2].exp()
    right = (positive[0] - 1).exp()
    torch.testing.assert_close(got, -(right / (right + 2 / 0.99 * mass)).log())


def test_with_a_uniform_sampler_it_is_softmax():
    positive, negative = scores()
    flat = make_negatives(log_q=torch.full((3, 4), -5.0), answer_log_q=torch.full((3,), -5.0))
    got = evaluate(TrueNegativeSoftmax(temperature=0.5), positive, negative, flat)
    torch.testing.assert_close(
        got, evaluate(SampledSoftmax(temperature=0.5), positive, negative, flat)
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
    drawn = make_negatives()
    moved = replace(drawn, log_q=drawn.log_q + 2, answer_log_q=drawn.answer_log_q + 2)
    loss = TrueNegativeSoftmax()
    before, after = (evaluate(loss, positive, negative, one) for one in (drawn, moved))
    torch.testing.assert_close(before, after)


def test_a_certain_false_negative_gets_no_gradient():
    positive, negative = scores()
    probability = torch.tensor([[0.0, 1.0, 0.3, 0.0]]).expand(3, 4)
    evaluate(
        TrueNegativeSoftmax(), positive, negative, make_negatives(p_false_negative=probability)
    ).backward()
    assert not negative.grad[:, 1].any()
    assert negative.grad[:, [0, 2, 3]].all()


def test_a_possible_false_negative_counts_for_less():
    positive, negative = scores()
    probability = torch.tensor([[0.0, 0.9, 0.3, 0.0]]).expand(3, 4)
    possible, weighed = (
        make_negatives(p_false_negative=probability),
        make_negatives(weight=1 - probability),
    )
    got = evaluate(TrueNegativeSoftmax(), positive, negative, possible)
    torch.testing.assert_close(
        got, evaluate(SampledSoftmax(correction="both"), positive, negative, weighed)
    )


def test_expected_missing_answers_are_taken_off_the_sum():
    """K times the number missing times the mean over known answers, here two of weight 3."""
    positive, negative = scores(1, 6)
    mask = torch.tensor([[True] * 4 + [False] * 2])
    drawn = make_negatives(
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
    got = evaluate(loss, positive, negative, drawn)
    torch.testing.assert_close(got, -(right / (right + rest)).log())


def test_without_known_answers_the_own_answer_stands_for_them():
    positive, negative = scores()
    drawn = make_negatives()
    total = (negative - drawn.log_q).exp().sum(1)
    rest = total - 4 * 0.02 / 0.98 * positive.exp()
    right = (positive - drawn.answer_log_q).exp()
    want = -(right / (right + rest)).log().mean()
    loss = TrueNegativeSoftmax(false_negatives="count", missing_rate=0.02)
    torch.testing.assert_close(evaluate(loss, positive, negative, drawn), want)


def test_a_share_of_the_sum_always_remains():
    positive, negative = torch.full((2,), 30.0), torch.zeros(2, 3)
    drawn = make_negatives(2, 3, log_q=torch.zeros(2, 3), answer_log_q=torch.zeros(2))
    loss = TrueNegativeSoftmax(false_negatives="count", missing_rate=0.5, min_share=0.25)
    got = evaluate(loss, positive, negative, drawn)
    torch.testing.assert_close(got, F.softplus(torch.tensor(math.log(3 * 0.25) - 30)))


def test_uncorrected_answers_need_no_density():
    positive, negative = scores()
    blind = make_negatives(answer_log_q=None)
    got = evaluate(TrueNegativeSoftmax(correct_answer=False), positive, negative, blind)
    want = evaluate(SampledSoftmax(correction="negatives"), positive, negative, blind)
    torch.testing.assert_close(got, want)


def test_false_negatives_are_removed_in_one_of_two_ways():
    with pytest.raises(ValueError, match="false_negatives is one of each, count; got 'some'"):
        TrueNegativeSoftmax(false_negatives="some")


@pytest.mark.parametrize(
    "options", [{"missing_rate": 1.0}, {"missing_rate": -0.1}, {"min_share": 0.0}]
)
def test_rates_are_between_0_and_1(options):
    with pytest.raises(
        ValueError, match="missing_rate must be at least 0 and below 1, and min_share"
    ):
        TrueNegativeSoftmax(**options)
