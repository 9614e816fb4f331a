from dataclasses import replace

import pytest
import torch
from samplers.worlds import draw, graph_of, make_queries

from sparring.losses import HaSa
from sparring.registry import build
from sparring.samplers import (
    SAMPLERS,
    AllEntities,
    DistanceEstimator,
    FalseNegativeWeighting,
    MaskKnown,
    Uniform,
    WithPositives,
)
from sparring.samplers.false_negatives import CardinalityEstimator

# one head with three tails, and two heads of tail 1
WORLD = graph_of((0, 0, 1), (0, 0, 2), (0, 0, 3), (4, 0, 1), num_entities=6)
QUERY = make_queries(0, 0, 1)


def by_id(queries, ids):
    """The doubt grows with the id."""
    return (ids / 10).expand(len(queries), -1)


class Doubting(AllEntities):
    """A sampler that states an estimate of its own."""

    def sample(self, queries, score, rng):
        drawn = super().sample(queries, score, rng)
        return replace(drawn, p_false_negative=torch.full_like(drawn.weight, 0.25))


def test_weight_goes_down_with_doubt():
    drawn = draw(FalseNegativeWeighting(WORLD, inner=AllEntities(WORLD), estimator=by_id), QUERY)
    expected = [1.0, 1.0, 0.8, 0.7, 0.6, 0.5]  # the second is the answer
    assert drawn.weight[0].tolist() == pytest.approx(expected)
    assert drawn.p_false_negative[0, 2:].tolist() == pytest.approx([0.2, 0.3, 0.4, 0.5])


def test_what_the_sampler_states_is_used_by_default():
    drawn = draw(FalseNegativeWeighting(WORLD, inner=Doubting(WORLD)), QUERY)
    assert drawn.weight[drawn.mask].tolist() == pytest.approx([0.75] * 5)


def test_an_estimate_can_be_stated_only():
    drawn = draw(
        FalseNegativeWeighting(
            WORLD, inner=AllEntities(WORLD), estimator=by_id, weight_negatives=False
        ),
        QUERY,
    )
    assert drawn.weight.tolist() == [[1.0] * 6]
    assert drawn.p_false_negative[0, 5].item() == pytest.approx(0.5)


def test_known_facts_that_are_shown_keep_their_weight():
    shown = WithPositives(WORLD, inner=Uniform(WORLD, k=2), answers=1)
    drawn = draw(FalseNegativeWeighting(WORLD, inner=shown, estimator=by_id), QUERY)
    assert drawn.p_false_negative[0, 2] == 1.0
    assert drawn.weight[0, 2] == 3.0


def test_mask_and_density_stay_as_they_are():
    hidden = MaskKnown(WORLD, inner=AllEntities(WORLD))
    plain, drawn = (
        draw(hidden, QUERY),
        draw(FalseNegativeWeighting(WORLD, inner=hidden, estimator=by_id), QUERY),
    )
    assert torch.equal(plain.mask, drawn.mask)
    assert torch.equal(plain.log_q, drawn.log_q)


def test_an_estimator_is_not_trained_along():
    layer = torch.nn.Linear(1, 1)
    learned = lambda queries, ids: layer(ids.unsqueeze(2).float()).squeeze(2).sigmoid()
    drawn = draw(FalseNegativeWeighting(WORLD, inner=AllEntities(WORLD), estimator=learned), QUERY)
    assert not drawn.weight.requires_grad and not drawn.p_false_negative.requires_grad


def test_an_estimator_module_is_part_of_the_sampler():
    sampler = FalseNegativeWeighting(
        WORLD, inner=AllEntities(WORLD), estimator=CardinalityEstimator(WORLD)
    )
    assert any(isinstance(part, CardinalityEstimator) for part in sampler.modules())


def test_the_chance_of_a_missing_answer_by_cardinality():
    """Tail queries have 2 answers in the mean, head queries 4 / 3; unused relations none."""
    estimator = CardinalityEstimator(WORLD, missing_rate=0.25, max_probability=1.0)
    ids = torch.zeros(1, 3, dtype=torch.long)
    assert estimator(QUERY, ids).tolist() == [pytest.approx([2 / 3 / 6] * 3)]
    assert estimator(make_queries(1, 0 + 2, 0), ids)[0, 0].item() == pytest.approx(4 / 3 / 3 / 6)
    assert estimator(make_queries(0, 1, 0), ids)[0, 0].item() == 0.0


def test_a_ceiling_holds():
    estimator = CardinalityEstimator(WORLD, missing_rate=0.99, max_probability=0.3)
    assert estimator(QUERY, torch.zeros(1, 1, dtype=torch.long)).item() == pytest.approx(0.3)


@pytest.mark.parametrize("missing_rate", [-0.1, 1.0])
def test_not_everything_can_be_missing(missing_rate):
    with pytest.raises(ValueError, match=f"at least 0 and below 1; got {missing_rate}"):
        CardinalityEstimator(WORLD, missing_rate=missing_rate)


def test_a_ceiling_is_a_probability():
    with pytest.raises(ValueError, match=r"max_probability is from 0 to 1; got 1\.5"):
        CardinalityEstimator(WORLD, max_probability=1.5)


# 0 -> 1 -> 2 -> 3, and 4 -> 1; 5 is alone
PATH = graph_of((0, 0, 1), (1, 1, 2), (2, 0, 3), (4, 1, 1))
EVERYONE = torch.arange(6).unsqueeze(0)


def in_reach(query, **options):
    p = DistanceEstimator(PATH, **options)(query, EVERYONE)
    assert set(p.unique().tolist()) <= {0.0, options.get("probability", 0.5)}
    return p[0].nonzero().flatten().tolist()


@pytest.mark.parametrize(("hops", "found"), [(1, [0, 1]), (2, [0, 1, 2]), (3, [0, 1, 2, 3])])
def test_facts_are_followed_from_head_to_tail(hops, found):
    assert in_reach(make_queries(0, 0, 1), hops=hops) == found


def test_where_the_head_is_asked_for_they_are_followed_back():
    assert in_reach(make_queries(2, 3, 1), probability=0.25) == [0, 1, 2, 4]


def test_an_entity_alone_has_nothing_in_reach():
    assert in_reach(make_queries(5, 0, 1)) == []


def test_queries_of_both_sides_in_one_batch():
    estimator = DistanceEstimator(PATH, hops=1)
    queries = make_queries(1, 0, 2, times=2)
    queries.relation[1] = 2
    assert (estimator(queries, EVERYONE) > 0).tolist() == [
        [False, True, True, False, False, False],
        [True, True, False, False, True, False],
    ]


@pytest.mark.parametrize("probability", [0.0, 1.5])
def test_a_chance_is_above_zero(probability):
    with pytest.raises(ValueError, match=f"is above 0 and at most 1; got {probability}"):
        DistanceEstimator(PATH, probability=probability)


HASA = {
    "name": "mask-known",
    "inner": {
        "name": "false-negative-weighting",
        "weight_negatives": False,
        "estimator": {"name": "distance"},
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
