import pytest
import torch
from samplers.worlds import counted, draw, graph_of, make_queries, misfit, scores_of, support

from sparring.models import DistMult, TransE
from sparring.samplers import MaskKnown
from sparring.samplers.base import entity_vectors
from sparring.samplers.pretrained import NearestNeighbour, TeacherNegatives, near_misses

# 0 -0-> 1 and 5; the teacher ranks 5 4 3 2 1 0 for every query
WORLD = graph_of((0, 0, 1), (0, 0, 5), (2, 0, 3))
LINE = torch.tensor([[0.0], [1.0], [3.0], [6.0], [10.0], [15.0]])


def teacher(queries):
    return scores_of(0, 1, 2, 3, 4, 5, times=len(queries))


def near_miss(k, **options):
    return TeacherNegatives(WORLD, k=k, teacher=teacher, **options)


def test_offers_the_best_of_the_teacher_that_are_no_facts():
    assert counted(draw(near_miss(3), make_queries(0, 0, 1)), 1) == [2, 3, 4]


def test_other_queries_have_other_facts():
    assert counted(draw(near_miss(3), make_queries(2, 0, 3)), 1) == [2, 4, 5]


def test_a_pool_gives_every_one_of_its_entities_a_turn():
    assert support(near_miss(2, pool=4), make_queries(0, 0, 1)) == {0, 2, 3, 4}


def test_no_candidate_is_repeated():
    drawn = draw(near_miss(3, pool=4), make_queries(0, 0, 1, times=50))
    assert (drawn.ids.sort(1).values.diff(dim=1) > 0).all()


@pytest.mark.parametrize("strict", [False, True])
def test_draws_follow_the_stated_density(strict):
    sampler = near_miss(1, pool=4, strict=strict)
    assert misfit(sampler, make_queries(0, 0, 1, times=5000), 6) < 5


def test_strict_takes_only_what_ranks_above_the_answer():
    assert support(near_miss(1, pool=4, strict=True), make_queries(0, 0, 1)) == {2, 3, 4}


def test_strict_falls_back_to_the_best_k():
    assert support(near_miss(2, pool=4, strict=True), make_queries(0, 0, 5)) == {3, 4}


def test_strict_ranks_an_answer_that_is_no_fact_below_all():
    assert support(near_miss(1, pool=3, strict=True), make_queries(0, 0, 3)) == {2, 4}


def test_a_query_never_seen_draws_from_all_entities():
    sampler = near_miss(60, pool=60)
    assert support(sampler, make_queries(3, 1, 0)) == {1, 2, 3, 4, 5}
    share = sampler.log_prob(make_queries(3, 1, 0), torch.arange(6).unsqueeze(0)).exp()
    torch.testing.assert_close(share, torch.full((1, 6), 1 / 6))


def test_a_query_never_seen_between_two_that_were():
    assert support(near_miss(60, pool=60), make_queries(1, 0, 0)) == {1, 2, 3, 4, 5}


def test_what_is_too_few_does_not_count():
    drawn = draw(near_miss(9), make_queries(0, 0, 1))
    assert counted(drawn, 1) == [0, 2, 3, 4]
    assert drawn.log_q[drawn.mask].exp().tolist() == pytest.approx([1 / 9] * 4)


def test_a_query_that_all_entities_answer_gets_no_negatives():
    graph = graph_of((0, 0, 0), (0, 0, 1), num_entities=2, num_relations=1)
    everything = lambda queries: scores_of(1, 0, times=len(queries))
    drawn = draw(TeacherNegatives(graph, k=3, teacher=everything), make_queries(0, 0, 1))
    assert not drawn.mask.any()
    assert drawn.answer_log_q.isfinite().all()


def test_two_entities_are_enough():
    graph = graph_of((0, 0, 1), num_entities=2, num_relations=1)
    both = lambda queries: scores_of(1, 0, times=len(queries))
    assert support(TeacherNegatives(graph, k=3, teacher=both), make_queries(0, 0, 1)) == {0}
    assert support(NearestNeighbour(graph, k=3, vectors=LINE[:2]), make_queries(0, 0, 1)) == {0}


