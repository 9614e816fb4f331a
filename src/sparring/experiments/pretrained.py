"""Pretrained models that samplers and generators take: for now, those of finished runs."""

import json
from pathlib import Path

import torch

from sparring.data.graph import TrainGraph
from sparring.models.base import MODELS, KGEModel
from sparring.registry import Registry, build
from sparring.training import checkpoint

PRETRAINED = Registry("pretrained")


@PRETRAINED.register("run")
def trained_model(graph: TrainGraph, *, folder: str) -> KGEModel:
    """The model of a finished run, as its best epoch left it, with frozen parameters.

    Args:
        folder: that of the run, relative to the working directory.

    Raises:
        ValueError: if there is no finished run, or its training graph was another one.
        CheckpointError: if the checkpoint is missing or altered.
    """
    place = Path(folder)
    if not (place / "result.json").exists():
        raise ValueError(
            f"{folder} is not the folder of a finished run: it has no result.json; train the model "
            "first, with `sparring run`"
        )
    about = json.loads((place / "graph.json").read_text(encoding="utf-8"))
    if about.get("training_hash") != graph.content_hash:
        raise ValueError(
            f"{folder} was trained on another graph, {about['name']}; train the model on the "
            "graph of this experiment"
        )
    with torch.random.fork_rng():  # the initial parameters are overwritten
        spec = json.loads((place / "config.json").read_text(encoding="utf-8"))["model"]
        model = build(spec, MODELS, "model", graph=graph)
    name = "best" if checkpoint.exists(place, "best") else "last"
    state = checkpoint.load(place, name)["step"]
    lead = "model."
    own = {key.removeprefix(lead): state[key] for key in state if key.startswith(lead)}
    model.load_state_dict(own)
    return model.to(graph.triples.device).eval().requires_grad_(False)
