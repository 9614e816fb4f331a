import pytest
import torch
from samplers.worlds import draw, graph_of, make_queries, misfit, support

from sparring.samplers.structural import Relational

KNOWS, LIKES = 0, 1
WORLD = graph_of(
    (0, KNOWS, 1), (0, KNOWS, 2), (0, LIKES, 2), (0, LIKES, 3), (4, LIKES, 0), (4, KNOWS, 0)
)


def share(sampler, queries):
    return sampler.log_prob(queries, torch.arange(6).unsqueeze(0))[0].exp().tolist()


def test_links_by_other_relations_and_directions_count_once_each():
    got = share(Relational(WORLD, k=1), make_queries(0, KNOWS, 1))
    assert got == pytest.approx([0, 0, 1 / 4, 1 / 4, 2 / 4, 0])


def test_the_same_relation_the_other_way_round_is_another_link():
    got = share(Relational(WORLD, k=1), make_queries(0, KNOWS + 2, 4))
    assert got == pytest.approx([0, 1 / 5, 2 / 5, 1 / 5, 1 / 5, 0])


@pytest.mark.parametrize("floor", [0.0, 0.3])
@pytest.mark.parametrize("relation", range(4))
def test_draws_follow_the_stated_density(relation, floor):
    sampler = Relational(WORLD, k=500, floor=floor)
    assert misfit(sampler, make_queries(0, relation, 5, times=20), 6) < 5


def test_the_last_entity_of_the_index_can_be_asked_about():
    graph = graph_of((0, KNOWS, 5), (0, LIKES, 5), (1, LIKES, 5))
    assert support(Relational(graph, k=30), make_queries(5, LIKES + 2, 1)) == {0}


@pytest.mark.parametrize("anchor, relation", [(5, KNOWS), (1, KNOWS + 2)])
def test_an_anchor_without_other_links_draws_from_all_entities(anchor, relation):
    sampler = Relational(WORLD, k=60)
    assert support(sampler, make_queries(anchor, relation, 0)) == {1, 2, 3, 4, 5}
    assert share(sampler, make_queries(anchor, relation, 0)) == pytest.approx([1 / 6] * 6)


def test_an_answer_without_another_link_has_the_density_of_one():
    drawn = draw(Relational(WORLD, k=2), make_queries(0, KNOWS, 1))
    assert drawn.answer_log_q.exp().tolist() == pytest.approx([1 / 4])


def test_an_answer_with_other_links_has_theirs():
    drawn = draw(Relational(WORLD, k=2), make_queries(0, KNOWS, 4))
    assert drawn.answer_log_q.exp().tolist() == pytest.approx([2 / 4])


def test_two_entities_are_enough():
    graph = graph_of((0, 0, 1), num_entities=2, num_relations=1)
    assert support(Relational(graph, k=30), make_queries(0, 0, 1)) == {0}


def test_at_least_one_candidate():
    with pytest.raises(ValueError, match="at least one candidate per query; got k=0"):
        Relational(WORLD, k=0)


def test_a_floor_is_a_share():
    with pytest.raises(ValueError, match=r"share of uniform draws, from 0 to 1; got 2\.0"):
        Relational(WORLD, k=1, floor=2.0)
