"""A model together with the generator that it was trained with."""

from typing import Protocol, runtime_checkable

from jaxtyping import Int
from torch import Tensor

from sparring.batch import Queries, Scorer
from sparring.models.base import KGEModel


@runtime_checkable
class ProposalDistribution(Protocol):
    """A sampler that knows the log-probability of every entity."""

    def log_prob_scorer(self, queries: Queries) -> Scorer:
        """Log-probabilities of any candidates, known answers included."""
        ...

    def topk(self, queries: Queries, m: int) -> Int[Tensor, "B m"]:
        """The m most probable entities of each query, in any order."""
        ...


class Ensemble(KGEModel):
    """Scores of a model plus weight times the log-probabilities of its generator.

    An ensemble of two models that learned from each other, to evaluate and to predict with.

    Args:
        model: the main model.
        proposal: the generator it was trained with.
        weight: of the log-probabilities, chosen on validation triples; 0 uses the model alone.
    """

    def __init__(self, model: KGEModel, proposal: ProposalDistribution, *, weight: float) -> None:
        super().__init__()
        self.model, self.proposal, self.weight = model, proposal, weight

    def forward(self, queries: Queries) -> Scorer:
        """Weighted sums of scores and log-probabilities."""
        score, log_prob = self.model(queries), self.proposal.log_prob_scorer(queries)
        return lambda ids: score(ids) + self.weight * log_prob(ids)


def as_proposal(sampler: object) -> ProposalDistribution:
    """The sampler, if it knows the log-probability of every entity.

    Raises:
        ValueError: if it does not.
    """
    if not isinstance(sampler, ProposalDistribution):
        raise ValueError(
            f"{type(sampler).__name__} knows no probabilities of entities; train with "
            'sampler = { name = "generator" }'
        )
    return sampler
