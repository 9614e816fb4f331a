"""Ideas for the generator that stay out of the library, for equal_budgets.py to try.

docs/benchmarks/budgets.md says what came out.
"""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from sparring.batch import Feedback, Queries
from sparring.data.graph import TrainGraph
from sparring.generators.ns_generator import NSGenerator
from sparring.generators.softmax import BilinearPolicy, SoftmaxGenerator
from sparring.generators.student import StudentModel
from sparring.kernels.distillation import transform
from sparring.registry import register

DECAY = 0.99  # of the averaged student, per update
LEAST = 1e-3  # added to squared logits


class AveragedStudent(StudentModel):
    """Learns as a student does, and gives vectors averaged over its updates."""

    averaged_entity: Float[Tensor, "N d1"]
    averaged_relation: Float[Tensor, "S d2"]

    def __init__(self, graph: TrainGraph, *, dim: int, sparse: bool):
        super().__init__(graph, dim=dim, sparse=sparse)
        for name in ("entity", "relation"):
            table = getattr(self, name).weight
            self.register_buffer(f"averaged_{name}", table.detach().clone())

    @torch.no_grad()
    def average(self) -> None:
        """Count the present weights in."""
        self.averaged_entity.lerp_(self.entity.weight, 1 - DECAY)
        self.averaged_relation.lerp_(self.relation.weight, 1 - DECAY)

    @property
    def vectors(self) -> Float[Tensor, "N d"]:
        return self.averaged_entity[:, : self.dim]

    @property
    def bias(self) -> Float[Tensor, "N"]:
        return self.averaged_entity[:, self.dim]

    def context(self, queries: Queries) -> Float[Tensor, "B d"]:
        return transform(
            self.averaged_entity[queries.anchor], self.averaged_relation[queries.relation]
        )


@register("averaged-generator", example={"k": 4, "dim": 8, "schedule": {"assign_per_step": 4}})
class AveragedGenerator(NSGenerator):
    """Draws from the average of its student over updates."""

    def new_student(self, graph: TrainGraph, dim: int, sparse: bool) -> StudentModel:
        return AveragedStudent(graph, dim=dim, sparse=sparse)

    def learn(self, loss: Float[Tensor, ""]) -> None:
        super().learn(loss)
        self.student.average()


@register("pairwise-generator", example={"k": 4, "dim": 8, "schedule": {"assign_per_step": 4}})
class PairwiseGenerator(NSGenerator):
    """Learns where a pairwise logistic loss has its gradient: sigmoid(negative - positive).

    The target is bounded: negatives far above the answer are not drawn more often than those just
    above it.
    """

    def _update(self, feedback: Feedback) -> None:
        positive = feedback.positive.float()
        signal = lambda score, answer: F.logsigmoid(score.float() - answer.unsqueeze(1))
        if self.pending is not None:
            rows = self.schedule.rows(self.steps, len(feedback.queries))
            score = signal(self.pending.score, positive[rows])
            self.pending = replace(self.pending, score=score)
        level = F.logsigmoid(torch.zeros_like(positive))  # an answer vs. itself
        negative = signal(feedback.negative, positive)
        super()._update(replace(feedback, positive=level, negative=negative))


class SquaredPolicy(BilinearPolicy):
    """Probabilities in proportion to the square of the inner product."""

    def forward(self, queries: Queries, ids: Tensor) -> Float[Tensor, "B K"]:
        return (super().forward(queries, ids).square() + LEAST).log()


@register("squared-generator", example={"k": 4, "dim": 8})
class SquaredGenerator(SoftmaxGenerator):
    """The softmax generator over all entities, with squared inner products for exponentials.

    Their sum over all entities would have a closed form (Loconte et al., 2023, "How to Turn Your
    Knowledge Graph Embeddings into Generative Models"); here it is taken entity by entity.
    """

    def __init__(self, graph: TrainGraph, *, k: int, dim: int = 32, lr: float = 1e-2):
        super().__init__(graph, k=k, dim=dim, lr=lr)
        self.policy = SquaredPolicy(graph, dim)
        self.optimizer = torch.optim.Adam(self.parameters(), lr)
