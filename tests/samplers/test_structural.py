import pytest
import torch
from samplers.worlds import draw, graph_of, make_queries, misfit, support

from sparring import kernels
from sparring.registry import build
from sparring.samplers import SAMPLERS, ResampleKnown
from sparring.samplers.structural import Relational, TypeConstrained

# 0, 1, 2 are people, 3 and 4 towns, 2 is a saint too; 5 has no type
TYPES = [(0, 0), (1, 0), (2, 0), (2, 2), (3, 1), (4, 1)]
LIVES_IN, MARRIED = 0, 1


def world(types=TYPES):
    return graph_of((0, LIVES_IN, 3), (1, LIVES_IN, 3), (0, LIVES_IN, 4), entity_type=types)


def where_does_0_live(times=1):
    return make_queries(0, LIVES_IN, 3, times)


def everyone(graph):
    return torch.arange(graph.num_entities).unsqueeze(0)


@pytest.mark.parametrize("uniform_mix", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("kind", ["answer", "relation", "slot"])
def test_typed_draws_follow_the_stated_density(kind, uniform_mix):
    sampler = TypeConstrained(world(), k=500, kind=kind, uniform_mix=uniform_mix)
    assert misfit(sampler, where_does_0_live(20), 6) < 5


@pytest.mark.parametrize("uniform_mix", [0.0, 0.3])
def test_an_accelerator_draws_the_same_without_waiting(uniform_mix):
    sampler, queries = TypeConstrained(world(), k=50, uniform_mix=uniform_mix), where_does_0_live(4)
    here = draw(sampler, queries)
    with kernels.disabled():
        there = draw(sampler, queries)
    assert torch.equal(here.ids, there.ids)
    torch.testing.assert_close(here.log_q, there.log_q)
    torch.testing.assert_close(here.answer_log_q, there.answer_log_q)


def test_a_slot_holds_the_entities_seen_in_it():
    sampler = TypeConstrained(world(), k=30, uniform_mix=0.0)
    assert support(sampler, make_queries(2, LIVES_IN, 0)) == {3, 4}
    assert support(sampler, make_queries(3, LIVES_IN + 2, 5)) == {0, 1}


def test_the_kind_of_a_relation_holds_all_entities_of_the_types_seen_in_the_slot():
    sampler = TypeConstrained(world(), k=30, kind="relation", uniform_mix=0.0)
    assert support(sampler, make_queries(3, LIVES_IN + 2, 5)) == {0, 1, 2}


def test_the_kind_of_an_answer_is_its_rarest_type():
    sampler = TypeConstrained(world([*TYPES, (5, 2)]), k=30, kind="answer", uniform_mix=0.0)
    assert support(sampler, make_queries(0, MARRIED, 2)) == {5}
    assert support(sampler, make_queries(0, MARRIED, 1)) == {0, 2}


def test_repeated_types_count_once():
    sampler = TypeConstrained(
        world([*TYPES, (2, 2), (2, 2), (2, 2)]), k=30, kind="answer", uniform_mix=0.0
    )
    queries = make_queries(0, MARRIED, 0)
    assert sampler.log_prob(queries, everyone(world()))[0].exp().tolist() == pytest.approx(
        [1 / 3, 1 / 3, 1 / 3, 0, 0, 0]
    )


def test_the_density_by_hand():
    sampler = TypeConstrained(world(), k=1, uniform_mix=0.4)
    share = sampler.log_prob(where_does_0_live(), everyone(world()))[0].exp()
    inside, outside = 0.4 / 6 + 0.6 / 2, 0.4 / 6
    assert share.tolist() == pytest.approx([outside] * 3 + [inside] * 2 + [outside])


@pytest.mark.parametrize("kind", ["answer", "relation", "slot"])
def test_an_empty_pool_means_all_entities(kind):
    sampler = TypeConstrained(world(), k=30, kind=kind, uniform_mix=0.0)
    unseen = make_queries(0, MARRIED, 5)
    assert support(sampler, unseen) == {0, 1, 2, 3, 4}
    share = sampler.log_prob(unseen, everyone(world())).exp()
    torch.testing.assert_close(share, torch.full((1, 6), 1 / 6))


def test_a_relation_whose_answers_have_no_type_means_all_entities():
    sampler = TypeConstrained(world([(5, 0)]), k=30, kind="relation", uniform_mix=0.0)
    assert support(sampler, where_does_0_live()) == {0, 1, 2, 4, 5}


def test_the_answer_has_a_density_even_where_it_is_never_drawn():
    sampler = TypeConstrained(world(), k=2, uniform_mix=0.0)
    drawn = draw(sampler, make_queries(0, LIVES_IN, 5))
    assert drawn.answer_log_q.exp().tolist() == pytest.approx([1 / 2])


def test_an_answer_of_another_kind_has_the_density_of_the_floor():
    drawn = draw(TypeConstrained(world(), k=2, uniform_mix=0.3), make_queries(0, LIVES_IN, 5))
    assert drawn.answer_log_q.exp().tolist() == pytest.approx([0.3 / 6])


def test_positional_is_by_slot_without_uniform_draws():
    positional = build({"name": "positional", "k": 500}, SAMPLERS, "sampler", graph=world())
    assert isinstance(positional, TypeConstrained)
    assert (positional.kind, positional.uniform_mix) == ("slot", 0.0)
    assert misfit(positional, where_does_0_live(20), 6) < 5


def test_a_query_whose_pool_it_answers_completely_gets_no_negatives():
    sampler = ResampleKnown(world(), inner=TypeConstrained(world(), k=30, uniform_mix=0.0))
    drawn = draw(sampler, where_does_0_live())
    assert not drawn.mask.any()


def test_typed_two_entities_are_enough():
    graph = graph_of((0, 0, 1), num_entities=2, num_relations=1)
    assert support(TypeConstrained(graph, k=3), make_queries(0, 0, 1)) == {0}


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="kind is one of answer, relation, slot; got 'range'"):
        TypeConstrained(world(), k=1, kind="range")


