"""A main model that is trained against mutants of wrong answers."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from sparring.batch import VectorScorer, per_query
from sparring.graph.knowledge_graph import TrainGraph
from sparring.models.base import MainModel
from sparring.models.mutation import EmbeddingMutator


@dataclass(frozen=True, eq=False)
class MutatedScorer:
    """Scores mutants of the candidates; an answer has no mutants but itself.

    Memory grows with B * K * d, since each query has mutants of its own.
    """

    scorer: VectorScorer
    answer: Int[Tensor, "B"]
    mutator: EmbeddingMutator

    def __call__(self, ids: Int[Tensor, "G K"]) -> Float[Tensor, "B K"]:
        candidate = self.vectors(per_query(ids, len(self.answer)))
        answer = self.vectors(self.answer.unsqueeze(1))
        judge = torch.no_grad()(self.scorer.at)
        return self.scorer.at(self.mutator(answer, candidate, judge))

    def __getitem__(self, rows: slice) -> "MutatedScorer":
        """The scorer of the chosen queries."""
        return replace(self, scorer=self.scorer[rows], answer=self.answer[rows])

    def vectors(self, ids: Int[Tensor, "G K"]) -> Float[Tensor, "G K d"]:
        """The vectors of candidates, before any mutation."""
        return self.scorer.vectors(ids)

    def at(self, vectors: Float[Tensor, "G K d"]) -> Float[Tensor, "B K"]:
        """Scores of vectors as they are."""
        return self.scorer.at(vectors)


class Mutated(MainModel):
    """A model whose candidates are mutated while it trains, and left alone when it is judged.

    Mutation is part of the scorer, so that any sampler and any loss will do, but those losses
    that correct for a density, which mutants do not have. Samplers that ask for scores are told
    those of other mutants of the same candidates.

    Args:
        inner: the model; its candidates must be vectors, and nothing else.
        mutator: how candidates are changed.
        plain: weight of a cross-entropy against real entities, uniformly drawn, in addition to
            the loss (Takamoto et al., 2025); the encoder then runs twice.
        entities: how many of these the batch shares.

    Raises:
        ValueError: if a candidate of the inner model is more than one vector.
    """

    trains_on_entities = False

    def __init__(
        self,
        graph: TrainGraph,
        *,
        inner: MainModel,
        mutator: EmbeddingMutator,
        plain: float = 0.0,
        entities: int = 256,
    ):
        super().__init__()
        if plain < 0 or entities < 1:
            raise ValueError(
                "real entities are at least one, and their weight is not below 0; "
                f"got entities={entities}, plain={plain}"
            )
        self.inner, self.mutator = inner, mutator
        self.plain, self.entities = plain, entities
        self.num_entities = graph.num_entities

    @property
    def entity(self) -> Tensor | nn.Module:
        """The inner model's table of entity vectors, if it has one."""
        return self.inner.entity

    def forward(self, queries):
        score = self.inner(queries)
        if not self.training:
            return score
        if not isinstance(score, VectorScorer):
            raise ValueError(
                f"{type(self.inner).__name__} knows more of a candidate than one vector, so "
                "there is nothing to mutate; use DistMult, ComplEx, RESCAL, TransE or RotatE"
            )
        return MutatedScorer(score, queries.answer, self.mutator)

    def penalty(self, queries):
        inner = self.inner.penalty(queries)
        if not self.plain:
            return inner
        score = self.inner(queries)
        shape, device = (1, self.entities), queries.answer.device
        ids = torch.randint(self.num_entities, shape, device=device)
        wrong = score(ids).masked_fill(ids == queries.answer.unsqueeze(1), -torch.inf)
        right = score(queries.answer.unsqueeze(1))
        surprise = torch.cat([right, wrong], 1).logsumexp(1) - right.squeeze(1)
        return inner + self.plain * (surprise * queries.weight).sum() / queries.weight.sum()

    def after_step(self):
        self.inner.after_step()
