"""`sparring audit`: how hard, how varied and how wrong are the negatives?"""

from pathlib import Path
from typing import Annotated

import typer

from sparring.experiments.console import Json, Overrides, as_json, table

SHARES = {
    "known_drawn": "training facts, drawn",
    "known_counted": "training facts, counted",
    "withheld_counted": "withheld facts, counted",
    "withheld_weight": "withheld facts, by weight",
    "percentile": "hardness: entities that score lower",
    "above": "harder than the answer",
    "distinct": "distinct per query",
    "coverage": "entities reached",
}


def audit(
    place: Annotated[
        Path,
        typer.Argument(
            metavar="RUN|CONFIG",
            help="Folder of a run, for its sampler under its trained model; or an experiment "
            "file, for the sampler before training.",
            show_default=False,
        ),
    ],
    extra: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Triples that are true but in no split; they count as withheld facts.",
            show_default=False,
        ),
    ] = None,
    relations: Annotated[
        int, typer.Option(min=0, help="How many relations to list, those with most queries first.")
    ] = 10,
    overrides: Overrides = None,
    json: Json = False,
):
    """Draw negatives and see how hard and varied they are, and how many are in truth facts.

    Withheld facts are those of the validation and test splits, and those of `--extra`. The
    sampler has not seen them: it offers them as wrong answers, and the model learns the
    opposite of the truth. The uniform sampler beside it, with as many candidates for the same
    queries, shows what chance would do.
    """
    from sparring.data.read import read_triples
    from sparring.experiments.audit_run import audited
    from sparring.experiments.config import load_graph, read_config
    from sparring.experiments.run import Run, assemble

    run = Run(place) if place.is_dir() else None
    config = run.config(overrides or []) if run else read_config(place, overrides or [])
    graph = load_graph(config.graph)
    step = run.trained(config, graph) if run else assemble(config, graph)[0]
    model = step.model if run or step.sampler.capabilities.needs_scores else None
    extra_true = read_triples(graph, extra) if extra else None
    found = audited(step, graph, config, model=model, extra_true=extra_true)
    if json:
        as_json({"of": str(place), "trained": run is not None, **found.to_dict()})
        return
    uniform = found.baseline or found
    groups = [found.overall, *found.sides]
    beside = [uniform.overall, *uniform.sides]
    table(
        f"{place}: {found.sampler}, {found.k} candidates, beside Uniform",
        ("share", *(word for offer in groups for word in (offer.name, "uniform"))),
        [
            (title, *(share(getattr(o, name)) for pair in zip(groups, beside) for o in pair))
            for name, title in SHARES.items()
        ],
    )
    often = sorted(zip(found.relations, uniform.relations), key=lambda pair: -pair[0].queries)
    table(
        "By relation",
        ("relation", "queries", "withheld", "uniform", "hardness", "uniform"),
        [
            (
                own.name,
                f"{own.queries:,}",
                *(share(offer.withheld_counted) for offer in (own, base)),
                *(share(offer.percentile) for offer in (own, base)),
            )
            for own, base in often[:relations]
        ],
    )
    told = found.calibration
    if told.brier is not None:
        table(
            "Does the sampler's own estimate know the withheld facts?",
            ("", found.sampler, "uniform"),
            [
                ("Brier score", f"{told.brier:.6f}", number(uniform.calibration.brier)),
                ("calibration error", number(told.error), number(uniform.calibration.error)),
            ],
        )


def share(value: float | None) -> str:
    """As a percentage; small ones keep two digits."""
    return "" if value is None else f"{value:.1%}" if value >= 0.1 else f"{value:.2%}"


def number(value: float | None) -> str:
    """Six decimals; nothing where there is no number."""
    return "" if value is None else f"{value:.6f}"
