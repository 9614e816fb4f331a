import pytest
import torch
from samplers.worlds import counted, draw, graph_of, make_queries, misfit, rng, scores_of, support

from sparring.batch import Queries
from sparring.corruption import CorruptBoth
from sparring.losses import NSSALoss
from sparring.models import DistMult, TransE
from sparring.samplers import MaskKnown
from sparring.samplers.base import entity_vectors
from sparring.samplers.pretrained import (
    EANS,
    NearestNeighbor,
    TeacherNegatives,
    TeacherRankings,
    log_p_steps,
    nearest_neighbor_chain,
)
from sparring.training import TrainingStep

# 0 -0-> 1 and 5; the teacher ranks 5 4 3 2 1 0 for every query
RANKED = graph_of((0, 0, 1), (0, 0, 5), (2, 0, 3))
LINE = torch.tensor([[0.0], [1.0], [3.0], [6.0], [10.0], [15.0]])


def teacher(queries):
    return scores_of(0, 1, 2, 3, 4, 5, times=len(queries))


def near_miss(k, **options):
    return TeacherNegatives(RANKED, k=k, teacher=teacher, **options)


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
def test_ranked_draws_follow_the_stated_density(strict):
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


def test_ranked_two_entities_are_enough():
    graph = graph_of((0, 0, 1), num_entities=2, num_relations=1)
    both = lambda queries: scores_of(1, 0, times=len(queries))
    assert support(TeacherNegatives(graph, k=3, teacher=both), make_queries(0, 0, 1)) == {0}
    assert support(NearestNeighbor(graph, k=3, vectors=LINE[:2]), make_queries(0, 0, 1)) == {0}


def test_a_stored_ranking_gives_the_same_sampler():
    stored = TeacherNegatives(
        RANKED, k=1, pool=3, teacher=TeacherRankings.of(RANKED, teacher, 5), strict=True
    )
    asked = near_miss(1, pool=3, strict=True)
    for ours, theirs in zip(stored.buffers(), asked.buffers()):
        assert torch.equal(ours, theirs)


def test_a_main_model_can_be_the_teacher():
    torch.manual_seed(0)
    model = TransE(RANKED, dim=4)
    queries = make_queries(2, 0, 3)
    wrong = model(queries)(torch.arange(6).unsqueeze(0)).detach().clone()
    wrong[0, 3] = -torch.inf
    drawn = draw(TeacherNegatives(RANKED, k=2, teacher=model), queries)
    assert counted(drawn, 1) == wrong.topk(2).indices[0].sort().values.tolist()


def test_the_teacher_is_not_trained_along():
    assert not list(TeacherNegatives(RANKED, k=1, teacher=TransE(RANKED, dim=4)).parameters())


def test_rankings_are_taken_in_pieces(monkeypatch):
    whole = TeacherRankings.of(RANKED, teacher, 4)
    monkeypatch.setattr("sparring.samplers.pretrained.NUMBERS_AT_ONCE", 6)
    pieces = TeacherRankings.of(RANKED, teacher, 4)
    assert all(torch.equal(a, b) for a, b in zip(vars(whole).values(), vars(pieces).values()))


@pytest.mark.parametrize("answer, nearest", [(0, [1, 2]), (1, [0, 2]), (3, [2, 4]), (5, [3, 4])])
def test_neighbours_are_nearest_to_the_answer(answer, nearest):
    sampler = NearestNeighbor(RANKED, k=2, vectors=LINE)
    assert counted(draw(sampler, make_queries(4, 1, answer)), 1) == nearest


def test_neighbours_follow_the_stated_density():
    sampler = NearestNeighbor(RANKED, k=1, pool=3, vectors=LINE)
    assert misfit(sampler, make_queries(4, 1, 2, times=5000), 6) < 5


