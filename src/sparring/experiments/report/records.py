"""The records of a comparison by variant, numbers as text, and the headline of the report."""

import statistics
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sparring.evaluation.breakdown import Difference
from sparring.experiments.compare import Comparison
from sparring.experiments.run_folder import Run
from sparring.files import read_json, read_object

THIN = "\N{NARROW NO-BREAK SPACE}"
MINUS = "\N{MINUS SIGN}"
DASH = "\N{EN DASH}"


def score(value: float) -> str:
    """A metric between 0 and 1, such as 0.345."""
    return f"{value:.3f}".replace("-", MINUS)


def signed(value: float) -> str:
    """A difference of metrics, such as +0.021."""
    text = f"{value:+.3f}"
    return "0.000" if float(text) == 0 else text.replace("-", MINUS)


def count(value: int | float) -> str:
    """A whole number in groups of three."""
    return f"{value:,.0f}".replace(",", THIN)


def percent(share: float) -> str:
    """A share with about two significant digits, such as 0.34 %."""
    value = 100 * share
    places = 0 if value >= 10 or value == 0 else 1 if value >= 1 else 2 if value >= 0.1 else 3
    return f"{value:.{places}f}{THIN}%"


def cpu_time(value: float) -> str:
    """CPU seconds without their unit, with a decimal where it matters."""
    return f"{value:.1f}" if value < 100 else count(value)


def duration(seconds: int | float) -> str:
    """Processor time in its two largest units, such as 1 h 12 min."""
    if seconds < 59.5:
        return f"{seconds:.1f}{THIN}s" if seconds < 10 else f"{seconds:.0f}{THIN}s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes}{THIN}min"
    hours, minutes = divmod(minutes, 60)
    return f"{count(hours)}{THIN}h {minutes}{THIN}min"


def between(low: float, high: float) -> str:
    """An interval of differences."""
    return f"{signed(low)} to {signed(high)}"


def span(values: list[int]) -> str:
    """The lowest and highest of whole numbers, once if they are equal."""
    low, high = min(values), max(values)
    return count(low) if low == high else f"{count(low)}{DASH}{count(high)}"


MEASURES = ("mrr", "hits@1", "hits@3", "hits@10")


class Metric(NamedTuple):
    """A value and the ends of its confidence interval, if it has one."""

    value: float
    ends: tuple[float, float] | None = None


class Group(NamedTuple):
    """MRR of one group of queries, a mean over seeds."""

    title: str
    name: str
    queries: int
    mrr: Metric


class Point(NamedTuple):
    """One validation, with the MRR of every seed."""

    epoch: float
    cpu_seconds: float
    mrr: Sequence[float]


class SampleStats(NamedTuple):
    """The overall rates of an audit; None if not known."""

    withheld_counted: float | None
    percentile: float | None
    above: float | None
    known_drawn: float | None
    answer_drawn: float | None
    distinct: float | None
    coverage: float | None


@dataclass(frozen=True, eq=False)
class Variant:
    """Everything that the report shows about one variant.

    Attributes:
        place: position in the plan; the first variant is the baseline.
        numbers: its entry in `Comparison.numbers()`.
        results: `result.json` of each seed.
        curve: validations in order of epochs.
        groups: rows of `breakdown.json` as means over seeds; empty where that file is missing.
        samples: statistics of its "own" negatives and of "uniform" ones; empty where `audit.json`
            is missing.
        negatives: examples of the first seed that has them.
    """

    place: int
    label: str
    numbers: Mapping[str, Any]
    results: Sequence[Mapping[str, Any]]
    curve: Sequence[Point]
    groups: Sequence[Group]
    samples: Mapping[str, SampleStats]
    negatives: Sequence[Mapping[str, Any]]

    def mean(self, name: str) -> float:
        """Mean over seeds of a compared metric."""
        return self.numbers[name]["mean"]

    @property
    def scored(self) -> int:
        """Scores per query, those without a gradient too."""
        return self.numbers["scored_per_query"]

    @property
    def mrr(self) -> Metric:
        """MRR, with the mean over seeds of its bootstrap interval."""
        return next(
            (group.mrr for group in self.groups if group.title == "overall"),
            Metric(self.mean("mrr")),
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
            samples=_sample_stats(list(_stored(runs, "audit.json"))),
            negatives=_examples(runs),
        )
        for place, (label, runs) in enumerate(comparison.runs.items())
    ]


