"""Main models by name, fresh or as a finished run left them."""

import json
from pathlib import Path

import torch

from sparring.experiments.build import Family, build
from sparring.graph.knowledge_graph import TrainGraph
from sparring.models import DECODERS, MODELS, MUTATORS, TEXT_ENCODERS
from sparring.models.base import MainModel
from sparring.training import checkpoint

MAIN_MODELS = Family(MODELS, decoder=DECODERS, encoder=TEXT_ENCODERS, mutator=MUTATORS)


def trained_model(graph: TrainGraph, *, folder: str) -> MainModel:
    """The model of a finished run, as its best epoch left it; it learns no more.

    Args:
        folder: that of the run, as seen from the working directory.

    Raises:
        ValueError: if there is no finished run, or its training graph was another one.
        CheckpointError: if the checkpoint is missing or altered.
    """
    place = Path(folder)
    if not (place / "result.json").exists():
        raise ValueError(
            f"{folder} is no folder of a finished run: it has no result.json; train the model "
            "first, with `sparring run`"
        )
    about = json.loads((place / "graph.json").read_text())
    if about.get("training_hash") != graph.content_hash:
        raise ValueError(
            f"{folder} was trained on another graph, {about['name']}; train the model on the "
            "graph of this experiment"
        )
    with torch.random.fork_rng():  # what is drawn to initialise it is overwritten
        spec = json.loads((place / "config.json").read_text())["model"]
        model = build(spec, MAIN_MODELS, "model", graph=graph)
    name = "best" if checkpoint.exists(place, "best") else "last"
    state = checkpoint.load(place, name)["step"]
    lead = "model."
    own = {key.removeprefix(lead): state[key] for key in state if key.startswith(lead)}
    model.load_state_dict(own)
    return model.to(graph.triples.device).eval().requires_grad_(False)


TEACHERS = {"run": trained_model}
