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
        self.entity = EmbeddingTable(graph.num_entities, dim + 1, sparse=sparse)
        self.relation = EmbeddingTable(2 * graph.num_relations, 2 * dim)
        # nearly uniform: logits start at a standard deviation of about 0.1
        nn.init.normal_(self.entity.weight, std=dim**-0.25 / 4)
        nn.init.normal_(self.relation.weight, std=dim**-0.25 / 4)
        with torch.no_grad():
            self.entity.weight[:, dim] = 0.0
            self.relation.weight[:, : dim // 2] = 1.0
            self.relation.weight[:, dim // 2 : dim] = 0.0

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
    student: StudentModel,
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
        answer_weight: weight of minus the log-probability of the answer, against candidates of this
            density (noise-contrastive estimation with one sum for all of them).
    """
    tables = (student.entity.weight, student.relation.weight)
    given = (queries.anchor, queries.relation, queries.answer, ids, log_q, target)
    return distill(*tables, *given, answer_weight, student.entity.sparse)
