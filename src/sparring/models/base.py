"""A main model turns a batch of queries into a scorer."""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from sparring.batch import Queries, Scorer
from sparring.data.graph import TrainGraph
from sparring.embedding import EmbeddingTable
from sparring.registry import Registry

MODELS = Registry(
    "model",
    nested={"decoder": "decoder", "encoder": "text encoder", "mutator": "mutator"},
    renamed={"own_inverse": "reciprocal_relations"},
)


class KGEModel(nn.Module, ABC):
    """The model that learns to complete the graph; higher scores are more plausible."""

    registry = MODELS

    trains_on_entities = True  # False where candidates are altered while training

    @abstractmethod
    def forward(self, queries: Queries) -> Scorer:
        """Do the work that does not depend on the candidates, once, and return the rest."""

    def regularization(self, queries: Queries) -> Float[Tensor, ""]:
        """Regularisation to add to the loss of this batch."""
        return queries.weight.new_zeros(())

    def after_step(self) -> None:
        """Restore hard constraints on parameters after an optimiser step."""


class EmbeddingModel(KGEModel):
    """One vector per entity and per relation; subclasses say how they meet.

    Args:
        dim: numbers per entity vector.
        reciprocal_relations: learn a vector for each inverse relation (Lacroix et al., 2018)
            instead of deriving it from the relation's own.
        init: standard deviation of the entity vectors at the start; None for 1 / sqrt(dim).
        dropout: share of the query vector's numbers set to 0 while training.
        l2, n3: weight of the mean squared or cubed magnitude of the vectors of the batch, summed
            over dimensions and over anchor, relation and answer (Lacroix et al., 2018).
        sparse: give sparse gradients, for tables so big that no step should touch all rows.

    Raises:
        ValueError: if `dim` is not a multiple of what the model's numbers come in.
    """

    width = 1  # real numbers per coordinate: 2 for complex models

    def __init__(
        self,
        graph: TrainGraph,
        *,
        dim: int = 200,
        reciprocal_relations: bool = False,
        init: float | None = None,
        dropout: float = 0.0,
        l2: float = 0.0,
        n3: float = 0.0,
        sparse: bool = False,
    ):
        super().__init__()
        if dim < 1 or dim % self.width:
            raise ValueError(
                f"{type(self).__name__} needs a positive dim in multiples of {self.width}; "
                f"got {dim}"
            )
        self.num_entities, self.num_relations, self.dim = (
            graph.num_entities,
            graph.num_relations,
            dim,
        )
        self.init = dim**-0.5 if init is None else init
        self.reciprocal_relations, self.l2, self.n3 = reciprocal_relations, l2, n3
        self.drop = nn.Dropout(dropout)
        self.sparse = sparse
        self.entity = self.table(graph.num_entities, dim)
        self.relation = self.relation_table(self.relation_width())

    def relation_width(self) -> int:
        """Numbers per relation vector."""
        return self.dim

    def table(self, rows: int, dim: int) -> EmbeddingTable:
        """An embedding table with normally distributed entries."""
        table = EmbeddingTable(rows, dim, sparse=self.sparse)
        nn.init.normal_(table.weight, std=self.init)
        return table

    def relation_table(self, dim: int) -> EmbeddingTable:
        """One row per relation, and one more per inverse that is learned."""
        return self.table(self.num_relations * (1 + self.reciprocal_relations), dim)

    def relation_row(self, relation: Int[Tensor, "B"]) -> Int[Tensor, "B"]:
        """Row of the relation table, for ids in [0, 2R)."""
        return relation % self.relation.num_embeddings

    def turned(self, relation: Int[Tensor, "B"]) -> Float[Tensor, "B 1"]:
        """-1 where the inverse must be derived from the relation's own vector, else 1."""
        return (1 - 2 * (relation // self.relation.num_embeddings)).unsqueeze(1).float()

    def magnitude(self, vectors: Float[Tensor, "B d"]) -> Float[Tensor, "B c"]:
        """Size of each coordinate, for the penalties."""
        return vectors.abs()

    def regularization(self, queries):
        if not (self.l2 or self.n3):
            return super().regularization(queries)
        sizes = torch.cat(
            [
                self.magnitude(self.entity(queries.anchor)),
                self.magnitude(self.relation(self.relation_row(queries.relation))),
                self.magnitude(self.entity(queries.answer)),
            ],
            dim=1,
        )
        return (self.l2 * sizes**2 + self.n3 * sizes**3).sum() / len(queries)


def complex_magnitude(vectors: Float[Tensor, "B d"]) -> Float[Tensor, "B c"]:
    """Moduli of complex vectors stored as [real, imaginary]."""
    real, imaginary = vectors.chunk(2, dim=1)
    # the square root has no gradient at 0
    return (real**2 + imaginary**2).clamp_min(torch.finfo(vectors.dtype).tiny).sqrt()
