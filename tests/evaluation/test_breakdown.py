"""Metrics by group, and paired differences."""

import json
import math

import pytest
import torch
from evaluation.fixtures import evaluation_of, graph_of, random_graph, seeded

from sparring.data.graph import CARDINALITIES
from sparring.evaluation import breakdown as room
from sparring.evaluation.breakdown import DEGREE_BANDS, breakdown, degree_band, paired_difference
from sparring.evaluation.ranking import RankingResult

# r0 has many tails per head, r1 pairs only; e0 occurs four times, e5 never
GRAPH = graph_of([(0, 0, 1), (0, 0, 2), (0, 0, 3), (0, 1, 4)])
TEST = [(0, 0, 4), (4, 1, 5)]
RANKS = evaluation_of(TEST, [1, 2], [4, 20])


def broken_down(evaluation=RANKS, graph=GRAPH, **options):
    found = breakdown(evaluation, graph, rng=seeded(), **{"replicates": 50, **options})
    return {(row.group, row.name): row for row in found.rows}


def many(tail_ranks, head_ranks):
    """Triples of one relation, with these ranks."""
    count = len(tail_ranks)
    graph = graph_of([(0, 0, 1)], entities=2 * count)
    return evaluation_of([(i, 0, count + i) for i in range(count)], tail_ranks, head_ranks), graph


def test_overall_is_the_evaluation_itself():
    row = broken_down()["overall", "all"]
    of_row = (row.queries, row.mrr, row.mr, row.amri, row.hits1, row.hits3, row.hits10)
    hits = [RANKS.hits(k) for k in (1, 3, 10)]
    assert of_row == pytest.approx((4, RANKS.mrr(), RANKS.mr(), RANKS.amri(), *hits))


@pytest.mark.parametrize(
    "group, name, ranks",
    [
        ("side", "tail", [1, 2]),
        ("side", "head", [4, 20]),
        ("relation", "r0", [1, 4]),
        ("relation", "r1", [2, 20]),
        ("cardinality", "1-N", [1, 4]),
        ("cardinality", "1-1", [2, 20]),
        ("cardinality and side", "1-N tail", [1]),
        ("cardinality and side", "1-N head", [4]),
        ("cardinality and side", "1-1 tail", [2]),
        ("cardinality and side", "1-1 head", [20]),
        ("degree", "0", [2]),  # e5
        ("degree", "1-3", [1, 20]),  # e4 twice
        ("degree", "4-15", [4]),  # e0
    ],
)
def test_a_group_by_hand(group, name, ranks):
    row = broken_down()[group, name]
    assert (row.queries, row.mr) == (len(ranks), sum(ranks) / len(ranks))
    assert row.mrr == pytest.approx(sum(1 / rank for rank in ranks) / len(ranks))
    assert row.hits3 == sum(rank <= 3 for rank in ranks) / len(ranks)
    assert row.amri == pytest.approx(1 - (row.mr - 1) / 50)


def test_a_triple_whose_reverse_is_in_train_is_told_apart_from_one_of_another_relation():
    graph = graph_of([(1, 0, 0), (3, 1, 2)])
    rows = broken_down(evaluation_of([(0, 0, 1), (2, 0, 3)], [1, 2], [4, 20]), graph)
    assert rows["reverse triple", "in train"].mr == (1 + 4) / 2
    assert rows["reverse triple", "not in train"].mr == (2 + 20) / 2
    assert ("reverse triple", "in train") not in broken_down()


def test_groups_without_queries_have_no_row():
    assert ("cardinality", "N-N") not in broken_down()
    assert ("degree", "1024+") not in broken_down()


def test_each_grouping_has_every_query_once():
    graph = random_graph(entities=30, size=300)
    count = len(graph.test)
    ranks = torch.arange(1.0, 1 + 2 * count).tolist()
    rows = broken_down(
        evaluation_of(graph.test.tolist(), ranks[:count], ranks[count:], relations=3), graph
    )
    queries = {}
    for row in rows.values():
        queries[row.group] = queries.get(row.group, 0) + row.queries
    groups = ("overall", "side", "cardinality", "cardinality and side", "degree", "reverse triple")
    assert queries == dict.fromkeys((*groups, "relation"), 2 * count)


