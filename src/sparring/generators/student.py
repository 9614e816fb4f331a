"""A small model of what the main model finds plausible."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from sparring.batch import Queries
from sparring.data.graph import TrainGraph
from sparring.embedding import EmbeddingTable
from sparring.kernels.distillation import distill, transform, transform_rows
from sparring.models.scorers import DotScorer


class Proposal(nn.Module):
    """Logits u_c . v_e + b_e, where the query multiplies and shifts its anchor's vector.

    A shift is what distance models do to the anchor, a complex factor what the others do.

    Args:
        dim: numbers per vector, even: half of them are imaginary parts.
        sparse: give sparse gradients, for so many entities that no step should touch them all.

    Raises:
        ValueError: for an odd dim.
    """

    def __init__(self, graph: TrainGraph, *, dim: int, sparse: bool):
        super().__init__()
        if dim < 2 or dim % 2:
            raise ValueError(f"a proposal's vectors are complex, so dim must be even; got {dim}")
        self.dim = dim
        # vector and bias side by side, and likewise factor and shift: one look-up finds both
        self.entity = EmbeddingTable(graph.num_entities, dim + 1, sparse=sparse)
        self.relation = EmbeddingTable(2 * graph.num_relations, 2 * dim)
        # nearly indifferent: logits start at a standard deviation of about .1
        nn.init.normal_(self.entity.weight, std=dim**-0.25 / 4)
        nn.init.normal_(self.relation.weight, std=dim**-0.25 / 4)
        with torch.no_grad():
            self.entity.weight[:, dim] = 0.0
            self.relation.weight[:, : dim // 2] = 1.0
            self.relation.weight[:, dim // 2 : dim] = 0.0

    @property
    def vectors(self) -> Float[Tensor, "N d"]:
        """Of all entities, detached."""
        return self.entity.weight.detach()[:, : self.dim]

    @property
    def bias(self) -> Float[Tensor, "N"]:
        """Of all entities, detached."""
        return self.entity.weight.detach()[:, self.dim]

    def context(self, queries: Queries) -> Float[Tensor, "B d"]:
        """The vector of each query."""
        if torch.is_grad_enabled():
            return transform(self.entity(queries.anchor), self.relation(queries.relation))
        tables = (self.entity.weight, self.relation.weight)
        return transform_rows(*tables, queries.anchor, queries.relation)

    def forward(self, queries: Queries) -> DotScorer:
        """Says how plausible candidates are, up to a constant per query."""
        return DotScorer(nn.functional.pad(self.context(queries), (0, 1), value=1.0), self.entity)


def distil(
    proposal: Proposal,
    queries: Queries,
    ids: Int[Tensor, "G K"],
    log_q: Float[Tensor, "B K"],
    target: Float[Tensor, "B K"],
    likelihood: float,
) -> Float[Tensor, ""]:
    """Forward KL of the small model from the target among candidates, but for a constant.

    Args:
        ids: entities, as those of the queries must be.
        log_q: density of the candidates, for which the model's logits are corrected.
        target: probabilities, or 0 throughout for a query that is not to count.
        likelihood: weight of minus the log-probability of the answer, against candidates of this
            density (noise-contrastive estimation with one sum for all of them).
    """
    tables = (proposal.entity.weight, proposal.relation.weight)
    asked = (queries.anchor, queries.relation, queries.answer)
    return distill(*tables, *asked, ids, log_q, target, likelihood, proposal.entity.sparse)
