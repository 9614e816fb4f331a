"""What the adjacency matrix sums, hides and normalizes, against plain loops over facts."""

import pytest
import torch

from sparring.corruption import make_queries, tail_and_head_queries
from sparring.data.graph import TrainGraph
from sparring.models.adjacency import RelationalAdjacency
from sparring.testing import tiny_graph

GRAPH = tiny_graph()
RELATIONS = GRAPH.num_relations
ADJACENCY = RelationalAdjacency(GRAPH)


def spoken():
    """Every message as (speaker, relation from it, listener), in order of the facts."""
    rows = ADJACENCY.row.tolist()
    relation, listener = ADJACENCY.relation.tolist(), ADJACENCY.target.tolist()
    return [(e, relation[u], listener[u]) for e, u in zip(ADJACENCY.neighbor.tolist(), rows)]


def test_every_fact_speaks_along_its_relation_and_against_it():
    facts = [tuple(triple) for triple in GRAPH.triples.tolist()]
    want = facts + [(t, r + RELATIONS, h) for h, r, t in facts]
    assert sorted(spoken()) == sorted(want)


def test_a_fact_given_twice_speaks_once():
    twice = TrainGraph(GRAPH.triples.repeat(2, 1), GRAPH.num_entities, RELATIONS)
    assert torch.equal(RelationalAdjacency(twice).facts, ADJACENCY.facts)


def test_rows_add_up_what_their_neighbours_say():
    said = torch.randn(GRAPH.num_entities, 3, generator=torch.Generator().manual_seed(0))
    weight = torch.rand(len(ADJACENCY.facts), generator=torch.Generator().manual_seed(1))
    want = torch.zeros(len(ADJACENCY.target), 3)
    for fact, (row, speaker) in enumerate(zip(ADJACENCY.row, ADJACENCY.neighbor)):
        want[row] += weight[fact] * said[speaker]
    torch.testing.assert_close(ADJACENCY.sum_neighbors(said, weight), want)
    torch.testing.assert_close(
        ADJACENCY.sum_neighbors(torch.ones(11, 1), weight)[:, 0], ADJACENCY.degree(weight)
    )


@pytest.mark.parametrize("head", [False, True], ids=["tail", "head"])
def test_what_is_asked_about_is_hidden_from_both_ends(head):
    asked = GRAPH.triples[[3, 8]]
    queries = make_queries(asked, torch.full((2,), head), RELATIONS)
    keep = ADJACENCY.edges_without(queries)
    hidden = {fact for fact, kept in zip(spoken(), keep.tolist()) if not kept}
    assert set(keep.tolist()) == {0.0, 1.0}
    ends = [tuple(triple) for triple in asked.tolist()]
    assert hidden == {*ends, *((t, r + RELATIONS, h) for h, r, t in ends)}


def test_queries_that_are_no_facts_hide_nothing():
    facts = {tuple(triple) for triple in GRAPH.triples.tolist()}
    strangers = [(h, 0, t) for h in range(11) for t in range(11) if (h, 0, t) not in facts]
    queries = tail_and_head_queries(torch.tensor(strangers), RELATIONS)
    assert ADJACENCY.edges_without(queries).all()


def test_balance_is_over_the_roots_of_both_degrees():
    keep = ADJACENCY.edges_without(tail_and_head_queries(GRAPH.triples[:5], RELATIONS))
    heard = [fact for fact, kept in zip(spoken(), keep.tolist()) if kept]
    inverse = lambda relation: relation >= RELATIONS
    want = []
    for (speaker, relation, listener), kept in zip(spoken(), keep.tolist()):
        side = [fact for fact in heard if inverse(fact[1]) == inverse(relation)]
        said = sum(fact[0] == speaker for fact in side)
        got = sum(fact[2] == listener for fact in side)
        want.append(kept / max(said, 1) ** 0.5 / max(got, 1) ** 0.5)
    torch.testing.assert_close(ADJACENCY.normalize(keep), torch.tensor(want))
