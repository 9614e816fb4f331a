"""Base classes: `KGEModel` of all models, `EmbeddingModel` of those without an encoder."""

import math
from abc import ABC, abstractmethod
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from sparring.batch import Queries, Scorer
from sparring.data.graph import TrainGraph
from sparring.embedding import EmbeddingTable, new_table
from sparring.models.scorers import Lookup
from sparring.registry import Registry

MODELS = Registry(
    "model",
    nested={"decoder": "decoder", "encoder": "text encoder", "mutator": "mutator"},
    renamed={"own_inverse": "reciprocal_relations"},
)


class KGEModel(nn.Module, ABC):
    """A model that completes triples: it turns a batch of queries into a scorer of candidates.

    To write a model, subclass it, give its constructor the training graph and keyword options, and
    define `forward`. It does the work that does not depend on candidates, and returns a function
    of candidate ids; higher scores are more plausible. Relation ids in [0, R) ask for tails, ids in
    [R, 2R) ask for heads::

        @register("my-model", example={"dim": 8})
        class MyModel(KGEModel):
            def __init__(self, graph: TrainGraph, *, dim: int = 200):
                super().__init__()
                self.entity = EmbeddingTable(graph.num_entities, dim)
                self.relation = EmbeddingTable(2 * graph.num_relations, dim)

            def forward(self, queries: Queries) -> Scorer:
                query = self.entity(queries.anchor) * self.relation(queries.relation)
                return DotScorer(query, self.entity)

    `register` makes it known to configurations and to `sparring list models`, and
    `sparring.testing.check_model` checks that it keeps the contract. The scorers in
    `sparring.models.scorers` compare a query vector with candidates. Samplers that need entity
    vectors read the attribute `entity`.
    """

    registry = MODELS

    trains_on_entities = True  # False if training scores mutated candidates instead

    @abstractmethod
    def forward(self, queries: Queries) -> Scorer:
        """Do the work that does not depend on candidates, once, and return the rest."""

    def regularization(self, queries: Queries) -> Float[Tensor, ""]:
        """A term to add to the loss of this batch; 0 by default."""
        return queries.weight.new_zeros(())

    def after_step(self) -> None:
        """Restore hard constraints on parameters after an optimizer step; none by default."""


