import pytest
import torch
from samplers.worlds import draw, graph_of, make_queries, misfit, rng, support

from sparring.batch import Queries
from sparring.corruption import CorruptBoth
from sparring.losses import NSSALoss
from sparring.models import TransE
from sparring.samplers import MaskKnown
from sparring.samplers.pretrained import EANS, chained, k_means, log_share_on_ring
from sparring.training import TrainingStep

N = 12
WORLD = graph_of((0, 0, 1), num_entities=N)
# three groups of four on a line: 0, 3, 6, 9 | 1, 4, 7, 10 | 2, 5, 8, 11
POSITION = torch.tensor([[(e % 3) * 100.0 + e / 10] for e in range(N)])


def model_at(position=POSITION):
    model = TransE(graph_of((0, 0, 1), num_entities=len(position)), dim=1)
    with torch.no_grad():
        model.entity.weight.copy_(position)
    return model


def near(model=None, graph=WORLD, **options):
    sampler = EANS(graph, **{"k": 1, "width": 1.0, "clusters": 3, **options})
    sampler.bind_model(model or model_at())
    return sampler


def lined_up(**options):
    sampler = near(**options)
    draw(sampler, make_queries(0, 0, 1))
    return sampler


@pytest.mark.parametrize("width", [0.3, 2.0, 30.0])
def test_draws_follow_the_stated_density(width):
    assert misfit(lined_up(k=5000, width=width), make_queries(0, 0, 7, times=2), N) < 5


def test_the_line_up_holds_every_entity_once():
    sampler = lined_up()
    assert sampler.entity.sort().values.tolist() == list(range(N))
    assert sampler.place[sampler.entity].tolist() == list(range(N))


def test_similar_entities_stand_together():
    groups = (lined_up().entity % 3).view(3, 4)
    assert (groups == groups[:, :1]).all()


def test_each_cluster_is_followed_by_the_nearest_one_left():
    centre = torch.tensor([[4.0], [0.0], [5.0], [9.0]])
    assert chained(centre).tolist() == [0, 2, 3, 1]


def test_a_narrow_neighbourhood_stays_within_the_cluster():
    sampler = near(k=200, width=0.5)
    found = support(sampler, make_queries(0, 0, 5))
    place = sampler.place[5].item()
    assert found == {sampler.entity[(place + step) % N].item() for step in (-2, -1, 1, 2)}


def test_the_width_counts_places():
    share = log_share_on_ring(10_000, 290.0)
    assert (share[290] - share[0]).item() == pytest.approx(-0.5, abs=1e-4)


@pytest.mark.parametrize("width", [0.05, 1.0, 5.0, 9.9, 10.1])
def test_shares_on_a_ring_sum_to_one(width):
    assert log_share_on_ring(5, width).double().exp().sum().item() == pytest.approx(1.0)


def test_both_ways_round_the_ring_are_alike():
    share = log_share_on_ring(7, 2.0)
    torch.testing.assert_close(share[1:], share[1:].flip(0))


def test_very_wide_is_uniform():
    torch.testing.assert_close(log_share_on_ring(5, 10.1), log_share_on_ring(5, 9.9))


def test_clusters_are_found():
    centre, cluster = k_means(POSITION, 3, 20, rng(1))
    groups = {frozenset((cluster == c).nonzero().flatten().tolist()) for c in range(3)}
    assert groups == {frozenset(range(start, N, 3)) for start in range(3)}
    torch.testing.assert_close(centre.flatten().sort().values, torch.tensor([0.45, 100.55, 200.65]))


def test_clustering_in_pieces_is_the_same(monkeypatch):
    whole = k_means(POSITION, 3, 20, rng(1))[1]
    monkeypatch.setattr("sparring.samplers.pretrained.AT_ONCE", 6)
    assert torch.equal(k_means(POSITION, 3, 20, rng(1))[1], whole)


def test_a_centre_without_members_stays():
    twice = torch.tensor([[1.0], [1.0], [1.0]])
    centre, cluster = k_means(twice, 2, 3, rng())
    assert centre.flatten().tolist() == [1.0, 1.0]
    assert cluster.tolist() == [0, 0, 0]


def test_lines_up_anew_after_so_many_steps():
    model = model_at()
    sampler = near(model, every=3)
    orders = []
    for step in range(5):
        with torch.no_grad():
            model.entity.weight.copy_(POSITION[torch.randperm(N, generator=rng(step))])
        draw(sampler, make_queries(0, 0, 1), seed=step)
        orders.append(sampler.entity.tolist())
    assert orders[0] == orders[1] == orders[2] != orders[3] == orders[4]


def test_looking_without_training_does_not_count_as_a_step():
    sampler = lined_up(every=3)
    sampler.eval()
    for _ in range(3):
        draw(sampler, make_queries(0, 0, 1))
    assert sampler.calls == 1


def test_the_line_up_and_its_age_are_part_of_the_state():
    one, two = lined_up(every=2), near(model_at(POSITION.flip(0)), every=2)
    two.load_state_dict(one.state_dict())
    assert torch.equal(one.place, two.place)
    for seed in range(3):  # the second of these lines up anew, in both
        a, b = (draw(s, make_queries(0, 0, 1, times=5), seed=seed).ids for s in (one, two))
        assert torch.equal(a, b) or seed
        assert one.calls == two.calls


def test_the_watched_model_is_no_part_of_the_state():
    assert set(near().state_dict()) == {"entity", "place", "_extra_state"}
    assert not list(near().parameters())


def test_a_training_step_introduces_the_model_through_wrappers():
    model = model_at()
    sampler = EANS(WORLD, k=2, clusters=3)
    TrainingStep(
        model,
        MaskKnown(WORLD, inner=sampler),
        NSSALoss(margin=0.0, adversarial_temperature=0.0),
        CorruptBoth(WORLD),
    )
    assert sampler.watched == (model,)


def test_two_entities_are_enough():
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
        EANS(WORLD, k=1).bind_model(torch.nn.Identity())


def test_candidates_before_a_model_are_refused():
    with pytest.raises(RuntimeError, match=r"call bind_model\(model\) first"):
        draw(EANS(WORLD, k=1), make_queries(0, 0, 1))


@pytest.mark.parametrize(
    "options, message",
    [
        ({"k": 0}, "at least one candidate per query; got k=0"),
        ({"width": 0.0}, r"width is a standard deviation above 0; got 0\.0"),
        ({"clusters": 0}, "clusters must be at least 1; got 0"),
        ({"every": 0}, "every must be at least 1; got 0"),
        ({"rounds": 0}, "rounds must be at least 1; got 0"),
    ],
)
def test_options_that_cannot_work_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        EANS(WORLD, **{"k": 1, **options})
