import itertools
import math

import pytest
import torch
from kernels.switch import kernels_on
from loss_cases import centred, minimum
from samplers.crowded import (
    BATCH,
    GRAPH,
    KNOWN,
    QUERIES,
    K,
    assert_follows,
    by_degree,
    stated,
)
from samplers.worlds import chi_square, counted, draw, graph_of, make_queries, no_scores

from sparring.batch import Queries
from sparring.corruption import tail_and_head_queries
from sparring.losses import SampledSoftmax
from sparring.samplers import (
    AllEntities,
    DynamicNegatives,
    InBatch,
    MaskKnown,
    Popularity,
    RandomWalk,
    TypeConstrained,
    Uniform,
    UniformFiltered,
    WithoutReplacement,
)
from sparring.samplers.base import count_occurrences
from sparring.samplers.frequency import draw_distinct, log_exceeds

WORLD = graph_of((0, 0, 1), (0, 0, 2), (3, 0, 1), (4, 0, 2), (0, 1, 5))
QUERY = make_queries(0, 0, 1)


def slot(k):
    return TypeConstrained(WORLD, k=k, uniform_mix=0.0)


def sums(sampler, weights, rounds=20_000):
    """Mean and standard error of the importance sum of the weights of entities."""
    queries = make_queries(0, 0, 1, times=rounds)
    drawn = draw(sampler, queries)
    each = drawn.mask * weights[drawn.ids] / (sampler.k * drawn.log_q.double().exp())
    total = each.nan_to_num(0.0).sum(1)
    return total.mean().item(), total.std().item() / math.sqrt(rounds)


WEIGHTS = torch.tensor([1.0, 100.0, 4.0, 8.0, 16.0, 32.0], dtype=torch.double)
TRUE_SUM = 61.0  # the answer, 1, does not count


@pytest.mark.parametrize("k", [1, 3, 5])
@pytest.mark.parametrize(
    "inner", [Uniform, lambda graph, k: TypeConstrained(graph, k=k, uniform_mix=0.3)]
)
def test_sums_over_all_entities_are_unbiased(inner, k):
    mean, error = sums(WithoutReplacement(WORLD, inner=inner(WORLD, k=k)), WEIGHTS)
    assert abs(mean - TRUE_SUM) < 5 * error + 1e-3


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize(
    "inner", [Uniform, lambda graph, k: TypeConstrained(graph, k=k, uniform_mix=0.3)]
)
def test_sums_over_a_pool_are_unbiased(inner, k):
    mean, error = sums(WithoutReplacement(WORLD, inner=inner(WORLD, k=12), k=k), WEIGHTS)
    assert abs(mean - TRUE_SUM) < 5 * error + 1e-3


def test_all_of_all_entities_is_the_full_sum():
    drawn = draw(WithoutReplacement(WORLD, inner=Uniform(WORLD, k=6)), QUERY)
    assert counted(drawn, 1) == [0, 2, 3, 4, 5]
    torch.testing.assert_close(drawn.log_q[drawn.mask], torch.full((5,), -math.log(6)))


def test_sets_come_as_if_drawn_one_after_another():
    inner = TypeConstrained(WORLD, k=2, uniform_mix=0.3)
    share = inner.log_prob(QUERY, torch.arange(6).unsqueeze(0))[0].double().exp().tolist()
    others, whole = (0, 2, 3, 4, 5), 1 - share[1]
    law = {pair: 0.0 for pair in itertools.combinations(others, 2)}
    for a, b in itertools.permutations(others, 2):
        law[min(a, b), max(a, b)] += share[a] / whole * share[b] / (whole - share[a])
    drawn = draw(WithoutReplacement(WORLD, inner=inner), make_queries(0, 0, 1, times=20_000))
    found = [tuple(pair) for pair in drawn.ids.sort(1).values.tolist()]
    tally = torch.tensor([float(found.count(pair)) for pair in law]).double()
    assert chi_square(tally, torch.tensor(list(law.values()), dtype=torch.double)) < 5


@pytest.mark.parametrize(
    "make",
    [
        lambda: WithoutReplacement(WORLD, inner=Popularity(WORLD, k=4)),
        lambda: WithoutReplacement(WORLD, inner=Popularity(WORLD, k=40), k=4),
    ],
    ids=["all", "pool"],
)
def test_nothing_comes_twice(make):
    drawn = draw(make(), make_queries(0, 0, 1, times=200))
    again = drawn.ids.masked_fill(~drawn.mask, -1).sort(1).values
    assert not ((again[:, 1:] == again[:, :-1]) & (again[:, 1:] >= 0)).any()


def test_what_the_sampler_cannot_draw_does_not_count():
    drawn = draw(WithoutReplacement(WORLD, inner=slot(4)), QUERY)
    assert counted(drawn, 1) == [2]
    assert drawn.log_q[drawn.mask].exp().tolist() == pytest.approx([1 / 4])


def test_a_pool_of_repetitions_leaves_places_empty():
    pool = MaskKnown(WORLD, inner=slot(9))
    unseen = make_queries(4, 0, 1)
    drawn = draw(WithoutReplacement(WORLD, inner=pool, k=3), make_queries(3, 0, 1))
    assert counted(drawn, 1) == [2]
    assert not draw(WithoutReplacement(WORLD, inner=pool, k=3), unseen).mask.sum() > 1


