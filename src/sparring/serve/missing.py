"""Find facts that a graph probably lacks."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sparring.batch import Queries
from sparring.data.graph import KnowledgeGraph
from sparring.evaluation.candidates import Exclusion
from sparring.evaluation.ranking import chunk_sizes, eval_mode
from sparring.models.base import KGEModel

MAX_SCORES = 2**24  # held at once


@dataclass(frozen=True, eq=False)
class Found:
    """What some queries have found.

    Attributes:
        triples: head, relation and tail as ids; distinct.
        done: how many queries have been asked, with those before `start`.
        total: how many there are.
    """

    triples: Int[Tensor, "M 3"]
    done: int
    total: int


def probably_missing(
    model: KGEModel,
    graph: KnowledgeGraph,
    *,
    per_query: int = 5,
    batch_size: int = 256,
    seed: int = 0,
    start: int = 0,
) -> Iterator[Found]:
    """Triples that are no facts and that the model scores highest, batch by batch of queries.

    Queries are those that have a training fact: both ends of each, in random order. An entity that
    is never the head of a relation in the training facts is no candidate for its head, and the
    same goes for tails: nearly all such triples make no sense.

    Args:
        model: a trained model; it is left in the mode it was in.
        graph: whose facts, of all splits, are left out.
        per_query: triples per query, at most.
        batch_size: queries encoded together.
        seed: of the order of the queries.
        start: queries to pass over, in this order.
    """
    device = next((parameter.device for parameter in model.parameters()), graph.train.device)
    excluded = Exclusion.of(graph, device=device)
    slots = _seen_in(graph).to(device)
    queries = graph.training.known.to(device).queries()
    rng = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(queries), generator=rng).to(device)
    rows, _ = chunk_sizes(batch_size, MAX_SCORES, len(graph.entities))
    for first in range(start, len(order), rows):
        batch = queries[order[first : first + rows]]
        with eval_mode(model):
            scores = model(batch)(torch.arange(len(graph.entities), device=device).unsqueeze(0))
        scores = scores.float().masked_fill(~slots[batch.relation], -torch.inf)
        scores[excluded.pairs(batch)] = -torch.inf
        triples = _triples(batch, scores, per_query, len(graph.relations))
        yield Found(triples, min(first + rows, len(order)), len(order))


def _seen_in(graph: KnowledgeGraph) -> Tensor:
    """True where an entity has answered a relation id in [0, 2R); R2 x N."""
    head, relation, tail = graph.train.cpu().unbind(1)
    seen = torch.zeros(2 * len(graph.relations), len(graph.entities), dtype=torch.bool)
    seen[relation, tail] = True
    seen[relation + len(graph.relations), head] = True
    return seen


def _triples(
    queries: Queries, scores: Float[Tensor, "B N"], count: int, num_relations: int
) -> Int[Tensor, "M 3"]:
    """The best answers of each query, as triples without repetition."""
    best = scores.topk(min(count, scores.shape[1]), dim=1)
    row, column = (best.values > -torch.inf).nonzero(as_tuple=True)
    answer = best.indices[row, column]
    anchor, relation = queries.anchor[row], queries.relation[row]
    inverse = relation >= num_relations
    head, tail = torch.where(inverse, answer, anchor), torch.where(inverse, anchor, answer)
    return torch.stack([head, relation % num_relations, tail], 1).unique(dim=0).cpu()
