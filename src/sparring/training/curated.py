"""A loss of triples that people have said are false."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import softplus

from sparring.corruption import tail_and_head_queries
from sparring.data.graph import TrainGraph
from sparring.models.base import KGEModel


class CuratedNegatives(nn.Module):
    """Lowers the probability of rejected triples, for both of their queries.

    The loss of a query and its rejected answer is -log(1 - p), where p = exp(s) / (exp(s) + Z) for
    the score s of the answer. Z is the sum of exp(score) over all entities, estimated from a
    uniform sample (unlikelihood: Welleck et al., 2020, "Neural Text Generation with Unlikelihood
    Training"). The sample gets no gradient, so that no other entity is pulled up.

    Args:
        graph: its `rejected` triples are the ones to learn from.
        weight: of a rejected triple vs. that of a fact, which has its drawn negatives.
        batch_size: rejected triples per step, at most; drawn at random.
        num_uniform: entities that estimate Z.
    """

    triples: Int[Tensor, "X 3"]

    def __init__(
        self,
        graph: TrainGraph,
        *,
        weight: float = 1.0,
        batch_size: int = 256,
        num_uniform: int = 256,
    ):
        super().__init__()
        rejected = graph.triples[:0] if graph.rejected is None else graph.rejected
        self.register_buffer("triples", rejected, persistent=False)
        # the loss of facts is a mean over all of them, so that this one is a mean over fewer
        self.weight = weight * len(rejected) / len(graph.triples)
        self.num_relations = graph.num_relations
        self.num_entities = graph.num_entities
        self.batch_size = min(batch_size, len(rejected))
        self.num_uniform = min(num_uniform, graph.num_entities)

    def forward(self, model: KGEModel, rng: torch.Generator) -> Float[Tensor, ""]:
        """The weighted loss, estimated from a sample of the rejected triples."""
        device = self.triples.device
        rows = torch.randint(len(self.triples), (self.batch_size,), generator=rng, device=device)
        queries = tail_and_head_queries(self.triples[rows], self.num_relations)
        shape = (1, self.num_uniform)
        ids = torch.randint(self.num_entities, shape, generator=rng, device=device)
        score = model(queries)
        log_z = score(ids).detach().float().logsumexp(1)
        log_z = log_z + math.log(self.num_entities / self.num_uniform)
        rejected = score(queries.answer.unsqueeze(1)).squeeze(1).float()
        return self.weight * softplus(rejected - log_z).mean()


def curated_terms(graph: TrainGraph, *, weight: float) -> tuple[CuratedNegatives, ...]:
    """The loss of the rejected triples; none without such triples, or with a weight of 0."""
    if graph.rejected is None or not weight:
        return ()
    return (CuratedNegatives(graph, weight=weight),)
