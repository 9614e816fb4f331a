"""`sparring audit`: hardness, variety and false negatives of a sampler."""

from pathlib import Path
from typing import Annotated

import typer

from sparring.experiments.console import (
    Json,
    Overrides,
    RunOrConfig,
    Trust,
    Workers,
    as_json,
    launched,
    table,
)


def audit(
    place: RunOrConfig,
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
    workers: Workers = 0,
    overrides: Overrides = None,
    trust: Trust = False,
    json: Json = False,
) -> None:
    """Measure hardness, variety and false negatives of a sampler.

    Withheld facts are those of the validation and test splits, and those of `--extra`. The
    sampler has not seen them; the model is trained to score them low although they are true.
    The uniform sampler, with as many negatives for the same queries, is shown for comparison.
    """
    launched(workers)
    from sparring.data.read import read_triples
    from sparring.distributed.world import is_first
    from sparring.evaluation.audit import MEASURES, share
    from sparring.experiments.audit_run import audit_sampler
    from sparring.experiments.config import read_config
    from sparring.experiments.opened import opened, untrained
    from sparring.experiments.run_folder import Run

    run = Run(place, trust) if place.is_dir() else None
    config = run.config(overrides or []) if run else read_config(place, overrides or [])
    with opened(run, config, draws=True) if run else untrained(config) as audited:
        step, graph = audited.step, audited.graph
        model = step.model if run or step.sampler.capabilities.needs_scores else None
        extra_true = read_triples(graph, extra) if extra else None
        found = audit_sampler(step, graph, config, model=model, extra_true=extra_true)
    if not is_first():
        return
    if json:
        as_json({"of": str(place), "trained": run is not None, **found.to_dict()})
        return
    uniform = found.baseline or found
    groups = [found.overall, *found.sides]
    baseline = [uniform.overall, *uniform.sides]
    pairs = list(zip(groups, baseline))
    table(
        f"{place}: {found.sampler} vs. Uniform, {found.k} negatives per query",
        ("share", *(word for group in groups for word in (group.name, "uniform"))),
        [
            (title, *(share(getattr(stats, name)) for pair in pairs for stats in pair))
            for name, title in MEASURES.items()
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
                *(share(stats.withheld_counted) for stats in (own, base)),
                *(share(stats.percentile) for stats in (own, base)),
            )
            for own, base in often[:relations]
        ],
    )
    calibration = found.calibration
    if calibration.has_estimates:
        table(
            "Calibration of the sampler's false-negative probabilities",
            ("", found.sampler, "uniform"),
            [
                ("Brier score", number(calibration.brier), number(uniform.calibration.brier)),
                ("calibration error", number(calibration.error), number(uniform.calibration.error)),
            ],
        )


def number(value: float | None) -> str:
    """Six decimals; empty for None."""
    return "" if value is None else f"{value:.6f}"