def test_more_places_than_entities_stay_empty():
    graph = graph_of((0, 0, 1), num_entities=2, num_relations=1)
    drawn = draw(WithoutReplacement(graph, inner=Uniform(graph, k=5)), make_queries(0, 0, 1))
    assert counted(drawn, 1) == [0]


def test_a_query_that_all_entities_answer_gets_no_negatives():
    graph = graph_of((0, 0, 0), (0, 0, 1), num_entities=2, num_relations=1)
    pool = MaskKnown(graph, inner=Uniform(graph, k=4))
    assert not draw(WithoutReplacement(graph, inner=pool, k=2), make_queries(0, 0, 1)).mask.any()


def test_hidden_facts_take_no_place_in_a_pool():
    pool = MaskKnown(WORLD, inner=AllEntities(WORLD))
    assert counted(draw(WithoutReplacement(WORLD, inner=pool, k=4), QUERY), 1) == [0, 3, 4, 5]


def test_a_pool_without_density_is_chosen_from_all_the_same():
    sampler = WithoutReplacement(WORLD, inner=RandomWalk(WORLD, k=9), k=2)
    assert draw(sampler, QUERY).log_q is None
    assert not sampler.capabilities.has_log_q


def test_gradients_reach_a_sampler_that_learns():
    class Learning(Uniform):
        def __init__(self, graph, *, k):
            super().__init__(graph, k=k)
            self.logit = torch.nn.Parameter(torch.zeros(6))

        def log_prob(self, queries, ids):
            return self.logit.log_softmax(0)[ids].expand(len(queries), -1)

    inner = Learning(WORLD, k=3)
    drawn = draw(WithoutReplacement(WORLD, inner=inner), QUERY)
    assert drawn.log_policy.requires_grad and not drawn.log_q.requires_grad
    assert drawn.log_policy.exp().tolist() == [pytest.approx([1 / 6] * 3)]


def test_there_is_no_closed_density():
    sampler = WithoutReplacement(WORLD, inner=Uniform(WORLD, k=2))
    assert not sampler.capabilities.has_log_prob
    assert sampler.answer_log_prob(QUERY) is None
    assert sampler.log_prob(QUERY, torch.zeros(1, 1, dtype=torch.long)) is None


def test_the_answer_takes_no_place():
    drawn = draw(
        WithoutReplacement(WORLD, inner=Uniform(WORLD, k=5)), make_queries(0, 0, 1, times=50)
    )
    assert drawn.mask.all()


def test_a_choice_from_a_pool_states_no_density_of_the_answer():
    sampler = WithoutReplacement(WORLD, inner=Uniform(WORLD, k=9), k=2)
    assert not sampler.capabilities.has_answer_log_q
    assert draw(sampler, QUERY).answer_log_q is None


def test_an_answer_like_a_candidate_has_the_same_density():
    drawn = draw(
        WithoutReplacement(WORLD, inner=Uniform(WORLD, k=3)), make_queries(0, 0, 1, times=9)
    )
    torch.testing.assert_close(drawn.answer_log_q.unsqueeze(1).expand(-1, 3), drawn.log_q)


def test_an_answer_that_is_barred_has_a_density_all_the_same():
    unknown = UniformFiltered(WORLD, k=2)
    drawn = draw(WithoutReplacement(WORLD, inner=unknown), QUERY)
    torch.testing.assert_close(drawn.answer_log_q.expand(1, 2), drawn.log_q)


def test_an_answer_far_below_the_bar_has_a_finite_density():
    steep = torch.tensor([[0.0, -0.1, -500.0, -0.2]])
    _, _, bar = draw_distinct(steep, 1, torch.Generator().manual_seed(0))
    lead = steep[:, 2] - bar
    torch.testing.assert_close(log_exceeds(lead), lead)


SKEWED = torch.tensor([0.4, 0.3, 0.15, 0.1, 0.05], dtype=torch.double)


class Steep(Uniform):
    """Draws in proportion to 1, 2, 4, 8 and 16."""

    def log_prob(self, queries, ids):
        return (ids * math.log(2) - math.log(31)).expand(len(queries), -1).float()


@pytest.mark.parametrize("k", [1, 3])
def test_a_softmax_corrected_on_both_sides_learns_log_p_for_any_k(k):
    """Over many answers drawn from `SKEWED`, each with a list of its own."""
    graph = graph_of((0, 0, 1), num_entities=5, num_relations=1)
    rounds = 40_000
    answer = torch.arange(5).repeat(rounds)
    queries = Queries(0 * answer, 0 * answer, answer, SKEWED.repeat(rounds))
    drawn = draw(WithoutReplacement(graph, inner=Steep(graph, k=k)), queries)
    loss = SampledSoftmax(correction="both").double()
    got = minimum(
        lambda score: loss(score[answer], score[drawn.ids], drawn, queries.weight),
        torch.zeros(5, dtype=torch.double),
    )
    torch.testing.assert_close(centred(got), centred(SKEWED.log()), atol=0.05, rtol=0.0)


