"""What a generator has learnt helps the main model predict."""

from typing import Protocol, runtime_checkable

from jaxtyping import Int
from torch import Tensor

from sparring.batch import Queries, Scorer
from sparring.models.base import MainModel


@runtime_checkable
class Guide(Protocol):
    """A sampler with an opinion of its own about every entity."""

    def opinion(self, queries: Queries) -> Scorer:
        """Log-probability of any candidates, known answers included."""
        ...

    def foremost(self, queries: Queries, m: int) -> Int[Tensor, "B m"]:
        """The m most probable entities of each query, in any order."""
        ...


class Guided(MainModel):
    """Scores of a main model plus weight times the log-probabilities of its generator.

    An ensemble of two models that have learnt from each other, for evaluating and predicting.

    Args:
        weight: to be chosen on validation triples; 0 leaves the main model alone.
    """

    def __init__(self, model: MainModel, guide: Guide, *, weight: float):
        super().__init__()
        self.model, self.guide, self.weight = model, guide, weight

    def forward(self, queries):
        score, opinion = self.model(queries), self.guide.opinion(queries)
        return lambda ids: score(ids) + self.weight * opinion(ids)


def as_guide(sampler: object) -> Guide:
    """The sampler, if it has an opinion.

    Raises:
        ValueError: if it has none.
    """
    if not isinstance(sampler, Guide):
        raise ValueError(
            f"{type(sampler).__name__} has no opinion about entities that it does not draw; "
            'train with sampler = { name = "sparring" } to be guided'
        )
    return sampler