@pytest.mark.parametrize("types", [None, []])
@pytest.mark.parametrize("kind", ["answer", "relation"])
def test_given_types_are_needed_where_they_are_asked_for(kind, types):
    with pytest.raises(ValueError, match='no entity types, which only kind = "slot" does not need'):
        TypeConstrained(world(types), k=1, kind=kind)


@pytest.mark.parametrize("uniform_mix", [-0.1, 1.1])
def test_typed_a_floor_is_a_share(uniform_mix):
    with pytest.raises(ValueError, match=f"a share of draws, from 0 to 1; got {uniform_mix}"):
        TypeConstrained(world(), k=1, uniform_mix=uniform_mix)


def test_typed_at_least_one_candidate():
    with pytest.raises(ValueError, match="at least one candidate per query; got k=0"):
        TypeConstrained(world(), k=0)


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


@pytest.mark.parametrize("uniform_mix", [0.0, 0.3])
@pytest.mark.parametrize("relation", range(4))
def test_relational_draws_follow_the_stated_density(relation, uniform_mix):
    sampler = Relational(WORLD, k=500, uniform_mix=uniform_mix)
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


def test_relational_two_entities_are_enough():
    graph = graph_of((0, 0, 1), num_entities=2, num_relations=1)
    assert support(Relational(graph, k=30), make_queries(0, 0, 1)) == {0}


def test_relational_at_least_one_candidate():
    with pytest.raises(ValueError, match="at least one candidate per query; got k=0"):
        Relational(WORLD, k=0)


def test_relational_a_floor_is_a_share():
    with pytest.raises(ValueError, match=r"a share of draws, from 0 to 1; got 2\.0"):
        Relational(WORLD, k=1, uniform_mix=2.0)
