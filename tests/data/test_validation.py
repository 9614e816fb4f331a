"""Duplicates, overlaps and unseen names: reported, dropped or refused."""

import logging
import re

import pytest

from sparring.data.diagnostics import GraphError
from sparring.data.read import read_graph


def named(graph, triples):
    return [
        (graph.entities[head], graph.relations[relation], graph.entities[tail])
        for head, relation, tail in triples.tolist()
    ]


def test_duplicates_leave_train_and_are_counted(folder):
    graph = read_graph(folder(train="a\tr\tb\nb\ts\tc\na\tr\tb\na\tr\tb\n"))
    assert named(graph, graph.train) == [("a", "r", "b"), ("b", "s", "c")]
    assert graph.notes["duplicate triples in train"] == 2


def test_duplicates_stay_in_test_and_are_counted(folder):
    graph = read_graph(folder(test="b\ts\ta\nb\ts\ta\n"))
    assert len(graph.test) == 2
    assert graph.notes == {"duplicate triples in test": 1}


def test_overlaps_are_counted_once_per_distinct_triple(folder):
    graph = read_graph(folder(valid="a\tr\tb\na\tr\tb\na\tr\tc\n", test="a\tr\tc\n"))
    assert graph.notes["triples of valid also in train"] == 1
    assert graph.notes["triples of test also in valid"] == 1
    assert "triples of test also in train" not in graph.notes
    assert len(graph.valid) == 3


def test_what_is_odd_is_logged_with_its_place(folder, caplog):
    path = folder(train="a\tr\tb\nb\ts\tc\na\tr\tb\n")
    with caplog.at_level(logging.WARNING):
        read_graph(path)
    assert caplog.messages == [
        f"{path / 'train.tsv'}, line 3: duplicate triples in train: ['a', 'r', 'b']; "
        "all but the first were dropped"
    ]


def test_unseen_names_are_kept_and_counted(folder):
    graph = read_graph(folder(test="x\ts\ta\nx\tq\ty\na\tr\tb\n"))
    assert tuple(graph.entities) == ("a", "b", "c", "x", "y")
    assert len(graph.test) == 3
    assert graph.notes["entities of test unseen in train"] == 2
    assert graph.notes["relations of test unseen in train"] == 1
    assert graph.notes["triples of test with names unseen in train"] == 2


def test_unseen_names_can_be_dropped(folder):
    graph = read_graph(folder(test="A\ts\ta\nb\tq\ta\nb\ts\ta\n"), unseen="drop")
    assert named(graph, graph.test) == [("b", "s", "a")]
    assert tuple(graph.entities) == ("a", "b", "c")
    assert tuple(graph.relations) == ("r", "s")
    assert graph.notes["triples of test with names unseen in train"] == 2


@pytest.mark.parametrize("row", ["x\tr\ta", "a\tx\tb", "a\tr\tx"])
def test_one_unseen_name_is_enough_to_drop_a_triple(folder, row):
    assert len(read_graph(folder(test=f"b\ts\ta\n{row}\n"), unseen="drop").test) == 1


def test_dropping_leaves_the_other_triples_as_they_are(folder):
    graph = read_graph(folder(valid="A\tr\tc\na\tr\tc\n"), unseen="drop")
    assert named(graph, graph.train) == [("a", "r", "b"), ("b", "r", "c"), ("c", "s", "a")]
    assert named(graph, graph.valid) == [("a", "r", "c")]


def refused(path, message, **options):
    with pytest.raises(GraphError, match=re.escape(message)):
        read_graph(path, **options)


def test_an_entity_unseen_in_train_where_that_is_refused(folder):
    message = (
        "test.tsv, line 2: entities of test unseen in train: 'x'; "
        'add them to train, or pass unseen="keep" or unseen="drop"'
    )
    refused(folder(test="a\tr\tb\nx\tr\ta\n"), message, unseen="error")


def test_a_relation_unseen_in_train_where_that_is_refused(folder):
    message = "valid.tsv, line 1: relations of valid unseen in train: 'q'; add them to train"
    refused(folder(valid="a\tq\tb\n"), message, unseen="error")


def test_several_unseen_names_are_shown_where_they_occur_first(folder):
    message = (
        "entities of test unseen in train, 2 in all (line 3: 'x'; line 2: 'y'); add them to train"
    )
    refused(folder(test="a\tr\tb\na\tr\ty\nx\tr\ta\ny\tr\tx\n"), message, unseen="error")
