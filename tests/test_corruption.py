import math

import pytest
import torch

from sparring.corruption import (
    CORRUPTIONS,
    Bernoulli,
    CorruptBoth,
    CorruptEither,
    FunctionalSide,
    PseudoTypedSide,
)
from sparring.data.graph import TrainGraph, heads_per_tail, tails_per_head
from sparring.registry import build

# relation 0 leads from one head to nine tails, relation 1 from one head to one tail,
# relation 2 from two heads to two tails each; relation 3 has no fact
TRIPLES = torch.tensor(
    [[0, 0, tail] for tail in range(1, 10)]
    + [[3, 1, 4]]
    + [[head, 2, tail] for head in (5, 6) for tail in (7, 8)]
)
RATE_GRAPH = TrainGraph(TRIPLES, num_entities=10, num_relations=4)


def test_one_head_and_nine_tails_ask_for_the_head_nine_times_out_of_ten():
    assert Bernoulli(RATE_GRAPH).rate[0].item() == pytest.approx(0.9)


def test_nine_heads_and_one_tail_ask_for_the_head_once_in_ten_times():
    turned = TrainGraph(TRIPLES.flip(1)[:, [0, 1, 2]], num_entities=10, num_relations=4)
    assert Bernoulli(turned).rate[0].item() == pytest.approx(0.1)


def test_even_relations_ask_for_both_ends_alike():
    assert Bernoulli(RATE_GRAPH).rate[1:].tolist() == [0.5, 0.5, 0.5]


@pytest.mark.parametrize("make, rate", [(Bernoulli, 0.9), (CorruptEither, 0.5)])
def test_ends_are_asked_for_at_their_rate(make, rate):
    triples = TRIPLES[:9].repeat(500, 1)
    queries = make(RATE_GRAPH)(triples, torch.Generator().manual_seed(0))
    share = (queries.relation >= 4).float().mean().item()
    assert abs(share - rate) < 5 * math.sqrt(rate * (1 - rate) / len(triples))


def test_both_sides_ask_for_all_tails_and_then_all_heads():
    queries = CorruptBoth(RATE_GRAPH)(TRIPLES[:2], torch.Generator())
    assert queries.anchor.tolist() == [0, 0, 1, 2]
    assert queries.relation.tolist() == [0, 0, 4, 4]
    assert queries.answer.tolist() == [1, 2, 0, 0]
    assert queries.weight.tolist() == [1.0, 1.0, 1.0, 1.0]


def test_subsampling_counts_both_queries_of_a_fact_from_four_each():
    """(0, 0, ?) has nine answers, (?, 0, 1) has one; (3, 1, ?) and (?, 1, 4) have one each."""
    queries = CorruptBoth(RATE_GRAPH, subsampling=0.5)(TRIPLES[[0, 9]], torch.Generator())
    common, rare = (9 + 3 + 1 + 3) ** -0.5, (1 + 3 + 1 + 3) ** -0.5
    mean = (common + rare) / 2
    want = torch.tensor([common, rare, common, rare]) / mean
    torch.testing.assert_close(queries.weight, want)


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
    assert rates(FunctionalSide, min_rate=0.0) == [0.5, 1.0, 0.0, 0.5, 0.5]


def test_the_other_side_keeps_its_rate():
    assert rates(FunctionalSide, min_rate=0.2) == pytest.approx([0.5, 0.8, 0.2, 0.5, 0.5])