class EmbeddingModel(KGEModel):
    """One vector per entity and per relation; subclasses define how they are combined.

    Args:
        graph: the training graph.
        dim: numbers per entity vector.
        reciprocal_relations: learn a vector for each inverse relation (Lacroix et al., 2018,
            "Canonical Tensor Decomposition for Knowledge Base Completion") instead of deriving it
            from the relation's own.
        init: standard deviation of the initial vectors; None for 1 / sqrt(dim).
        init_range: draw the initial vectors uniformly between -init_range and init_range instead;
            0 for a normal distribution.
        dropout: probability of setting a number of the query vector to 0 while training.
        entity_dropout: the same for the vectors of anchors and candidates, each looked-up vector by
            itself, the answer's included.
        relation_dropout: the same for the vectors of relations.
        l2, n3: weight of the mean squared or cubed magnitude of the vectors of the batch, summed
            over dimensions and over anchor, relation and answer (Lacroix et al., 2018).
        sparse: give sparse gradients, for tables so large that no step should touch all rows.

    Raises:
        ValueError: if `dim` is not a positive multiple of `components`, a probability lies outside
            [0, 1], `init_range` is negative, or both `init` and `init_range` are given.
    """

    components = 1  # real numbers per coordinate: 2 for complex models
    entity_dropout_class: type[nn.Dropout] = nn.Dropout

    def __init__(
        self,
        graph: TrainGraph,
        *,
        dim: int = 200,
        reciprocal_relations: bool = False,
        init: float | None = None,
        init_range: float = 0.0,
        dropout: float = 0.0,
        entity_dropout: float = 0.0,
        relation_dropout: float = 0.0,
        l2: float = 0.0,
        n3: float = 0.0,
        sparse: bool = False,
    ):
        super().__init__()
        if dim < 1 or dim % self.components:
            raise ValueError(
                f"{type(self).__name__} needs a positive dim in multiples of {self.components}; "
                f"got {dim}"
            )
        if not 0 <= init_range < math.inf or (init_range and init is not None):
            raise ValueError(
                "init is for normally distributed vectors and init_range, above 0, for uniform "
                f"ones; give one of them; got init={init}, init_range={init_range}"
            )
        self.num_entities, self.num_relations = graph.num_entities, graph.num_relations
        self.dim = dim
        self.init = dim**-0.5 if init is None else init
        self.init_range = init_range
        self.reciprocal_relations, self.l2, self.n3 = reciprocal_relations, l2, n3
        self.dropout = nn.Dropout(dropout)
        self.entity_dropout = self.entity_dropout_class(entity_dropout)
        self.relation_dropout = nn.Dropout(relation_dropout)
        self.sparse = sparse
        self.entity = self.new_entity_table()
        self.relation = self.new_relation_table(self.relation_dim())
        self.add_parameters()

    def entity_dim(self) -> int:
        """Numbers per row of the entity table."""
        return self.dim

    def relation_dim(self) -> int:
        """Numbers per relation vector."""
        return self.dim

    def add_parameters(self) -> None:
        """Create the parameters that a model has besides its entity and relation vectors."""

    def new_table(self, rows: int, dim: int) -> Any:
        """An embedding table with random entries."""
        return new_table(rows, dim, init=self.fill, sparse=self.sparse)

    def new_entity_table(self) -> Any:
        """One row per entity."""
        return self.new_table(self.num_entities, self.entity_dim())

    def fill(
        self, weight: Float[Tensor, "n d"], generator: torch.Generator | None = None
    ) -> Float[Tensor, "n d"]:
        """Fill rows of a table with random numbers."""
        if self.init_range:
            return nn.init.uniform_(weight, -self.init_range, self.init_range, generator)
        return nn.init.normal_(weight, std=self.init, generator=generator)

    def new_relation_table(self, dim: int) -> EmbeddingTable:
        """One row per relation, and with reciprocal relations one more per inverse."""
        return self.new_table(self.num_relations * (1 + self.reciprocal_relations), dim)

    def relation_row(self, relation: Int[Tensor, "B"]) -> Int[Tensor, "B"]:
        """Row of the relation table, for relation ids in [0, 2R)."""
        return relation % self.relation.num_embeddings

    def inverse_sign(self, relation: Int[Tensor, "B"]) -> Float[Tensor, "B 1"]:
        """-1 where an inverse is derived from the relation's own vector, else 1."""
        return (1 - 2 * (relation // self.relation.num_embeddings)).unsqueeze(1).float()

    def anchor_vectors(self, queries: Queries) -> Float[Tensor, "B d"]:
        """The vectors of the anchors, after dropout."""
        return self.entity_dropout(self.entity(queries.anchor))

    def relation_vectors(self, queries: Queries) -> Float[Tensor, "B c"]:
        """The vectors of the relations, after dropout."""
        return self.relation_dropout(self.relation(self.relation_row(queries.relation)))

    @property
    def candidates(self) -> Lookup:
        """Looks up the vectors of candidates, after dropout; the table itself if there is none."""
        if self.training and self.entity_dropout.p:
            return lambda ids: self.entity_dropout(self.entity(ids))
        return self.entity

    def magnitude(self, vectors: Float[Tensor, "B d"]) -> Float[Tensor, "B c"]:
        """Absolute value of each coordinate of entity vectors, for regularization."""
        return vectors.abs()

    def relation_magnitude(self, vectors: Float[Tensor, "B d"]) -> Float[Tensor, "B c"]:
        """Absolute value of each coordinate of relation vectors, for regularization."""
        return self.magnitude(vectors)

    def regularization(self, queries: Queries) -> Float[Tensor, ""]:
        if not (self.l2 or self.n3):
            return super().regularization(queries)
        return self.penalties(queries) / len(queries)

    def penalties(self, queries: Queries) -> Float[Tensor, ""]:
        """Sum of the weighted powers of magnitudes over the batch."""
        sizes = torch.cat(
            [
                self.magnitude(self.entity(queries.anchor)),
                self.relation_magnitude(self.relation(self.relation_row(queries.relation))),
                self.magnitude(self.entity(queries.answer)),
            ],
            dim=1,
        )
        return self.penalty(sizes).sum()

    def penalty(self, sizes: Float[Tensor, "B c"]) -> Float[Tensor, "B c"]:
        """Weighted powers of magnitudes."""
        return self.l2 * sizes**2 + self.n3 * sizes**3


def complex_magnitude(vectors: Float[Tensor, "B d"]) -> Float[Tensor, "B c"]:
    """Moduli of complex vectors stored as [real, imaginary]."""
    real, imaginary = vectors.chunk(2, dim=1)
    # the square root has no gradient at 0
    return (real**2 + imaginary**2).clamp_min(torch.finfo(vectors.dtype).tiny).sqrt()
