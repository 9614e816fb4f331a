"""The training facts as messages between entities, without a row of memory per fact.

Convolutions over a `MessageGraph`, as PyTorch Geometric passes messages.

Both are linear in what neighbours say, so neighbours of one kind are added up first, and the
relation is looked at once for all of them. PyTorch Geometric's own `RGCNConv` gives the same
numbers, by a loop over relations."""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F
from torch_geometric.nn import MessagePassing

from sparring.batch import Queries
from sparring.data.graph import TrainGraph
from sparring.data.index import ragged_arange


class MessageGraph(nn.Module):
    """What neighbours tell an entity, gathered by the relation that leads from them to it.

    The known answers of a query (anchor, relation, ?) are the neighbours from which the inverse
    relation leads to the anchor. So facts in order of their queries are the rows of a sparse
    matrix, U of them, and one pass adds up what the neighbours of each row say. Only then does
    a network look at the relation, once per row: FB15k-237 has 3.6 facts a row.

    Attributes:
        neighbour: who speaks, by fact.
        row: which row a fact belongs to.
        anchor: who listens, by row.
        relation: the one that leads from the neighbours to the anchor, by row, in [0, 2R).
    """

    facts: Int[Tensor, "F"]
    start: Int[Tensor, "U"]
    neighbour: Int[Tensor, "F"]
    row: Int[Tensor, "F"]
    anchor: Int[Tensor, "U"]
    relation: Int[Tensor, "U"]

    def __init__(self, graph: TrainGraph):
        super().__init__()
        self.num_entities, self.num_relations = graph.num_entities, graph.num_relations
        facts, slots = graph.known.facts, 2 * graph.num_relations
        key, first = graph.known.query[:-1], graph.known.first[:-1]
        asked = key % slots
        parts = {
            "facts": facts,
            "start": first[:-1],
            "neighbour": facts % graph.num_entities,
            "row": ragged_arange(first[:-1], first.diff())[0],
            "anchor": key // slots,
            "relation": (asked + graph.num_relations) % slots,
        }
        for name, part in parts.items():
            self.register_buffer(name, part, persistent=False)

    @property
    def inverse(self) -> Bool[Tensor, "U"]:
        """Does an inverse relation lead to the anchor?"""
        return self.relation >= self.num_relations

    def without(self, queries: Queries) -> Float[Tensor, "F"]:
        """1 for every fact, but 0 for what the queries ask about, seen from either end."""
        slots = 2 * self.num_relations
        turned = (queries.relation + self.num_relations) % slots
        ends = (queries.anchor, queries.answer)
        there = (ends[0] * slots + queries.relation) * self.num_entities + ends[1]
        back = (ends[1] * slots + turned) * self.num_entities + ends[0]
        own = torch.cat([there, back])
        place = torch.searchsorted(self.facts, own)
        # one place more, for queries that are no facts of the graph
        known = F.pad(self.facts, (0, 1), value=-1)[place] == own
        keep = queries.weight.new_ones(len(self.facts) + 1)
        return keep.index_fill(0, place.where(known, len(self.facts)), 0.0)[:-1]

    def everything(self) -> Float[Tensor, "F"]:
        """1 for every fact."""
        return torch.ones(len(self.facts), device=self.facts.device)

    def gathered(
        self, said: Float[Tensor, "N d"], weight: Float[Tensor, "F"]
    ) -> Float[Tensor, "U d"]:
        """The weighted sum of what the neighbours of each row say."""
        return F.embedding_bag(
            self.neighbour,
            said,
            self.start,
            mode="sum",
            per_sample_weights=weight.to(said.dtype),
        )

    def total(self, weight: Float[Tensor, "F"]) -> Float[Tensor, "U"]:
        """The weight of each row."""
        return weight.new_zeros(len(self.anchor)).index_add(0, self.row, weight)

    def balanced(self, weight: Float[Tensor, "F"]) -> Float[Tensor, "F"]:
        """Weights over the root of what each neighbour says and each listener hears in all.

        Along relations and against them are counted apart.
        """
        side = self.inverse[self.row].long() * self.num_entities
        return (
            weight
            * self._rarity(side + self.neighbour, weight)
            * self._rarity(side + self.anchor[self.row], weight)
        )

    def _rarity(self, place: Int[Tensor, "F"], weight: Float[Tensor, "F"]) -> Float[Tensor, "F"]:
        """1 over the root of the weight of all facts at the same place."""
        degree = weight.new_zeros(2 * self.num_entities).index_add(0, place, weight)
        return degree.clamp(min=1).rsqrt()[place]


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