def test_neighbours_may_be_facts_that_a_wrapper_hides():
    sampler = MaskKnown(RANKED, inner=NearestNeighbor(RANKED, k=5, vectors=LINE))
    assert counted(draw(sampler, make_queries(0, 0, 1)), 1) == [0, 2, 3, 4]


def test_neighbours_in_pieces_are_the_same(monkeypatch):
    whole = NearestNeighbor(RANKED, k=2, vectors=LINE).entity
    monkeypatch.setattr("sparring.samplers.pretrained.NUMBERS_AT_ONCE", 6)
    assert torch.equal(NearestNeighbor(RANKED, k=2, vectors=LINE).entity, whole)


def test_the_vectors_of_a_model_are_its_entity_table():
    model = DistMult(RANKED, dim=2)
    from_model = NearestNeighbor(RANKED, k=2, vectors=model).entity
    assert torch.equal(from_model, NearestNeighbor(RANKED, k=2, vectors=model.entity.weight).entity)


def test_a_model_without_entity_vectors_is_named():
    with pytest.raises(ValueError, match="Identity has no embedding table `entity`"):
        entity_vectors(torch.nn.Identity())


def test_vectors_of_another_graph_are_refused():
    with pytest.raises(ValueError, match="2 vectors for 6 entities"):
        NearestNeighbor(RANKED, k=1, vectors=LINE[:2])


def test_a_pool_smaller_than_k_is_refused():
    with pytest.raises(ValueError, match="a pool of 2 holds no k=3 entities"):
        near_miss(3, pool=2)


def test_at_least_one_candidate():
    with pytest.raises(ValueError, match="at least one candidate per query; got k=0"):
        near_miss(0)


N = 12
EANS_WORLD = graph_of((0, 0, 1), num_entities=N)
# three groups of four on a line: 0, 3, 6, 9 | 1, 4, 7, 10 | 2, 5, 8, 11
POSITION = torch.tensor([[(e % 3) * 100.0 + e / 10] for e in range(N)])


def model_at(position=POSITION):
    model = TransE(graph_of((0, 0, 1), num_entities=len(position)), dim=1)
    with torch.no_grad():
        model.entity.weight.copy_(position)
    return model


def near(model=None, graph=EANS_WORLD, **options):
    sampler = EANS(graph, **{"k": 1, "width": 1.0, "clusters": 3, **options})
    sampler.bind_model(model or model_at())
    return sampler


def lined_up(**options):
    sampler = near(**options)
    draw(sampler, make_queries(0, 0, 1))
    return sampler


@pytest.mark.parametrize("width", [0.3, 2.0, 30.0])
def test_eans_draws_follow_the_stated_density(width):
    assert misfit(lined_up(k=5000, width=width), make_queries(0, 0, 7, times=2), N) < 5


def test_the_line_up_holds_every_entity_once():
    sampler = lined_up()
    assert sampler.entity.sort().values.tolist() == list(range(N))
    assert sampler.position[sampler.entity].tolist() == list(range(N))


def test_similar_entities_stand_together():
    groups = (lined_up().entity % 3).view(3, 4)
    assert (groups == groups[:, :1]).all()


def test_each_cluster_is_followed_by_the_nearest_one_left():
    centre = torch.tensor([[4.0], [0.0], [5.0], [9.0]])
    assert nearest_neighbor_chain(centre).tolist() == [0, 2, 3, 1]


def test_a_narrow_neighbourhood_stays_within_the_cluster():
    sampler = near(k=200, width=0.5)
    found = support(sampler, make_queries(0, 0, 5))
    position = sampler.position[5].item()
    assert found == {sampler.entity[(position + step) % N].item() for step in (-2, -1, 1, 2)}


def test_the_width_counts_places():
    share = log_p_steps(10_000, 290.0)
    assert (share[290] - share[0]).item() == pytest.approx(-0.5, abs=1e-4)


@pytest.mark.parametrize("width", [0.05, 1.0, 5.0, 9.9, 10.1])
def test_shares_on_a_ring_sum_to_one(width):
    assert log_p_steps(5, width).double().exp().sum().item() == pytest.approx(1.0)


