"""Groundings of rule bodies in the tiny graph, by plain loops."""

from itertools import product

from sparring.testing import tiny_graph

GRAPH = tiny_graph()
ENTITIES, RELATIONS = GRAPH.num_entities, GRAPH.num_relations
IDENTITY = 2 * RELATIONS
FACTS = {
    *((h, r, t) for h, r, t in GRAPH.triples.tolist()),
    *((t, r + RELATIONS, h) for h, r, t in GRAPH.triples.tolist()),
}


def groundings(first, second, among=range(ENTITIES)):
    """All (X, Y) that a body holds of."""
    if second == IDENTITY:
        return {(x, y) for x, r, y in FACTS if r == first and x != y and x in among}
    return {
        (x, y)
        for (x, r, z), y in product(FACTS, range(ENTITIES))
        if r == first and len({x, y, z}) == 3 and (z, second, y) in FACTS and x in among
    }