def test_a_group_whose_answers_have_no_rivals_is_at_chance():
    ranks = evaluation_of(TEST, [1, 1], [1, 1], candidates=1)
    assert broken_down(ranks)["overall", "all"].amri == 0


@pytest.mark.parametrize(
    "degree, band",
    [
        (0, "0"),
        (1, "1-3"),
        (3, "1-3"),
        (4, "4-15"),
        (15, "4-15"),
        (16, "16-63"),
        (64, "64-255"),
        (255, "64-255"),
        (256, "256-1023"),
        (1023, "256-1023"),
        (1024, "1024+"),
        (10**6, "1024+"),
    ],
)
def test_the_band_of_a_degree(degree, band):
    assert DEGREE_BANDS[degree_band(torch.tensor([float(degree)]))[0]] == band


def test_cardinality_classes_keep_their_order():
    rows = [name for group, name in broken_down() if group == "cardinality"]
    assert rows == [name for name in CARDINALITIES if name in rows]


def test_equal_ranks_give_an_interval_of_one_point():
    row = broken_down(*many([4] * 20, [4] * 20))["overall", "all"]
    assert (row.mrr_low, row.mrr_high) == pytest.approx((0.25, 0.25))


def test_both_queries_of_a_triple_are_drawn_together():
    # each triple has one rank 1 and one rank 2: its mean never varies, its queries do
    row = broken_down(*many([1, 2] * 10, [2, 1] * 10))["overall", "all"]
    assert (row.mrr_low, row.mrr_high) == pytest.approx((0.75, 0.75))


def test_the_interval_is_that_of_the_binomial_distribution():
    # half of 400 triples are answered: the mean has standard deviation 1 / 40 around 1/2
    never = math.inf
    row = broken_down(*many([1, never] * 200, [1, never] * 200), replicates=4000)["overall", "all"]
    assert (row.mrr_low, row.mrr_high) == pytest.approx(
        (0.5 - 1.96 / 40, 0.5 + 1.96 / 40), abs=4e-3
    )


def test_a_wider_level_gives_a_wider_interval():
    ranks, graph = many([1, 2, 3, 4, 5] * 4, [1] * 20)
    narrow = broken_down(ranks, graph, level=0.5)["overall", "all"]
    wide = broken_down(ranks, graph, level=0.9)["overall", "all"]
    assert wide.mrr_low < narrow.mrr_low < narrow.mrr_high < wide.mrr_high


def test_nine_triples_say_too_little_for_an_interval():
    ranks, graph = many([1, 2, 3] * 3, [1] * 9)
    row = broken_down(ranks, graph)["overall", "all"]
    assert (row.mrr_low, row.mrr_high) == (None, None)


def test_ten_triples_are_enough_for_an_interval():
    ranks, graph = many([1, 2] * 5, [1] * 10)
    assert broken_down(ranks, graph)["overall", "all"].mrr_low is not None


def test_triples_are_counted_not_queries():
    ranks, graph = many([1, 2] * 4, [1] * 8)
    assert broken_down(ranks, graph)["overall", "all"].queries == 16
    assert broken_down(ranks, graph)["overall", "all"].mrr_low is None


def test_a_group_that_resamples_may_miss_still_has_an_interval():
    graph = graph_of([(0, 0, 1)], entities=400)
    triples = [(i, int(i < 10), 200 + i) for i in range(200)]
    rows = broken_down(evaluation_of(triples, [1, 2] * 100, [1, 2] * 100), graph, replicates=2000)
    rare = rows["relation", "r1"]
    assert 0.5 <= rare.mrr_low < rare.mrr < rare.mrr_high <= 1


def test_the_same_seed_gives_the_same_intervals():
    ranks, graph = many([1, 2, 3, 4, 5] * 4, [1] * 20)
    assert broken_down(ranks, graph) == broken_down(ranks, graph)


def test_the_global_random_state_is_left_alone():
    before = torch.get_rng_state()
    broken_down(*many([1, 2] * 10, [1] * 20))
    assert torch.equal(before, torch.get_rng_state())