def _stored(runs: Sequence[Run], name: str) -> Iterator[Any]:
    """The content of an optional file, from each run that has it."""
    for run in runs:
        path = run.folder / name
        if path.exists():
            yield read_object(path)


def _examples(runs: Sequence[Run]) -> Sequence[Mapping[str, Any]]:
    """Those of the first seed that has any; earlier versions wrote the bare list."""
    paths = [run.folder / "negatives.json" for run in runs]
    path = next((path for path in paths if path.exists()), None)
    if path is None:
        return []
    found = read_json(path)
    return found if isinstance(found, list) else read_object(path)["queries"]


def _curve(logs: Sequence[Sequence[Mapping[str, Any]]]) -> list[Point]:
    """Validations that all seeds reached, so that every mean is over the same seeds."""
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
    """One group for the rows of all seeds about the same queries."""
    by_name = defaultdict(list)
    for rows in breakdowns:
        for row in rows:
            by_name[row["group"], row["name"]].append(row)
    return [
        Group(title, name, rows[0]["queries"], _metric(rows))
        for (title, name), rows in by_name.items()
    ]


def _metric(rows: Sequence[Mapping[str, Any]]) -> Metric:
    """Mean MRR, with the mean ends of its intervals."""
    mrr = statistics.fmean(row["mrr"] for row in rows)
    low, high = _mean(rows, "mrr_low"), _mean(rows, "mrr_high")
    return Metric(mrr, None if low is None or high is None else (low, high))


def _mean(rows: Sequence[Mapping[str, Any]], key: str) -> float | None:
    """The mean of an entry; None if a row has none."""
    values = [row[key] for row in rows]
    return None if None in values else statistics.fmean(values)


def _sample_stats(audits: Sequence[Mapping[str, Any]]) -> Mapping[str, SampleStats]:
    """Statistics of the sampler's negatives and of uniform ones, as means over seeds."""
    own = [found["overall"] for found in audits]
    uniform = [found["baseline"]["overall"] for found in audits if found["baseline"]]
    return {
        whose: SampleStats(*(_mean(rows, field) for field in SampleStats._fields))
        for whose, rows in (("own", own), ("uniform", uniform))
        if rows
    }


Gap = Callable[[Variant, Variant], Difference]
LEVEL = "95\N{NO-BREAK SPACE}% interval"
EQUAL = 1.15  # numbers of scores per query within this ratio are one budget


class Headline(NamedTuple):
    """A title and the sentences below it."""

    title: str
    lede: str


def headline(variants: Sequence[Variant], dataset: str, gap: Gap) -> Headline:
    """The best variant vs. its strongest rival with as many scores per query, or more.

    Scores per query are all that a variant computes, those without a gradient too.

    Args:
        gap: MRR of one variant minus that of another, with its interval.
    """
    found = _headline(variants, dataset, gap)
    return Headline(*(text[:1].upper() + text[1:] for text in found))


def strongest_rival(variant: Variant, variants: Sequence[Variant]) -> Variant | None:
    """The best other variant whose budget of scores per query is at least as large."""
    rivals = [
        other
        for other in variants
        if other is not variant and other.scored * EQUAL >= variant.scored
    ]
    return max(rivals, key=lambda other: other.mean("mrr"), default=None)


