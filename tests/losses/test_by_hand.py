"""Every loss against arithmetic done another way."""

import math
from dataclasses import replace

import pytest
import torch
from loss_cases import offered, ones, scores
from torch.nn import functional as F

from sparring.batch import Queries
from sparring.corruption import CorruptBoth
from sparring.losses import (
    NCE,
    BCELoss,
    DoubleMarginLoss,
    MarginRankingLoss,
    NNPULoss,
    NSSALoss,
    SampledSoftmax,
    SoftMarginRankingLoss,
    TrueNegativeSoftmax,
)
from sparring.models import DistMult
from sparring.samplers import AllEntities, KvsAll
from sparring.testing import tiny_graph

RIGHT = torch.tensor([2.0, -1.0])
WRONG = torch.tensor([[0.0, -1.0, 3.0], [1.0, 0.5, -2.0]])


def given(loss, negatives=None, weight=None):
    drawn = offered(2, 3) if negatives is None else negatives
    return loss(RIGHT, WRONG, drawn, ones(2) if weight is None else weight)


def sigmoid_loss(score):
    return math.log1p(math.exp(-score))


def test_logistic():
    rows = [
        (sigmoid_loss(2) + (sigmoid_loss(0) + sigmoid_loss(1) + sigmoid_loss(-3)) / 3) / 2,
        (sigmoid_loss(-1) + (sigmoid_loss(-1) + sigmoid_loss(-0.5) + sigmoid_loss(2)) / 3) / 2,
    ]
    torch.testing.assert_close(
        given(NSSALoss(margin=0.0, adversarial_temperature=0.0)), torch.tensor(sum(rows) / 2)
    )


def test_a_margin_is_added_to_all_scores():
    shifted = NSSALoss(margin=0.0, adversarial_temperature=0.0)(
        RIGHT + 1.5, WRONG + 1.5, offered(2, 3), ones(2)
    )
    torch.testing.assert_close(given(NSSALoss(margin=1.5, adversarial_temperature=0.0)), shifted)


def test_self_adversarial_weighs_by_softmax():
    share = (0.5 * WRONG).softmax(1)
    rows = (F.softplus(-RIGHT - 9) + (share * F.softplus(WRONG + 9)).sum(1)) / 2
    torch.testing.assert_close(given(NSSALoss(adversarial_temperature=0.5)), rows.mean())


def test_self_adversarial_at_a_high_temperature_sees_the_hardest_only():
    hardest = F.softplus(WRONG.amax(1))
    rows = (F.softplus(-RIGHT) + hardest) / 2
    torch.testing.assert_close(
        given(NSSALoss(margin=0.0, adversarial_temperature=1e4)), rows.mean()
    )


def test_margin_ranking():
    want = ((0 + 0 + 2) / 3 + (3 + 2.5 + 0) / 3) / 2
    torch.testing.assert_close(given(MarginRankingLoss()), torch.tensor(want))


def test_pairwise_logistic():
    gaps = [[-2 + 0.5, -3 + 0.5, 1 + 0.5], [2 + 0.5, 1.5 + 0.5, -1 + 0.5]]
    want = sum(sigmoid_loss(-gap) for row in gaps for gap in row) / 6
    torch.testing.assert_close(given(SoftMarginRankingLoss(margin=0.5)), torch.tensor(want))


def test_double_margin():
    want = (0 + (0 + 0 + 2.5) / 3 + 2 + (0.5 + 0 + 0) / 3) / 2
    torch.testing.assert_close(
        given(DoubleMarginLoss(positive_margin=1.0, negative_margin=0.5)), torch.tensor(want)
    )


def test_summed_logistic_is_binary_cross_entropy():
    score = torch.cat([RIGHT.unsqueeze(1), WRONG], 1)
    label = torch.zeros_like(score).index_fill(1, torch.tensor([0]), 1.0)
    want = F.binary_cross_entropy_with_logits(score, label, reduction="sum") / 2
    torch.testing.assert_close(given(BCELoss()), want)


def test_nce_lowers_every_score_by_log_of_k_times_the_density():
    drawn = offered(2, 3)
    shifted = BCELoss()(
        RIGHT - drawn.answer_log_q - math.log(3), WRONG - drawn.log_q - math.log(3), drawn, ones(2)
    )
    torch.testing.assert_close(given(NCE(), drawn), shifted)


def test_mean_nce_is_the_log_sigmoid_loss_with_a_margin_of_minus_log_q():
    drawn = offered(2, 3, log_q=torch.full((2, 3), -2.0), answer_log_q=torch.full((2,), -2.0))
    torch.testing.assert_close(
        given(NCE(mean=True), drawn), 2 * given(NSSALoss(margin=2.0, adversarial_temperature=0.0))
    )


def test_softmax_is_cross_entropy():
    score = torch.cat([RIGHT.unsqueeze(1), WRONG], 1)
    want = F.cross_entropy(score / 0.5, torch.zeros(2, dtype=torch.long))
    torch.testing.assert_close(given(SampledSoftmax(temperature=0.5)), want)


def test_softmax_corrects_negatives_by_log_of_k_times_the_density():
    drawn = offered(2, 3)
    plain = SampledSoftmax()(RIGHT, WRONG - drawn.log_q - math.log(3), drawn, ones(2))
    torch.testing.assert_close(given(SampledSoftmax(correction="negatives"), drawn), plain)


def test_softmax_corrects_answers_too():
    drawn = offered(2, 3)
    plain = SampledSoftmax()(RIGHT - drawn.answer_log_q, WRONG - drawn.log_q, drawn, ones(2))
    torch.testing.assert_close(given(SampledSoftmax(correction="both"), drawn), plain)