def test_weights_held_at_once_are_bounded(monkeypatch):
    ranks, graph = many([1, 2, 3, 4, 5] * 4, [1] * 20)
    sizes, zeros = [], torch.zeros

    def counted(*shape, **options):
        made = zeros(*shape, **options)
        sizes.append(made.numel())
        return made

    monkeypatch.setattr(room, "MAX_WEIGHTS", 60)
    monkeypatch.setattr(room.torch, "zeros", counted)
    broken_down(ranks, graph)
    assert max(sizes) <= 60


def test_resampling_in_pieces_estimates_the_same(monkeypatch):
    ranks, graph = many([1, 2, 3, 4, 5] * 10, [1] * 50)
    whole = broken_down(ranks, graph, replicates=3000)["overall", "all"]
    monkeypatch.setattr(room, "MAX_WEIGHTS", 500)
    pieces = broken_down(ranks, graph, replicates=3000)["overall", "all"]
    assert (pieces.mrr_low, pieces.mrr_high) == pytest.approx(
        (whole.mrr_low, whole.mrr_high), abs=5e-3
    )


def test_a_breakdown_survives_json():
    found = breakdown(RANKS, GRAPH, rng=seeded(), replicates=50)
    stored = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert stored["rows"][0]["name"] == "all"
    assert stored["rows"][0]["mrr"] == found.rows[0].mrr
    assert (stored["level"], stored["replicates"]) == (0.95, 50)


def test_the_table_has_one_line_per_row():
    found = breakdown(RANKS, GRAPH, rng=seeded(), replicates=50)
    table = found.table()
    assert table["name"].to_list() == [row.name for row in found.rows]
    assert table["mrr"].to_list() == [row.mrr for row in found.rows]


def test_relations_go_by_name_even_where_the_name_is_a_number():
    graph = graph_of([(0, 0, 1)], relations=["7", "null"])
    names = [name for group, name in broken_down(graph=graph) if group == "relation"]
    assert names == ["7", "null"]


def test_ranks_of_another_graph_are_refused():
    with pytest.raises(ValueError, match="a graph with 2 relations, but world has 3"):
        broken_down(graph=graph_of([(0, 0, 1)], relations=3))


def test_queries_that_are_no_pairs_are_refused():
    fields = vars(RANKS)
    part = RankingResult(
        **{name: fields[name][:3] for name in fields if name != "num_relations"}, num_relations=2
    )
    with pytest.raises(ValueError, match="the 3 queries are not the tail queries of some triples"):
        broken_down(part)


def test_queries_in_another_order_are_refused():
    fields = vars(RANKS)
    turned = {name: fields[name].flip(0) for name in fields if name != "num_relations"}
    with pytest.raises(ValueError, match="followed by their head queries"):
        broken_down(RankingResult(**turned, num_relations=2))


@pytest.mark.parametrize("level", [0.0, 1.0, 95.0])
def test_a_level_is_a_probability(level):
    with pytest.raises(ValueError, match=f"level must lie between 0 and 1; got {level}"):
        broken_down(level=level)


def test_without_resamples_there_is_no_interval_to_give():
    with pytest.raises(ValueError, match="replicates must be at least 1; got 0"):
        broken_down(replicates=0)


NEVER = math.inf


def paired_ranks(tail, head=None, **options):
    count = len(tail)
    triples = [(i, i % 2, count + i) for i in range(count)]
    return evaluation_of(triples, tail, tail if head is None else head, **options)


def difference(a, b, **options):
    return paired_difference(a, b, rng=seeded(), **{"replicates": 500, **options})


def test_a_model_does_not_differ_from_itself():
    one = paired_ranks([1, 2, 3, 4] * 5)
    assert difference(one, one) == (0, 0, 0)


def test_the_difference_is_that_of_the_mrrs():
    a, b = paired_ranks([1, 2, 3, 4]), paired_ranks([2, 2, 5, 1])
    assert difference(a, b).difference == pytest.approx(a.mrr() - b.mrr())


def test_an_equal_gain_everywhere_gives_an_interval_of_one_point():
    # ranks 1 and 3 against 2 and 6: every query's reciprocal rank differs, every triple's by 1/3
    a, b = paired_ranks([1, 3] * 10, [3, 1] * 10), paired_ranks([2, 6] * 10, [6, 2] * 10)
    assert difference(a, b) == pytest.approx((1 / 3, 1 / 3, 1 / 3))


