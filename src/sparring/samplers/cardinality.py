"""What the number of a query's answers says about its wrong ones."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from sparring.batch import Queries
from sparring.graph.cardinality import heads_per_tail, tails_per_head
from sparring.graph.knowledge_graph import TrainGraph


class CardinalityDoubt(nn.Module):
    """Chance that an entity, uniformly drawn, is a missing answer, by the relation alone.

    A query has as many answers, in the mean, as the queries of its relation that have any, and
    for each known one there are missing / (1 - missing) unknown ones among N entities.

    Args:
        missing: share of the true facts that the training graph lacks, at least 0, below 1.
        ceiling: the highest chance stated.

    Raises:
        ValueError: if a share is none.
    """

    rate: Float[Tensor, "S"]

    def __init__(self, graph: TrainGraph, *, missing: float = 0.5, ceiling: float = 0.5):
        super().__init__()
        if not 0 <= missing < 1:
            raise ValueError(f"the share of missing facts is at least 0, below 1; got {missing}")
        if not 0 <= ceiling <= 1:
            raise ValueError(f"the highest chance is from 0 to 1; got ceiling={ceiling}")
        answers = torch.cat([tails_per_head(graph), heads_per_tail(graph)])
        rate = answers * missing / (1 - missing) / graph.num_entities
        self.register_buffer("rate", rate.clamp(max=ceiling), persistent=False)

    def forward(self, queries: Queries, ids: Int[Tensor, "G K"]) -> Float[Tensor, "B K"]:
        return self.rate[queries.relation].unsqueeze(1).expand(-1, ids.shape[1])
