from dataclasses import replace

import pytest
import torch
from samplers.worlds import draw, graph_of, make_queries

from sparring.samplers import AllEntities, FalseNegativeWeighting, MaskKnown, Uniform, WithPositives
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
    drawn = draw(FalseNegativeWeighting(WORLD, inner=AllEntities(WORLD), doubt=by_id), QUERY)
    expected = [1.0, 1.0, 0.8, 0.7, 0.6, 0.5]  # the second is the answer
    assert drawn.weight[0].tolist() == pytest.approx(expected)
    assert drawn.p_false_negative[0, 2:].tolist() == pytest.approx([0.2, 0.3, 0.4, 0.5])


def test_what_the_sampler_states_is_used_by_default():
    drawn = draw(FalseNegativeWeighting(WORLD, inner=Doubting(WORLD)), QUERY)
    assert drawn.weight[drawn.mask].tolist() == pytest.approx([0.75] * 5)


def test_an_estimate_can_be_stated_only():
    drawn = draw(
        FalseNegativeWeighting(WORLD, inner=AllEntities(WORLD), doubt=by_id, weigh=False), QUERY
    )
    assert drawn.weight.tolist() == [[1.0] * 6]
    assert drawn.p_false_negative[0, 5].item() == pytest.approx(0.5)


def test_known_facts_that_are_shown_keep_their_weight():
    shown = WithPositives(WORLD, inner=Uniform(WORLD, k=2), answers=1)
    drawn = draw(FalseNegativeWeighting(WORLD, inner=shown, doubt=by_id), QUERY)
    assert drawn.p_false_negative[0, 2] == 1.0
    assert drawn.weight[0, 2] == 3.0


def test_mask_and_density_stay_as_they_are():
    hidden = MaskKnown(WORLD, inner=AllEntities(WORLD))
    plain, drawn = (
        draw(hidden, QUERY),
        draw(FalseNegativeWeighting(WORLD, inner=hidden, doubt=by_id), QUERY),
    )
    assert torch.equal(plain.mask, drawn.mask)
    assert torch.equal(plain.log_q, drawn.log_q)


def test_an_estimator_is_not_trained_along():
    layer = torch.nn.Linear(1, 1)
    learned = lambda queries, ids: layer(ids.unsqueeze(2).float()).squeeze(2).sigmoid()
    drawn = draw(FalseNegativeWeighting(WORLD, inner=AllEntities(WORLD), doubt=learned), QUERY)
    assert not drawn.weight.requires_grad and not drawn.p_false_negative.requires_grad


def test_an_estimator_module_is_part_of_the_sampler():
    sampler = FalseNegativeWeighting(
        WORLD, inner=AllEntities(WORLD), doubt=CardinalityEstimator(WORLD)
    )
    assert any(isinstance(part, CardinalityEstimator) for part in sampler.modules())


def test_the_chance_of_a_missing_answer_by_cardinality():
    """Tail queries have 2 answers in the mean, head queries 4 / 3; unused relations none."""
    doubt = CardinalityEstimator(WORLD, missing=0.25, ceiling=1.0)
    ids = torch.zeros(1, 3, dtype=torch.long)
    assert doubt(QUERY, ids).tolist() == [pytest.approx([2 / 3 / 6] * 3)]
    assert doubt(make_queries(1, 0 + 2, 0), ids)[0, 0].item() == pytest.approx(4 / 3 / 3 / 6)
    assert doubt(make_queries(0, 1, 0), ids)[0, 0].item() == 0.0


def test_a_ceiling_holds():
    doubt = CardinalityEstimator(WORLD, missing=0.99, ceiling=0.3)
    assert doubt(QUERY, torch.zeros(1, 1, dtype=torch.long)).item() == pytest.approx(0.3)


@pytest.mark.parametrize("missing", [-0.1, 1.0])
def test_not_everything_can_be_missing(missing):
    with pytest.raises(ValueError, match=f"at least 0, below 1; got {missing}"):
        CardinalityEstimator(WORLD, missing=missing)


def test_a_ceiling_is_a_probability():
    with pytest.raises(ValueError, match=r"from 0 to 1; got ceiling=1\.5"):
        CardinalityEstimator(WORLD, ceiling=1.5)