def test_the_refined_correction_has_the_gradient_of_the_papers_identity():
    """(1 - P), held fixed, times the gradient of log of the corrected negatives - answer."""
    drawn = offered(3, 4)
    positive, negative = scores()
    SampledSoftmax(correction="refined")(positive, negative, drawn, ones()).backward()
    right, wrong = scores()
    others = (wrong - drawn.log_q).logsumexp(1) - math.log(4)
    mistake = 1 - (right.exp() / (right.exp() + others.exp())).detach()
    (mistake * (others - right)).mean().backward()
    torch.testing.assert_close(positive.grad, right.grad)
    torch.testing.assert_close(negative.grad, wrong.grad)


def test_what_does_not_count_may_have_a_density_of_zero():
    drawn = offered(2, 3, mask=torch.tensor([[True, True, False]] * 2))
    never = replace(drawn, log_q=drawn.log_q.masked_fill(~drawn.mask, -torch.inf))
    for loss in (SampledSoftmax(correction="both"), NCE(), NCE(mean=True), TrueNegativeSoftmax()):
        torch.testing.assert_close(given(loss, never), given(loss, drawn))


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


def distinct_queries(graph):
    """Each query of the graph once, with the multi-hot row of its known answers."""
    everything = CorruptBoth(graph)(graph.triples, torch.Generator())
    pair = torch.stack([everything.anchor, everything.relation], 1).unique(dim=0)
    anchor, relation = pair.unbind(1)
    queries = Queries(anchor, relation, torch.zeros_like(anchor), torch.ones(len(pair)))
    row, entity = graph.known.answers(queries)
    label = torch.zeros(len(pair), graph.num_entities)
    label[row, entity] = 1.0
    return queries, label


@pytest.mark.parametrize("compat, added", [(False, 0.2), (True, 1.0)])
def test_smoothed_kvs_all_is_the_textbook_sum(compat, added):
    """One binary cross-entropy per distinct query over all entities, with smoothed labels."""
    torch.manual_seed(0)
    graph = tiny_graph()
    model = DistMult(graph, dim=8)
    queries = CorruptBoth(graph)(graph.triples, torch.Generator())
    drawn = KvsAll(graph).sample(queries, None, torch.Generator())
    positive = model(queries)(queries.answer.unsqueeze(1)).squeeze(1)
    loss = BCELoss(label_smoothing=0.2, compat=compat)
    got = loss(positive, model(queries)(drawn.ids), drawn, queries.weight) * len(queries)
    distinct, label = distinct_queries(graph)
    table = model(distinct)(torch.arange(graph.num_entities).unsqueeze(0))
    label = 0.8 * label + added / graph.num_entities
    want = F.binary_cross_entropy_with_logits(table, label, reduction="sum")
    torch.testing.assert_close(got, want)


def test_kvs_all_with_labels_that_sum_to_one_is_softmax_with_inverse_count_weights():
    torch.manual_seed(0)
    graph = tiny_graph()
    model = DistMult(graph, dim=8)
    queries = CorruptBoth(graph, subsampling=1.0, kind="uniq")(graph.triples, torch.Generator())
    drawn = AllEntities(graph).sample(queries, None, torch.Generator())
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
        given(SampledSoftmax(negative_target=0.2)), F.cross_entropy(score, target)
    )


def test_non_negative_takes_off_what_answers_would_add():
    prior = 0.1
    wrong = (sum(map(sigmoid_loss, (0, 1, -3))) + sum(map(sigmoid_loss, (-1, -0.5, 2)))) / 6
    mistaken = prior * (sigmoid_loss(-2) + sigmoid_loss(1)) / 2
    want = prior * (sigmoid_loss(2) + sigmoid_loss(-1)) / 2 + wrong - mistaken
    torch.testing.assert_close(given(NNPULoss(prior=prior)), torch.tensor(want))


def test_non_negative_never_rewards_easy_negatives():
    positive, negative = torch.full((2,), 50.0), torch.full((2, 3), -50.0, requires_grad=True)
    loss = NNPULoss(prior=0.5)(positive, negative, offered(2, 3), ones(2))
    loss.backward()
    assert 0 <= loss < 1e-20
    assert not negative.grad.any()


def test_queries_without_negatives_do_not_dilute_the_unlabelled_risk():
    drawn = offered(2, 3, mask=torch.tensor([[True] * 3, [False] * 3]))
    want = sum(map(sigmoid_loss, (0, 1, -3))) / 3
    torch.testing.assert_close(given(NNPULoss(prior=0.0), drawn), torch.tensor(want))


@pytest.mark.parametrize(
    "loss",
    [
        NSSALoss(margin=0.0, adversarial_temperature=0.0),
        NSSALoss(),
        BCELoss(),
        NCE(),
        DoubleMarginLoss(),
        BCELoss(label_smoothing=0.1),
    ],
    ids=lambda loss: type(loss).__name__,
)
def test_negatives_may_weigh_otherwise_than_answers(loss):
    weight, other = torch.tensor([1.0, 3.0]), torch.tensor([5.0, 1.0])
    nothing = offered(2, 3, mask=torch.zeros(2, 3, dtype=torch.bool))
    of_answers = given(loss, nothing, weight)
    of_negatives = given(loss, weight=other) - given(loss, nothing, other)
    got = given(loss, offered(2, 3, negative_query_weight=other), weight)
    torch.testing.assert_close(got, of_answers + of_negatives)