def test_a_stored_ranking_gives_the_same_sampler():
    stored = TeacherNegatives(
        WORLD, k=1, pool=3, teacher=near_misses(WORLD, teacher, 5), strict=True
    )
    asked = near_miss(1, pool=3, strict=True)
    for ours, theirs in zip(stored.buffers(), asked.buffers()):
        assert torch.equal(ours, theirs)


def test_a_main_model_can_be_the_teacher():
    torch.manual_seed(0)
    model = TransE(WORLD, dim=4)
    queries = make_queries(2, 0, 3)
    wrong = model(queries)(torch.arange(6).unsqueeze(0)).detach().clone()
    wrong[0, 3] = -torch.inf
    drawn = draw(TeacherNegatives(WORLD, k=2, teacher=model), queries)
    assert counted(drawn, 1) == wrong.topk(2).indices[0].sort().values.tolist()


def test_the_teacher_is_not_trained_along():
    assert not list(TeacherNegatives(WORLD, k=1, teacher=TransE(WORLD, dim=4)).parameters())


def test_rankings_are_taken_in_pieces(monkeypatch):
    whole = near_misses(WORLD, teacher, 4)
    monkeypatch.setattr("sparring.samplers.pretrained.AT_ONCE", 6)
    pieces = near_misses(WORLD, teacher, 4)
    assert all(torch.equal(a, b) for a, b in zip(vars(whole).values(), vars(pieces).values()))


@pytest.mark.parametrize("answer, nearest", [(0, [1, 2]), (1, [0, 2]), (3, [2, 4]), (5, [3, 4])])
def test_neighbours_are_nearest_to_the_answer(answer, nearest):
    sampler = NearestNeighbour(WORLD, k=2, vectors=LINE)
    assert counted(draw(sampler, make_queries(4, 1, answer)), 1) == nearest


def test_neighbours_follow_the_stated_density():
    sampler = NearestNeighbour(WORLD, k=1, pool=3, vectors=LINE)
    assert misfit(sampler, make_queries(4, 1, 2, times=5000), 6) < 5


def test_neighbours_may_be_facts_that_a_wrapper_hides():
    sampler = MaskKnown(WORLD, inner=NearestNeighbour(WORLD, k=5, vectors=LINE))
    assert counted(draw(sampler, make_queries(0, 0, 1)), 1) == [0, 2, 3, 4]


def test_neighbours_in_pieces_are_the_same(monkeypatch):
    whole = NearestNeighbour(WORLD, k=2, vectors=LINE).entity
    monkeypatch.setattr("sparring.samplers.pretrained.AT_ONCE", 6)
    assert torch.equal(NearestNeighbour(WORLD, k=2, vectors=LINE).entity, whole)


def test_the_vectors_of_a_model_are_its_entity_table():
    model = DistMult(WORLD, dim=2)
    from_model = NearestNeighbour(WORLD, k=2, vectors=model).entity
    assert torch.equal(from_model, NearestNeighbour(WORLD, k=2, vectors=model.entity.weight).entity)


def test_a_model_without_entity_vectors_is_named():
    with pytest.raises(ValueError, match="Identity has no embedding table `entity`"):
        entity_vectors(torch.nn.Identity())


def test_vectors_of_another_graph_are_refused():
    with pytest.raises(ValueError, match="2 vectors for 6 entities"):
        NearestNeighbour(WORLD, k=1, vectors=LINE[:2])


def test_a_pool_smaller_than_k_is_refused():
    with pytest.raises(ValueError, match="a pool of 2 holds no k=3 entities"):
        near_miss(3, pool=2)


def test_at_least_one_candidate():
    with pytest.raises(ValueError, match="at least one candidate per query; got k=0"):
        near_miss(0)
