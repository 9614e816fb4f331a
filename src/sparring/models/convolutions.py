"""Graph convolutions of R-GCN and CompGCN, as layers of PyTorch Geometric.

Both are linear in the neighbors' vectors. So the neighbors of one relation are summed first, by
`RelationalAdjacency`, and a layer passes one message per (entity, relation) and not per fact.
PyTorch Geometric's `RGCNConv` gives the same numbers by a loop over relations.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch_geometric.nn import MessagePassing

from sparring.models.adjacency import RelationalAdjacency

Composition = Callable[[Tensor, Tensor, Tensor], Tensor]


class RelationalConvolution(MessagePassing):
    """One matrix per relation, with a basis decomposition, applied to means over neighbors.

    Schlichtkrull et al., 2018, "Modeling Relational Data with Graph Convolutional Networks".

    Args:
        dim: numbers per entity vector, before and after.
        num_relations: R; inverse relations have their own matrices.
        bases: matrices that those of all relations are linear combinations of.
    """

    def __init__(self, dim: int, num_relations: int, bases: int):
        super().__init__(aggr="sum")
        self.basis = nn.Parameter(torch.empty(bases, dim, dim))
        self.coefficient = nn.Parameter(torch.empty(2 * num_relations, bases))
        self.self_loop = nn.Linear(dim, dim)
        for tensor in (self.basis, self.coefficient):
            nn.init.xavier_uniform_(tensor)

    def forward(
        self,
        x: Float[Tensor, "N d"],
        adjacency: RelationalAdjacency,
        edge_weight: Float[Tensor, "E"],
    ) -> Float[Tensor, "N d"]:
        """New vectors of all entities."""
        degree = adjacency.degree(edge_weight).clamp(min=1).unsqueeze(1)
        mean = adjacency.sum_neighbors(x, edge_weight) / degree
        rows = torch.arange(len(mean), device=x.device)
        aggregated = self.propagate(
            torch.stack([rows, adjacency.target]),
            size=(len(mean), len(x)),
            mean=mean,
            coefficient=self.coefficient[adjacency.relation],
        )
        return aggregated @ self.basis.flatten(0, 1) + self.self_loop(x)

    def message(
        self, mean: Float[Tensor, "U d"], coefficient: Float[Tensor, "U b"]
    ) -> Float[Tensor, "U bd"]:
        """The mean of each row's neighbors, scaled once for each basis matrix."""
        return (coefficient.unsqueeze(2) * mean.unsqueeze(1)).flatten(1)


class CompositionConvolution(MessagePassing):
    """Neighbors composed with relations, mapped by one matrix per direction.

    Vashishth et al., 2020, "Composition-based Multi-Relational Graph Convolutional Networks".

    Args:
        dim: numbers per vector of entities and relations, before and after.
        compose: one of `COMPOSITIONS`.
        dropout: probability of setting a number of either direction's sum to 0 while training.
    """

    def __init__(self, dim: int, *, compose: Composition, dropout: float):
        super().__init__(aggr="sum")
        self.compose = compose
        self.w_original, self.w_inverse, self.w_self_loop, self.w_relation = (
            nn.Linear(dim, dim, bias=False) for _ in range(4)
        )
        self.self_loop_relation = nn.Parameter(torch.empty(1, dim))
        nn.init.xavier_uniform_(self.self_loop_relation)
        self.dropout, self.norm = nn.Dropout(dropout), nn.BatchNorm1d(dim)

    def forward(
        self,
        x: Float[Tensor, "N d"],
        relation: Float[Tensor, "R2 d"],
        adjacency: RelationalAdjacency,
        edge_weight: Float[Tensor, "E"],
    ) -> tuple[Float[Tensor, "N d"], Float[Tensor, "R2 d"]]:
        """New vectors of all entities and of all relations."""
        rows = torch.arange(len(adjacency.target), device=x.device)
        aggregated = self.propagate(
            torch.stack([rows, adjacency.target + len(x) * adjacency.is_inverse]),
            size=(len(rows), 2 * len(x)),
            neighbors=adjacency.sum_neighbors(x, edge_weight),
            degree=adjacency.degree(edge_weight).unsqueeze(1),
            relation=relation[adjacency.relation],
        )
        original, inverse = aggregated.split(len(x))
        own = self.w_self_loop(self.compose(x, x.new_ones(1, 1), self.self_loop_relation))
        both = self.dropout(self.w_original(original)) + self.dropout(self.w_inverse(inverse))
        return torch.tanh(self.norm((both + own) / 3)), self.w_relation(relation)

    def message(
        self,
        neighbors: Float[Tensor, "U d"],
        degree: Float[Tensor, "U 1"],
        relation: Float[Tensor, "U d"],
    ) -> Float[Tensor, "U d"]:
        """The sum of each row's neighbors, composed with the row's relation."""
        return self.compose(neighbors, degree, relation)


def subtraction(neighbors: Tensor, degree: Tensor, relation: Tensor) -> Tensor:
    """Sum of neighbor - relation, from the weighted sum of neighbors and their total weight."""
    return neighbors - degree * relation


def multiplication(neighbors: Tensor, degree: Tensor, relation: Tensor) -> Tensor:
    """Sum of the elementwise product neighbor * relation."""
    return neighbors * relation


def circular_correlation(neighbors: Tensor, degree: Tensor, relation: Tensor) -> Tensor:
    """Sum of the circular correlations of neighbor and relation (Nickel et al., 2016)."""
    both = torch.fft.rfft(neighbors).conj() * torch.fft.rfft(relation)
    return torch.fft.irfft(both, n=neighbors.shape[-1])


COMPOSITIONS = {"corr": circular_correlation, "mult": multiplication, "sub": subtraction}
