import pytest
import torch
from samplers.worlds import draw, graph_of, make_queries, misfit, support

from sparring import kernels
from sparring.registry import build
from sparring.samplers import SAMPLERS, ResampleKnown, structural
from sparring.samplers.structural import SANS, KHop, RandomWalk, Relational, TypeConstrained

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


A, B, C, D, ALONE = range(5)
PATH = graph_of((A, 0, B), (C, 1, B), (C, 0, D), num_entities=5)


def members(sampler, entity):
    ids = torch.arange(5).unsqueeze(0)
    return set(
        sampler.log_prob(make_queries(entity, 0, 0), ids)[0].isfinite().nonzero().flatten().tolist()
    )


@pytest.mark.parametrize(
    "hops, ball", [(1, {A, B}), (2, {A, B, C}), (3, {A, B, C, D}), (9, {A, B, C, D})]
)
def test_the_ball_of_the_first_of_a_path(hops, ball):
    assert members(KHop(PATH, k=1, hops=hops), A) == ball


def test_the_ball_is_around_the_entity_that_is_kept():
    sampler = KHop(PATH, k=30, hops=1)
    assert support(sampler, make_queries(A, 0, D)) == {A, B}
    assert support(sampler, make_queries(D, 0 + 2, A)) == {C, D}


def test_direction_and_relation_of_a_step_do_not_matter():
    assert members(KHop(PATH, k=1, hops=1), B) == {A, B, C}


def test_an_entity_alone_draws_from_all():
    sampler = KHop(PATH, k=30, hops=2)
    assert support(sampler, make_queries(ALONE, 0, A)) == {B, C, D, ALONE}


def test_neighborhoods_built_in_pieces_are_the_same(monkeypatch):
    whole = structural.neighborhoods(structural.neighbors(PATH), 2, 100)
    monkeypatch.setattr(structural, "STEPS_AT_ONCE", 8)
    pieces = structural.neighborhoods(structural.neighbors(PATH), 2, 100)
    assert torch.equal(whole.values, pieces.values)
    assert torch.equal(whole.offsets, pieces.offsets)


@pytest.mark.parametrize("uniform_mix", [0.0, 0.25])
@pytest.mark.parametrize("make", [KHop, lambda graph, **options: SANS(graph, walks=30, **options)])
def test_hop_draws_follow_the_stated_density(make, uniform_mix):
    assert (
        misfit(make(PATH, k=500, uniform_mix=uniform_mix), make_queries(A, 0, B, times=20), 5) < 5
    )


@pytest.mark.parametrize(
    "make", [RandomWalk, lambda graph, **options: SANS(graph, walks=200, **options)]
)
def test_walks_that_start_at_the_anchor_stay_within_their_length(make):
    assert support(make(PATH, k=200, hops=2), make_queries(A, 0, D)) == {A, C}
    assert support(make(PATH, k=200, hops=3), make_queries(A, 0, ALONE)) == {B, D}


def test_the_authors_walks_run_on_from_each_other():
    """Two steps at a time from the first of a path, their union is every second entity."""
    longer = graph_of((A, 0, B), (B, 0, C), (C, 0, D), (D, 0, 4), num_entities=5)
    compat = SANS(longer, k=1, walks=200, compat=True)
    assert members(SANS(longer, k=1, walks=200), A) == {A, C}
    assert members(compat, A) == {A, C, 4}


def test_a_walk_without_reset_reaches_what_three_hops_do():
    compat = SANS(PATH, k=1, hops=3, walks=200, compat=True)
    assert members(compat, A) == {A, B, C, D}
    assert members(SANS(PATH, k=1, hops=3, walks=200), A) == {B, D}


def test_a_walker_alone_draws_from_all():
    for sampler in (RandomWalk(PATH, k=60), SANS(PATH, k=60)):
        assert support(sampler, make_queries(ALONE, 0, A)) == {B, C, D, ALONE}


def test_the_authors_give_an_entity_alone_some_random_ends():
    ends = SANS(PATH, k=1, walks=2, compat=True)
    assert 1 <= len(members(ends, ALONE)) <= 2


def test_a_random_walk_chooses_among_neighbours_evenly():
    star = graph_of((0, 0, 1), (0, 1, 1), (0, 0, 2), (3, 0, 0), num_entities=5)
    drawn = draw(RandomWalk(star, k=3000, hops=1), make_queries(0, 0, 4))
    share = torch.bincount(drawn.ids[0], minlength=4)[1:] / 3000
    torch.testing.assert_close(share, torch.full((3,), 1 / 3), atol=0.043, rtol=0.0)  # 5 sigma


def test_a_random_walk_states_no_density():
    drawn = draw(RandomWalk(PATH, k=2), make_queries(A, 0, B))
    assert drawn.log_q is None
    assert not RandomWalk.capabilities.has_log_q


def test_precomputed_walks_depend_on_their_seed_alone():
    one, two = SANS(PATH, k=1, walks=1, seed=5), SANS(PATH, k=1, walks=1, seed=5)
    assert torch.equal(one.lists.values, two.lists.values)
    others = [SANS(PATH, k=1, walks=1, seed=seed).lists.values for seed in range(9)]
    assert any(not torch.equal(one.lists.values, other) for other in others)


@pytest.mark.parametrize("make", [KHop, RandomWalk, SANS])
def test_hop_two_entities_are_enough(make):
    graph = graph_of((0, 0, 1), num_entities=2, num_relations=1)
    assert support(make(graph, k=30, hops=2), make_queries(0, 0, 1)) == {0}


@pytest.mark.parametrize("make", [KHop, RandomWalk, SANS])
def test_at_least_one_hop(make):
    with pytest.raises(ValueError, match="reaches at least one hop; got hops=0"):
        make(PATH, k=1, hops=0)


@pytest.mark.parametrize("make", [KHop, RandomWalk, SANS])
def test_hop_at_least_one_candidate(make):
    with pytest.raises(ValueError, match="at least one candidate per query; got k=0"):
        make(PATH, k=0)


def test_at_least_one_walk():
    with pytest.raises(ValueError, match="at least one walk per entity; got walks=0"):
        SANS(PATH, k=1, walks=0)


def test_neighborhoods_that_take_too_much_memory_are_refused():
    with pytest.raises(
        ValueError, match=r"first 5 of 5 neighborhoods of 2 hops hold 14 .* max_ids=13"
    ):
        KHop(PATH, k=1, max_ids=13)
    KHop(PATH, k=1, max_ids=14)
