from dataclasses import replace

import pytest
import torch
from samplers.worlds import counted, draw, graph_of, make_queries, scores_of

from sparring.samplers import AllEntities, MaskKnown, NegativeSampler, Uniform
from sparring.samplers.adaptive import WARP, DynamicNegatives

WORLD = graph_of((0, 0, 1), (0, 0, 2), num_entities=8)
SCORES = (0.0, 3.0, 7.0, 6.0, 1.0, 5.0, 2.0, 4.0)  # the answer, 1, scores 3
QUERY = make_queries(0, 0, 1)


class Listed(NegativeSampler):
    """Offers the same candidates always, weighing the first most."""

    def __init__(self, *ids):
        super().__init__(len(ids))
        self.ids = torch.tensor([ids])

    def sample(self, queries, score, rng):
        drawn = self.to_negatives(queries, self.ids)
        return replace(drawn, weight=2.0 / torch.arange(1, self.k + 1).expand(drawn.weight.shape))


def hardest(inner, **options):
    return draw(DynamicNegatives(WORLD, inner=inner, **options), QUERY, scores_of(*SCORES))


def until_wrong(inner, **options):
    return draw(WARP(WORLD, inner=inner, **options), QUERY, scores_of(*SCORES))


def test_the_hardest_come_first():
    assert hardest(AllEntities(WORLD), k=3).ids.tolist() == [[2, 3, 5]]


def test_the_second_hardest_leaves_out_the_first():
    assert hardest(AllEntities(WORLD), k=2, rank=2).ids.tolist() == [[3, 5]]


def test_hidden_facts_are_passed_over():
    hidden = MaskKnown(WORLD, inner=AllEntities(WORLD))
    assert counted(hardest(hidden, k=3), 1) == [3, 5, 7]


def test_hidden_facts_do_not_count_where_nothing_else_is_left():
    drawn = hardest(MaskKnown(WORLD, inner=Listed(1, 2, 6)), k=2)
    assert counted(drawn, 1) == [6]


def test_what_is_chosen_keeps_its_weight():
    assert hardest(Listed(4, 3), k=1).weight.tolist() == [[1.0]]


def test_a_query_that_all_entities_answer_has_no_hardest():
    graph = graph_of((0, 0, 0), (0, 0, 1), num_entities=2, num_relations=1)
    sampler = DynamicNegatives(graph, inner=MaskKnown(graph, inner=Uniform(graph, k=4)))
    assert not draw(sampler, make_queries(0, 0, 1), scores_of(1, 2)).mask.any()


def test_the_first_to_score_above_the_answer_is_offered():
    drawn = until_wrong(Listed(0, 6, 7, 2))
    assert counted(drawn, 1) == [7]


def test_a_margin_makes_a_try_wrong_earlier():
    assert counted(until_wrong(Listed(0, 6, 7, 2), margin=1.5), 1) == [6]


def test_a_tie_with_the_answer_is_not_wrong():
    tied = scores_of(3.0, 3.0, 3.0, 4.0, 0.0, 0.0, 0.0, 0.0)
    drawn = draw(WARP(WORLD, inner=Listed(0, 2, 3)), QUERY, tied)
    assert counted(drawn, 1) == [3]


def test_nothing_counts_where_no_try_is_wrong():
    drawn = until_wrong(Listed(0, 4, 6))
    assert not drawn.mask.any()


def test_the_answer_itself_is_never_wrong():
    assert counted(until_wrong(Listed(1, 5), margin=9.0), 1) == [5]


def test_hidden_facts_are_no_tries_that_are_wrong():
    assert counted(until_wrong(MaskKnown(WORLD, inner=Listed(2, 5))), 1) == [5]


def test_every_search_has_its_own_share_of_the_pool():
    drawn = until_wrong(Listed(0, 2, 3, 5, 4, 6), k=3)
    assert drawn.ids[:, :2].tolist() == [[2, 3]]
    assert drawn.mask.tolist() == [[True, True, False]]


def test_a_late_find_weighs_less():
    """N - 1 = 7 others: found at try 1 the rank is 7, at try 3 it is 7 // 3 = 2."""
    early = until_wrong(Listed(2, 0, 0), by_rank=True)
    late = until_wrong(Listed(0, 0, 2), by_rank=True)
    assert early.weight.item() == pytest.approx(2.0 * sum(1 / i for i in range(1, 8)))
    assert late.weight.item() == pytest.approx(2.0 / 3 * (1 + 1 / 2))


def test_a_find_after_more_tries_than_entities_weighs_nothing():
    drawn = until_wrong(Listed(*[0] * 8, 2), by_rank=True)
    assert drawn.weight.tolist() == [[0.0]]


@pytest.mark.parametrize("make, asked", [(DynamicNegatives, 6), (WARP, 7)])
def test_all_scores_are_counted(make, asked):
    spent = []

    def score(ids):
        spent.append(ids.shape[1])
        return scores_of(*SCORES)(ids)

    sampler = make(WORLD, inner=Uniform(WORLD, k=6))
    draw(sampler, QUERY, score)
    assert sum(spent) == sampler.capabilities.num_extra_scores == asked


@pytest.mark.parametrize("make", [DynamicNegatives, WARP])
def test_a_choice_states_no_density(make):
    sampler = make(WORLD, inner=Uniform(WORLD, k=6))
    assert not sampler.capabilities.has_log_q
    assert sampler.log_prob(QUERY, torch.zeros(1, 1, dtype=torch.long)) is None
    assert sampler.answer_log_prob(QUERY) is None
    assert draw(sampler, QUERY, scores_of(*SCORES)).log_q is None


@pytest.mark.parametrize("make", [DynamicNegatives, WARP])
def test_at_least_one_candidate(make):
    with pytest.raises(ValueError, match="at least one candidate per query; got k=0"):
        make(WORLD, inner=Uniform(WORLD, k=6), k=0)


def test_a_pool_must_hold_what_is_chosen():
    with pytest.raises(ValueError, match="places 2 to 3 lie beyond a pool of 2 candidates"):
        DynamicNegatives(WORLD, inner=Uniform(WORLD, k=2), k=2, rank=2)


def test_ranks_begin_at_one():
    with pytest.raises(ValueError, match="rank 1 is the hardest candidate; got rank=0"):
        DynamicNegatives(WORLD, inner=Uniform(WORLD, k=2), rank=0)


def test_searches_share_a_pool_evenly():
    with pytest.raises(ValueError, match="pool of 5 candidates cannot be shared evenly by k=2"):
        WARP(WORLD, inner=Uniform(WORLD, k=5), k=2)


def test_a_margin_is_not_negative():
    with pytest.raises(ValueError, match=r"a margin is a distance, not below 0; got -1\.0"):
        WARP(WORLD, inner=Uniform(WORLD, k=5), margin=-1.0)
