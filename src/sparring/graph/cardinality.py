"""How many tails has a head, how many heads a tail? The classes 1-1, 1-N, N-1 and N-N."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sparring.graph.knowledge_graph import TrainGraph

CARDINALITIES = ("1-1", "1-N", "N-1", "N-N")
MANY = 1.5


def tails_per_head(graph: TrainGraph) -> Float[Tensor, "R"]:
    """Mean number of distinct tails of the heads of each relation; 0 for an unused relation."""
    return _answers_per_query(graph)[0]


def heads_per_tail(graph: TrainGraph) -> Float[Tensor, "R"]:
    """Mean number of distinct heads of the tails of each relation; 0 for an unused relation."""
    return _answers_per_query(graph)[1]


def cardinality(graph: TrainGraph) -> Int[Tensor, "R"]:
    """Class of each relation, a position in `CARDINALITIES`; unused relations are 1-1.

    The first sign of a class speaks of heads, the second of tails: in a 1-N relation one head
    has many tails. A side is N at `MANY` or more on average (Bordes et al., 2013).
    """
    tails, heads = _answers_per_query(graph)
    return 2 * (heads >= MANY).long() + (tails >= MANY).long()


def _answers_per_query(graph: TrainGraph) -> Float[Tensor, "2 R"]:
    """Mean number of known answers of the queries that have any: tail queries, head queries."""
    query, answers = (graph.known.facts // graph.num_entities).unique_consecutive(
        return_counts=True
    )
    relation = query % (2 * graph.num_relations)
    total = torch.zeros(2 * graph.num_relations, dtype=torch.float64, device=query.device)
    total.index_add_(0, relation, answers.double())
    queries = torch.bincount(relation, minlength=2 * graph.num_relations)
    return (total / queries.clamp(min=1)).float().view(2, graph.num_relations)
