"""What the runs of a comparison left behind, gathered by variant."""

import json
import statistics
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sparring.experiments.compare import Comparison
from sparring.experiments.run import Run

MEASURES = ("mrr", "hits@1", "hits@3", "hits@10")


class Interval(NamedTuple):
    """A number with how low and how high it may well be; None where nothing is known of that."""

    value: float
    low: float | None = None
    high: float | None = None


class Group(NamedTuple):
    """MRR of one group of queries, a mean over seeds."""

    title: str
    name: str
    queries: int
    mrr: Interval


class Point(NamedTuple):
    """One validation, over the seeds that reached it."""

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
    def mrr(self) -> Interval:
        """MRR, with the mean over seeds of its bootstrap interval."""
        return next(
            (group.mrr for group in self.groups if group.title == "overall"),
            Interval(self.mean("mrr")),
        )

    @property
    def difference(self) -> Interval | None:
        """MRR minus that of the baseline; None for the baseline itself."""
        found = self.numbers["difference"]
        return found and Interval(found["difference"], found["low"], found["high"])


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
    ]


def _groups(breakdowns: Sequence[Sequence[Mapping[str, Any]]]) -> list[Group]:
    """Rows of the same group of queries become one."""
    by_name = defaultdict(list)
    for rows in breakdowns:
        for row in rows:
            by_name[row["group"], row["name"]].append(row)
    return [
        Group(title, name, rows[0]["queries"], Interval(*(_mean(rows, key) for key in KEYS)))
        for (title, name), rows in by_name.items()
    ]


KEYS = ("mrr", "mrr_low", "mrr_high")


def _mean(rows: Sequence[Mapping[str, Any]], key: str) -> Any:
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
