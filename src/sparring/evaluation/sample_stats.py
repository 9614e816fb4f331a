"""Statistics of the candidates that a sampler draws, added up batch by batch."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sparring.batch import Negatives, Queries
from sparring.data.graph import KnowledgeGraph
from sparring.evaluation.breakdown import DEGREE_BANDS, ENDS, degree_band
from sparring.evaluation.calibration import (
    CalibrationAccumulator,
    entropy,
    fraction,
)
from sparring.groups import ungroup

OF_DRAWS = ("answer_drawn", "known_drawn", "withheld_drawn")
OF_COUNTED = (
    "answer_counted",
    "known_counted",
    "withheld_counted",
    "rejected_counted",
    "percentile",
    "above",
    "distinct",
)
SUMS = ("queries", "draws", "counted", "weight", "withheld_weight", *OF_DRAWS, *OF_COUNTED)


@dataclass(frozen=True)
class SampleStats:
    """What was drawn for one group of queries. A fraction of nothing is None.

    Fractions named `_drawn` are of all candidates, masked or not; the others are of the candidates
    that count. A candidate is the query's own answer, or else a training fact, or else a withheld
    fact, or else not known to be true.

    Attributes:
        group, name: "overall" and "all", "side" and "tail" or "head", or "relation" and its name.
        queries: number of queries.
        draws: candidates: queries * k.
        counted: candidates whose mask is True.
        answer_*, known_*, withheld_*: fraction of answers, training facts, withheld facts.
        rejected_counted: fraction of triples that reviewers rejected: true negatives.
        withheld_weight: fraction of the counted candidates' weight that lies on withheld facts.
        percentile: mean over candidates of the fraction of entities that score lower, ties
            counting half; 0.5 on average for uniform draws under any model. None without a model.
        above: fraction of candidates that score above the answer. None without a model.
        distinct: fraction of candidates that remain when each query keeps an entity only once.
        coverage: fraction of all entities that counted at least once.
        entropy: of the distribution of candidates over entities, in nats; see `entropy`. Candidate
            lists shared by many queries hold few independent draws, so it reads low for them.
    """

    group: str
    name: str
    queries: int
    draws: int
    counted: int
    answer_drawn: float
    known_drawn: float
    withheld_drawn: float
    answer_counted: float | None
    known_counted: float | None
    withheld_counted: float | None
    rejected_counted: float | None
    withheld_weight: float | None
    percentile: float | None
    above: float | None
    distinct: float | None
    coverage: float
    entropy: float | None


@dataclass(frozen=True)
class DegreeBand:
    """The entities of one band of training degrees, and how often they counted.

    Attributes:
        name: the band, one of `DEGREE_BANDS`.
        entities: how many there are.
        share: fraction of all counted candidates; None if there are none.
        coverage: fraction of the band's entities that counted at least once.
    """

    name: str
    entities: int
    share: float | None
    coverage: float


class AuditAccumulator:
    """Running sums over what one sampler draws, by relation in [0, 2R).

    Memory grows with the number of distinct pairs of relation and candidate, at most one per draw.
    """

    def __init__(self, graph: KnowledgeGraph, device: torch.device) -> None:
        self.graph, self.num_entities = graph, len(graph.entities)
        shape = 2 * len(graph.relations), len(SUMS)
        self.sums = torch.zeros(shape, dtype=torch.double, device=device)
        self.calibration = CalibrationAccumulator(device)
        self.counted: list[tuple[Tensor, Tensor]] = []

    def add(
        self,
        queries: Queries,
        drawn: Negatives,
        known: Bool[Tensor, "B K"],
        withheld: Bool[Tensor, "B K"],
        rejected: Bool[Tensor, "B K"],
        hardness: Float[Tensor, "2 B K"] | None,
    ) -> None:
        """Add one batch.

        Args:
            known, withheld, rejected: candidates that are training facts, withheld ones, or that
                reviewers rejected, but not the answer.
            hardness: percentile of each candidate, and whether it scores above the answer; None
                without a model.
        """
        ids, mask = ungroup(drawn.ids, len(queries)), drawn.mask
        answer = ids == queries.answer.unsqueeze(1)
        weight = drawn.weight.double() * mask
        percentile, above = weight.new_full((2, 1, 1), torch.nan) if hardness is None else hardness
        candidates = {
            "queries": torch.ones_like(mask[:, :1]),
            "draws": torch.ones_like(mask),
            "counted": mask,
            "weight": weight,
            "withheld_weight": weight * withheld,
            "answer_drawn": answer,
            "known_drawn": known,
            "withheld_drawn": withheld,
            "answer_counted": answer & mask,
            "known_counted": known & mask,
            "withheld_counted": withheld & mask,
            "rejected_counted": rejected & mask,
            "percentile": percentile * mask,
            "above": above * mask,
            "distinct": _first_occurrence(ids, mask, self.num_entities),
        }
        columns = [candidates[name].sum(1).double() for name in SUMS]
        self.sums.index_add_(0, queries.relation, torch.stack(columns, dim=1))
        pair = queries.relation.unsqueeze(1) * self.num_entities + ids
        self.counted.append(pair[mask].unique(return_counts=True))
        estimated = mask & ~answer & ~known
        self.calibration.add(
            drawn.p_false_negative[estimated].double(), withheld[estimated].double()
        )

    def stats(self) -> tuple[SampleStats, tuple[SampleStats, ...], tuple[SampleStats, ...]]:
        """Overall, by predicted end, and by relation; groups without queries are left out."""
        num_relations = len(self.graph.relations)
        relation = torch.arange(2 * num_relations, device=self.sums.device)
        pair, count = _merged(self.counted)
        (overall,) = self._stats("overall", ["all"], torch.zeros_like(relation), pair, count)
        ends = self._stats("side", ENDS, relation // num_relations, pair, count)
        names = list(self.graph.relations)
        relations = self._stats("relation", names, relation % num_relations, pair, count)
        return overall, tuple(ends), tuple(relations)

    def bands(self) -> tuple[DegreeBand, ...]:
        """Bands of training degree, rare entities first; bands without entities are left out."""
        pair, count = _merged(self.counted)
        times = self.sums.new_zeros(self.num_entities)
        times.index_add_(0, pair % self.num_entities, count.double())
        times, total = times.cpu(), times.sum().item()
        band = degree_band(self.graph.training.degree.cpu())
        bands = []
        for position, name in enumerate(DEGREE_BANDS):
            inside = times[band == position]
            if len(inside):
                share = fraction(inside.sum().item(), total)
                coverage = (inside > 0).double().mean().item()
                bands.append(DegreeBand(name, len(inside), share, coverage))
        return tuple(bands)

    def _stats(
        self,
        title: str,
        names: Sequence[str],
        group: Int[Tensor, "relations"],
        pair: Int[Tensor, "M"],
        count: Int[Tensor, "M"],
    ) -> Iterator[SampleStats]:
        relation, entity = pair // self.num_entities, pair % self.num_entities
        pair, count = _merged([(group[relation] * self.num_entities + entity, count)])
        owner = pair // self.num_entities
        spread = entropy(owner, count, len(names)).clamp(max=math.log(self.num_entities))
        distinct = torch.bincount(owner, minlength=len(names))
        sums = self.sums.new_zeros(len(names), len(SUMS)).index_add(0, group, self.sums)
        for row in map(int, sums[:, 0].nonzero()):
            total = dict(zip(SUMS, sums[row].tolist()))
            counted = total["counted"]
            fractions: dict[str, Any] = {name: total[name] / total["draws"] for name in OF_DRAWS}
            fractions |= {name: fraction(total[name], counted) for name in OF_COUNTED}
            yield SampleStats(
                group=title,
                name=names[row],
                queries=int(total["queries"]),
                draws=int(total["draws"]),
                counted=int(counted),
                **fractions,
                withheld_weight=fraction(total["withheld_weight"], total["weight"]),
                coverage=int(distinct[row]) / self.num_entities,
                entropy=spread[row].item() if counted else None,
            )


def _first_occurrence(
    ids: Int[Tensor, "B K"], mask: Bool[Tensor, "B K"], num_entities: int
) -> Bool[Tensor, "B K"]:
    """True once for each distinct id of a row that counts, in any order."""
    ids = ids.masked_fill(~mask, num_entities).sort(dim=1).values
    new = torch.ones_like(mask)
    new[:, 1:] = ids[:, 1:] != ids[:, :-1]
    return new & (ids < num_entities)


def _merged(parts: list[tuple[Tensor, Tensor]]) -> tuple[Int[Tensor, "M"], Int[Tensor, "M"]]:
    """Distinct pairs, and how often each was seen in all parts."""
    pair, count = (torch.cat(column) for column in zip(*parts))
    distinct, position = pair.unique(return_inverse=True)
    return distinct, torch.zeros_like(distinct).index_add(0, position, count)
