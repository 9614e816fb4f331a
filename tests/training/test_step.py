"""Short runs give known losses, and sampler and loss together give the textbook objectives."""

import itertools
import math

import pytest
import torch
from torch.nn import functional as F
from zoo import LOSSES, MODELS, SAMPLERS

from sparring.batch import Negatives, Queries
from sparring.corruption import CorruptBoth, tail_and_head_queries
from sparring.losses import NCE, BCELoss, NSSALoss, SampledSoftmax
from sparring.samplers import (
    AllEntities,
    KvsAll,
    Popularity,
    ResampleKnown,
    Uniform,
    UniformFiltered,
)
from sparring.seeds import Seeds
from sparring.testing import table_scorer, tiny_graph
from sparring.training import OPTIMIZERS, TrainingStep

# mean loss of each epoch; another number is a change of behavior, such as another random stream,
# default or order: write it down only if that is intended
GOLDEN = {
    ("complex", "uniform-filtered", "softmax-both"): [1.791309, 1.609150, 1.501152, 1.299016],
    ("distmult", "all-entities", "sampled-softmax"): [2.409424, 2.346506, 2.286665, 2.219891],
    ("rescal", "resample-known", "margin-ranking"): [0.934699, 0.676189, 0.640302, 0.584722],
    ("rotate", "mask-known", "nssa"): [0.972638, 0.784207, 0.709329, 0.673702],
    ("transd", "popularity", "nssa-plain"): [0.909412, 0.747075, 0.704630, 0.684540],
    ("transe", "kvs-all", "bce"): [3.933970, 3.074072, 2.781712, 2.626102],
    ("transh", "uniform-shared", "softmax-negatives"): [2.525743, 2.334631, 2.263594, 2.170955],
}


def epoch_losses(model, sampler, loss, epochs=4):
    graph, seeds = tiny_graph(), Seeds(3)
    torch.manual_seed(seeds.number("model"))
    step = TrainingStep(
        MODELS[model](graph), SAMPLERS[sampler](graph), LOSSES[loss](), CorruptBoth(graph)
    )
    optimizer = OPTIMIZERS["adagrad"](step.trainable_parameters(), lr=0.1)
    rng = seeds.stream("train")
    rows = graph.triples.split(10)
    steps = [[step(batch, optimizer, rng)["loss"].item() for batch in rows] for _ in range(epochs)]
    return [sum(values) / len(values) for values in steps]


@pytest.mark.parametrize("names", GOLDEN, ids=map("/".join, GOLDEN))
def test_runs_stay_the_same(names):
    assert epoch_losses(*names) == pytest.approx(GOLDEN[names], rel=1e-4)


GRAPH = tiny_graph()
N = GRAPH.num_entities


def no_scores(ids):
    raise AssertionError("these samplers do not look at scores")


def loss_of(sampler, loss, queries, table, seed=0):
    """The loss of these queries, scored by a table with one row per query."""
    score = table_scorer(table)
    negatives = sampler.sample(queries, no_scores, torch.Generator().manual_seed(seed))
    positive = score(queries.answer.unsqueeze(1)).squeeze(1)
    return loss(positive, score(negatives.ids), negatives, queries.weight)


def all_queries():
    return tail_and_head_queries(GRAPH.triples, GRAPH.num_relations)


def random_table(rows, seed=0):
    return torch.randn(rows, N, generator=torch.Generator().manual_seed(seed)).requires_grad_()


@pytest.mark.parametrize("correction", ["none", "negatives", "both"])
def test_softmax_over_all_entities_is_cross_entropy(correction):
    queries = all_queries()
    table = random_table(len(queries))
    got = loss_of(AllEntities(GRAPH), SampledSoftmax(correction=correction), queries, table)
    torch.testing.assert_close(got, F.cross_entropy(table, queries.answer))


def test_summed_logistic_over_all_entities_is_one_against_all():
    queries = all_queries()
    table = random_table(len(queries))
    got = loss_of(AllEntities(GRAPH), BCELoss(), queries, table)
    label = F.one_hot(queries.answer, N).float()
    want = F.binary_cross_entropy_with_logits(table, label, reduction="sum") / len(queries)
    torch.testing.assert_close(got, want)


