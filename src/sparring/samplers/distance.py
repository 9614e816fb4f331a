"""What the distance from the anchor says about wrong answers (HaSa: Zhang et al., 2024)."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from sparring.batch import Queries, per_query
from sparring.graph.knowledge_graph import TrainGraph
from sparring.samplers.khop import balls
from sparring.samplers.lists import Lists


class DistanceDoubt(nn.Module):
    """Chance that an entity is a missing answer: `chance` within a few facts of the anchor.

    Facts are followed from head to tail where the tail is asked for, and from tail to head where
    the head is. Everything farther away has chance 0. Takes 4 bytes for each entity in reach of
    each other one, in both directions.

    Args:
        hops: facts to follow, at most.
        chance: above 0; where only the order of doubt matters, as to the loss `hasa`, any will do.
        max_ids: entities in reach that may be held.

    Raises:
        ValueError: if the chance is none, for less than one hop, or if too many are in reach.
    """

    def __init__(
        self, graph: TrainGraph, *, hops: int = 2, chance: float = 0.5, max_ids: int = 2**28
    ):
        super().__init__()
        if not 0 < chance <= 1:
            raise ValueError(f"the chance of a missing answer is above 0, at most 1; got {chance}")
        self.chance, self.num_entities = chance, graph.num_entities
        self.num_relations = graph.num_relations
        head, _, tail = graph.triples.unbind(1)
        # every entity is two rows: one from which facts lead on, and one from which they lead back
        start = torch.cat([head, tail + self.num_entities])
        end = torch.cat([tail, head + self.num_entities])
        near = Lists.of_pairs(start, end, 2 * self.num_entities)
        self.reach = balls(near, hops, max_ids)

    def forward(self, queries: Queries, ids: Int[Tensor, "G K"]) -> Float[Tensor, "B K"]:
        back = (queries.relation >= self.num_relations) * self.num_entities
        own = per_query(ids, len(queries)) + back.unsqueeze(1)
        return self.chance * self.reach.contains(queries.anchor + back, own).to(
            queries.weight.dtype
        )
