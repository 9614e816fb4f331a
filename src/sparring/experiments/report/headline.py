"""What was found, in plain words, and how sure one may be of it."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from sparring.breakdown import Difference
from sparring.experiments.report.formats import between, score, signed
from sparring.experiments.report.records import Variant

Gap = Callable[[Variant, Variant], Difference]
LEVEL = "95\N{NO-BREAK SPACE}% interval"


class Headline(NamedTuple):
    """One line, and the sentences below it."""

    title: str
    lede: str


def headline(variants: Sequence[Variant], dataset: str, gap: Gap) -> Headline:
    """The winner and its lead, or that there is none.

    Args:
        gap: MRR of one variant minus that of another, with its interval.
    """
    found = _headline(variants, dataset, gap)
    return Headline(*(text[:1].upper() + text[1:] for text in found))


def _headline(variants: Sequence[Variant], dataset: str, gap: Gap) -> Headline:
    baseline, *others = variants
    if not others:
        return _alone(baseline, dataset)
    best, runner_up = sorted(variants, key=lambda variant: -variant.mean("mrr"))[:2]
    if best is baseline:
        return _unbeaten(baseline, runner_up, gap(runner_up, baseline), dataset)
    lead = gap(best, baseline)
    if lead.low <= 0:
        return Headline(
            f"No clear winner on {dataset}",
            f"{best.label} comes out {score(lead.difference)} MRR ahead of {baseline.label}, but "
            f"that may be chance: the {LEVEL}, {between(lead.low, lead.high)}, includes zero."
            f"{_seeds(best)}",
        )
    return Headline(
        f"{best.label} beats {baseline.label} by {score(lead.difference)} MRR on {dataset}",
        f"{score(best.mean('mrr'))} against {score(baseline.mean('mrr'))}; the {LEVEL} of the "
        f"lead is {score(lead.low)} to {score(lead.high)}.{_price(best, baseline)}"
        f"{'' if runner_up is baseline else _over(runner_up, gap(best, runner_up))}"
        f"{_seeds(best)}",
    )


def _alone(variant: Variant, dataset: str) -> Headline:
    ends = variant.mrr.ends
    interval = f" The {LEVEL} of the MRR is {score(ends[0])} to {score(ends[1])}." if ends else ""
    return Headline(
        f"{variant.label} reaches an MRR of {score(variant.mean('mrr'))} on {dataset}",
        f"There is nothing to compare it with: this comparison has one variant.{interval}"
        f"{_seeds(variant)}",
    )


def _unbeaten(baseline: Variant, second: Variant, gap: Difference, dataset: str) -> Headline:
    verdict = "" if gap.high < 0 else ", too close to tell them apart"
    return Headline(
        f"No other variant beats {baseline.label} on {dataset}",
        f"{baseline.label} reaches {score(baseline.mean('mrr'))} MRR. {second.label} comes "
        f"closest, at {signed(gap.difference)} ({LEVEL} {between(gap.low, gap.high)}){verdict}."
        f"{_seeds(baseline)}",
    )


def _price(best: Variant, baseline: Variant) -> str:
    ours, theirs = best.mean("cpu_seconds"), baseline.mean("cpu_seconds")
    if not ours or not theirs:
        return ""
    times = ours / theirs
    if 0.95 <= times <= 1.05:
        return f" It takes as much CPU time as {baseline.label}."
    return f" It takes {times:.{1 if times < 10 else 0}f} times the CPU time of {baseline.label}."


def _over(second: Variant, gap: Difference) -> str:
    if gap.low > 0:
        return f" The next best, {second.label}, is {score(gap.difference)} behind."
    return f" Its lead over {second.label}, {score(gap.difference)}, may be chance."


def _seeds(variant: Variant) -> str:
    if len(variant.results) > 1:
        return ""
    return " With a single seed, nothing is known of the luck of training."