def test_all_entities_without_replacement_are_one_against_all():
    graph = graph_of((0, 0, 1), num_entities=5, num_relations=1)
    queries = make_queries(0, 0, 1)
    score = torch.randn(5, generator=torch.Generator().manual_seed(4), dtype=torch.double)
    drawn = draw(WithoutReplacement(graph, inner=Uniform(graph, k=5)), queries)
    got = SampledSoftmax(correction="both")(score[[1]], score[drawn.ids], drawn, queries.weight)
    torch.testing.assert_close(got, -score.log_softmax(0)[1])


def test_occurrences_are_counted_where_they_count():
    ids = torch.tensor([[3, 1, 3, 3, 1]])
    mask = torch.tensor([[True, True, False, True, False]])
    assert count_occurrences(ids, mask).tolist() == [[2, 1, 2, 2, 1]]


def test_all_entities_need_a_closed_density():
    hardest = DynamicNegatives(WORLD, inner=Uniform(WORLD, k=3))
    with pytest.raises(ValueError, match="DynamicNegatives has no `log_prob`"):
        WithoutReplacement(WORLD, inner=hardest)


def test_a_pool_must_hold_what_is_chosen():
    with pytest.raises(ValueError, match="pool of 3 draws holds no k=4 distinct candidates"):
        WithoutReplacement(WORLD, inner=Uniform(WORLD, k=3), k=4)


def test_the_chi_square_notices_a_skew_of_a_tenth():
    share = torch.full((11,), 1 / 11)
    skewed = share.clone()
    skewed[0], skewed[1] = 1.1 / 11, 0.9 / 11
    ids = torch.multinomial(skewed, BATCH * K * 4, True, generator=torch.Generator().manual_seed(0))
    with pytest.raises(AssertionError, match="sigma from the stated distribution"):
        assert_follows(ids, share)


@pytest.mark.parametrize("groups", [None, 100])
def test_uniform_draws_are_uniform(groups):
    share = torch.full((GRAPH.num_entities,), 1 / GRAPH.num_entities)
    assert_follows(draw(Uniform(GRAPH, k=K, groups=groups), QUERIES).ids, share)


@pytest.mark.parametrize("groups", [None, 100])
@pytest.mark.parametrize("power", [0.0, 0.75, 1.0, 2.0])
def test_popular_draws_follow_a_power_of_the_degree(power, groups):
    drawn = draw(Popularity(GRAPH, k=K, power=power, groups=groups), QUERIES)
    assert_follows(drawn.ids, by_degree(power))


@pytest.mark.parametrize("power", [0.75, 2.0])
def test_popular_states_a_power_of_the_degree(power):
    sampler = Popularity(GRAPH, k=K, power=power)
    torch.testing.assert_close(stated(sampler), by_degree(power), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("loops", [True, False])
def test_uniform_over_the_unknown_is_uniform_over_the_unknown(loops):
    free = ~KNOWN
    with kernels_on(loops):
        drawn = draw(UniformFiltered(GRAPH, k=K), QUERIES)
    assert_follows(drawn.ids, free / free.sum())
    assert drawn.mask.all()


def test_uniform_over_the_unknown_states_that():
    free = ~KNOWN
    torch.testing.assert_close(stated(UniformFiltered(GRAPH, k=K)), (free / free.sum()).double())


def test_shared_lists_are_shared_within_chunks_only():
    drawn = draw(Uniform(GRAPH, k=K, groups=3), QUERIES)
    assert drawn.ids.shape == (3, K)
    assert not torch.equal(drawn.ids[0], drawn.ids[1])


def test_in_batch_candidates_are_as_popular_as_answers():
    rng = torch.Generator().manual_seed(0)
    sampler = InBatch(GRAPH, k=8)
    listed = []
    for _ in range(500):
        rows = torch.randint(len(GRAPH.triples), (8,), generator=rng)
        queries = tail_and_head_queries(GRAPH.triples[rows], GRAPH.num_relations)
        drawn = sampler.sample(queries, no_scores, rng)
        listed.append(drawn.ids)
    assert_follows(torch.cat(listed), by_degree(1.0))
    torch.testing.assert_close(stated(sampler), by_degree(1.0), atol=1e-6, rtol=1e-5)


def test_in_batch_candidates_are_drawn_without_replacement():
    queries = tail_and_head_queries(GRAPH.triples[:6], GRAPH.num_relations)
    drawn = draw(InBatch(GRAPH, k=12), queries)
    assert torch.equal(drawn.ids.sort().values, queries.answer.sort().values.unsqueeze(0))


def test_the_answer_is_left_out_of_the_sum():
    value = torch.arange(1.0, GRAPH.num_entities + 1)
    drawn = draw(Uniform(GRAPH, k=K), QUERIES)
    rows = (drawn.mask * value[drawn.ids] / (K * drawn.log_q.exp())).sum(1)
    wanted = value.sum() - value[QUERIES.answer[0]]
    assert ((rows.mean() - wanted) / (rows.std() / math.sqrt(BATCH))).abs() < 5
