"""`sparring evaluate`: rank again with a trained model."""

from typing import Annotated, Literal

import typer

from sparring.experiments.commands.console import as_json
from sparring.experiments.commands.options import GuideWeight, Json, Overrides, RunFolder


def evaluate(
    run: RunFolder,
    split: Annotated[
        Literal["test", "valid"] | None,
        typer.Option(help="The split to rank; by default the run's own.", show_default=False),
    ] = None,
    relations: Annotated[
        int, typer.Option(min=0, help="How many relations to list, those with most queries first.")
    ] = 10,
    guide: GuideWeight = 0.0,
    overrides: Overrides = None,
    json: Json = False,
):
    """Rank the facts of a split with the best checkpoint of a run.

    Metrics are filtered and shown by side, cardinality of the relation, training degree of the
    answer, and relation. Intervals come from resampled triples.
    """
    from sparring.experiments.commands.ranks import show
    from sparring.experiments.graphs import load_graph
    from sparring.experiments.run import Run, guided, in_parts, judge, measures

    place = Run(run)
    asked = [*(overrides or []), *([f"evaluate.split={split}"] if split else [])]
    config = place.config(asked)
    graph = load_graph(config.graph)
    ranks = judge(guided(place.trained(config, graph), guide), graph, config)
    parts = in_parts(ranks, graph, config)
    if json:
        about = {"run": str(run), "dataset": graph.name, "split": config.evaluate.split}
        as_json({**about, **measures(ranks), **parts.to_dict()})
    else:
        show(parts, f"{run} on {graph.name} ({config.evaluate.split})", relations)