def test_both_ways_round_the_ring_are_alike():
    share = log_p_steps(7, 2.0)
    torch.testing.assert_close(share[1:], share[1:].flip(0))


def test_very_wide_is_uniform():
    torch.testing.assert_close(log_p_steps(5, 10.1), log_p_steps(5, 9.9))


def test_lines_up_anew_after_so_many_steps():
    model = model_at()
    sampler = near(model, update_every=3)
    orders = []
    for step in range(5):
        with torch.no_grad():
            model.entity.weight.copy_(POSITION[torch.randperm(N, generator=rng(step))])
        draw(sampler, make_queries(0, 0, 1), seed=step)
        orders.append(sampler.entity.tolist())
    assert orders[0] == orders[1] == orders[2] != orders[3] == orders[4]


def test_looking_without_training_does_not_count_as_a_step():
    sampler = lined_up(update_every=3)
    sampler.eval()
    for _ in range(3):
        draw(sampler, make_queries(0, 0, 1))
    assert sampler.calls == 1


def test_the_line_up_and_its_age_are_part_of_the_state():
    one, two = lined_up(update_every=2), near(model_at(POSITION.flip(0)), update_every=2)
    two.load_state_dict(one.state_dict())
    assert torch.equal(one.position, two.position)
    for seed in range(3):  # the second of these lines up anew, in both
        a, b = (draw(s, make_queries(0, 0, 1, times=5), seed=seed).ids for s in (one, two))
        assert torch.equal(a, b) or seed
        assert one.calls == two.calls


def test_the_watched_model_is_no_part_of_the_state():
    assert set(near().state_dict()) == {"entity", "position", "_extra_state"}
    assert not list(near().parameters())


def test_a_training_step_introduces_the_model_through_wrappers():
    model = model_at()
    sampler = EANS(EANS_WORLD, k=2, clusters=3)
    TrainingStep(
        model,
        MaskKnown(EANS_WORLD, inner=sampler),
        NSSALoss(margin=0.0, adversarial_temperature=0.0),
        CorruptBoth(EANS_WORLD),
    )
    assert sampler.model == (model,)


def test_eans_two_entities_are_enough():
    graph = graph_of((0, 0, 1), num_entities=2, num_relations=1)
    assert support(near(model_at(POSITION[:2]), graph, k=50), make_queries(0, 0, 1)) == {0}


def test_queries_that_share_a_list_are_judged_apart():
    sampler = lined_up()
    two = Queries(*(torch.tensor([a, b]) for a, b in ((0, 0), (0, 0), (1, 5))), torch.ones(2))
    ids = torch.arange(N).unsqueeze(0)
    apart = torch.cat([sampler.log_prob(make_queries(0, 0, answer), ids) for answer in (1, 5)])
    assert torch.equal(sampler.log_prob(two, ids), apart)


def test_a_model_without_entity_vectors_is_refused():
    with pytest.raises(ValueError, match="Identity has no embedding table `entity`"):
        EANS(EANS_WORLD, k=1).bind_model(torch.nn.Identity())


def test_candidates_before_a_model_are_refused():
    with pytest.raises(RuntimeError, match=r"call bind_model\(model\) first"):
        draw(EANS(EANS_WORLD, k=1), make_queries(0, 0, 1))


@pytest.mark.parametrize(
    "options, message",
    [
        ({"k": 0}, "at least one candidate per query; got k=0"),
        ({"width": 0.0}, r"width is a standard deviation above 0; got 0\.0"),
        ({"clusters": 0}, "clusters must be at least 1; got 0"),
        ({"update_every": 0}, "update_every must be at least 1; got 0"),
        ({"rounds": 0}, "rounds must be at least 1; got 0"),
    ],
)
def test_options_that_cannot_work_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        EANS(EANS_WORLD, **{"k": 1, **options})
