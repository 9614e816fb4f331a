"""The HTML page of a comparison, with the rows of its tables; it needs no network."""

import base64
import hashlib
import json
import math
import shlex
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from sparring.data.graph import KnowledgeGraph
from sparring.evaluation.breakdown import Difference, paired_difference
from sparring.experiments.compare import Comparison, ComparisonPlan, read_comparison
from sparring.experiments.report import figures
from sparring.experiments.report.hardness import hardness, hardness_in_words
from sparring.experiments.report.records import (
    DASH,
    MEASURES,
    MINUS,
    Gap,
    Group,
    Variant,
    between,
    count,
    cpu_time,
    duration,
    headline,
    percent,
    score,
    signed,
    span,
    variants,
)
from sparring.files import write_atomically
from sparring.seeds import Seeds

QUERY = ("anchor", "relation", "answer", "asked")
MARK_TITLES = {
    "withheld": "a fact, withheld from training",
    "known": "a training fact",
    "answer": "the answer",
    "": "not a known fact",
}


def examples(variants: Sequence[Variant]) -> list[dict[str, Any]]:
    """One entry per query, with the negatives of each variant for it."""
    drawn: dict[tuple, list[dict[str, Any]]] = {}
    for variant in variants:
        for query in variant.negatives:
            key = tuple(query[name] for name in QUERY)
            drawn.setdefault(key, []).append(_draw(variant, query))
    return [{**dict(zip(QUERY, key)), "draws": draws} for key, draws in drawn.items()]


def _draw(variant: Variant, query: Mapping[str, Any]) -> dict[str, Any]:
    counts = [f"{count(query['drawn'])} drawn"]
    counts += [f"{count(query[name])} {name}" for name in ("withheld", "known") if query[name]]
    return {"variant": variant, "counts": ", ".join(counts), "chips": _chips(query["candidates"])}


def _chips(candidates: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Candidates in their order; repeats become one chip."""
    times: dict[tuple, int] = {}
    for one in candidates:
        key = (one["entity"], one["mark"], one["counts"], one["score"])
        times[key] = times.get(key, 0) + 1
    return [
        {
            "label": label,
            "kind": f"{mark}{'' if counts else ' hidden'}".strip(),
            "times": repeats,
            "title": f"{MARK_TITLES[mark]}{'' if counts else ', not counted'}; "
            f"score {score:.2f}".replace("-", MINUS),
        }
        for (label, mark, counts, score), repeats in times.items()
    ]


STRIP, MARGIN = 128, 8  # pixels: width of a strip, and of its free ends


class Scale:
    """Positions of MRRs on the strips of the result table, which share one axis."""

    def __init__(self, variants: Sequence[Variant]) -> None:
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
        "cpu": cpu_time(variant.mean("cpu_seconds")),
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
    """One row per audited variant, and one for uniform draws."""
    audited = [variant for variant in variants if "own" in variant.samples]
    rows = [(variant, variant.label, variant.samples["own"]) for variant in audited]
    uniform = [variant.samples["uniform"] for variant in audited if "uniform" in variant.samples]
    rows += [(None, "Uniform draws, for comparison", stats) for stats in uniform[:1]]
    return [
        {
            "variant": variant,
            "label": label,
            "cells": [_share(getattr(stats, field)) for field in AUDITED.values()],
        }
        for variant, label, stats in rows
    ]


def _share(value: float | None) -> str:
    return DASH if value is None else percent(value)


def facts(
    variants: Sequence[Variant], graph: KnowledgeGraph, numbers: Mapping[str, Any]
) -> list[dict[str, str]]:
    """Data, model, seeds and cost of the comparison, as name, value and detail."""
    results = [result for variant in variants for result in variant.results]
    seconds = math.fsum(result["cpu_seconds"] for result in results)
    dims = _distinct(result["dim"] for result in results if result["dim"] is not None)
    losses = _distinct(result["loss"] for result in results)
    seeds = numbers["seeds"]
    evaluated = len(getattr(graph, numbers["split"]))
    sizes = f"{count(len(graph.entities))} entities, {count(len(graph.relations))} relations, "
    return [
        {
            "name": "Data set",
            "value": graph.name,
            "detail": f"{sizes}{count(len(graph.train))} training facts",
        },
        {
            "name": "Model",
            "value": _distinct(result["model"] for result in results),
            "detail": f"{dims} dimensions, {losses} loss" if dims else f"{losses} loss",
        },
        {
            "name": "Evaluated on",
            "value": f"{count(2 * evaluated)} queries",
            "detail": f"both sides of {count(evaluated)} {numbers['split']} facts",
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
    """Versions, commit and machine of the runs."""
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


HERE = "sparring.experiments.report"


def write_report(comparison: Comparison, path: Path) -> None:
    """Write a page with results, learning curves, audit and examples of negatives.

    Figures, styles and scripts are inside the page; its content policy forbids the browser to
    load anything else. The page says which parts are missing because the runs have no record of
    them. Equal comparisons give equal pages.

    Raises:
        MissingExtraError: if Plotly or Jinja2 is not installed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, page(comparison).encode())


