"""What a sampler offered, added up: shares, spread over entities, and calibration."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sparring.batch import Negatives, Queries, ungroup
from sparring.data.graph import KnowledgeGraph
from sparring.evaluation.breakdown import ASKED, DEGREE_BANDS, degree_band

OF_DRAWS = ("answer_drawn", "known_drawn", "withheld_drawn")
OF_COUNTED = (
    "answer_counted",
    "known_counted",
    "withheld_counted",
    "percentile",
    "above",
    "distinct",
)
SUMS = ("queries", "draws", "counted", "weight", "withheld_weight", *OF_DRAWS, *OF_COUNTED)
BIN_EDGES = (0.0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)


@dataclass(frozen=True)
class SampleStats:
    """What was offered to one group of queries. A share of nothing is None.

    Shares named `_drawn` are of all candidates, masked or not; the others are of the candidates
    that count. A candidate is the query's own answer, or else a training fact, or else a
    withheld fact, or else nothing known.

    Attributes:
        group, name: "overall" and "all", "side" and "tail" or "head", or "relation" and its name.
        draws: candidates: queries * k.
        counted: candidates whose mask is True.
        answer_*, known_*, withheld_*: share that is the answer, a training fact, a withheld fact.
        withheld_weight: share of the counted candidates' weight that lies on withheld facts.
        percentile: mean over candidates of the share of entities that score lower, ties counting
            half; 0.5 on average for uniform draws, whatever the model. None without a model.
        above: share of candidates that score above the answer. None without a model.
        distinct: share of candidates that is left when no query gets an entity twice.
        coverage: share of all entities that counted at least once.
        entropy: of the distribution of candidates over entities, in nats; see `entropy`. Lists
            shared by many queries are few draws in disguise, so it reads low for them.
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
        entities: how many there are.
        share: of all counted candidates; None if there are none.
        coverage: share of the band's entities that counted at least once.
    """

    name: str
    entities: int
    share: float | None
    coverage: float


@dataclass(frozen=True)
class Bin:
    """Candidates with similar estimates of being facts.

    Attributes:
        low, high: bounds of the estimate; `low` belongs to the bin.
        estimate: mean estimate.
        withheld: share that is a withheld fact.
    """

    low: float
    high: float
    candidates: int
    estimate: float
    withheld: float


@dataclass(frozen=True)
class Calibration:
    """Does `Negatives.p_false_negative` know the withheld facts?

    Judged on the counted candidates that are neither answers nor training facts.

    Attributes:
        brier: mean squared error; None where there is nothing to judge. A sampler without an
            opinion says 0, and gets its rate of withheld facts.
        error: expected calibration error: the mean over candidates of how far their bin's
            estimate is from its share of withheld facts (Naeini et al., 2015); None likewise.
        bins: those with candidates. They are finer near 0, where nearly all candidates are.
    """

    brier: float | None
    error: float | None
    bins: tuple[Bin, ...]


def entropy(
    group: Int[Tensor, "M"], count: Int[Tensor, "M"], groups: int
) -> Float[Tensor, "groups"]:
    """Entropy, in nats, of each group's distribution over its members, from how often each came.

    The plain estimate misses what was too rare to come. Chao & Shen, 2003: scale shares by the
    estimated coverage, which is 1 minus the share of draws that came only once, and divide each
    member's part by its chance to have come at all.

    Args:
        group, count: of each member that came: its group, and how often it came, from 1.

    Returns:
        0 for a group without members.
    """
    none = torch.zeros(groups, dtype=torch.double, device=group.device)
    draws = none.index_add(0, group, count.double())
    once = none.index_add(0, group, (count == 1).double())
    coverage = 1 - torch.minimum(once, draws - 1) / draws  # not 0 where all came only once
    share = coverage[group] * count / draws[group]
    seen = -torch.expm1(draws[group] * torch.log1p(-share))
    return none.index_add(0, group, -share * share.log() / seen)


class AuditAccumulator:
    """Running sums over what one sampler offers, by relation in [0, 2R).

    Memory grows with the number of distinct pairs of relation and candidate, at most one a draw.
    """

    def __init__(self, graph: KnowledgeGraph, device: torch.device):
        self.graph, self.num_entities = graph, len(graph.entities)
        shape = 2 * len(graph.relations), len(SUMS)
        self.sums = torch.zeros(shape, dtype=torch.double, device=device)
        self.bins = torch.zeros(len(BIN_EDGES) - 1, 4, dtype=torch.double, device=device)
        self.counted: list[tuple[Tensor, Tensor]] = []

    def add(
        self,
        queries: Queries,
        drawn: Negatives,
        known: Bool[Tensor, "B K"],
        withheld: Bool[Tensor, "B K"],
        hardness: Float[Tensor, "2 B K"] | None,
    ) -> None:
        """Add one batch.

        Args:
            known, withheld: candidates that are training facts, or withheld ones, but not the
                answer.
            hardness: of each candidate, its percentile and whether it scores above the answer.
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
            "percentile": percentile * mask,
            "above": above * mask,
            "distinct": _first_of_its_kind(ids, mask, self.num_entities),
        }
        columns = [candidates[name].sum(1).double() for name in SUMS]
        self.sums.index_add_(0, queries.relation, torch.stack(columns, dim=1))
        place = queries.relation.unsqueeze(1) * self.num_entities + ids
        self.counted.append(place[mask].unique(return_counts=True))
        judged = mask & ~answer & ~known
        self._calibrate(drawn.p_false_negative[judged].double(), withheld[judged].double())

    def _calibrate(self, estimate: Float[Tensor, "C"], withheld: Float[Tensor, "C"]) -> None:
        inner = torch.tensor(BIN_EDGES[1:-1], dtype=torch.double, device=estimate.device)
        error = (estimate - withheld).square()
        columns = torch.stack([torch.ones_like(estimate), estimate, withheld, error], dim=1)
        self.bins.index_add_(0, torch.bucketize(estimate, inner, right=True), columns)

    def offers(self) -> tuple[SampleStats, tuple[SampleStats, ...], tuple[SampleStats, ...]]:
        """Everything, by side, and by relation; without groups that nobody asked for."""
        num_relations = len(self.graph.relations)
        relation = torch.arange(2 * num_relations, device=self.sums.device)
        place, count = _merged(self.counted)
        (overall,) = self._offers("overall", ["all"], torch.zeros_like(relation), place, count)
        sides = self._offers("side", ASKED, relation // num_relations, place, count)
        names = list(self.graph.relations)
        relations = self._offers("relation", names, relation % num_relations, place, count)
        return overall, tuple(sides), tuple(relations)

    def _offers(
        self,
        title: str,
        names: Sequence[str],
        group: Int[Tensor, "relations"],
        place: Int[Tensor, "M"],
        count: Int[Tensor, "M"],
    ) -> Iterator[SampleStats]:
        relation, entity = place // self.num_entities, place % self.num_entities
        place, count = _merged([(group[relation] * self.num_entities + entity, count)])
        owner = place // self.num_entities
        spread = entropy(owner, count, len(names)).clamp(max=math.log(self.num_entities))
        distinct = torch.bincount(owner, minlength=len(names))
        sums = self.sums.new_zeros(len(names), len(SUMS)).index_add(0, group, self.sums)
        for row in map(int, sums[:, 0].nonzero()):
            total = dict(zip(SUMS, sums[row].tolist()))
            counted = total["counted"]
            shares: dict[str, Any] = {name: total[name] / total["draws"] for name in OF_DRAWS}
            shares |= {name: _share(total[name], counted) for name in OF_COUNTED}
            yield SampleStats(
                group=title,
                name=names[row],
                queries=int(total["queries"]),
                draws=int(total["draws"]),
                counted=int(counted),
                **shares,
                withheld_weight=_share(total["withheld_weight"], total["weight"]),
                coverage=int(distinct[row]) / self.num_entities,
                entropy=spread[row].item() if counted else None,
            )

    def bands(self) -> tuple[DegreeBand, ...]:
        """Bands of training degree, rare entities first; without bands that have no entity."""
        place, count = _merged(self.counted)
        times = self.sums.new_zeros(self.num_entities)
        times.index_add_(0, place % self.num_entities, count.double())
        times, everywhere = times.cpu(), times.sum().item()
        band = degree_band(self.graph.training.degree.cpu())
        found = []
        for position, name in enumerate(DEGREE_BANDS):
            here = times[band == position]
            if len(here):
                share = _share(here.sum().item(), everywhere)
                found.append(DegreeBand(name, len(here), share, (here > 0).double().mean().item()))
        return tuple(found)

    def calibration(self) -> Calibration:
        """Of the sampler's estimates, against the withheld facts."""
        total, _, _, error = self.bins.sum(0).tolist()
        bins = tuple(
            Bin(low, high, int(number), estimate / number, withheld / number)
            for low, high, (number, estimate, withheld, _) in zip(
                BIN_EDGES, BIN_EDGES[1:], self.bins.tolist()
            )
            if number
        )
        gap = math.fsum(one.candidates * abs(one.estimate - one.withheld) for one in bins)
        return Calibration(_share(error, total), _share(gap, total), bins)


def _share(part: float, whole: float) -> float | None:
    """None where it has no meaning."""
    return part / whole if whole and not math.isnan(part) else None


def _first_of_its_kind(
    ids: Int[Tensor, "B K"], mask: Bool[Tensor, "B K"], num_entities: int
) -> Bool[Tensor, "B K"]:
    """True once for each distinct id of a row that counts, in any order."""
    ids = ids.masked_fill(~mask, num_entities).sort(dim=1).values
    new = torch.ones_like(mask)
    new[:, 1:] = ids[:, 1:] != ids[:, :-1]
    return new & (ids < num_entities)


def _merged(parts: list[tuple[Tensor, Tensor]]) -> tuple[Int[Tensor, "M"], Int[Tensor, "M"]]:
    """Distinct places and how often each came in all parts."""
    place, count = (torch.cat(column) for column in zip(*parts))
    distinct, spot = place.unique(return_inverse=True)
    return distinct, torch.zeros_like(distinct).index_add(0, spot, count)
