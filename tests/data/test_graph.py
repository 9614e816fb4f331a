"""Training graphs: cardinality of relations, and facts held out."""

import pytest
import torch

from sparring.corruption import tail_and_head_queries
from sparring.data.diagnostics import GraphError
from sparring.data.graph import (
    CARDINALITIES,
    TrainGraph,
    cardinality,
    heads_per_tail,
    tails_per_head,
)
from sparring.testing.synthetic import synthetic_world


def graph_of(*triples, num_relations=1):
    return TrainGraph(torch.tensor(triples).view(-1, 3), 10, num_relations)


def name_of(graph):
    return CARDINALITIES[cardinality(graph)[0]]


def test_tails_per_head_is_the_mean_over_heads_that_have_tails():
    graph = graph_of((0, 0, 1), (0, 0, 2), (0, 0, 3), (4, 0, 1))
    assert tails_per_head(graph).tolist() == [2.0]


def test_heads_per_tail_is_the_mean_over_tails_that_have_heads():
    graph = graph_of((0, 0, 9), (1, 0, 9), (2, 0, 9), (2, 0, 8))
    assert heads_per_tail(graph).tolist() == [2.0]


def test_relations_are_counted_apart():
    graph = graph_of((0, 0, 1), (0, 1, 1), (0, 1, 2), num_relations=2)
    assert tails_per_head(graph).tolist() == [1.0, 2.0]
    assert heads_per_tail(graph).tolist() == [1.0, 1.0]


def test_a_repeated_triple_counts_once():
    graph = graph_of((0, 0, 1), (0, 0, 1))
    assert tails_per_head(graph).tolist() == [1.0]


def test_an_unused_relation_has_no_tails_and_is_one_to_one():
    graph = graph_of((0, 0, 1), num_relations=2)
    assert tails_per_head(graph).tolist() == [1.0, 0.0]
    assert cardinality(graph)[1] == CARDINALITIES.index("1-1")


def test_pairs_are_one_to_one():
    assert name_of(graph_of((0, 0, 1), (2, 0, 3))) == "1-1"


def test_one_head_with_many_tails_is_one_to_many():
    assert name_of(graph_of((0, 0, 1), (0, 0, 2))) == "1-N"


def test_many_heads_of_one_tail_are_many_to_one():
    assert name_of(graph_of((1, 0, 0), (2, 0, 0))) == "N-1"


def test_everyone_with_everyone_is_many_to_many():
    assert name_of(graph_of((0, 0, 8), (0, 0, 9), (1, 0, 8), (1, 0, 9))) == "N-N"


def test_exactly_one_and_a_half_counts_as_many():
    assert name_of(graph_of((0, 0, 1), (0, 0, 2), (3, 0, 4))) == "1-N"


def test_just_under_one_and_a_half_counts_as_one():
    assert name_of(graph_of((0, 0, 1), (0, 0, 2), (3, 0, 4), (5, 0, 6))) == "1-1"


def test_a_graph_without_triples_has_only_unused_relations():
    graph = TrainGraph(torch.zeros(0, 3, dtype=torch.long), 3, 2)
    assert cardinality(graph).tolist() == [0, 0]


WORLD = synthetic_world(60).graph


def as_set(triples):
    return set(map(tuple, triples.tolist()))


def test_a_share_of_the_triples_is_held_out():
    part = WORLD.training.hold_out(0.1)
    assert len(part.held_out) == round(0.1 * len(WORLD.train))
    assert as_set(part.triples) | as_set(part.held_out) == as_set(WORLD.train)
    assert not as_set(part.triples) & as_set(part.held_out)


def test_the_choice_is_always_the_same():
    assert torch.equal(WORLD.training.hold_out(0.1).held_out, WORLD.training.hold_out(0.1).held_out)


def test_everything_keeps_a_triple():
    part = WORLD.training.hold_out(0.1)
    assert (part.degree > 0).all()
    assert len(part.triples[:, 1].unique()) == len(WORLD.relations)


def test_what_is_held_out_is_not_known():
    part = WORLD.training.hold_out(0.1)
    queries = tail_and_head_queries(part.held_out, part.num_relations)
    assert not part.known.contains(queries, queries.answer.unsqueeze(1)).any()


def test_holding_nothing_out_changes_nothing():
    assert WORLD.training.hold_out(0.0) is WORLD.training
    assert WORLD.training.held_out is None


def test_a_copy_elsewhere_holds_the_same_out():
    part = WORLD.training.hold_out(0.1)
    there = part.to(torch.device("meta"))
    assert there.held_out.shape == part.held_out.shape
    assert there.held_out.device.type == "meta"


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(GraphError, match="are not fractions to hold out"):
        WORLD.training.hold_out(share)
