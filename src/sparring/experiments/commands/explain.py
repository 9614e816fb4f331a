"""`sparring explain`: the rules and training facts that speak for a triple."""

from typing import Annotated

import typer

from sparring.experiments.console import Json, Overrides, RunFolder, Trust, as_json, line


def explain(
    run: RunFolder,
    head: Annotated[str, typer.Option(help="The head of the triple.", show_default=False)],
    relation: Annotated[str, typer.Option(help="The relation of the triple.", show_default=False)],
    tail: Annotated[str, typer.Option(help="The tail of the triple.", show_default=False)],
    reasons: Annotated[int, typer.Option(min=1, help="Rules to show, at most.")] = 5,
    overrides: Overrides = None,
    trust: Trust = False,
    json: Json = False,
) -> None:
    """Show the mined rules and training facts that support a triple.

    Where no rule does, show the training facts of the same relation that are nearest to the triple
    under the model of the run. The triple may be true or false, known or not.

    Example: `sparring explain runs/atlas --head Iceland --relation currency --tail euro`
    """
    from sparring.evaluation.explain import explain as find
    from sparring.experiments.run_folder import Run

    place = Run(run, trust)
    config = place.config(overrides or [])
    graph = place.graph(config)
    model = place.load_step(config, graph).model
    found = find(graph, (head, relation, tail), model=model, max_reasons=reasons)
    if json:
        as_json(found.to_dict())
    else:
        line(repr(found))
