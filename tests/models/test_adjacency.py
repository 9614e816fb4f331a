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


def edges():
    """Every edge as (neighbor, relation, target), in order of the facts."""
    rows = ADJACENCY.row.tolist()
    relation, target = ADJACENCY.relation.tolist(), ADJACENCY.target.tolist()
    return [(e, relation[u], target[u]) for e, u in zip(ADJACENCY.neighbor.tolist(), rows)]


def test_every_fact_is_an_edge_in_both_directions():
    facts = [tuple(triple) for triple in GRAPH.triples.tolist()]
    want = facts + [(t, r + RELATIONS, h) for h, r, t in facts]
    assert sorted(edges()) == sorted(want)


def test_a_repeated_fact_is_one_edge():
    twice = TrainGraph(GRAPH.triples.repeat(2, 1), GRAPH.num_entities, RELATIONS)
    assert torch.equal(RelationalAdjacency(twice).neighbor, ADJACENCY.neighbor)


def test_rows_sum_their_neighbors():
    x = torch.randn(GRAPH.num_entities, 3, generator=torch.Generator().manual_seed(0))
    weight = torch.rand(len(ADJACENCY.neighbor), generator=torch.Generator().manual_seed(1))
    want = torch.zeros(len(ADJACENCY.target), 3)
    for fact, (row, neighbor) in enumerate(zip(ADJACENCY.row, ADJACENCY.neighbor)):
        want[row] += weight[fact] * x[neighbor]
    torch.testing.assert_close(ADJACENCY.sum_neighbors(x, weight), want)
    torch.testing.assert_close(
        ADJACENCY.sum_neighbors(torch.ones(11, 1), weight)[:, 0], ADJACENCY.degree(weight)
    )


@pytest.mark.parametrize("head", [False, True], ids=["tail", "head"])
def test_the_facts_of_queries_are_removed_in_both_directions(head):
    triples = GRAPH.triples[[3, 8]]
    queries = make_queries(triples, torch.full((2,), head), RELATIONS)
    keep = ADJACENCY.edges_without(queries)
    hidden = {fact for fact, kept in zip(edges(), keep.tolist()) if not kept}
    assert set(keep.tolist()) == {0.0, 1.0}
    ends = [tuple(triple) for triple in triples.tolist()]
    assert hidden == {*ends, *((t, r + RELATIONS, h) for h, r, t in ends)}


def test_queries_that_are_not_facts_remove_nothing():
    facts = {tuple(triple) for triple in GRAPH.triples.tolist()}
    unknown = [(h, 0, t) for h in range(11) for t in range(11) if (h, 0, t) not in facts]
    queries = tail_and_head_queries(torch.tensor(unknown), RELATIONS)
    assert ADJACENCY.edges_without(queries).all()


def test_normalization_divides_by_the_roots_of_both_degrees():
    keep = ADJACENCY.edges_without(tail_and_head_queries(GRAPH.triples[:5], RELATIONS))
    kept_edges = [fact for fact, kept in zip(edges(), keep.tolist()) if kept]
    inverse = lambda relation: relation >= RELATIONS
    want = []
    for (neighbor, relation, target), kept in zip(edges(), keep.tolist()):
        side = [fact for fact in kept_edges if inverse(fact[1]) == inverse(relation)]
        out_degree = sum(fact[0] == neighbor for fact in side)
        in_degree = sum(fact[2] == target for fact in side)
        want.append(kept / max(out_degree, 1) ** 0.5 / max(in_degree, 1) ** 0.5)
    torch.testing.assert_close(ADJACENCY.normalize(keep), torch.tensor(want))
