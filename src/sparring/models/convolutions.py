"""Convolutions over a `MessageGraph`, as PyTorch Geometric passes messages.

Both are linear in what neighbours say, so neighbours of one kind are added up first, and the
relation is looked at once for all of them. PyTorch Geometric's own `RGCNConv` gives the same
numbers, by a loop over relations.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch_geometric.nn import MessagePassing

from sparring.models.messages import MessageGraph

Composition = Callable[[Tensor, Tensor, Tensor], Tensor]


class RelationalConvolution(MessagePassing):
    """A matrix per relation, all of them mixtures of a few, applied to means over neighbours.

    Schlichtkrull et al., 2018, "Modeling Relational Data with Graph Convolutional Networks",
    with the basis decomposition.

    Args:
        bases: matrices that all relations share.
    """

    def __init__(self, dim: int, num_relations: int, bases: int):
        super().__init__(aggr="sum")
        self.basis = nn.Parameter(torch.empty(bases, dim, dim))
        self.share = nn.Parameter(torch.empty(2 * num_relations, bases))
        self.itself = nn.Linear(dim, dim)
        for tensor in (self.basis, self.share):
            nn.init.xavier_uniform_(tensor)

    def forward(
        self, x: Float[Tensor, "N d"], graph: MessageGraph, weight: Float[Tensor, "F"]
    ) -> Float[Tensor, "N d"]:
        """New vectors of all entities."""
        mean = graph.gathered(x, weight) / graph.total(weight).clamp(min=1).unsqueeze(1)
        rows = torch.arange(len(mean), device=x.device)
        heard = self.propagate(
            torch.stack([rows, graph.anchor]),
            size=(len(mean), len(x)),
            mean=mean,
            share=self.share[graph.relation],
        )
        return heard @ self.basis.flatten(0, 1) + self.itself(x)

    def message(self, mean: Tensor, share: Tensor) -> Tensor:
        """Means of neighbours, once for each shared matrix."""
        return (share.unsqueeze(2) * mean.unsqueeze(1)).flatten(1)


class ComposedConvolution(MessagePassing):
    """Neighbours composed with relations, mapped by one matrix for each direction.

    Vashishth et al., 2020, "Composition-based Multi-Relational Graph Convolutional Networks".

    Args:
        compose: of COMPOSITIONS.
        dropout: share of the numbers of either direction's sum set to 0 while training.
    """

    def __init__(self, dim: int, *, compose: Composition, dropout: float):
        super().__init__(aggr="sum")
        self.compose = compose
        self.along, self.against, self.itself, self.relation = (
            nn.Linear(dim, dim, bias=False) for _ in range(4)
        )
        self.loop = nn.Parameter(torch.empty(1, dim))
        nn.init.xavier_uniform_(self.loop)
        self.drop, self.norm = nn.Dropout(dropout), nn.BatchNorm1d(dim)

    def forward(
        self,
        x: Float[Tensor, "N d"],
        relation: Float[Tensor, "R2 d"],
        graph: MessageGraph,
        weight: Float[Tensor, "F"],
    ) -> tuple[Float[Tensor, "N d"], Float[Tensor, "R2 d"]]:
        """New vectors of all entities and of all relations."""
        rows = torch.arange(len(graph.anchor), device=x.device)
        heard = self.propagate(
            torch.stack([rows, graph.anchor + len(x) * graph.inverse]),
            size=(len(rows), 2 * len(x)),
            said=graph.gathered(x, weight),
            total=graph.total(weight).unsqueeze(1),
            kind=relation[graph.relation],
        )
        along, against = heard.split(len(x))
        own = self.itself(self.compose(x, x.new_ones(1, 1), self.loop))
        both = self.drop(self.along(along)) + self.drop(self.against(against))
        return torch.tanh(self.norm((both + own) / 3)), self.relation(relation)

    def message(self, said: Tensor, total: Tensor, kind: Tensor) -> Tensor:
        """What neighbours say, composed with the relation that leads from them."""
        return self.compose(said, total, kind)


def difference(said: Tensor, total: Tensor, kind: Tensor) -> Tensor:
    """Sum of (neighbour - relation), from the weighted sum of neighbours and their weight."""
    return said - total * kind


def product(said: Tensor, total: Tensor, kind: Tensor) -> Tensor:
    """Sum of neighbour * relation, coordinate by coordinate."""
    return said * kind


def correlation(said: Tensor, total: Tensor, kind: Tensor) -> Tensor:
    """Sum of circular correlations of neighbour and relation (Nickel et al., 2016)."""
    both = torch.fft.rfft(said).conj() * torch.fft.rfft(kind)
    return torch.fft.irfft(both, n=said.shape[-1])


COMPOSITIONS = {"corr": correlation, "mult": product, "sub": difference}
