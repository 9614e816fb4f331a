import pytest
import torch
from samplers.worlds import draw, graph_of, make_queries

from sparring.losses import HaSa
from sparring.registry import build
from sparring.samplers import SAMPLERS, DistanceEstimator

# 0 -> 1 -> 2 -> 3, and 4 -> 1; 5 is alone
PATH = graph_of((0, 0, 1), (1, 1, 2), (2, 0, 3), (4, 1, 1))
EVERYONE = torch.arange(6).unsqueeze(0)


def in_reach(query, **options):
    doubt = DistanceEstimator(PATH, **options)(query, EVERYONE)
    assert set(doubt.unique().tolist()) <= {0.0, options.get("chance", 0.5)}
    return doubt[0].nonzero().flatten().tolist()


@pytest.mark.parametrize(("hops", "found"), [(1, [0, 1]), (2, [0, 1, 2]), (3, [0, 1, 2, 3])])
def test_facts_are_followed_from_head_to_tail(hops, found):
    assert in_reach(make_queries(0, 0, 1), hops=hops) == found


def test_where_the_head_is_asked_for_they_are_followed_back():
    assert in_reach(make_queries(2, 3, 1), chance=0.25) == [0, 1, 2, 4]


def test_an_entity_alone_has_nothing_in_reach():
    assert in_reach(make_queries(5, 0, 1)) == []


def test_queries_of_both_sides_in_one_batch():
    doubt = DistanceEstimator(PATH, hops=1)
    queries = make_queries(1, 0, 2, times=2)
    queries.relation[1] = 2
    assert (doubt(queries, EVERYONE) > 0).tolist() == [
        [False, True, True, False, False, False],
        [True, True, False, False, True, False],
    ]


@pytest.mark.parametrize("chance", [0.0, 1.5])
def test_a_chance_is_above_zero(chance):
    with pytest.raises(ValueError, match=f"is above 0, at most 1; got {chance}"):
        DistanceEstimator(PATH, chance=chance)


HASA = {
    "name": "mask-known",
    "inner": {
        "name": "false-negative-weighting",
        "weigh": False,
        "doubt": {"name": "distance"},
        "inner": {
            "name": "dynamic-negatives",
            "k": 3,
            "inner": {"name": "mask-known", "inner": {"name": "all-entities"}},
        },
    },
}


def test_the_sampler_of_hasa_is_made_of_parts():
    """The three best of all entities that are no facts, those in reach being suspects."""
    sampler = build(HASA, SAMPLERS, "sampler", graph=PATH)
    queries = make_queries(0, 0, 1, times=2)
    score = torch.tensor([0.0, 9.0, 8.0, 7.0, 6.0, 5.0]).expand(2, -1)
    drawn = draw(sampler, queries, lambda ids: score.gather(1, ids.expand(2, -1)))
    assert drawn.ids.tolist() == [[2, 3, 4]] * 2
    assert drawn.mask.all()
    assert (drawn.p_false_negative[0] > 0).tolist() == [True, False, False]
    assert (drawn.weight == 1).all()
    loss = HaSa(prior=0.3)(score[:, 1], score.gather(1, drawn.ids), drawn, queries.weight)
    unsuspecting = HaSa(prior=0.0)(score[:, 1], score.gather(1, drawn.ids), drawn, queries.weight)
    assert loss < unsuspecting