def test_power_one_is_bernoulli_to_the_last_bit():
    triples = torch.randint(400, (5000, 3), generator=torch.Generator().manual_seed(0))
    graph = TrainGraph((triples**2 // 400).unique(dim=0), 400, 400)
    tph, hpt = tails_per_head(graph), heads_per_tail(graph)
    assert torch.equal(Bernoulli(graph).rate, (tph / (tph + hpt)).nan_to_num(0.5))


def test_sharpened_is_bernoulli_with_a_power_and_a_least_rate():
    graph = world()
    sharpened = build({"name": "sharpened", "floor": 0.2}, CORRUPTIONS, "corruption", graph=graph)
    assert torch.equal(sharpened.rate, Bernoulli(graph, power=2.0, min_rate=0.2).rate)


def test_a_great_power_does_not_overflow():
    assert rates(Bernoulli, power=100.0) == pytest.approx([0.5, 1.0, 0.0, 0.0, 0.5])


def test_power_zero_is_an_even_choice():
    assert rates(Bernoulli, power=0.0, min_rate=0.0) == [0.5] * 5


def test_a_power_sharpens():
    got = rates(Bernoulli, power=2.0, min_rate=0.0)
    assert got == pytest.approx([0.5, 81 / 82, 1 / 10, 4 / 13, 0.5])


def test_rates_stay_within_the_least():
    got = rates(Bernoulli, power=9.0, min_rate=0.25)
    assert got == pytest.approx([0.5, 0.75, 0.25, 0.25, 0.5])


def test_pooled_sides_go_by_the_number_of_entities_seen():
    assert rates(PseudoTypedSide) == pytest.approx([0.5, 1 / 10, 3 / 4, 3 / 5, 0.5])


def test_asking_for_heads_makes_head_queries():
    graph = world()
    queries = FunctionalSide(graph, min_rate=0.0)(graph.triples, torch.Generator().manual_seed(0))
    relation = queries.relation % graph.num_relations
    assert (queries.relation[relation == ONE_TO_MANY] == ONE_TO_MANY + graph.num_relations).all()
    assert (queries.relation[relation == MANY_TO_ONE] == MANY_TO_ONE).all()


@pytest.mark.parametrize("make", [FunctionalSide, Bernoulli])
@pytest.mark.parametrize("min_rate", [-0.1, 0.6])
def test_a_rate_that_both_sides_cannot_have_is_refused(make, min_rate):
    with pytest.raises(ValueError, match=rf"rate from 0 to 0\.5; got min_rate={min_rate}"):
        make(world(), min_rate=min_rate)


def test_a_negative_power_is_refused():
    with pytest.raises(ValueError, match=r"side with many answers; got power=-1\.0"):
        Bernoulli(world(), power=-1.0)


# relation 0 from 0 to 1, 2 and 3; relation 0 from 4 to 3
WEIGHT_GRAPH = TrainGraph(torch.tensor([[0, 0, 1], [0, 0, 2], [0, 0, 3], [4, 0, 3]]), 5, 1)
TAILS = torch.tensor([3.0, 3.0, 3.0, 1.0])
HEADS = torch.tensor([1.0, 1.0, 2.0, 2.0])


def queries(**options):
    return CorruptBoth(WEIGHT_GRAPH, **options)(WEIGHT_GRAPH.triples, torch.Generator())


def scaled(weight):
    return weight / weight.mean()


def test_without_subsampling_all_queries_weigh_the_same():
    asked = queries(subsampling_method="freq")
    assert torch.equal(asked.weight, torch.ones(8))
    assert asked.negative_weight is None


def test_base_counts_both_queries_of_a_fact():
    asked = queries(subsampling=0.5)
    rarity = (TAILS + HEADS + 6) ** -0.5
    torch.testing.assert_close(asked.weight, scaled(rarity.repeat(2)))
    assert asked.negative_weight is None


def test_uniq_counts_the_answers_of_the_query():
    asked = queries(subsampling=0.5, subsampling_method="uniq")
    torch.testing.assert_close(asked.weight, scaled(torch.cat([TAILS, HEADS]) ** -0.5))
    assert asked.negative_weight is None


def test_freq_counts_facts_for_answers_and_queries_for_negatives():
    asked = queries(subsampling=0.7, subsampling_method="freq")
    torch.testing.assert_close(asked.weight, scaled(((TAILS + HEADS + 6) ** -0.7).repeat(2)))
    torch.testing.assert_close(asked.negative_weight, scaled(torch.cat([TAILS, HEADS]) ** -0.7))


def test_chosen_queries_keep_their_weights():
    part = queries(subsampling=0.7, subsampling_method="freq")[torch.tensor([2, 0])]
    whole = queries(subsampling=0.7, subsampling_method="freq")
    assert torch.equal(part.negative_weight, whole.negative_weight[[2, 0]])


@pytest.mark.parametrize("corruption", [CorruptBoth, CorruptEither])
def test_methods_are_three(corruption):
    with pytest.raises(ValueError, match="is one of base, freq, uniq; got 'odd'"):
        corruption(WEIGHT_GRAPH, subsampling_method="odd")
