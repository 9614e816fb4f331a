import pytest
import torch

from sparring.corruption import Bernoulli, FunctionalSide, PseudoTypedSide, SharpenedSide
from sparring.data.graph import TrainGraph

ONE_TO_ONE, ONE_TO_MANY, MANY_TO_ONE, MANY_TO_MANY, UNUSED = range(5)


def world():
    """One relation of each class; the 1-N relation has 1 head and 9 tails."""
    triples = [(0, ONE_TO_ONE, 1), (2, ONE_TO_ONE, 3)]
    triples += [(0, ONE_TO_MANY, tail) for tail in range(1, 10)]
    triples += [(head, MANY_TO_ONE, 0) for head in range(1, 4)]
    triples += [(head, MANY_TO_MANY, tail) for head in (0, 1, 2) for tail in (3, 4)]
    return TrainGraph(torch.tensor(triples), 10, 5)


def rates(make, **options):
    return make(world(), **options).rate.tolist()


def test_the_side_with_one_answer_is_asked_for():
    assert rates(FunctionalSide, floor=0.0) == [0.5, 1.0, 0.0, 0.5, 0.5]


def test_the_other_side_keeps_its_floor():
    assert rates(FunctionalSide, floor=0.2) == pytest.approx([0.5, 0.8, 0.2, 0.5, 0.5])


def test_power_one_is_bernoulli():
    sharpened = SharpenedSide(world(), power=1.0, floor=0.0)
    torch.testing.assert_close(sharpened.rate, Bernoulli(world()).rate)


def test_power_zero_is_an_even_choice():
    assert rates(SharpenedSide, power=0.0, floor=0.0) == [0.5] * 5


def test_a_power_sharpens():
    got = rates(SharpenedSide, power=2.0, floor=0.0)
    assert got == pytest.approx([0.5, 81 / 82, 1 / 10, 4 / 13, 0.5])


def test_sharpened_rates_stay_within_the_floor():
    got = rates(SharpenedSide, power=9.0, floor=0.25)
    assert got == pytest.approx([0.5, 0.75, 0.25, 0.25, 0.5])


def test_pooled_sides_go_by_the_number_of_entities_seen():
    assert rates(PseudoTypedSide) == pytest.approx([0.5, 1 / 10, 3 / 4, 3 / 5, 0.5])


def test_asking_for_heads_makes_head_queries():
    graph = world()
    queries = FunctionalSide(graph, floor=0.0)(graph.triples, torch.Generator().manual_seed(0))
    relation = queries.relation % graph.num_relations
    assert (queries.relation[relation == ONE_TO_MANY] == ONE_TO_MANY + graph.num_relations).all()
    assert (queries.relation[relation == MANY_TO_ONE] == MANY_TO_ONE).all()


@pytest.mark.parametrize("make", [FunctionalSide, SharpenedSide])
@pytest.mark.parametrize("floor", [-0.1, 0.6])
def test_a_floor_that_both_sides_cannot_have_is_refused(make, floor):
    with pytest.raises(ValueError, match=rf"share from 0 to 0\.5; got floor={floor}"):
        make(world(), floor=floor)


def test_a_negative_power_is_refused():
    with pytest.raises(ValueError, match=r"side with many answers; got power=-1\.0"):
        SharpenedSide(world(), power=-1.0)
