import pytest
from evaluation.fixtures import Table, evaluation_of, graph_of

from sparring.evaluation.ranking import chunk_sizes, evaluate

FOUR = evaluation_of([(0, 0, 1), (2, 1, 3)], [1, 2], [4, 20.5])


def test_mrr_by_hand():
    assert FOUR.mrr() == pytest.approx((1 + 1 / 2 + 1 / 4 + 1 / 20.5) / 4)


def test_mean_rank_by_hand():
    assert FOUR.mr() == (1 + 2 + 4 + 20.5) / 4


@pytest.mark.parametrize(
    "k, share", [(1, 0.25), (2, 0.5), (3, 0.5), (4, 0.75), (20, 0.75), (21, 1)]
)
def test_hits_by_hand(k, share):
    assert FOUR.hits(k) == share


def test_amri_of_perfection_is_one():
    assert evaluation_of([(0, 0, 1)], [1], [1]).amri() == 1


def test_amri_of_chance_is_zero():
    assert evaluation_of([(0, 0, 1)], [51], [51], candidates=101).amri() == 0


def test_amri_of_the_worst_ranks_is_minus_one():
    assert evaluation_of([(0, 0, 1)], [101], [101], candidates=101).amri() == -1


def test_amri_is_one_ratio_of_means_not_a_mean_of_ratios():
    graph = graph_of([(0, 0, 1), (0, 0, 2), (0, 0, 3), (0, 0, 4)], test=[(0, 0, 5)])
    model = Table.of_entities(graph, [3.0, 0, 0, 0, 0, 1.0])
    found = evaluate(model, graph.test, graph.known)  # rank 2 of 2, and rank 1 of 6
    assert found.amri() == pytest.approx(1 - (1 + 0) / (0.5 + 2.5))


def test_without_rivals_amri_is_that_of_chance():
    assert evaluation_of([(0, 0, 1)], [1], [1], candidates=1).amri() == 0


@pytest.mark.parametrize(
    "batch_size, max_scores, entities, plan",
    [
        (1024, 10_000, 10, (1000, 10)),  # whole rows, as many as fit
        (100, 10_000, 10, (100, 10)),  # no more than the batch
        (1024, 10_000, 1000, (64, 156)),  # few whole rows fit: cut them instead
        (8, 10_000, 1000, (8, 1000)),  # but a small batch may have whole rows
        (1024, 10, 1000, (10, 1)),
        (1024, 1, 1000, (1, 1)),
    ],
)
def test_rows_and_columns_share_the_bound(batch_size, max_scores, entities, plan):
    assert chunk_sizes(batch_size, max_scores, entities) == plan