def page(comparison: Comparison) -> str:
    """The whole page as HTML."""
    numbers = comparison.numbers()
    found = variants(comparison, numbers)
    labels = dict(zip(comparison.graph.relations.names, comparison.graph.relations.labels))
    scale = Scale(found)
    scripts = {"theme": _text("theme.js"), "plotly": get_plotlyjs(), "page": _text("page.js")}
    environment = Environment(
        loader=PackageLoader(HERE, ""), autoescape=True, undefined=StrictUndefined
    )
    environment.globals |= {"color": figures.color, "outline": figures.outline}
    return environment.get_template("page.html").render(
        css=Markup(_text("page.css")),
        scripts={name: Markup(text) for name, text in scripts.items()},
        script_hashes=" ".join(map(_policy_hash, scripts.values())),
        numbers=numbers,
        variants=found,
        headline=headline(found, numbers["dataset"], _gap(comparison)),
        facts=facts(found, comparison.graph, numbers),
        scale=scale,
        rows=result_rows(found, scale),
        figures=_figures(found, labels),
        hardness_in_words=hardness_in_words(found),
        relation_rows=relation_rows(found, labels),
        shown_relations=figures.FREQUENT,
        audit_columns=AUDITED,
        audit_rows=audit_rows(found),
        examples=examples(found),
        origin=origin([result for variant in found for result in variant.results]),
        configurations=[configuration(variant) for variant in found],
        command=command(comparison.plan),
        version=version("sparring"),
    )


def _figures(found: Sequence[Variant], labels: Mapping[str, str]) -> dict[str, Any]:
    """The figures that have data, by name; each is a list of views."""
    drawn = {
        "curves": figures.learning_curves(found),
        "audit": hardness(found),
        "groups": figures.by_group(found),
        "relations": figures.by_relation(found, labels),
    }
    return {name: [view._asdict() for view in views] for name, views in drawn.items() if views}


def _gap(comparison: Comparison) -> Gap:
    """MRR of one variant minus that of another, over the same queries."""

    def gap(one: Variant, other: Variant) -> Difference:
        if other.label == comparison.plan.baseline and one.difference:
            return one.difference
        ours, theirs = (
            [run.ranks() for run in comparison.runs[variant.label]] for variant in (one, other)
        )
        return paired_difference(ours, theirs, rng=Seeds(0).fresh("comparison"))

    return gap


def command(plan: ComparisonPlan) -> str:
    """The command that makes the same runs."""
    if plan.command:
        return plan.command
    packaged = Path(str(files("sparring.experiments"))) / f"{plan.name}.toml"
    if packaged.exists() and read_comparison(packaged) == plan:
        return "sparring compare"
    return shlex.join(["sparring", "compare", f"{plan.name}.toml"])


def _text(name: str) -> str:
    return files(HERE).joinpath(name).read_text(encoding="utf-8")


def _policy_hash(script: str) -> str:
    """The source of an allowed script in a content security policy."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return f"'sha256-{digest}'"
