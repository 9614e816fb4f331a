"""`sparring predict`: complete triples with a trained model."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from sparring.experiments.console import GuideWeight, Overrides, RunFolder, line, out


def predict(
    run: RunFolder,
    head: Annotated[
        str | None, typer.Option(help="Predict tails for this head.", show_default=False)
    ] = None,
    relation: Annotated[
        str | None, typer.Option(help="The relation of the triple.", show_default=False)
    ] = None,
    tail: Annotated[
        str | None, typer.Option(help="Predict heads for this tail.", show_default=False)
    ] = None,
    queries: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Answer many queries: lines of head, relation and tail, separated by tabs, with "
            "`?` for the missing entity.",
            show_default=False,
        ),
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="Answers per query.")] = 10,
    keep_known: Annotated[
        bool, typer.Option("--keep-known", help="Also give answers that are known facts.")
    ] = False,
    guide: GuideWeight = 0.0,
    retrieve: Annotated[
        int,
        typer.Option(
            min=0,
            help="Score only this many entities per query, the most probable under the run's "
            "generator; 0 for all.",
        ),
    ] = 0,
    form: Annotated[
        Literal["table", "csv", "json"], typer.Option("--format", help="Output format.")
    ] = "table",
    overrides: Overrides = None,
) -> None:
    """Predict the entities that complete a triple, best first.

    Entities and relations are given by name, or by a label that is unique. Known facts of all
    splits are left out.

    Example: `sparring predict runs/atlas/uniform/seed-0 --head Iceland --relation currency`
    """
    from sparring.data.graph import SPLITS
    from sparring.evaluation.predict import PredictionQuery, as_proposal, read_queries
    from sparring.evaluation.predict import predict as answer
    from sparring.experiments.run import Run, ensemble

    given = [word for word in (head, relation, tail) if word is not None]
    if queries and given:
        raise typer.BadParameter("give --queries, or --relation with --head or --tail")
    if not queries and (relation is None or len(given) != 2):
        raise typer.BadParameter("give --relation and one of --head and --tail, or --queries")
    asked = read_queries(queries) if queries else [PredictionQuery(head, relation or "", tail)]
    place = Run(run)
    config = place.config(overrides or [])
    graph = place.graph(config)
    step = place.load_step(config, graph)
    found = answer(
        ensemble(step, guide), graph, asked, k=k, remove=() if keep_known else SPLITS,
        proposal=as_proposal(step.sampler) if retrieve else None, retrieve=retrieve,
    )  # fmt: skip
    if form == "table":
        out.print(found.rich())
    else:
        line((found.csv() if form == "csv" else found.json()).rstrip("\n"))
