"""Graphs and queries that leave little or nothing to draw, for every sampler of the room."""

import pytest
from samplers.instances import EXACT, INEXACT
from samplers.worlds import ask, draw, graph_of

from sparring.batch import per_query
from sparring.samplers import HideKnown

MAKERS = EXACT | INEXACT


def opinion(queries):
    return lambda ids: per_query(ids, len(queries)).float()


@pytest.fixture(params=MAKERS)
def make(request):
    return MAKERS[request.param]


def check(drawn, queries, num_entities):
    """All ids are entities, no answer counts, and what counts has a finite density."""
    ids = per_query(drawn.ids, len(queries))
    assert ((ids >= 0) & (ids < num_entities)).all()
    assert not (drawn.mask & (ids == queries.answer.unsqueeze(1))).any()
    assert drawn.log_q is None or drawn.log_q[drawn.mask].isfinite().all()
    assert drawn.answer_log_q is None or drawn.answer_log_q.isfinite().all()
    assert drawn.weight.isfinite().all()


def test_two_entities_leave_one(make):
    graph = graph_of((0, 0, 1), num_entities=2, num_relations=1)
    queries = ask(0, 0, 1, times=4)
    drawn = draw(make(graph), queries, opinion(queries))
    check(drawn, queries, 2)
    assert set(per_query(drawn.ids, 4)[drawn.mask].tolist()) <= {0}


def test_a_relation_never_seen(make):
    graph = graph_of((0, 0, 1), (1, 0, 2), (4, 0, 5), num_entities=6, num_relations=2)
    queries = ask(3, 1, 2, times=4)
    check(draw(make(graph), queries, opinion(queries)), queries, 6)


def test_an_entity_without_facts(make):
    graph = graph_of((0, 0, 1), (1, 0, 2), num_entities=6, num_relations=2)
    queries = ask(5, 0, 4, times=4)
    check(draw(make(graph), queries, opinion(queries)), queries, 6)


def test_a_query_that_all_entities_answer(make):
    graph = graph_of(*((0, 0, tail) for tail in range(4)), num_entities=4, num_relations=1)
    queries = ask(0, 0, 1, times=4)
    drawn = draw(HideKnown(graph, inner=make(graph)), queries, opinion(queries))
    check(drawn, queries, 4)
    assert not drawn.mask.any()


def test_many_relations_of_which_one_is_used(make):
    graph = graph_of((0, 4999, 1), num_entities=3, num_relations=5000)
    queries = ask(0, 4999, 1, times=2)
    check(draw(make(graph), queries, opinion(queries)), queries, 3)
