"""Which end is asked about, by hand."""

import math

import pytest
import torch

from sparring.corruption import Bernoulli, CorruptBoth, CorruptEither
from sparring.data.graph import TrainGraph

# relation 0 leads from one head to nine tails, relation 1 from one head to one tail,
# relation 2 from two heads to two tails each; relation 3 has no fact
TRIPLES = torch.tensor(
    [[0, 0, tail] for tail in range(1, 10)]
    + [[3, 1, 4]]
    + [[head, 2, tail] for head in (5, 6) for tail in (7, 8)]
)
GRAPH = TrainGraph(TRIPLES, num_entities=10, num_relations=4)


def test_one_head_and_nine_tails_ask_for_the_head_nine_times_out_of_ten():
    assert Bernoulli(GRAPH).rate[0].item() == pytest.approx(0.9)


def test_nine_heads_and_one_tail_ask_for_the_head_once_in_ten_times():
    turned = TrainGraph(TRIPLES.flip(1)[:, [0, 1, 2]], num_entities=10, num_relations=4)
    assert Bernoulli(turned).rate[0].item() == pytest.approx(0.1)


def test_even_relations_ask_for_both_ends_alike():
    assert Bernoulli(GRAPH).rate[1:].tolist() == [0.5, 0.5, 0.5]


@pytest.mark.parametrize("make, rate", [(Bernoulli, 0.9), (CorruptEither, 0.5)])
def test_ends_are_asked_for_at_their_rate(make, rate):
    triples = TRIPLES[:9].repeat(500, 1)
    queries = make(GRAPH)(triples, torch.Generator().manual_seed(0))
    share = (queries.relation >= 4).float().mean().item()
    assert abs(share - rate) < 5 * math.sqrt(rate * (1 - rate) / len(triples))


def test_both_sides_ask_for_all_tails_and_then_all_heads():
    queries = CorruptBoth(GRAPH)(TRIPLES[:2], torch.Generator())
    assert queries.anchor.tolist() == [0, 0, 1, 2]
    assert queries.relation.tolist() == [0, 0, 4, 4]
    assert queries.answer.tolist() == [1, 2, 0, 0]
    assert queries.weight.tolist() == [1.0, 1.0, 1.0, 1.0]


def test_subsampling_counts_both_queries_of_a_fact_from_four_each():
    """(0, 0, ?) has nine answers, (?, 0, 1) has one; (3, 1, ?) and (?, 1, 4) have one each."""
    queries = CorruptBoth(GRAPH, subsampling=0.5)(TRIPLES[[0, 9]], torch.Generator())
    common, rare = (9 + 3 + 1 + 3) ** -0.5, (1 + 3 + 1 + 3) ** -0.5
    mean = (common + rare) / 2
    want = torch.tensor([common, rare, common, rare]) / mean
    torch.testing.assert_close(queries.weight, want)
