"""Graphs and queries that leave little or nothing to draw, for every sampler and generator."""

import inspect

import pytest
from samplers.worlds import draw, graph_of, make_queries
from zoo import SAMPLERS, vectors

from sparring.groups import ungroup
from sparring.models import DistMult
from sparring.samplers import SAMPLERS as REGISTERED
from sparring.samplers import MaskKnown, Uniform

TIMES = 6  # divided by the lists that any sampler shares, and enough for answers in the batch


def entity_scorer(queries):
    """A scorer that scores each entity by its id."""
    return lambda ids: ungroup(ids, len(queries)).float()


@pytest.fixture(params=SAMPLERS)
def make(request):
    return SAMPLERS[request.param]


def check(drawn, queries, num_entities):
    """All ids are entities, no answer counts, and what counts has a finite density."""
    ids = ungroup(drawn.ids, len(queries))
    assert ((ids >= 0) & (ids < num_entities)).all()
    assert not (drawn.mask & (ids == queries.answer.unsqueeze(1))).any()
    assert drawn.log_q is None or drawn.log_q[drawn.mask].isfinite().all()
    assert drawn.answer_log_q is None or drawn.answer_log_q.isfinite().all()
    assert drawn.weight.isfinite().all()


def test_two_entities_leave_one(make):
    graph = graph_of((0, 0, 1), num_entities=2, num_relations=1)
    queries = make_queries(0, 0, 1, times=TIMES)
    drawn = draw(make(graph), queries, entity_scorer(queries))
    check(drawn, queries, 2)
    assert set(ungroup(drawn.ids, TIMES)[drawn.mask].tolist()) <= {0}


def test_a_relation_never_seen(make):
    graph = graph_of((0, 0, 1), (1, 0, 2), (4, 0, 5), num_entities=6, num_relations=2)
    queries = make_queries(3, 1, 2, times=TIMES)
    check(draw(make(graph), queries, entity_scorer(queries)), queries, 6)


def test_an_entity_without_facts(make):
    graph = graph_of((0, 0, 1), (1, 0, 2), num_entities=6, num_relations=2)
    queries = make_queries(5, 0, 4, times=TIMES)
    check(draw(make(graph), queries, entity_scorer(queries)), queries, 6)


def test_a_query_that_all_entities_answer(make):
    graph = graph_of(*((0, 0, tail) for tail in range(4)), num_entities=4, num_relations=1)
    queries = make_queries(0, 0, 1, times=TIMES)
    drawn = draw(MaskKnown(graph, inner=make(graph)), queries, entity_scorer(queries))
    check(drawn, queries, 4)
    assert not drawn.mask.any()


def test_many_relations_of_which_one_is_used(make):
    graph = graph_of((0, 4999, 1), num_entities=3, num_relations=5000)
    queries = make_queries(0, 4999, 1, times=TIMES)
    check(draw(make(graph), queries, entity_scorer(queries)), queries, 3)


def test_all_entities_are_of_another_type(make):
    """A pool of given types holds nothing for the relation that is asked about."""
    kinds = [(0, 0), (1, 1)]
    graph = graph_of((0, 0, 1), (2, 1, 3), num_entities=4, entity_type=kinds)
    queries = make_queries(2, 1, 3, times=TIMES)
    check(draw(make(graph), queries, entity_scorer(queries)), queries, 4)


COUNTED = [maker for maker in REGISTERED.values() if "k" in inspect.signature(maker).parameters]


@pytest.mark.parametrize("maker", COUNTED, ids=lambda maker: maker.__name__)
@pytest.mark.parametrize("k", [0, -3])
def test_fewer_candidates_than_one_are_refused(maker, k):
    graph = graph_of((0, 0, 1), (1, 0, 2))
    parts = {
        "inner": Uniform(graph, k=4),
        "model": DistMult(graph, dim=2),
        "teacher": entity_scorer,
        "vectors": vectors(graph),
    }
    wanted = inspect.signature(maker).parameters
    given = {name: part for name, part in parts.items() if name in wanted}
    with pytest.raises(ValueError, match=f"got k={k}"):
        maker(graph, k=k, **given)


def test_samplers_without_a_number_of_candidates_take_it_from_elsewhere():
    """From the graph, or from the samplers that they are made of."""
    without = {name: maker for name, maker in REGISTERED.items() if maker not in COUNTED}
    wrappers = {
        name
        for name, maker in without.items()
        if {"inner", "parts"} & {*inspect.signature(maker).parameters}
    }
    assert set(without) - wrappers == {"all-entities", "kvs-all"}