def test_an_epoch_of_kvs_all_is_the_textbook_sum():
    """Every distinct query once, with all its answers as labels (Dettmers et al., 2018)."""
    queries = all_queries()
    pairs = torch.stack([queries.anchor, queries.relation], 1)
    distinct, which = pairs.unique(dim=0, return_inverse=True)
    assert len(distinct) < len(queries), "some query must have several answers"
    table = random_table(len(distinct))
    got = loss_of(KvsAll(GRAPH), BCELoss(), queries, table[which]) * len(queries)

    label = torch.zeros(len(distinct), N).index_put((which, queries.answer), torch.ones(()))
    want = F.binary_cross_entropy_with_logits(table, label, reduction="sum")
    torch.testing.assert_close(got, want)
    (one,) = torch.autograd.grad(got, table)
    (other,) = torch.autograd.grad(want, table)
    torch.testing.assert_close(one, other)


Q = torch.tensor([0.1, 0.3, 0.2, 0.2, 0.2], dtype=torch.double)


def all_draws(ids, p, q, mask=None):
    """Every answer with every list of candidates, as often as both would be drawn."""
    answer = torch.arange(len(p)).repeat_interleave(len(ids))
    lists = ids.repeat(len(p), 1)
    weight = (p.unsqueeze(1) * q[ids].prod(1)).flatten()
    negatives = Negatives(
        blocks=(lists,),
        mask=torch.ones(lists.shape, dtype=torch.bool) if mask is None else mask(lists, answer),
        weight=torch.ones(lists.shape, dtype=torch.double),
        p_false_negative=torch.zeros(lists.shape),
        log_policy=torch.zeros(lists.shape),
        log_q=q.log()[lists],
        answer_log_q=q.log()[answer],
    )
    return answer, negatives, weight


def fitted_scores(loss, p, q, k, mask=None):
    """Scores at the optimum of the exact expectation over all lists of k independent draws."""
    ids = torch.tensor(list(itertools.product(range(len(p)), repeat=k)))
    answer, negatives, weight = all_draws(ids, p, q, mask)
    s = torch.zeros(len(p), dtype=torch.double, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [s], max_iter=500, tolerance_grad=1e-10, tolerance_change=0, line_search_fn="strong_wolfe"
    )

    def evaluate():
        optimizer.zero_grad()
        value = loss(s[answer], s[negatives.ids], negatives, weight)
        value.backward()
        return value

    optimizer.step(evaluate)
    return s.detach()


def assert_equal_up_to_a_constant(got, want):
    torch.testing.assert_close(got - got.mean(), want - want.mean(), atol=1e-4, rtol=0)


FULL_P = torch.tensor([0.4, 0.3, 0.15, 0.1, 0.05], dtype=torch.double)


@pytest.mark.parametrize("k", [1, 3])
def test_negative_sampling_learns_log_p_less_log_k_q(k):
    s = fitted_scores(BCELoss(), FULL_P, Q, k)
    torch.testing.assert_close(s, FULL_P.log() - (k * Q).log(), atol=1e-4, rtol=0)


@pytest.mark.parametrize("k", [1, 3])
def test_the_mean_of_log_sigmoids_learns_log_p_less_log_q_and_the_margin(k):
    s = fitted_scores(NSSALoss(margin=2.0, adversarial_temperature=0.0), FULL_P, Q, k)
    torch.testing.assert_close(s, FULL_P.log() - Q.log() - 2.0, atol=1e-4, rtol=0)


@pytest.mark.parametrize("k", [1, 3])
def test_noise_contrastive_estimation_learns_log_p(k):
    s = fitted_scores(NCE(), FULL_P, Q, k)
    torch.testing.assert_close(s, FULL_P.log(), atol=1e-4, rtol=0)


@pytest.mark.parametrize("k", [1, 3])
def test_softmax_learns_log_p_less_log_q(k):
    assert_equal_up_to_a_constant(
        fitted_scores(SampledSoftmax(), FULL_P, Q, k), FULL_P.log() - Q.log()
    )


@pytest.mark.parametrize("k", [1, 3])
def test_softmax_corrected_on_both_sides_learns_log_p(k):
    assert_equal_up_to_a_constant(
        fitted_scores(SampledSoftmax(correction="both"), FULL_P, Q, k), FULL_P.log()
    )


