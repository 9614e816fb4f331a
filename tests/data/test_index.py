"""Rows of integers and the index of known facts, against Python's sets."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kernels.switch import kernels_on

from sparring.batch import Queries
from sparring.data.index import PairIndex, Ragged, TripleIndex, ragged_arange, triple_keys
from sparring.testing import tiny_graph

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
    one, other = index_of(facts).facts(), index_of(facts[::-1] + facts).facts()
    assert all(map(torch.equal, one, other))


@given(triples)
def test_facts_are_the_triples_from_both_ends_in_order(facts):
    both = {*facts, *((t, r + RELATIONS, h) for h, r, t in facts)}
    assert list(zip(*(column.tolist() for column in index_of(facts).facts()))) == sorted(both)


@given(triples, questions, lists)
def test_facts_are_found_by_number(facts, asked, ids):
    index = index_of(facts)
    known = list(zip(*(column.tolist() for column in index.facts())))
    got = index.find(queries_of(asked), torch.tensor([ids] * len(asked)))
    want = [
        [known.index((*query, e)) if (*query, e) in known else -1 for e in ids] for query in asked
    ]
    assert got.tolist() == want


@given(triples, questions)
def test_queries_are_numbered_in_order(facts, asked):
    index = index_of(facts)
    known = sorted({fact[:2] for fact in zip(*(column.tolist() for column in index.facts()))})
    rows = index.rows(queries_of(asked))
    assert rows.tolist() == [known.index(q) if q in known else len(known) for q in asked]
    queries = index.queries()
    assert list(zip(queries.anchor.tolist(), queries.relation.tolist())) == known
    assert torch.equal(index.sizes(), index.count(queries))


def test_an_anchor_has_the_facts_of_all_its_queries():
    graph = tiny_graph()
    everyone = torch.arange(graph.num_entities)
    start, stop = graph.known.anchor_bounds(everyone)
    anchor = graph.known.facts()[0]
    assert torch.equal(stop - start, torch.bincount(anchor, minlength=len(everyone)))
    assert (anchor[start[stop > start]] == everyone[stop > start]).all()


@pytest.fixture(params=[True, False], ids=["loops", "searches"])
def compiled(request):
    with kernels_on(request.param):
        yield


def test_ids_of_the_largest_graphs_are_exact(compiled):
    """100 million entities and 1,000 relations: anchor * 2R * N would need 65 bits."""
    entities, relations = 10**8, 1000
    rng = torch.Generator().manual_seed(0)
    end = lambda: entities - 1 - torch.randint(30, (400,), generator=rng)
    relation = relations - 1 - torch.randint(3, (400,), generator=rng)
    facts = torch.stack([end(), relation, end()], 1)
    index = TripleIndex(facts, entities, relations)
    known: dict[tuple[int, int], set[int]] = {}
    for h, r, t in facts.tolist():
        known.setdefault((h, r), set()).add(t)
        known.setdefault((t, r + relations), set()).add(h)
    asked = [
        (entities - 1 - a, last - 1 - r)
        for a in range(30)
        for r in range(3)
        for last in (relations, 2 * relations)
    ]
    queries = queries_of(asked)
    ids = entities - 1 - torch.arange(40)
    want = [[e in known.get(query, ()) for e in ids.tolist()] for query in asked]
    assert index.contains(queries, ids.unsqueeze(0)).tolist() == want
    row, entity = index.answers(queries)
    assert list(zip(row.tolist(), entity.tolist())) == [
        (i, e) for i, query in enumerate(asked) for e in sorted(known.get(query, ()))
    ]
    rank = entities - 40 + torch.arange(40).expand(len(asked), -1)  # all answers lie further on
    for query, row in zip(asked, index.unknown(queries, rank).tolist()):
        answers = known.get(query, set())
        unknown = [e for e in range(entities - 40, entities) if e not in answers]
        assert row[: len(unknown)] == unknown
        assert all(e >= entities for e in row[len(unknown) :])


def test_more_entities_than_32_bits_hold_are_refused():
    none = torch.zeros(0, 3, dtype=torch.long)
    with pytest.raises(ValueError, match="4000000000 entities do not fit into 32-bit ids"):
        TripleIndex(none, 4_000_000_000, 3)


MANY = 2000
SIZES = [0, 1, 4, 5, 32, 33, 200, 1500, 2000]  # on both sides of every change of method


def world():
    """Head 0, 1, ... has SIZES[0], SIZES[1], ... tails."""
    rng = torch.Generator().manual_seed(0)
    tails = [torch.randperm(MANY, generator=rng)[:size] for size in SIZES]
    head = torch.arange(len(SIZES)).repeat_interleave(torch.tensor(SIZES))
    index = TripleIndex(torch.stack([head, head * 0, torch.cat(tails)], 1), MANY, 1)
    return index, [set(one.tolist()) for one in tails]


def asked():
    anchor = torch.arange(len(SIZES))
    return Queries(anchor, anchor * 0, anchor * 0, torch.ones(len(SIZES)))


@pytest.fixture
def index(compiled):
    return world()[0]


@pytest.mark.parametrize("width", [1, 2, 8, 9, 64, 2000])
@pytest.mark.parametrize("groups", [len(SIZES), 3, 1])
def test_candidates_are_known_or_not(width, groups, index):
    ids = torch.randint(MANY, (groups, width), generator=torch.Generator().manual_seed(width))
    each = ids.repeat_interleave(len(SIZES) // groups, 0).tolist()
    want = [[one in tails for one in row] for tails, row in zip(world()[1], each)]
    assert index.contains(asked(), ids).tolist() == want


@pytest.mark.parametrize("width", [1, 8, 500])
def test_candidates_that_are_all_known(width, index):
    tails = world()[1][-2]
    ids = torch.tensor(sorted(tails))[:width].expand(len(SIZES), -1)
    assert index.contains(asked(), ids)[-2].all()


def test_a_second_batch_finds_no_marks_of_the_first(index):
    ids = torch.arange(MANY).unsqueeze(0)
    assert torch.equal(index.contains(asked(), ids), index.contains(asked(), ids))
    assert index.contains(asked(), ids).sum(1).tolist() == SIZES


def test_ranks_go_through_the_unknown(index):
    rank = torch.arange(MANY).expand(len(SIZES), -1)
    for row, tails in zip(index.unknown(asked(), rank).tolist(), world()[1]):
        unknown = [one for one in range(MANY) if one not in tails]
        assert row[: len(unknown)] == unknown
        assert all(one >= MANY for one in row[len(unknown) :])


PAIRS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 20)), max_size=60)


def lists_of(pairs):
    row, entity = torch.tensor(pairs, dtype=torch.long).view(-1, 2).unbind(1)
    return Ragged.from_pairs(row, entity, num_rows=5)


@settings(deadline=None)
@given(PAIRS)
def test_rows_have_the_sizes_of_python_sets(pairs):
    sizes = lists_of(pairs).sizes(torch.arange(5)).tolist()
    assert sizes == [len({e for r, e in pairs if r == row}) for row in range(5)]


@settings(deadline=None)
@given(PAIRS)
def test_values_are_found_where_they_are(pairs):
    lists = lists_of(pairs)
    found = lists.find(torch.arange(5), torch.arange(21).expand(5, 21))
    row, entity = (found >= 0).nonzero().unbind(1)
    assert list(zip(row.tolist(), entity.tolist())) == sorted(set(pairs))
    assert torch.equal(lists.values[found[row, entity]].long(), entity)


@settings(deadline=None)
@given(PAIRS)
def test_membership_is_that_of_python_sets(pairs):
    lists, rows = lists_of(pairs), torch.arange(5)
    found = lists.contains(rows, torch.arange(21).expand(5, 21))
    assert {(r, e) for r, e in found.nonzero().tolist()} == set(pairs)


@settings(deadline=None)
@given(PAIRS)
def test_a_row_is_picked_from_evenly_and_in_order(pairs):
    lists = lists_of(pairs)
    for row in range(5):
        wanted = sorted({e for r, e in pairs if r == row})
        u = (torch.arange(len(wanted)).double() + 0.5) / max(len(wanted), 1)
        assert lists.sample_at(torch.tensor([row]), u.unsqueeze(0)).flatten().tolist() == wanted


@settings(deadline=None)
@given(PAIRS, st.lists(st.integers(0, 4), max_size=7))
def test_rows_are_spelt_out_in_the_order_asked_for(pairs, rows):
    turn, entity = lists_of(pairs).gather_rows(torch.tensor(rows, dtype=torch.long))
    wanted = [
        (place, e)
        for place, row in enumerate(rows)
        for e in sorted({e for r, e in pairs if r == row})
    ]
    assert list(zip(turn.tolist(), entity.tolist())) == wanted


def test_an_empty_row_gives_something_to_look_up():
    lists = lists_of([(0, 3)])
    assert lists.sample_at(torch.tensor([4]), torch.zeros(1, 2)).shape == (1, 2)


def test_ranges_follow_one_another():
    row, index = ragged_arange(torch.tensor([5, 9, 2]), torch.tensor([2, 0, 3]))
    assert row.tolist() == [0, 0, 2, 2, 2]
    assert index.tolist() == [5, 6, 2, 3, 4]


def test_pairs_have_all_relations_between_them(compiled):
    graph = tiny_graph()
    facts = list(zip(*(column.tolist() for column in graph.known.facts())))
    pairs = PairIndex(*graph.known.facts(), graph.num_entities)
    anchor, entity = torch.cartesian_prod(torch.arange(11), torch.arange(11)).unbind(1)
    row, relation = pairs.between(anchor, entity)
    found = list(zip(anchor[row].tolist(), relation.tolist(), entity[row].tolist()))
    assert len(found) == len(facts)
    assert set(found) == set(facts)
    count = pairs.count(anchor, entity.unsqueeze(1)).squeeze(1)
    assert torch.equal(count, torch.bincount(row, minlength=len(anchor)))


def test_different_triples_have_different_keys():
    triples = torch.cartesian_prod(torch.arange(5), torch.arange(3), torch.arange(5))
    assert len(triple_keys(triples, 5, 3).unique()) == 75


def test_equal_triples_have_equal_keys():
    first, second = triple_keys(torch.tensor([[1, 2, 3], [1, 2, 3]]), 5, 3)
    assert first == second


def test_keys_of_the_largest_graphs_differ():
    """100 million entities and 1,000 relations: more triples than 63-bit integers."""
    ends, relations = 10**8 - 1 - torch.arange(5), 999 - torch.arange(3)
    triples = torch.cat(
        [
            torch.cartesian_prod(ends, relations, ends),
            torch.cartesian_prod(torch.arange(5), torch.arange(3), torch.arange(5)),
        ]
    )
    assert len(triple_keys(triples, 10**8, 1000).unique()) == 150


def test_graphs_with_too_many_possible_triples_are_refused():
    with pytest.raises(ValueError, match="4000000000 entities and 2 relations overflow 64 bits"):
        triple_keys(torch.zeros(1, 3, dtype=torch.long), 4_000_000_000, 2)
