"""A comparison as one HTML page that needs no network."""

import base64
import hashlib
import shlex
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from sparring.breakdown import Difference, paired_difference
from sparring.experiments.compare import Comparison, ComparisonPlan, read_comparison
from sparring.experiments.report import figures, marks, tables
from sparring.experiments.report.examples import examples
from sparring.experiments.report.hardness import hardness
from sparring.experiments.report.headline import Gap, headline
from sparring.experiments.report.records import Variant, variants
from sparring.seeds import Seeds
from sparring.training.checkpoint import write_atomically

HERE = "sparring.experiments.report"


def write_report(comparison: Comparison, path: Path) -> None:
    """Write a page with results, learning curves, audit and examples of negatives.

    Figures, styles and scripts are inside the page; its content policy forbids the browser to
    load anything else. Parts without a record in the runs are left out, which the page says.
    Equal comparisons give equal pages.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, page(comparison).encode())


def page(comparison: Comparison) -> str:
    """The whole page as HTML."""
    numbers = comparison.numbers()
    found = variants(comparison, numbers)
    labels = dict(zip(comparison.graph.relations.names, comparison.graph.relations.labels))
    scale = tables.Scale(found)
    scripts = {"theme": _text("theme.js"), "plotly": get_plotlyjs(), "page": _text("page.js")}
    environment = Environment(
        loader=PackageLoader(HERE, ""), autoescape=True, undefined=StrictUndefined
    )
    environment.globals |= {"colour": marks.colour, "outline": marks.outline}
    return environment.get_template("page.html").render(
        css=Markup(_text("page.css")),
        scripts={name: Markup(text) for name, text in scripts.items()},
        script_hashes=" ".join(map(_policy_hash, scripts.values())),
        numbers=numbers,
        variants=found,
        headline=headline(found, numbers["dataset"], _gap(comparison)),
        facts=tables.facts(found, comparison.graph, numbers),
        scale=scale,
        rows=tables.result_rows(found, scale),
        figures=_figures(found, labels),
        relation_rows=tables.relation_rows(found, labels),
        shown_relations=figures.FREQUENT,
        audit_columns=tables.AUDITED,
        audit_rows=tables.audit_rows(found),
        examples=examples(found),
        origin=tables.origin([result for variant in found for result in variant.results]),
        configurations=[tables.configuration(variant) for variant in found],
        command=command(comparison.plan),
        version=version("sparring"),
    )


def _figures(found: Sequence[Variant], labels: Mapping[str, str]) -> dict[str, Any]:
    """The figures there is a record for, by name; each is a list of views."""
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
    """What to type for the same runs; the packaged comparison needs no file."""
    packaged = Path(str(files("sparring.experiments"))) / f"{plan.name}.toml"
    if packaged.exists() and read_comparison(packaged) == plan:
        return "sparring compare"
    return shlex.join(["sparring", "compare", f"{plan.name}.toml"])


def _text(name: str) -> str:
    return files(HERE).joinpath(name).read_text(encoding="utf-8")


def _policy_hash(script: str) -> str:
    """How a content policy names a script that it allows."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return f"'sha256-{digest}'"
