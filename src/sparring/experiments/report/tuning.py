"""The HTML page of a study: its best trials, and Optuna's figures in our colors."""

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from sparring.experiments.report.figures import TEMPLATE, View, color, view
from sparring.experiments.report.page import HERE, _policy_hash, _text
from sparring.experiments.report.records import DASH, count, duration, score
from sparring.experiments.trials import STATES, optuna
from sparring.experiments.tune import Tuning
from sparring.extras import optional
from sparring.files import write_atomically

plots: Any = optional("optuna.visualization", extra="tune", purpose="the report of a study")
HEIGHT = 420
LOW, HIGH = "#9ecae1", "#08519c"  # ends of the scale of MRRs, which both themes can show


def write_tuning_report(tuning: Tuning, path: Path) -> Path:
    """Write a page with the best trials and Optuna's figures; it needs no network.

    Returns:
        the path.
    """
    write_atomically(path, tuning_page(tuning).encode())
    return path


def tuning_page(tuning: Tuning) -> str:
    """The whole page as HTML."""
    methods = tuning.numbers["methods"]
    scripts = {"theme": _text("theme.js"), "plotly": get_plotlyjs(), "page": _text("page.js")}
    sections = [section for section in _sections(tuning) if section["views"]]
    best = methods[tuning.numbers["best"]]
    environment = Environment(
        loader=PackageLoader(HERE, ""), autoescape=True, undefined=StrictUndefined
    )
    return environment.get_template("tuning.html").render(
        css=Markup(_text("page.css")),
        scripts={name: Markup(text) for name, text in scripts.items()},
        script_hashes=" ".join(map(_policy_hash, scripts.values())),
        title=f"Tuned on {tuning.numbers['dataset']}: {best['split']} MRR {score(best['mrr'])}",
        lede=_lede(methods, tuning.numbers["best"]),
        facts=_facts(tuning),
        split=best["split"],
        rows=[_result_row(name, method) for name, method in methods.items()],
        settings=_settings(methods),
        sections=sections,
        figures={one["name"]: [view._asdict() for view in one["views"]] for one in sections},
        trials=[_trial_table(name, method) for name, method in methods.items()],
        version=version("sparring"),
        optuna=version("optuna"),
    )


def _lede(methods: Mapping[str, Any], winner: str) -> str:
    best = methods[winner]
    lede = (
        f"By validation, the best trial is one of {winner}, with an MRR of "
        f"{score(best['valid_mrr'])} there and {score(best['mrr'])} on the {best['split']} facts."
    )
    others = {name: method for name, method in methods.items() if name != winner}
    if not others:
        return lede
    rival = max(others, key=lambda name: others[name]["valid_mrr"])
    of_rival = others[rival]
    return (
        f"{lede} The next method, {rival}, reaches {score(of_rival['valid_mrr'])} and "
        f"{score(of_rival['mrr'])} with the same budget. All trials have one seed."
    )


def _facts(tuning: Tuning) -> list[dict[str, str]]:
    """Data, budget and cost, as name, value and detail."""
    numbers = tuning.numbers
    budget, methods = numbers["budget"], numbers["methods"].values()
    trials = [trial for method in methods for trial in method["trials"]]
    states = {state: 0 for state in ("complete", "pruned", "fail")}
    for trial in trials:
        states[trial["state"]] = states.get(trial["state"], 0) + 1
    limits = [duration(60 * budget["minutes"])] * bool(budget["minutes"])
    limits += [f"{count(budget['trials'])} trials"] * bool(budget["trials"])
    per_trial = budget["trial_minutes"]
    seconds = sum(method["cpu_seconds"] for method in methods)
    return [
        {
            "name": "Data set",
            "value": numbers["dataset"],
            "detail": f"{count(numbers['entities'])} entities, {count(numbers['relations'])} "
            f"relations, {count(numbers['train'])} training facts",
        },
        {
            "name": "Budget of a method",
            "value": " or ".join(limits),
            "detail": f"at most {duration(60 * per_trial)} per trial" if per_trial else "CPU time",
        },
        {
            "name": "Trials",
            "value": count(len(trials)),
            "detail": f"{states['complete']} complete, {states['pruned']} pruned, "
            f"{states['fail']} failed",
        },
        {"name": "CPU time", "value": duration(seconds), "detail": "training and validation"},
    ]


def _result_row(name: str, method: Mapping[str, Any]) -> dict[str, Any]:
    metrics = [score(method[key]) for key in ("valid_mrr", "mrr", "hits@1", "hits@10")]
    counts = [method["scored_per_query"], len(method["trials"]), method["cpu_seconds"]]
    return {"name": name, "cells": [*metrics, *map(count, counts)]}