def test_what_both_models_find_hard_cancels():
    shared = [1, NEVER] * 100
    a, b = paired_ranks(shared, [1] * 200), paired_ranks(shared, [2] * 200)
    found = difference(a, b)
    assert (found.low, found.high) == pytest.approx((0.25, 0.25))


def test_the_interval_of_a_difference_is_that_of_the_binomial_distribution():
    # half of 400 triples are won outright: standard deviation 1 / 40
    found = difference(paired_ranks([1, NEVER] * 200), paired_ranks([NEVER] * 400), replicates=4000)
    assert (found.low, found.high) == pytest.approx((0.5 - 1.96 / 40, 0.5 + 1.96 / 40), abs=4e-3)


def test_exchanging_the_models_turns_the_interval_around():
    a, b = paired_ranks([1, 2, 3, 4] * 5), paired_ranks([4, 2, 9, 1] * 5)
    there, back = difference(a, b), difference(b, a)
    assert back == pytest.approx((-there.difference, -there.high, -there.low))


def test_chance_alone_is_rarely_called_a_difference():
    rng = seeded(5)
    wrong = 0
    for _ in range(100):
        lots = torch.randint(1, 10, (2, 60), generator=rng).tolist()
        found = difference(paired_ranks(lots[0]), paired_ranks(lots[1]), replicates=300)
        wrong += not found.low <= 0 <= found.high
    assert wrong <= 12  # 5 are expected; more than 12 come once in a thousand


def test_several_seeds_count_by_their_mean():
    a = [paired_ranks([1, 2]), paired_ranks([2, 4])]
    b = [paired_ranks([4, 4])]
    assert difference(a, b).difference == pytest.approx((0.75 + 0.375) / 2 - 0.25)


def test_seeds_that_disagree_widen_the_interval():
    lucky, plain = paired_ranks([1] * 20), paired_ranks([2] * 20)
    found = difference([lucky, plain], plain)
    assert (found.low, found.high) == pytest.approx((0, 0.5))


def test_seeds_of_both_models_are_drawn_apart():
    lucky, plain = paired_ranks([1] * 20), paired_ranks([2] * 20)
    found = difference([lucky, plain], [lucky, plain])
    assert (found.difference, found.low, found.high) == pytest.approx((0, -0.5, 0.5))


def test_models_may_have_different_numbers_of_seeds():
    plain = paired_ranks([2] * 20)
    assert difference([plain] * 3, [plain] * 2) == pytest.approx((0, 0, 0))


def test_the_same_seed_gives_the_same_interval():
    a, b = paired_ranks([1, 2, 3, 4] * 5), paired_ranks([4, 2, 9, 1] * 5)
    assert difference(a, b) == difference(a, b)


def test_models_evaluated_on_different_numbers_of_queries_are_refused():
    with pytest.raises(ValueError, match="4 queries cannot be paired with 8"):
        difference(paired_ranks([1, 2]), paired_ranks([1, 2, 3, 4]))


def test_models_evaluated_on_different_triples_are_refused():
    other = evaluation_of([(0, 0, 2), (1, 1, 0)], [1, 2], [1, 2])
    with pytest.raises(ValueError, match="query 3 has anchor 3 in one evaluation and 0 in another"):
        difference(paired_ranks([1, 2]), other)


def test_every_seed_is_compared_not_only_the_first():
    with pytest.raises(ValueError, match="4 queries cannot be paired with 6"):
        difference([paired_ranks([1, 2]), paired_ranks([1, 2, 3])], paired_ranks([1, 2]))


def test_models_filtered_by_different_facts_are_refused():
    with pytest.raises(ValueError, match="query 0 has candidates 101 in one evaluation and 90"):
        difference(paired_ranks([1, 2]), paired_ranks([1, 2], candidates=90))


def test_a_model_without_evaluations_is_refused():
    with pytest.raises(ValueError, match="each model needs at least one evaluation"):
        difference(paired_ranks([1, 2]), [])


def test_options_are_checked_as_in_a_breakdown():
    with pytest.raises(ValueError, match=r"level must lie between 0 and 1; got 2\.0"):
        difference(paired_ranks([1, 2]), paired_ranks([1, 2]), level=2.0)
