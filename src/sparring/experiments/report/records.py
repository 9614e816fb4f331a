"""What the runs of a comparison left behind, gathered by variant."""

import json
import statistics
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sparring.breakdown import Difference
from sparring.experiments.compare import Comparison
from sparring.experiments.run import Run

MEASURES = ("mrr", "hits@1", "hits@3", "hits@10")


class Estimate(NamedTuple):
    """A number and the ends of its interval, if it has one."""

    value: float
    ends: tuple[float, float] | None = None


class Group(NamedTuple):
    """MRR of one group of queries, a mean over seeds."""

    title: str
    name: str
    queries: int
    mrr: Estimate


class Point(NamedTuple):
    """One validation of every seed."""

    epoch: float
    cpu_seconds: float
    mrr: Sequence[float]


class Offer(NamedTuple):
    """Negatives on the whole, as `sparring.audit.Offer` has them; None where not known."""

    withheld_counted: float | None
    percentile: float | None
    above: float | None
    known_drawn: float | None
    answer_drawn: float | None
    distinct: float | None
    coverage: float | None


@dataclass(frozen=True)
class Variant:
    """All that a report says of one variant.

    Attributes:
        place: position in the plan; the first variant is the baseline.
        numbers: its entry in `Comparison.numbers()`.
        results: `result.json` of each seed.
        curve: validations in order of epochs.
        groups: rows of `breakdown.json` as means over seeds; none where that file is missing.
        offers: "own" and, for comparison, "uniform" draws; none where `audit.json` is missing.
        negatives: examples of the first seed that has them.
    """

    place: int
    label: str
    numbers: Mapping[str, Any]
    results: Sequence[Mapping[str, Any]]
    curve: Sequence[Point]
    groups: Sequence[Group]
    offers: Mapping[str, Offer]
    negatives: Sequence[Mapping[str, Any]]

    def mean(self, name: str) -> float:
        """Mean over seeds of a compared measure."""
        return self.numbers[name]["mean"]

    @property
    def mrr(self) -> Estimate:
        """MRR, with the mean over seeds of its bootstrap interval."""
        return next(
            (group.mrr for group in self.groups if group.title == "overall"),
            Estimate(self.mean("mrr")),
        )

    @property
    def difference(self) -> Difference | None:
        """MRR minus that of the baseline; None for the baseline itself."""
        found = self.numbers["difference"]
        return None if found is None else Difference(**found)


def variants(comparison: Comparison, numbers: Mapping[str, Any]) -> list[Variant]:
    """The variants in the order of the plan.

    Args:
        numbers: `comparison.numbers()`.
    """
    return [
        Variant(
            place=place,
            label=label,
            numbers=numbers["variants"][label],
            results=[run.result() for run in runs],
            curve=_curve([run.log() for run in runs]),
            groups=_groups([found["rows"] for found in _stored(runs, "breakdown.json")]),
            offers=_offers(list(_stored(runs, "audit.json"))),
            negatives=next(_stored(runs, "negatives.json"), []),
        )
        for place, (label, runs) in enumerate(comparison.runs.items())
    ]


def _stored(runs: Sequence[Run], name: str) -> Iterator[Any]:
    """The content of an optional file, from each run that has it."""
    for run in runs:
        path = run.folder / name
        if path.exists():
            yield json.loads(path.read_text(encoding="utf-8"))


def _curve(logs: Sequence[Sequence[Mapping[str, Any]]]) -> list[Point]:
    """Validations that all seeds reached: a mean over ever fewer seeds would jump."""
    by_epoch = defaultdict(list)
    for log in logs:
        for record in log:
            if record["kind"] == "validation":
                by_epoch[record["epoch"]].append(record)
    return [
        Point(
            epoch,
            statistics.fmean(record["cpu_seconds"] for record in records),
            [record["mrr"] for record in records],
        )
        for epoch, records in sorted(by_epoch.items())
        if len(records) == len(logs)
    ]


def _groups(breakdowns: Sequence[Sequence[Mapping[str, Any]]]) -> list[Group]:
    """Rows of the same group of queries become one."""
    by_name = defaultdict(list)
    for rows in breakdowns:
        for row in rows:
            by_name[row["group"], row["name"]].append(row)
    return [
        Group(title, name, rows[0]["queries"], _estimate(rows))
        for (title, name), rows in by_name.items()
    ]


def _estimate(rows: Sequence[Mapping[str, Any]]) -> Estimate:
    """Mean MRR, with the mean ends of its intervals."""
    mrr = statistics.fmean(row["mrr"] for row in rows)
    low, high = _mean(rows, "mrr_low"), _mean(rows, "mrr_high")
    return Estimate(mrr, None if low is None or high is None else (low, high))


def _mean(rows: Sequence[Mapping[str, Any]], key: str) -> float | None:
    """The mean of an entry, unless a row has none."""
    values = [row[key] for row in rows]
    return None if None in values else statistics.fmean(values)


def _offers(audits: Sequence[Mapping[str, Any]]) -> Mapping[str, Offer]:
    """What the sampler offered and what uniform draws would have been, as means over seeds."""
    own = [found["overall"] for found in audits]
    uniform = [found["baseline"]["overall"] for found in audits if found["baseline"]]
    return {
        whose: Offer(*(_mean(rows, field) for field in Offer._fields))
        for whose, rows in (("own", own), ("uniform", uniform))
        if rows
    }