def _settings(methods: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
    """Each tuned option, with its best value in every method."""
    paths = dict.fromkeys(path for method in methods.values() for path in method["settings"])
    return [
        (path, [_value(method["settings"].get(path)) for method in methods.values()])
        for path in paths
    ]


def _trial_table(name: str, method: Mapping[str, Any]) -> dict[str, Any]:
    """The trials of a method, the best first."""
    paths = list(method["settings"])
    ranked = sorted(method["trials"], key=lambda trial: -(trial["valid_mrr"] or 0.0))
    rows = [
        [
            str(trial["number"] + 1),
            trial["state"].replace("fail", "failed"),
            DASH if trial["valid_mrr"] is None else score(trial["valid_mrr"]),
            count(trial["cpu_seconds"]),
            *(_value(trial["settings"].get(path)) for path in paths),
        ]
        for trial in ranked
    ]
    return {"name": name, "columns": ["Trial", "State", "MRR", "CPU s", *paths], "rows": rows}


def _value(value: Any) -> str:
    return DASH if value is None else f"{value:.3g}" if isinstance(value, float) else str(value)


def _sections(tuning: Tuning) -> list[dict[str, Any]]:
    """Optuna's figures with what they show; each has one view per method."""
    studies = {
        name: optuna.load_study(
            study_name=name, storage=f"sqlite:///{(tuning.folder / 'study.db').resolve()}"
        )
        for name in tuning.numbers["methods"]
    }
    kinds = [
        (
            "history",
            "Validation MRR by trial",
            "Each dot is a trial. The line is the best so far.",
            lambda study: plots.plot_optimization_history(study, target_name="Validation MRR"),
        ),
        (
            "course",
            "Course of the trials",
            "Validation MRR during training. Pruned trials end early.",
            _course,
        ),
        (
            "importance",
            "Which options matter",
            "Importance for the validation MRR, by PED-ANOVA. With few trials it is rough.",
            _importance,
        ),
        (
            "slice",
            "Validation MRR by option",
            "Each dot is a trial; darker ones are later.",
            lambda study: plots.plot_slice(study, target_name="Validation MRR"),
        ),
        (
            "parallel",
            "Settings of the trials",
            "Each line is a trial, from option to option.",
            lambda study: plots.plot_parallel_coordinate(study, target_name="Validation MRR"),
        ),
    ]
    return [
        {"name": name, "title": title, "about": about, "views": _views(studies, draw)}
        for name, title, about, draw in kinds
    ]


def _importance(study: Any) -> go.Figure:
    """Optuna's figure, with room for the number at the end of each bar."""
    evaluator = optuna.importance.PedAnovaImportanceEvaluator()
    figure = plots.plot_param_importances(study, evaluator=evaluator)
    longest = max((value for bars in figure.data for value in bars.x), default=1.0)
    return figure.update_xaxes(range=[0, 1.25 * longest], title="Importance").update_yaxes(title="")


def _course(study: Any) -> go.Figure:
    figure = plots.plot_intermediate_values(study)
    return figure.update_layout(xaxis_title="Share of the trial, in ‰", yaxis_title="MRR")


def _views(studies: Mapping[str, Any], draw: Any) -> list[View]:
    """A figure for each method that has enough trials for it."""
    enough = {
        name: study
        for name, study in studies.items()
        if len(study.get_trials(deepcopy=False, states=(STATES.COMPLETE,))) > 1
    }
    return [view(name, in_our_colors(draw(study))) for name, study in enough.items()]


def in_our_colors(figure: go.Figure) -> go.Figure:
    """A figure of Optuna without its title, in the colors and the font of the page."""
    figure.update_layout(template=TEMPLATE, title=None, height=HEIGHT, width=None)
    figure.update_layout(showlegend=False)
    figure.update_xaxes(title_font_size=12)
    lines: list[Any] = list(figure.select_traces({"type": "scatter"}))
    colorings = [trace for trace in lines if isinstance(trace.marker.color, tuple)]
    for place, trace in enumerate(lines):
        if trace not in colorings:
            trace.update(marker_color=color(place), line_color=color(place))
    for trace in colorings:
        trace.update(marker={"colorscale": [LOW, HIGH], "showscale": False})
    figure.update_traces(marker_color=color(0), selector={"type": "bar"})
    shown = {"colorscale": [LOW, HIGH], "reversescale": False, "showscale": False}
    figure.update_traces(line=shown, selector={"type": "parcoords"})
    return figure
