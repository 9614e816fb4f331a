"""From the tables of an experiment to the parts of its training step."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import nn

from sparring.data.graph import KnowledgeGraph, TrainGraph
from sparring.experiments.config import (
    OBJECT,
    PARTS,
    Config,
)
from sparring.registry import ConfigError, build
from sparring.seeds import Seeds
from sparring.training import TrainingStep
from sparring.training.curated import curated_terms


def assemble(
    config: Config,
    graph: KnowledgeGraph,
    objects: Mapping[str, nn.Module] = MappingProxyType({}),
) -> tuple[TrainingStep, Seeds]:
    """Model, sampler, loss and corruption of an experiment, initialized under its seed.

    They see only the training view of the graph.

    Args:
        objects: parts that were given as objects, by table.

    Raises:
        ConfigError: if a part refuses its options, or two parts cannot be combined.
    """
    device = device_of(config)
    seeds = Seeds(config.general.seed)
    torch.manual_seed(seeds.number("parameters"))
    training = graph.training.to(device)
    parts = {
        name: build_part(name, config.parts[name], training, objects)
        for name in ("model", "sampler", "loss", "corruption")
    }
    try:
        terms = curated_terms(training, weight=config.train.rejected_weight)
        step = TrainingStep(**parts, terms=terms)
    except ValueError as error:
        raise ConfigError(f"[loss] {error}") from error
    return step.to(device), seeds


def build_part(
    name: str, table: Mapping[str, Any], graph: TrainGraph, objects: Mapping[str, nn.Module]
) -> Any:
    """One part of a training step, from its table or as the object that was given.

    Raises:
        ConfigError: for wrong options, or if the part was given as an object and is missing.
    """
    if name in objects:
        return objects[name]
    if table["name"] == OBJECT:
        raise ConfigError(
            f"[{name}] was given as an object of {table['class']}, which no file can hold; "
            f"build it again and pass it: sparring.load(folder, {name}=...)"
        )
    return build(table, PARTS[name][0], name, graph=graph)


def device_of(config: Config) -> torch.device:
    """The device that an experiment runs on.

    Raises:
        ConfigError: if PyTorch does not know it, or this machine lacks it.
    """
    name = config.general.device
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f'[device] cannot use {name!r}: {reason}; try "cpu"') from error
    return device