def _headline(variants: Sequence[Variant], dataset: str, gap: Gap) -> Headline:
    if len(variants) == 1:
        return _alone(variants[0], dataset)
    baseline = variants[0]
    best, runner_up = sorted(variants, key=lambda variant: -variant.mean("mrr"))[:2]
    rival = strongest_rival(best, variants)
    others = [other for other in (runner_up, baseline) if other not in (best, rival)]
    rest = f"{_behind(best, others, gap)}{_other_budgets(variants, best, gap)}{_seeds(best)}"
    if rival is None:
        return Headline(
            f"{best.label} is best on {dataset}, with more scores than any other",
            f"It reaches {score(best.mean('mrr'))} MRR with {_budget(best)}; no other variant "
            f"has as many, so how it compares at an equal budget is unknown.{rest}",
        )
    lead = gap(best, rival)
    at = _at(best, rival)
    if lead.low <= 0:
        return Headline(
            f"No clear winner on {dataset}",
            f"{best.label} is {score(lead.difference)} MRR ahead of {rival.label}, its strongest "
            f"rival {at}, but that may be chance: the {LEVEL}, {between(lead.low, lead.high)}, "
            f"includes zero.{_price(best, rival)}{rest}",
        )
    return Headline(
        f"{best.label} beats {rival.label} by {score(lead.difference)} MRR on {dataset}",
        f"{score(best.mean('mrr'))} vs. {score(rival.mean('mrr'))} for its strongest rival {at}; "
        f"the {LEVEL} of the lead is {score(lead.low)} to {score(lead.high)}."
        f"{_price(best, rival)}{rest}",
    )


def _alone(variant: Variant, dataset: str) -> Headline:
    ends = variant.mrr.ends
    interval = f" The {LEVEL} of the MRR is {score(ends[0])} to {score(ends[1])}." if ends else ""
    return Headline(
        f"{variant.label} reaches an MRR of {score(variant.mean('mrr'))} on {dataset}",
        f"There is nothing to compare it with: this comparison has one variant.{interval}"
        f"{_seeds(variant)}",
    )


def _budget(variant: Variant) -> str:
    return f"{count(variant.scored)} scores per query"


def _at(best: Variant, rival: Variant) -> str:
    """The budgets of two variants, in words."""
    if best.scored == rival.scored:
        return f"at an equal budget of {_budget(best)}"
    size = "about as many" if rival.scored <= best.scored * EQUAL else "more"
    return f"with {size} scores per query ({count(rival.scored)} vs. {count(best.scored)})"


def _price(best: Variant, rival: Variant) -> str:
    ours, theirs = best.mean("cpu_seconds"), rival.mean("cpu_seconds")
    if not ours or not theirs:
        return ""
    times = ours / theirs
    if 0.95 <= times <= 1.05:
        return f" It takes as much CPU time as {rival.label}."
    return f" It takes {times:.{1 if times < 10 else 0}f} times the CPU time of {rival.label}."


def _behind(best: Variant, others: Sequence[Variant], gap: Gap) -> str:
    """How far other variants, with other budgets, are behind the best one."""
    text = ""
    for other in dict.fromkeys(others):
        lead = gap(best, other)
        verdict = "" if lead.low > 0 else ", which may be chance"
        text += (
            f" It is {score(lead.difference)} ahead of {other.label} with "
            f"{_budget(other)}{verdict}."
        )
    return text


def _other_budgets(variants: Sequence[Variant], best: Variant, gap: Gap) -> str:
    """Who leads at each other budget that several variants have."""
    sentences = []
    for group in _by_budget(variants):
        if best in group or len(group) == 1:
            continue
        first, second = sorted(group, key=lambda variant: -variant.mean("mrr"))[:2]
        lead = gap(first, second)
        verdict = "" if lead.low > 0 else ", which may be chance"
        sentences.append(
            f" At {span([variant.scored for variant in group])} scores per query, {first.label} "
            f"({score(first.mean('mrr'))}) is {score(lead.difference)} ahead of {second.label}"
            f"{verdict}."
        )
    return "".join(sentences)


def _by_budget(variants: Sequence[Variant]) -> list[list[Variant]]:
    """Variants in groups of about equal scores per query, the smallest first."""
    groups: list[list[Variant]] = []
    for variant in sorted(variants, key=lambda variant: variant.scored):
        if groups and variant.scored <= EQUAL * groups[-1][0].scored:
            groups[-1].append(variant)
        else:
            groups.append([variant])
    return groups


def _seeds(variant: Variant) -> str:
    if len(variant.results) > 1:
        return ""
    return " With a single seed, the variation between trainings is unknown."
