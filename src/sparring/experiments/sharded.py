"""Run one experiment on all ranks that were launched; the first one writes the run's folder."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from rich.console import Console
from torch import nn

from sparring.data import store
from sparring.data.graph import KnowledgeGraph
from sparring.distributed import checkpoint as sharded_checkpoint
from sparring.distributed import world
from sparring.distributed.facts import Facts
from sparring.distributed.forecast import forecast
from sparring.distributed.layout import Layout
from sparring.distributed.ranking import evaluate, known_answers
from sparring.distributed.step import (
    OwnQueries,
    PerWorkerSampler,
    ShareOfLoss,
    average_gradients,
    refuse_unsupported,
)
from sparring.distributed.table import ShardedTable
from sparring.distributed.trainer import ShardedTrainer
from sparring.embedding import Init, sharded_tables
from sparring.experiments.assembly import build_part, device_of
from sparring.experiments.callbacks import Callback, JsonLines
from sparring.experiments.config import PARTS, Config
from sparring.experiments.environment import keep_freed_memory, stopped_by_signals, versions
from sparring.experiments.graphs import load_graph
from sparring.experiments.loggers import LogOptions
from sparring.experiments.run import breakdown_of, check_folder, keep_config, metrics, run, summary
from sparring.experiments.run_folder import GRAPH, check_graph, graph_identity
from sparring.experiments.trust import config_digest
from sparring.files import locked, remove_drafts, write_object
from sparring.generators.base import NegativeGenerator
from sparring.registry import ConfigError, build
from sparring.samplers.base import NegativeSampler
from sparring.seeds import Seeds
from sparring.training import Trainer, TrainingStep, checkpoint

SHARDED = {"generator": "sparring.distributed.generator:ShardedGenerator"}


def run_experiment(
    config: Config,
    folder: Path,
    *,
    graph: KnowledgeGraph | None = None,
    resume: bool = False,
    objects: Mapping[str, nn.Module] = MappingProxyType({}),
    callbacks: Callable[[Trainer], Sequence[Callback]] = lambda trainer: (),
    console: Console | None = None,
) -> dict[str, Any] | None:
    """Train and evaluate one experiment in its folder, sharded where the configuration says so.

    All arguments but the last, the result and the errors are those of `run`.

    Args:
        console: where the forecast of a sharded run is printed.

    Raises:
        LaunchError: if the processes cannot share the work.
        ConfigError: also for parts that cannot be sharded.
    """
    if not config.distributed.virtual_workers:
        if world.is_launched():
            raise world.LaunchError(
                "several processes need distributed.virtual_workers, a multiple of their number; "
                "set it, for example to 64, or start one process"
            )
        return run(config, folder, graph=graph, resume=resume, objects=objects, callbacks=callbacks)
    if objects:
        raise ConfigError("parts given as objects cannot be sharded; give them by name")
    keep_freed_memory()
    device = device_of(config)
    with world.process_group(device, config.distributed.timeout), ExitStack() as stack:
        lock = lambda: stack.enter_context(locked(folder))
        world.on_first_rank(lock)
        return _run(config, folder, graph, resume, callbacks, console)


def _run(
    config: Config,
    folder: Path,
    graph: KnowledgeGraph | None,
    resume: bool,
    callbacks: Callable[[Trainer], Sequence[Callback]],
    console: Console | None,
) -> dict[str, Any] | None:
    """As `run_experiment`, in a process group and a locked folder."""
    resume = resume or world.restarts() > 0
    world.on_first_rank(lambda: check_folder(folder, config, resume))
    if config.log != LogOptions():
        raise ConfigError("[log] a sharded run logs to its folder only; leave [log] out")
    torch.set_num_threads(config.general.threads or max(1, torch.get_num_threads()))
    graph = load_graph(config.graph) if graph is None else graph
    trainer = prepare(config, graph, folder)
    world.on_first_rank(lambda: _write_beginning(folder, graph, config, trainer))
    if console and world.is_first():
        forecast(trainer).show(console)
    if resume and sharded_checkpoint.exists(folder, "last"):
        trainer.resume()
    elif config.general.start:
        raise ConfigError("[start] a sharded run cannot start from another one yet")
    listening: list[Callback] = []
    if world.is_first():
        log = JsonLines(folder / "log.jsonl", after=trainer.progress.step)
        listening = [log, *callbacks(trainer)]
    try:
        with stopped_by_signals(trainer.stop):
            for record in trainer.run():
                for callback in listening:
                    callback(record)
    finally:
        for callback in listening:
            callback.close()
    if not trainer.progress.finished:
        return None
    best = trainer.load_best()
    split, layout = config.evaluate.split, trainer.layout
    known = [graph.train, graph.valid, *([graph.test] if split == "test" else [])]
    ranks = evaluate(
        *(trainer.step.model, getattr(graph, split), known_answers(torch.cat(known), layout)),
        layout,
        max_scores=config.evaluate.max_scores,
    )
    result = {**summary(config, graph, trainer, best), **metrics(ranks)}
    result["processes"] = world.size()

    def write_end() -> None:
        checkpoint.save(folder, "ranks", vars(ranks))
        write_object(folder / "breakdown.json", breakdown_of(ranks, graph, config).to_dict())
        write_object(folder / "result.json", result)

    world.on_first_rank(write_end)
    return result


def _write_beginning(folder: Path, graph: KnowledgeGraph, config: Config, trainer: Trainer) -> None:
    """Write what a run's folder holds from the start."""
    remove_drafts(folder)
    check_graph(folder, graph)
    keep_config(folder, trainer, config)
    write_object(folder / "graph.json", graph_identity(graph))
    store.save(graph, folder / GRAPH)


