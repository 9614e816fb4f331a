"""How much each question weighs."""

import pytest
import torch

from sparring.corruption import CorruptBoth, CorruptEither
from sparring.data.graph import TrainGraph

# relation 0 from 0 to 1, 2 and 3; relation 0 from 4 to 3
GRAPH = TrainGraph(torch.tensor([[0, 0, 1], [0, 0, 2], [0, 0, 3], [4, 0, 3]]), 5, 1)
TAILS = torch.tensor([3.0, 3.0, 3.0, 1.0])
HEADS = torch.tensor([1.0, 1.0, 2.0, 2.0])


def queries(**options):
    return CorruptBoth(GRAPH, **options)(GRAPH.triples, torch.Generator())


def scaled(weight):
    return weight / weight.mean()


def test_without_subsampling_all_queries_weigh_the_same():
    asked = queries(kind="freq")
    assert torch.equal(asked.weight, torch.ones(8))
    assert asked.negative_weight is None


def test_base_counts_both_queries_of_a_fact():
    asked = queries(subsampling=0.5)
    rarity = (TAILS + HEADS + 6) ** -0.5
    torch.testing.assert_close(asked.weight, scaled(rarity.repeat(2)))
    assert asked.negative_weight is None


def test_uniq_counts_the_answers_of_the_query():
    asked = queries(subsampling=0.5, kind="uniq")
    torch.testing.assert_close(asked.weight, scaled(torch.cat([TAILS, HEADS]) ** -0.5))
    assert asked.negative_weight is None


def test_freq_counts_facts_for_answers_and_queries_for_negatives():
    asked = queries(subsampling=0.7, kind="freq")
    torch.testing.assert_close(asked.weight, scaled(((TAILS + HEADS + 6) ** -0.7).repeat(2)))
    torch.testing.assert_close(asked.negative_weight, scaled(torch.cat([TAILS, HEADS]) ** -0.7))


def test_chosen_queries_keep_their_weights():
    part = queries(subsampling=0.7, kind="freq")[torch.tensor([2, 0])]
    whole = queries(subsampling=0.7, kind="freq")
    assert torch.equal(part.negative_weight, whole.negative_weight[[2, 0]])


@pytest.mark.parametrize("corruption", [CorruptBoth, CorruptEither])
def test_kinds_are_three(corruption):
    with pytest.raises(ValueError, match="of kind base, freq, uniq; got 'odd'"):
        corruption(GRAPH, kind="odd")
