"""The fact index against a Python set, for any graph."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sparring.batch import Queries
from sparring.data.index import TripleIndex

ENTITIES, RELATIONS = 5, 2

triples = st.lists(
    st.tuples(
        st.integers(0, ENTITIES - 1), st.integers(0, RELATIONS - 1), st.integers(0, ENTITIES - 1)
    ),
    max_size=30,
)
questions = st.lists(
    st.tuples(st.integers(0, ENTITIES - 1), st.integers(0, 2 * RELATIONS - 1)),
    min_size=1,
    max_size=4,
)
lists = st.lists(st.integers(0, ENTITIES - 1), min_size=1, max_size=7)


def index_of(facts):
    return TripleIndex(torch.tensor(facts, dtype=torch.long).view(-1, 3), ENTITIES, RELATIONS)


def queries_of(asked):
    anchor, relation = torch.tensor(asked).unbind(1)
    return Queries(anchor, relation, torch.zeros_like(anchor), torch.ones(len(asked)))


def answers_of(facts, anchor, relation):
    """What a set of triples says."""
    tails = {t for h, r, t in facts if (h, r) == (anchor, relation)}
    heads = {h for h, r, t in facts if (t, r + RELATIONS) == (anchor, relation)}
    return tails | heads


@given(triples, questions, st.data())
def test_own_lists_are_looked_up_as_in_a_set(facts, asked, data):
    width = data.draw(st.integers(1, 6))
    rows = [
        data.draw(st.lists(st.integers(0, ENTITIES - 1), min_size=width, max_size=width))
        for _ in asked
    ]
    got = index_of(facts).contains(queries_of(asked), torch.tensor(rows))
    want = [[e in answers_of(facts, *query) for e in row] for query, row in zip(asked, rows)]
    assert got.tolist() == want


@given(triples, questions, lists)
def test_a_shared_list_is_looked_up_for_every_query(facts, asked, shared):
    got = index_of(facts).contains(queries_of(asked), torch.tensor([shared]))
    want = [[e in answers_of(facts, *query) for e in shared] for query in asked]
    assert got.tolist() == want


@given(triples, questions, lists, lists)
def test_chunks_look_up_their_own_list(facts, asked, one, other):
    width = min(len(one), len(other))
    ids = torch.tensor([one[:width], other[:width]])
    got = index_of(facts).contains(queries_of(asked + asked), ids)
    rows = [row for row in ids.tolist() for _ in asked]
    want = [[e in answers_of(facts, *query) for e in row] for query, row in zip(asked * 2, rows)]
    assert got.tolist() == want


@given(triples, questions)
def test_answers_are_listed_by_row_and_entity(facts, asked):
    row, entity = index_of(facts).answers(queries_of(asked))
    want = [(i, e) for i, query in enumerate(asked) for e in sorted(answers_of(facts, *query))]
    assert list(zip(row.tolist(), entity.tolist())) == want


@given(triples, questions)
def test_answers_are_counted_once(facts, asked):
    got = index_of(facts).count(queries_of(asked))
    assert got.tolist() == [len(answers_of(facts, *query)) for query in asked]


@given(triples, questions)
def test_ranks_go_through_the_unknown_in_order(facts, asked):
    everyone = torch.arange(ENTITIES).expand(len(asked), -1)
    got = index_of(facts).unknown(queries_of(asked), everyone)
    for query, row in zip(asked, got.tolist()):
        unknown = [e for e in range(ENTITIES) if e not in answers_of(facts, *query)]
        assert row[: len(unknown)] == unknown
        assert all(e >= ENTITIES for e in row[len(unknown) :])


@given(triples)
def test_the_order_and_repetition_of_facts_do_not_matter(facts):
    assert torch.equal(index_of(facts).facts, index_of(facts[::-1] + facts).facts)


def test_a_key_that_overflows_is_refused():
    none = torch.zeros(0, 3, dtype=torch.long)
    with pytest.raises(ValueError, match="4000000000 entities and 3 relations overflow a 64-bit"):
        TripleIndex(none, 4_000_000_000, 3)


def test_big_graphs_that_fit_are_exact():
    """The largest ids of a graph whose keys need 62 bits."""
    count, relations = 1_000_000_000, 2
    fact = torch.tensor([[count - 1, relations - 1, count - 2]])
    index = TripleIndex(fact, count, relations)
    ids = torch.tensor([[count - 1, count - 2, count - 3]])
    asked = Queries(
        torch.tensor([count - 1]), torch.tensor([relations - 1]), torch.tensor([0]), torch.ones(1)
    )
    assert index.contains(asked, ids).tolist() == [[False, True, False]]
    assert index.unknown(asked, ids).tolist() == [[count, count - 1, count - 3]]
