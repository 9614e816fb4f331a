"""A small model of what the main model finds plausible."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sparring.batch import Queries
from sparring.compiled import compiled
from sparring.graph.knowledge_graph import TrainGraph
from sparring.models.scorers import DotScorer
from sparring.models.table import Table


@compiled
def turn(entity, relation, here, there, query):
    """Set `query` to the vector of entity `here`, multiplied and shifted by relation `there`."""
    half, dim = len(query) // 2, len(query)
    for j in range(half):
        real, imaginary = entity[here, j], entity[here, j + half]
        cosine, sine = relation[there, j], relation[there, j + half]
        query[j] = real * cosine - imaginary * sine + relation[there, j + dim]
        query[j + half] = real * sine + imaginary * cosine + relation[there, j + half + dim]


@compiled
def turn_all(entity, relation, anchor, kind, made):
    """The same for all queries; gives how many of them ask about nothing in these tables."""
    wrong = 0
    for row in range(len(made)):
        here, there = anchor[row], kind[row]
        if here < 0 or here >= len(entity) or there < 0 or there >= len(relation):
            wrong += 1
        else:
            turn(entity, relation, here, there, made[row])
    return wrong


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
        self.entity = Table(graph.num_entities, dim + 1, sparse=sparse)
        self.relation = Table(2 * graph.num_relations, 2 * dim)
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
        tables = (self.entity, self.relation)
        if all(one.loops() for one in tables) and not torch.is_grad_enabled():
            made = self.entity.weight.new_empty(len(queries), self.dim)
            given = (*(one.weight for one in tables), queries.anchor, queries.relation, made)
            if turn_all(*(one.detach().numpy() for one in given)) == 0:
                return made
        anchor = self.entity(queries.anchor)[:, : self.dim]
        real, imaginary = anchor.chunk(2, 1)
        cosine, sine, shift = self.relation(queries.relation).split(
            [self.dim // 2, self.dim // 2, self.dim], 1
        )
        turned = [real * cosine - imaginary * sine, real * sine + imaginary * cosine]
        return torch.cat(turned, 1) + shift

    def forward(self, queries: Queries) -> DotScorer:
        """Says how plausible candidates are, up to a constant per query."""
        return DotScorer(nn.functional.pad(self.context(queries), (0, 1), value=1.0), self.entity)