def test_softmax_at_a_temperature_learns_log_p_times_the_temperature():
    s = fitted_scores(SampledSoftmax(correction="both", temperature=0.5), FULL_P, Q, 2)
    assert_equal_up_to_a_constant(s, FULL_P.log() / 2)


def test_a_sampler_as_good_as_the_graph_flattens_uncorrected_scores():
    s = fitted_scores(SampledSoftmax(), FULL_P, FULL_P, 2)
    assert s.max() - s.min() < 1e-4


def test_draws_that_hit_the_answer_must_count_for_an_exact_correction():
    """Hiding the query's own answer costs accuracy where the answer is drawn often."""
    hidden = lambda ids, answer: ids != answer.unsqueeze(1)
    s = fitted_scores(SampledSoftmax(correction="both"), FULL_P, Q, 3, hidden)
    gap = (s - s.mean()) - (FULL_P.log() - FULL_P.log().mean())
    assert 0.05 < gap.abs().max() < 0.5


def test_correcting_the_negatives_alone_is_right_for_many_candidates():
    """Every entity once, in proportion: what a long list of draws looks like."""
    expected = torch.arange(5).unsqueeze(0)
    answer = torch.arange(5)
    negatives = Negatives(
        blocks=(expected,),
        mask=expected != answer.unsqueeze(1),
        weight=(5 * Q).expand(5, 5),  # an entity is 5 q times among 5 draws
        p_false_negative=torch.zeros(5, 5),
        log_policy=torch.zeros(5, 5),
        log_q=Q.log().expand(5, 5),
        answer_log_q=None,
    )
    s = torch.randn(5, generator=torch.Generator().manual_seed(0), dtype=torch.double)
    got = SampledSoftmax(correction="negatives")(s, s.expand(5, 5), negatives, FULL_P)
    want = -(FULL_P * s.log_softmax(0)).sum()
    torch.testing.assert_close(got, want)


def test_a_full_list_learns_log_p():
    """1vsAll, with the answer hidden from the negatives: exact."""
    answer = torch.arange(5)
    queries = Queries(answer * 0, answer * 0, answer, FULL_P.float())
    graph = tiny_graph(num_entities=5, num_relations=1, size=5)
    negatives = AllEntities(graph).sample(queries, no_scores, torch.Generator())
    s = torch.zeros(5, dtype=torch.double, requires_grad=True)
    optimizer = torch.optim.LBFGS([s], max_iter=200, line_search_fn="strong_wolfe")

    def evaluate():
        optimizer.zero_grad()
        value = SampledSoftmax()(s, s[negatives.ids].expand(5, 5), negatives, FULL_P)
        value.backward()
        return value

    optimizer.step(evaluate)
    assert_equal_up_to_a_constant(s.detach(), FULL_P.log())


@pytest.mark.parametrize(
    "make",
    [
        lambda k: Uniform(GRAPH, k=k),
        lambda k: Popularity(GRAPH, k=k, groups=1),
        lambda k: ResampleKnown(GRAPH, inner=Popularity(GRAPH, k=k)),
        lambda k: UniformFiltered(GRAPH, k=k),
    ],
    ids=["uniform", "popular-shared", "redrawn", "unknown"],
)
def test_corrected_negatives_stand_in_for_all_that_may_be_drawn(make):
    """With many draws the loss is the full softmax over the answer and what is not hidden."""
    query = all_queries()[torch.tensor([0])]
    sampler = make(200_000)
    table = random_table(1, seed=1).detach()
    got = loss_of(sampler, SampledSoftmax(correction="negatives"), query, table)

    drawn = make(2000).sample(query, no_scores, torch.Generator().manual_seed(1))
    open_to_draw = drawn.ids[drawn.mask].unique()
    rivals = torch.cat([table[0, query.answer], table[0, open_to_draw]])
    want = rivals.logsumexp(0) - table[0, query.answer[0]]
    assert math.isclose(got.item(), want.item(), abs_tol=0.02)


def test_both_corrections_agree_where_all_densities_are_equal():
    """Sampling only unknown entities leaves nothing to correct: every density is the same."""
    queries = all_queries()
    table = random_table(len(queries))
    sampler = UniformFiltered(GRAPH, k=6)
    plain = loss_of(sampler, SampledSoftmax(), queries, table)
    torch.testing.assert_close(
        loss_of(sampler, SampledSoftmax(correction="both"), queries, table), plain
    )
