import pytest
import torch
from samplers.worlds import draw, graph_of, make_queries, misfit, support

from sparring.samplers import neighborhood
from sparring.samplers.neighborhood import SANS, KHop, RandomWalk

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
    whole = neighborhood.neighborhoods(neighborhood.neighbors(PATH), 2, 100)
    monkeypatch.setattr(neighborhood, "STEPS_AT_ONCE", 8)
    pieces = neighborhood.neighborhoods(neighborhood.neighbors(PATH), 2, 100)
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