def prepare(config: Config, graph: KnowledgeGraph, folder: Path) -> ShardedTrainer:
    """The trainer of a sharded experiment on this rank, ready to run or to resume.

    Raises:
        ConfigError: for parts that refuse their options, or that cannot be sharded.
    """
    if not len(getattr(graph, config.evaluate.split)):
        raise ConfigError(f"[evaluate.split] {graph.name} has no {config.evaluate.split} triples")
    if config.parts["corruption"] != {**config.parts["corruption"], "name": "both"}:
        raise ConfigError("[corruption] a sharded run trains on both queries of each triple: both")
    if config.parts["corruption"].get("subsampling"):
        raise ConfigError("[corruption] a sharded run has no subsampling; set it to 0")
    device, options = device_of(config), config.distributed
    layout = Layout(len(graph.entities), len(graph.relations), options.virtual_workers)
    facts = Facts.of(graph, layout)
    try:
        step, seeds = assemble(config, facts)
        step = step.to(device)
        optimizer = build(
            config.parts["optimizer"],
            PARTS["optimizer"][0],
            "optimizer",
            params=step.trainable_parameters(),
        )
        trainer = ShardedTrainer(
            step,
            optimizer,
            build(config.parts["schedule"], PARTS["schedule"][0], "schedule"),
            seeds,
            config.train,
            facts=facts,
            valid=graph.valid.to(device),
            known=known_answers(torch.cat([graph.train, graph.valid]), layout),
            folder=folder,
            about={
                "config": config_digest(config.as_dict()),
                "versions": versions(),
                "pretrained": {},
            },
        )
    except (TypeError, ValueError) as error:
        raise ConfigError(f"[distributed] {error}") from error
    if isinstance(step.sampler, NegativeGenerator):
        average_gradients(step.sampler, step.sampler.optimizer)
    return trainer


def assemble(config: Config, facts: Facts) -> tuple[TrainingStep, Seeds]:
    """Model, sampler and loss of a sharded experiment, initialized under its seed."""
    seeds, layout, graph = Seeds(config.general.seed), facts.layout, facts.graph()
    torch.manual_seed(seeds.number("parameters"))
    made: list[ShardedTable] = []

    def table(dim: int, init: Init) -> ShardedTable:
        name = f"table/{len(made)}"
        made.append(ShardedTable(layout, dim, init=init, seeds=seeds, name=name))
        return made[-1]

    sampler_table = dict(config.parts["sampler"])
    sampler_table["name"] = SHARDED.get(sampler_table["name"], sampler_table["name"])
    with sharded_tables(layout.num_entities, table):
        model = build_part("model", config.parts["model"], graph, {})
        refuse_unsupported(model)
        sampler: NegativeSampler = build_part("sampler", sampler_table, graph, {})
        loss = build_part("loss", config.parts["loss"], graph, {})
    if not isinstance(sampler, NegativeGenerator):
        sampler = PerWorkerSampler(sampler, layout.own)
    return TrainingStep(model, sampler, ShareOfLoss(loss, facts), OwnQueries(facts)), seeds
