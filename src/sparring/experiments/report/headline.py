"""What was found, in plain words, and how sure one may be of it."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from sparring.experiments.report.formats import between, score, signed
from sparring.experiments.report.records import Interval, Variant


class Headline(NamedTuple):
    """One line, and the sentences below it."""

    title: str
    lede: str


def headline(
    variants: Sequence[Variant], dataset: str, gap: Callable[[Variant, Variant], Interval]
) -> Headline:
    """The winner and its lead, or that there is none.

    Args:
        gap: MRR of one variant minus that of another, with its interval.
    """
    baseline, *others = variants
    if not others:
        return _alone(baseline, dataset)
    best, runner_up = sorted(variants, key=lambda variant: -variant.mean("mrr"))[:2]
    if best is baseline:
        return _unbeaten(baseline, runner_up, gap(runner_up, baseline), dataset)
    lead = gap(best, baseline)
    interval = f"(95{_NBSP}% interval {between(lead.low, lead.high)})"
    if lead.low <= 0:
        title = f"No clear winner on {dataset}"
        lede = (
            f"{best.label} comes out {score(lead.value)} MRR ahead of {baseline.label}, but that "
            f"may be chance: the 95{_NBSP}% interval, {between(lead.low, lead.high)}, "
            "includes zero."
        )
    else:
        title = f"{best.label} beats {baseline.label} by {score(lead.value)} MRR on {dataset}"
        lede = (
            f"{score(best.mean('mrr'))} against {score(baseline.mean('mrr'))}, a lead of "
            f"{signed(lead.value)} {interval}."
        )
    sentences = [lede, _price(best, baseline)]
    if runner_up is not baseline:
        sentences.append(_over_runner_up(runner_up, gap(best, runner_up)))
    return Headline(title, " ".join([*sentences, _seeds(best)]).strip())


_NBSP = "\N{NO-BREAK SPACE}"


def _alone(variant: Variant, dataset: str) -> Headline:
    found = variant.mrr
    known = found.low is not None and found.high is not None
    interval = f" (95{_NBSP}% interval {score(found.low)} to {score(found.high)})" if known else ""
    return Headline(
        f"{variant.label} reaches an MRR of {score(variant.mean('mrr'))} on {dataset}",
        f"{score(variant.mean('hits@10'))} of the answers are among the first ten{interval}. "
        f"There is nothing to compare it with: this comparison has one variant. {_seeds(variant)}",
    )


def _unbeaten(baseline: Variant, second: Variant, gap: Interval, dataset: str) -> Headline:
    distance = f"{signed(gap.value)} MRR (95{_NBSP}% interval {between(gap.low, gap.high)})"
    verdict = (
        f"{second.label} comes closest, at {distance}."
        if gap.high < 0
        else f"{second.label} comes closest, at {distance}: too close to tell them apart."
    )
    return Headline(
        f"No sampler beats {baseline.label} on {dataset}",
        f"{baseline.label} reaches {score(baseline.mean('mrr'))} MRR. {verdict} "
        f"{_seeds(baseline)}".strip(),
    )


def _price(best: Variant, baseline: Variant) -> str:
    ours, theirs = best.mean("cpu_seconds"), baseline.mean("cpu_seconds")
    if not ours or not theirs:
        return ""
    times = ours / theirs
    if 0.95 <= times <= 1.05:
        return "It takes the same CPU time."
    return f"It takes {times:.{1 if times < 10 else 0}f} times the CPU time."


def _over_runner_up(second: Variant, gap: Interval) -> str:
    if gap.low > 0:
        return f"The next best, {second.label}, is {score(gap.value)} behind."
    return f"Its lead over {second.label}, {score(gap.value)}, may be chance."


def _seeds(variant: Variant) -> str:
    if len(variant.results) > 1:
        return ""
    return "With a single seed, the interval says nothing about the luck of training."
