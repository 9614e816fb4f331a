"""The small model that a generator distills the main model into."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from sparring.batch import Queries
from sparring.data.graph import TrainGraph
from sparring.embedding import EmbeddingTable
from sparring.kernels.distillation import distill, transform
from sparring.models.scorers import DotScorer


class StudentModel(nn.Module):
    """Logits u . v + b: u a vector of the query, v and b a vector and a bias of the entity.

    The query's vector is its anchor's, multiplied by a complex factor of the relation and shifted
    by another vector of it. Distance models shift the anchor, the others multiply it.

    Args:
        dim: width of vectors, even: the second half holds the imaginary parts.
        sparse: give sparse gradients, for so many entities that no step should touch them all.

    Raises:
        ValueError: for an odd dim.
    """

    def __init__(self, graph: TrainGraph, *, dim: int, sparse: bool):
        super().__init__()
        if dim < 2 or dim % 2:
            raise ValueError(f"the student's vectors are complex, so dim must be even; got {dim}")
        self.dim = dim
        # vector and bias in one row, and factor and shift in one: a single look-up finds both
        self.entity = self.new_entity_table(graph.num_entities, sparse)
        self.relation = EmbeddingTable(2 * graph.num_relations, 2 * dim)
        self.reset_parameters()

    def new_entity_table(self, rows: int, sparse: bool) -> EmbeddingTable:
        """A row with a vector and a bias for each entity."""
        return EmbeddingTable(rows, self.dim + 1, sparse=sparse)

    def reset_parameters(self) -> None:
        """Start nearly uniform: logits at a standard deviation of about 0.1."""
        self.fill_entities(self.entity.weight)
        nn.init.normal_(self.relation.weight, std=self.std)
        with torch.no_grad():
            self.relation.weight[:, : self.dim // 2] = 1.0
            self.relation.weight[:, self.dim // 2 : self.dim] = 0.0

    @property
    def std(self) -> float:
        """Standard deviation of initial numbers."""
        return self.dim**-0.25 / 4

    def fill_entities(
        self, weight: Float[Tensor, "n d1"], generator: torch.Generator | None = None
    ) -> None:
        """Fill rows of the entity table with random vectors, and biases of 0."""
        nn.init.normal_(weight, std=self.std, generator=generator)
        with torch.no_grad():
            weight[:, self.dim] = 0.0

    @property
    def vectors(self) -> Float[Tensor, "N d"]:
        """The vectors of all entities, detached."""
        return self.entity.weight.detach()[:, : self.dim]

    @property
    def bias(self) -> Float[Tensor, "N"]:
        """The biases of all entities, detached."""
        return self.entity.weight.detach()[:, self.dim]

    def context(self, queries: Queries) -> Float[Tensor, "B d"]:
        """The vector of each query."""
        return transform(self.entity(queries.anchor), self.relation(queries.relation))

    def forward(self, queries: Queries) -> DotScorer:
        """A scorer of candidates, whose logits hold up to a constant per query."""
        return DotScorer(nn.functional.pad(self.context(queries), (0, 1), value=1.0), self.entity)

    def distillation_loss(
        self,
        queries: Queries,
        ids: Int[Tensor, "G K"],
        log_q: Float[Tensor, "B K"],
        target: Float[Tensor, "B K"],
        answer_weight: float,
    ) -> Float[Tensor, ""]:
        """Forward KL of the student from the target among candidates, up to a constant.

        Args:
            ids: candidates; neither they nor the ids of queries are checked.
            log_q: log-density of the candidates, which is subtracted from the student's logits.
            target: probabilities, or 0 throughout for a query that does not count.
            answer_weight: weight of minus the log-probability of the answer, against candidates of
                this density (noise-contrastive estimation with one sum for all of them).
        """
        tables = (self.entity.weight, self.relation.weight)
        given = (queries.anchor, queries.relation, queries.answer, ids, log_q, target)
        return distill(*tables, *given, answer_weight, sparse=self.entity.sparse)
