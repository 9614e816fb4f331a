import pytest
import torch

from sparring.data.graph import KnowledgeGraph, TrainGraph
from sparring.data.statistics import describe, linked, symmetric
from sparring.data.vocabulary import Vocabulary

NONE = torch.zeros(0, 3, dtype=torch.long)


def graph_of(train, valid=(), test=(), entities=6, relations=2, **options):
    splits = [torch.tensor(rows, dtype=torch.long).view(-1, 3) for rows in (train, valid, test)]
    return KnowledgeGraph(
        "toy",
        Vocabulary([f"e{n}" for n in range(entities)]),
        Vocabulary([f"r{n}" for n in range(relations)], [f"R{n}" for n in range(relations)]),
        *splits,
        **options,
    )


def test_sizes_are_those_of_the_vocabulary():
    summary = describe(graph_of([(0, 0, 1)], types=("t",)))
    assert (summary.name, summary.entities, summary.relations, summary.types) == ("toy", 6, 2, 1)


def test_each_split_is_counted():
    summary = describe(graph_of([(0, 0, 1), (1, 0, 2)], [(0, 1, 1)], [(2, 0, 2)] * 3))
    assert [part.triples for part in summary.splits.values()] == [2, 1, 3]


def test_self_loops_are_counted_in_each_split():
    summary = describe(graph_of([(0, 0, 0), (1, 0, 2)], [(0, 1, 1)], [(2, 0, 2), (1, 1, 1)]))
    assert [part.self_loops for part in summary.splits.values()] == [1, 0, 2]


def test_unseen_names_are_counted():
    test = [(3, 0, 4), (4, 0, 3), (0, 1, 1), (0, 0, 1)]
    part = describe(graph_of([(0, 0, 1)], [], test)).splits["test"]
    assert (part.unseen_entities, part.unseen_relations, part.unseen_triples) == (2, 1, 3)


def test_train_has_nothing_unseen():
    part = describe(graph_of([(0, 0, 1)], [], [(3, 1, 4)])).splits["train"]
    assert (part.unseen_entities, part.unseen_relations, part.unseen_triples) == (0, 0, 0)


def test_degrees_are_summed_up_by_quantiles():
    summary = describe(graph_of([(0, 0, 1), (0, 0, 2), (0, 0, 3)], entities=4))
    assert summary.degree == pytest.approx(
        {0.0: 1, 0.25: 1, 0.5: 1, 0.75: 1.5, 0.9: 2.4, 0.99: 2.94, 1.0: 3}
    )


def test_the_inverse_leak_is_the_share_of_test_pairs_that_train_links_back():
    train = [(1, 1, 0), (2, 0, 3)]
    summary = describe(graph_of(train, [], [(0, 0, 1), (2, 1, 3), (4, 0, 5), (0, 1, 1)]))
    assert summary.inverse_leak == 0.5


def test_the_parallel_leak_is_the_share_of_test_pairs_that_train_links_as_well():
    train = [(1, 1, 0), (2, 0, 3)]
    summary = describe(graph_of(train, [], [(0, 0, 1), (2, 1, 3), (4, 0, 5), (0, 1, 1)]))
    assert summary.parallel_leak == 0.25


def test_without_test_triples_there_is_no_leak_to_speak_of():
    summary = describe(graph_of([(0, 0, 1)]))
    assert summary.inverse_leak is None and summary.parallel_leak is None


def test_a_relation_is_described_by_its_training_triples():
    train = [(0, 0, 1), (0, 0, 2), (3, 0, 1), (1, 1, 0)]
    relation = describe(graph_of(train, [(0, 0, 3)], [(3, 0, 2), (1, 0, 0)])).relation[0]
    assert (relation.name, relation.label) == ("r0", "R0")
    assert relation.triples == {"train": 3, "valid": 1, "test": 2}
    assert (relation.heads, relation.tails) == (2, 2)
    assert (relation.tails_per_head, relation.heads_per_tail) == (1.5, 1.5)
    assert relation.cardinality == "N-N"


def test_the_leak_of_a_relation_is_that_of_its_test_triples():
    first, second = describe(graph_of([(1, 1, 0)], [], [(0, 0, 1), (2, 0, 3)])).relation
    assert first.inverse_leak == 0.5 and second.inverse_leak is None


def test_symmetry_is_the_share_of_triples_that_stand_both_ways():
    train = TrainGraph(torch.tensor([[0, 0, 1], [1, 0, 0], [1, 0, 2], [3, 0, 3]]), 4, 2)
    torch.testing.assert_close(symmetric(train), torch.tensor([0.75, 0.0]))


def test_symmetry_asks_for_the_same_relation():
    train = TrainGraph(torch.tensor([[0, 0, 1], [1, 1, 0]]), 2, 2)
    assert symmetric(train).tolist() == [0, 0]


def test_a_pair_is_linked_in_one_direction():
    train = TrainGraph(torch.tensor([[0, 1, 1]]), 2, 2)
    ends = torch.tensor([0, 1])
    assert linked(train, ends, ends.flip(0)).tolist() == [True, False]


def test_a_graph_without_training_triples_can_be_described():
    summary = describe(graph_of([], [], [(0, 0, 1)]))
    assert summary.splits["test"].unseen_triples == 1 and summary.inverse_leak == 0


def test_the_notes_of_the_reader_are_passed_on():
    assert describe(graph_of([(0, 0, 1)], notes={"odd": 2})).notes == {"odd": 2}
