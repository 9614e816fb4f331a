"""The rows of the page's tables, as text."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sparring.breakdown import Difference
from sparring.experiments.report.formats import (
    DASH,
    between,
    count,
    duration,
    percent,
    score,
    signed,
    span,
)
from sparring.experiments.report.records import MEASURES, Group, Variant
from sparring.graph.knowledge_graph import KnowledgeGraph

STRIP, MARGIN = 128, 8  # width of the drawn strip, and of its free ends


class Scale:
    """Where an MRR lies on the strips of the result table, which share one axis."""

    def __init__(self, variants: Sequence[Variant]):
        marks = [
            value for v in variants for value in (*v.numbers["mrr"]["each"], *(v.mrr.ends or ()))
        ]
        self.low, self.high = min(marks), max(marks)
        self.ends = score(self.low), score(self.high)

    def __call__(self, mrr: float) -> float:
        width = self.high - self.low
        share = (mrr - self.low) / width if width else 0.5
        return round(MARGIN + share * (STRIP - 2 * MARGIN), 2)


def result_rows(variants: Sequence[Variant], scale: Scale) -> list[dict[str, Any]]:
    """One row per variant of the result table."""
    best = {name: max(variant.mean(name) for variant in variants) for name in MEASURES}
    return [_result_row(variant, scale, best) for variant in variants]


def _result_row(variant: Variant, scale: Scale, best: Mapping[str, float]) -> dict[str, Any]:
    ends, gap = variant.mrr.ends, variant.difference
    return {
        "variant": variant,
        "at": scale(variant.mean("mrr")),
        "whisker": ends and [scale(end) for end in ends],
        "seeds": [scale(mrr) for mrr in variant.numbers["mrr"]["each"]],
        "interval": ends and f"{score(ends[0])} to {score(ends[1])}",
        "best": {name for name in MEASURES if variant.mean(name) == best[name]},
        **{name: score(variant.mean(name)) for name in MEASURES},
        "difference": gap and signed(gap.difference),
        "direction": gap and _direction(gap),
        "difference_interval": gap and between(gap.low, gap.high),
        "k": count(variant.numbers["k"]),
        "scored": count(variant.numbers["scored_per_query"]),
        "cpu": count(variant.mean("cpu_seconds")),
        "best_epoch": span([result["best_epoch"] for result in variant.results]),
    }


def _direction(gap: Difference) -> str:
    if gap.low > 0:
        return "up"
    return "down" if gap.high < 0 else "even"


def relation_rows(variants: Sequence[Variant], labels: Mapping[str, str]) -> list[dict[str, Any]]:
    """One row per relation that has queries, those with the most first."""
    rows: dict[str, dict[int, Group]] = {}
    for variant in variants:
        for group in variant.groups:
            if group.title == "relation":
                rows.setdefault(group.name, {})[variant.place] = group
    table = []
    for name, found in rows.items():
        best = max(group.mrr.value for group in found.values())
        cells = [
            {
                "text": score(found[v.place].mrr.value) if v.place in found else "",
                "best": v.place in found and found[v.place].mrr.value == best,
            }
            for v in variants
        ]
        queries = next(iter(found.values())).queries
        table.append((-queries, labels[name], count(queries), cells))
    return [
        {"label": label, "queries": queries, "cells": cells}
        for _, label, queries, cells in sorted(table, key=lambda row: row[:2])
    ]


AUDITED = {
    "Withheld\nfacts": "withheld_counted",
    "Score lower\n(hardness)": "percentile",
    "Above the\nanswer": "above",
    "Training facts\ndrawn": "known_drawn",
    "Answer\ndrawn": "answer_drawn",
    "Distinct\nper query": "distinct",
    "Entities\ncovered": "coverage",
}


def audit_rows(variants: Sequence[Variant]) -> list[dict[str, Any]]:
    """One row per audited variant, and one for uniform draws beside the first of them."""
    audited = [variant for variant in variants if "own" in variant.offers]
    rows = [(variant, variant.label, variant.offers["own"]) for variant in audited]
    uniform = [variant.offers["uniform"] for variant in audited if "uniform" in variant.offers]
    rows += [(None, "Uniform draws, to compare", offer) for offer in uniform[:1]]
    return [
        {
            "variant": variant,
            "label": label,
            "cells": [_share(getattr(offer, field)) for field in AUDITED.values()],
        }
        for variant, label, offer in rows
    ]


def _share(value: float | None) -> str:
    return DASH if value is None else percent(value)


def facts(
    variants: Sequence[Variant], graph: KnowledgeGraph, numbers: Mapping[str, Any]
) -> list[dict[str, str]]:
    """What the comparison was about and what it took, as name, value and detail."""
    results = [result for variant in variants for result in variant.results]
    seconds = math.fsum(result["cpu_seconds"] for result in results)
    dims = _distinct(result["dim"] for result in results if result["dim"] is not None)
    losses = _distinct(result["loss"] for result in results)
    seeds = numbers["seeds"]
    judged = len(getattr(graph, numbers["split"]))
    sizes = f"{count(len(graph.entities))} entities, {count(len(graph.relations))} relations, "
    return [
        {
            "name": "Data set",
            "value": graph.name,
            "detail": f"{sizes}{count(len(graph.train))} training facts",
        },
        {
            "name": "Main model",
            "value": _distinct(result["model"] for result in results),
            "detail": f"{dims} dimensions, {losses} loss" if dims else f"{losses} loss",
        },
        {
            "name": "Judged on",
            "value": f"{count(2 * judged)} queries",
            "detail": f"both sides of {count(judged)} {numbers['split']} facts",
        },
        {
            "name": "Seeds",
            "value": str(len(seeds)),
            "detail": f"{', '.join(map(str, seeds))}; {len(results)} runs in all",
        },
        {
            "name": "CPU time",
            "value": duration(seconds),
            "detail": f"{duration(seconds / len(results))} per run on average",
        },
    ]


def origin(results: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Which code ran where."""
    versions = {name: _distinct(r["versions"][name] for r in results) for name in VERSIONS}
    rows = [
        ("Versions", ", ".join(f"{name} {version}" for name, version in versions.items())),
        ("Commit", _distinct(result["commit"] or "unknown" for result in results)),
        ("Processor", _distinct(result["cpu"] for result in results)),
        ("Threads", _distinct(result["threads"] for result in results)),
        ("Graph", _distinct(result["content_hash"] for result in results)),
    ]
    return [(name, value) for name, value in rows if value]


VERSIONS = ("sparring", "torch", "python")


def configuration(variant: Variant) -> str:
    """The resolved configuration of a variant's first seed."""
    return json.dumps(variant.results[0]["resolved"], indent=2, ensure_ascii=False)


def _distinct(values: Iterable[Any]) -> str:
    return ", ".join(dict.fromkeys(map(str, values)))
