"""Pretrained models that samplers and generators take: for now, those of finished runs."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from sparring.data.graph import TrainGraph
from sparring.experiments.trust import check_config_digest, refuse_foreign_code
from sparring.files import read_object
from sparring.models.base import MODELS, KGEModel
from sparring.registry import Registry, build
from sparring.training import checkpoint
from sparring.training.trainer import load_best, model_state

PRETRAINED = Registry("pretrained", base=KGEModel)


@PRETRAINED.register("run")
def trained_model(graph: TrainGraph, *, folder: str, trust: bool = False) -> KGEModel:
    """The model of a finished run, as its best epoch left it, with frozen parameters.

    Args:
        folder: that of the run, relative to the working directory.
        trust: let that run name a model outside of sparring, whose code is run then.

    Raises:
        ValueError: if there is no finished run, its training graph was another one, it names a
            model outside of sparring and is not trusted, or a parameter is not finite.
        CheckpointError: if the checkpoint is missing or altered.
    """
    place = Path(folder)
    if not (place / "result.json").exists():
        raise ValueError(
            f"{folder} is not the folder of a finished run: it has no result.json; train the model "
            "first, with `sparring run`"
        )
    about = read_object(place / "graph.json")
    if about.get("training_hash") != graph.hash(about.get("hash_version", 1)):
        raise ValueError(
            f"{folder} was trained on another graph, {about.get('name')}; train the model on the "
            "graph of this experiment"
        )
    path = place / "config.json"
    tables, checkpointed = read_object(path), load_best(place)
    spec = tables.get("model")
    check_config_digest(checkpointed, tables, path)
    if not isinstance(spec, Mapping):
        raise ValueError(f"{path} is damaged: it has no table of a model")
    if not trust:
        refuse_foreign_code({"model": spec}, path)
    with torch.random.fork_rng():  # the initial parameters are overwritten
        model = build(spec, MODELS, "model", graph=graph)
    model.load_state_dict(model_state(checkpointed))
    if broken := [name for name, value in model.named_parameters() if not value.isfinite().all()]:
        raise ValueError(f"the model in {folder} has values that are not finite: {broken[0]}")
    return model.to(graph.triples.device).eval().requires_grad_(False)


def digests(parts: Any) -> dict[str, str]:
    """The digest of the checkpoint of each run that the parts of a configuration take."""
    return {
        folder: checkpoint.digest_of(
            Path(folder), "best" if checkpoint.exists(Path(folder), "best") else "last"
        )
        for folder in _folders(parts)
    }


def _folders(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        if value.get("name") == "run" and isinstance(value.get("folder"), str):
            yield value["folder"]
        value = list(value.values())
    for item in value if isinstance(value, list) else ():
        yield from _folders(item)
