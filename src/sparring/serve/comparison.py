"""What several samplers would draw for one query: how hard, and how probably true."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from sparring.batch import Queries, Scorer
from sparring.corruption import tail_and_head_queries
from sparring.data.frames import triple_ids
from sparring.evaluation.audit import restored
from sparring.evaluation.ranking import eval_mode
from sparring.groups import ungroup
from sparring.registry import ConfigError, build
from sparring.samplers.base import SAMPLERS, NegativeSampler
from sparring.serve.look import Named
from sparring.serve.served import ServedModel

TRAINED = "trained"
# those that need no training and are drawn from quickly
OTHERS: dict[str, dict[str, Any]] = {
    "uniform": {"name": "uniform", "k": 16},
    "popularity": {"name": "popularity", "k": 16},
    "type-constrained": {"name": "type-constrained", "k": 16},
    "dynamic-negatives": {
        "name": "dynamic-negatives",
        "inner": {"name": "uniform", "k": 64},
        "k": 16,
    },
}
DRAWS = 64  # negatives behind the averages
REFERENCE = 512  # random entities that percentiles refer to


@dataclass(frozen=True)
class DrawnNegative:
    """One entity that a sampler draws in place of the answer.

    Attributes:
        times: how often it was drawn.
        score: of the model.
        percentile: fraction of entities that score lower.
        probability: that it makes a true triple; None without a calibration.
        known: whether it is a fact of any split.
    """

    entity: Named
    times: int
    score: float
    percentile: float
    probability: float | None
    known: bool


@dataclass(frozen=True)
class SamplerDraws:
    """What one sampler draws for one query.

    Attributes:
        sampler: its name; "trained" for that of the model.
        kind: its class.
        negatives: the ones drawn most often, the hardest first.
        percentile: mean over all draws of the fraction of entities that score lower.
        above: fraction of the draws that score above the answer.
        probability: mean over all draws; None without a calibration.
        known: fraction of the draws that are facts of any split.
    """

    sampler: str
    kind: str
    negatives: tuple[DrawnNegative, ...]
    percentile: float
    above: float
    probability: float | None
    known: float


class SamplerComparison:
    """Draws from several samplers for the graph of one model.

    Args:
        served: the model; its own sampler is named "trained".
    """

    def __init__(self, served: ServedModel) -> None:
        self.served = served

    @cached_property
    def samplers(self) -> Mapping[str, NegativeSampler]:
        """The samplers by name; those that the graph does not suit are left out."""
        found = {TRAINED: self.served.sampler}
        device = self.served.graph.train.device
        for name, table in OTHERS.items():
            try:
                sampler = build(table, SAMPLERS, "sampler", graph=self.served.graph.training)
            except (ConfigError, ValueError):
                continue
            sampler.bind_model(self.served.model)
            found[name] = sampler.to(device).eval()
        return found

    def draw(
        self,
        triple: tuple[str, str, str],
        side: str,
        *,
        samplers: Sequence[str] | None = None,
        shown: int = 8,
    ) -> list[SamplerDraws]:
        """What samplers draw in place of the tail or the head of a triple.

        Args:
            triple: by name.
            side: "tail" or "head".
            samplers: by name; all by default.
            shown: negatives per sampler, at most.

        Raises:
            UnknownNameError: for an unknown entity or relation; suggests similar ones.
            ValueError: for an unknown sampler.
        """
        served = self.served
        ids = triple_ids(served.graph, [triple])
        both = tail_and_head_queries(ids, len(served.graph.relations))
        with served.lock:
            known = self.samplers
            names = list(known) if samplers is None else list(samplers)
            if unknown := [name for name in names if name not in known]:
                raise ValueError(
                    f"there is no sampler {unknown[0]!r} here; choose among {', '.join(known)}"
                )
            query = both[slice(0, 1) if side == "tail" else slice(1, 2)]
            with eval_mode(served.model):
                score = served.model(query)
                reference = self._reference(score)
                return [
                    self._draw(name, known[name], query, score, reference, shown) for name in names
                ]

    def _reference(self, score: Scorer) -> Float[Tensor, "M"]:
        """Sorted scores of random entities."""
        rng = torch.Generator().manual_seed(self.served.seed)
        ids = torch.randperm(len(self.served.graph.entities), generator=rng)[:REFERENCE]
        return score(ids.unsqueeze(0)).squeeze(0).float().sort().values

    def _draw(
        self,
        name: str,
        sampler: NegativeSampler,
        query: Queries,
        score: Scorer,
        reference: Float[Tensor, "M"],
        shown: int,
    ) -> SamplerDraws:
        served = self.served
        rng = torch.Generator(query.anchor.device).manual_seed(served.seed)
        drawn: list[Tensor] = []
        with restored(sampler), torch.no_grad():
            while sum(map(len, drawn)) < DRAWS:
                found = sampler.sample(query, score, rng)
                row, counts = ungroup(found.ids, 1)[0], found.mask[0]
                drawn.append(row[counts] if counts.any() else row)
        ids = torch.cat(drawn)[: max(DRAWS, sampler.k)]
        scores = score(ids.unsqueeze(0)).float()
        percentile = torch.searchsorted(reference, scores.squeeze(0)) / len(reference)
        known = served.graph.known.contains(query, ids.unsqueeze(0)).squeeze(0)
        probability = None
        if served.calibration:
            log_norm = served.calibration.log_norm(score, query.anchor.device)
            answers = served.graph.training.known.count(query)
            probability = served.calibration(scores, log_norm, answers).squeeze(0)
        answer = score(query.answer.unsqueeze(1)).float()
        own, times = ids.unique(return_counts=True)
        first = (ids.unsqueeze(0) == own.unsqueeze(1)).int().argmax(1)
        drawn_first = first.argsort()  # among equally frequent ones, a random sample
        most = drawn_first[times[drawn_first].argsort(descending=True, stable=True)][:shown]
        order = most[percentile[first[most]].argsort(descending=True, stable=True)]
        negatives = tuple(
            DrawnNegative(
                Named(served.graph.entities[id], served.graph.entities.label(id)),
                int(times[place]),
                float(scores[0, first[place]]),
                float(percentile[first[place]]),
                None if probability is None else float(probability[first[place]]),
                bool(known[first[place]]),
            )
            for place, id in zip(order.tolist(), own[order].tolist())
        )
        return SamplerDraws(
            name,
            type(sampler).__name__,
            negatives,
            float(percentile.mean()),
            float((scores > answer).float().mean()),
            None if probability is None else float(probability.mean()),
            float(known.float().mean()),
        )
