"""`sparring predict`: ask a trained model by name."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from sparring.experiments.console import GuideWeight, Overrides, RunFolder, line, out


def predict(
    run: RunFolder,
    head: Annotated[
        str | None, typer.Option(help="Ask for the tail of this head.", show_default=False)
    ] = None,
    relation: Annotated[
        str | None, typer.Option(help="The relation of the triple.", show_default=False)
    ] = None,
    tail: Annotated[
        str | None, typer.Option(help="Ask for the head of this tail.", show_default=False)
    ] = None,
    queries: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Ask many questions: lines of head, relation and tail, separated by tabs, with "
            "`?` for the end that is asked for.",
            show_default=False,
        ),
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="Answers per question.")] = 10,
    keep_known: Annotated[
        bool, typer.Option("--keep-known", help="Also give answers that are known facts.")
    ] = False,
    guide: GuideWeight = 0.0,
    retrieve: Annotated[
        int,
        typer.Option(
            min=0,
            help="Score only so many entities per question, which the run's generator finds most "
            "probable; 0 for all.",
        ),
    ] = 0,
    form: Annotated[
        Literal["table", "csv", "json"], typer.Option("--format", help="How to print.")
    ] = "table",
    overrides: Overrides = None,
):
    """Ask a trained model for the entities that complete a triple, best first.

    Entities and relations are given by name, or by a label that only one of them has. Known
    facts of all splits are left out.

    Example: `sparring predict runs/atlas/uniform/seed-0 --head Iceland --relation currency`
    """
    from sparring.data.graph import SPLITS
    from sparring.evaluation.predict import PredictionQuery, as_proposal, read_queries
    from sparring.evaluation.predict import predict as answer
    from sparring.experiments.config import load_graph
    from sparring.experiments.run import Run, guided

    asked = [word for word in (head, relation, tail) if word is not None]
    if queries and asked:
        raise typer.BadParameter("give --queries, or --relation with --head or --tail")
    if not queries and (relation is None or len(asked) != 2):
        raise typer.BadParameter("give --relation and one of --head and --tail, or --queries")
    questions = read_queries(queries) if queries else [PredictionQuery(head, relation or "", tail)]
    place = Run(run)
    config = place.config(overrides or [])
    graph = load_graph(config.graph)
    step = place.trained(config, graph)
    found = answer(
        guided(step, guide), graph, questions, k=k, remove=() if keep_known else SPLITS,
        proposal=as_proposal(step.sampler) if retrieve else None, retrieve=retrieve,
    )  # fmt: skip
    if form == "table":
        out.print(found.rich())
    else:
        line((found.csv() if form == "csv" else found.json()).rstrip("\n"))
