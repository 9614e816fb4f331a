"""`sparring export`: negatives drawn once, for libraries that take them as arrays."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from sparring.experiments.console import Overrides, RunOrConfig, Trust, line


def export(
    place: RunOrConfig,
    form: Annotated[
        Literal["bess-kge", "dgl-ke", "dicee"],
        typer.Option("--to", help="The library whose layout is written.", show_default=False),
    ],
    folder: Annotated[
        Path, typer.Option(help="Where to write negatives.npz and names.", show_default=False)
    ],
    trust: Trust = False,
    overrides: Overrides = None,
) -> None:
    """Write negatives for another library, as NumPy arrays.

    They are drawn once for every training triple.

    The folder also gets the splits as ids, and the names of the ids. The layouts follow the
    libraries' sources; they were not run in the libraries.
    """
    import numpy as np
    import torch

    from sparring.experiments.assembly import assemble
    from sparring.experiments.audit_run import step_device
    from sparring.experiments.config import read_config
    from sparring.experiments.graphs import load_graph
    from sparring.experiments.run_folder import Run
    from sparring.integrations import export as arrays
    from sparring.seeds import Seeds

    run = Run(place, trust) if place.is_dir() else None
    config = run.config(overrides or []) if run else read_config(place, overrides or [])
    graph = run.graph(config) if run else load_graph(config.graph)
    step = run.load_step(config, graph) if run else assemble(config, graph)[0].eval()
    seeds = Seeds(config.general.seed)
    rng = seeds.fresh("export", step_device(step))
    fixed = arrays.draw_fixed_negatives(
        step.sampler,
        graph,
        torch.no_grad()(step.model),
        rng,
        batch_size=min(config.train.batch_size, len(graph.train)),
    )
    content = {
        "bess-kge": arrays.bess_arrays,
        "dgl-ke": arrays.dglke_arrays,
        "dicee": lambda fixed: arrays.dicee_arrays(fixed, seeds.fresh("export order")),
    }[form](fixed)
    folder.mkdir(parents=True, exist_ok=True)
    arrays.write_names(graph, folder)  # which may refuse names
    np.savez_compressed(folder / "negatives.npz", **content)
    line(f"{folder / 'negatives.npz'}: {len(fixed.triples):,} triples, {step.sampler.k} negatives")
    unanswered = int((~fixed.usable).sum())
    if unanswered:
        line(f"{unanswered:,} queries have no negative: every drawn entity is an answer")
