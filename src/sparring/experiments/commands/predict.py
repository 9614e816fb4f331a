"""`sparring predict`: complete triples with a trained model."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from sparring.experiments.console import (
    GuideWeight,
    Overrides,
    RunFolder,
    Trust,
    Workers,
    err,
    launched,
    line,
    out,
)

QUERY, ANSWERS = "Query", "Answers"  # panels of options


def predict(
    run: RunFolder,
    head: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The head of the triple.",
            show_default=False,
            rich_help_panel=QUERY,
        ),
    ] = None,
    relation: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The relation of the triple.",
            show_default=False,
            rich_help_panel=QUERY,
        ),
    ] = None,
    tail: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The tail of the triple.",
            show_default=False,
            rich_help_panel=QUERY,
        ),
    ] = None,
    queries: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Answer many queries: lines of head, relation and tail, separated by tabs, with "
            "`?` for what to predict; or a `.csv` or `.jsonl` file; `-` for standard input.",
            show_default=False,
            rich_help_panel=QUERY,
        ),
    ] = None,
    k: Annotated[
        int,
        typer.Option(
            "-k", min=1, metavar="NUMBER", help="Answers per query.", rich_help_panel=ANSWERS
        ),
    ] = 10,
    keep_known: Annotated[
        bool,
        typer.Option(
            "--keep-known",
            help="Also give known facts, and the query's own entity, as answers.",
            rich_help_panel=ANSWERS,
        ),
    ] = False,
    types: Annotated[
        list[str] | None,
        typer.Option(
            "--type",
            metavar="NAME",
            help="Give entities of this type only; repeatable, for any of several types.",
            show_default=False,
            rich_help_panel=ANSWERS,
        ),
    ] = None,
    trust: Trust = False,
    guide: GuideWeight = 0.0,
    retrieve: Annotated[
        int,
        typer.Option(
            min=0,
            metavar="NUMBER",
            help="Score only this many entities per query, the most probable under the run's "
            "generator; 0 for all.",
            rich_help_panel=ANSWERS,
        ),
    ] = 0,
    form: Annotated[
        Literal["table", "csv", "json"],
        typer.Option("--format", help="Output format.", rich_help_panel=ANSWERS),
    ] = "table",
    workers: Workers = 0,
    overrides: Overrides = None,
) -> None:
    """Complete a triple: predict its tail, its head or its relation.

    Entities and relations are given by name, or by a label that is unique. Known facts of all
    splits and the query's own entity are left out. Probabilities are shown after
    `sparring calibrate RUN`.

    Example: `sparring predict runs/atlas --head Iceland --relation currency`
    """
    given = [word for word in (head, relation, tail) if word is not None]
    if queries and given:
        raise typer.BadParameter("give --queries, or two of --head, --relation and --tail")
    if not queries and len(given) != 2:
        raise typer.BadParameter("give two of --head, --relation and --tail, or --queries")
    launched(workers)
    from sparring.data.graph import SPLITS
    from sparring.distributed.world import is_first
    from sparring.evaluation.ensemble import as_proposal
    from sparring.evaluation.predict import predict as answer
    from sparring.evaluation.queries import PredictionQuery, read_queries
    from sparring.experiments.opened import opened
    from sparring.experiments.run import ensemble
    from sparring.experiments.run_folder import Run

    asked = read_queries(queries) if queries else [PredictionQuery(head, relation, tail)]
    place = Run(run, trust)
    config = place.config(overrides or [])
    with opened(place, config) as trained:
        step = trained.step
        found = answer(
            ensemble(step, guide), trained.graph, asked, k=k, remove=() if keep_known else SPLITS,
            exclude_anchor=not keep_known, types=types or (), calibration=place.calibration(guide),
            proposal=as_proposal(step.sampler) if retrieve else None, retrieve=retrieve,
        )  # fmt: skip
    if not is_first():
        return
    if not keep_known:
        line("known facts and the query's own entity are left out; --keep-known shows them", to=err)
    if form == "table":
        out.print(found.rich(rows=None))
    else:
        line((found.csv() if form == "csv" else found.json()).rstrip("\n"))
