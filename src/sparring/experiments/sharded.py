"""Run one experiment on all ranks that were launched; the first one writes the run's folder."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from jaxtyping import Int
from rich.console import Console
from torch import Tensor, nn

from sparring.data import store
from sparring.data.graph import KnowledgeGraph
from sparring.data.index import TripleIndex
from sparring.distributed import checkpoint as sharded_checkpoint
from sparring.distributed import partition, world
from sparring.distributed.facts import Facts
from sparring.distributed.forecast import MANY, Forecast, forecast
from sparring.distributed.layout import Layout
from sparring.distributed.partition import Partition
from sparring.distributed.ranking import evaluate, known_answers
from sparring.distributed.step import (
    OwnQueries,
    PerWorkerSampler,
    ShareOfLoss,
    average_gradients,
    refuse_unsupported,
)
from sparring.distributed.table import ShardedTable
from sparring.distributed.torchrec import TorchRecTable
from sparring.distributed.trainer import ShardedTrainer, queries_per_worker
from sparring.embedding import TableMaker, sharded_tables
from sparring.experiments.assembly import build_part, device_of
from sparring.experiments.callbacks import Callback, JsonLines
from sparring.experiments.config import PARTS, Config
from sparring.experiments.environment import (
    keep_freed_memory,
    stopped_by_signals,
    use_threads,
    versions,
)
from sparring.experiments.graphs import load_graph
from sparring.experiments.loggers import LogOptions
from sparring.experiments.run import breakdown_of, check_folder, keep_config, metrics, run, summary
from sparring.experiments.run_folder import GRAPH, check_graph, graph_identity
from sparring.experiments.trust import config_digest
from sparring.files import json_digest, locked, read_object, remove_drafts, write_object
from sparring.generators.base import NegativeGenerator
from sparring.registry import ConfigError, build
from sparring.samplers.base import NegativeSampler
from sparring.seeds import Seeds
from sparring.training import Trainer, TrainingStep, checkpoint

JOB = "job.json"  # which launch has worked on a folder
TABLES = {"sharded": ShardedTable, "torchrec": TorchRecTable}
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
        again = world.any_rank(world.restarts() > 0 or _is_of_this_job(folder), device)
        # after a restart, a process of a lost host may still hold the folder until it gives up
        world.on_first_rank(lambda: stack.enter_context(locked(folder, wait=again)))
        return _run(config, folder, graph, resume or again, callbacks, console)


def _run(
    config: Config,
    folder: Path,
    graph: KnowledgeGraph | None,
    resume: bool,
    callbacks: Callable[[Trainer], Sequence[Callback]],
    console: Console | None,
) -> dict[str, Any] | None:
    """As `run_experiment`, in a process group and a locked folder."""
    world.on_first_rank(lambda: check_folder(folder, config, resume))
    if config.log != LogOptions():
        raise ConfigError("[log] a sharded run logs to its folder only; leave [log] out")
    if config.general.start:
        raise ConfigError("[start] a sharded run cannot start from another one yet")
    use_threads(config.general.threads)
    work = Work.of(config, graph)
    expected = foreseen(config, work.facts)
    if console and world.is_first():
        expected.show(console)
    expected.check_memory(device_of(config))
    trainer = prepare(config, work, folder)
    world.on_first_rank(lambda: _write_beginning(folder, work, config, trainer))
    if resume and sharded_checkpoint.exists(folder, "last"):
        trainer.resume()
        if console and world.is_first():
            console.print(_going_on(folder, trainer), soft_wrap=True)
    world.on_first_rank(lambda: write_object(folder / JOB, _job()))
    _train(trainer, folder, callbacks)
    if not trainer.progress.finished:
        return None
    best = trainer.load_best()
    ranks = evaluate(
        trainer.step.model,
        work.evaluated.to(trainer.device),
        work.known.to(trainer.device),
        trainer.layout,
        max_scores=config.evaluate.max_scores,
    )
    result = {**summary(config, work, trainer, best), **metrics(ranks)}
    result["processes"] = world.size()

    def write_end() -> None:
        checkpoint.save(folder, "ranks", vars(ranks))
        if work.graph is not None:
            parts = breakdown_of(ranks, work.graph, config).to_dict()
            write_object(folder / "breakdown.json", parts)
        write_object(folder / "result.json", result)

    world.on_first_rank(write_end)
    return result


def _job() -> dict[str, Any]:
    """Which launch this is, and of how many processes."""
    return {"job": world.job(), "processes": world.size()}


def _is_of_this_job(folder: Path) -> bool:
    """Whether this launch has begun the run, and its processes were started again since."""
    path = folder / JOB
    return path.exists() and world.job() is not None and read_object(path)["job"] == world.job()


def _going_on(folder: Path, trainer: Trainer) -> str:
    """What a training that goes on says of it."""
    path, now, step = folder / JOB, world.size(), trainer.progress.step
    before = read_object(path)["processes"] if path.exists() else now
    epoch = step // trainer.steps_per_epoch
    return (
        f"going on from the checkpoint after step {step} (epoch {epoch}) on {now} "
        f"process{'es' if now > 1 else ''}; before it was on {before}"
    )


@dataclass(frozen=True, eq=False)
class Work:
    """What a rank works on.

    Attributes:
        name, content_hash: of the graph.
        facts: the training facts of this rank.
        valid, evaluated: triples that are ranked while training, and at the end.
        known_for_validation, known: facts that their ranks leave out, of this rank's queries.
        graph: the whole graph; None where its parts are on disk.
    """

    name: str
    content_hash: str
    facts: Facts
    valid: Int[Tensor, "V 3"]
    evaluated: Int[Tensor, "S 3"]
    known_for_validation: TripleIndex
    known: TripleIndex
    graph: KnowledgeGraph | None = None

    @classmethod
    def of(cls, config: Config, graph: KnowledgeGraph | None) -> "Work":
        """This rank's part of a graph in memory, or of the one that an experiment names."""
        place = Path(config.graph.path)
        if graph is None and config.graph.path and partition.exists(place):
            return cls._of_partition(config, Partition.open(place))
        return cls._of_graph(config, load_graph(config.graph) if graph is None else graph)

    @classmethod
    def _of_graph(cls, config: Config, graph: KnowledgeGraph) -> "Work":
        workers = config.distributed.virtual_workers
        layout = Layout(len(graph.entities), len(graph.relations), workers)
        seen = [graph.train, graph.valid]
        known_for_validation = known = known_answers(torch.cat(seen), layout)
        if config.evaluate.split == "test":
            known = known_answers(torch.cat([*seen, graph.test]), layout)
        return cls(
            graph.name,
            graph.content_hash,
            Facts.of(graph, layout),
            graph.valid,
            getattr(graph, config.evaluate.split),
            known_for_validation,
            known,
            graph,
        )

    @classmethod
    def _of_partition(cls, config: Config, parts: Partition) -> "Work":
        if config.distributed.virtual_workers != parts.workers:
            raise ConfigError(
                f"[distributed] {parts.folder} has parts of {parts.workers} virtual workers, not "
                f"of {config.distributed.virtual_workers}; set virtual_workers = {parts.workers}"
            )
        facts, valid = parts.facts(), parts.triples("valid")
        evaluated = parts.triples(config.evaluate.split)
        known_for_validation = known = parts.known(facts, valid)
        if config.evaluate.split == "test":
            known = parts.known(facts, torch.cat([valid, evaluated]))
        digest = json_digest(asdict(parts) | {"folder": ""})
        return cls(parts.name, digest, facts, valid, evaluated, known_for_validation, known)


def _train(
    trainer: Trainer, folder: Path, callbacks: Callable[[Trainer], Sequence[Callback]]
) -> None:
    """Train to the end, or until a signal; the first rank has the log and the callbacks."""
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


def _write_beginning(folder: Path, work: Work, config: Config, trainer: Trainer) -> None:
    """Write what a run's folder holds from the start."""
    remove_drafts(folder)
    keep_config(folder, trainer, config)
    if work.graph is not None:
        check_graph(folder, work.graph)
        write_object(folder / "graph.json", graph_identity(work.graph))
        store.save(work.graph, folder / GRAPH)


def prepare(config: Config, work: Work, folder: Path) -> ShardedTrainer:
    """The trainer of a sharded experiment on this rank, ready to run or to resume.

    Raises:
        ConfigError: for parts that refuse their options, or that cannot be sharded.
    """
    if not len(work.evaluated):
        raise ConfigError(f"[evaluate.split] {work.name} has no {config.evaluate.split} triples")
    corruption = config.parts["corruption"]
    if corruption["name"] != "both" or corruption.get("subsampling"):
        raise ConfigError(
            "[corruption] a sharded run trains on both queries of each triple with equal weight; "
            'leave it at name = "both" without subsampling'
        )
    device, facts = device_of(config), work.facts
    try:
        step, seeds = assemble(config, facts)
        step = step.to(device)
        optimizer = optimizer_of(config, step)
        trainer = ShardedTrainer(
            step,
            optimizer,
            build(config.parts["schedule"], PARTS["schedule"][0], "schedule"),
            seeds,
            config.train,
            facts=facts,
            valid=work.valid.to(device),
            known=work.known_for_validation.to(device),
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


def foreseen(config: Config, facts: Facts, *, training: bool = True) -> Forecast:
    """What an experiment is going to take, before its tables are made.

    Args:
        training: whether there is an optimizer.

    Raises:
        ConfigError: for parts that refuse their options, or that cannot be sharded.
    """
    try:
        step, _ = assemble(config, facts.of_few(MANY))
        per_worker = queries_per_worker(config.train, facts)
        optimizer = optimizer_of(config, step) if training else None
        return forecast(step, optimizer, facts.layout, per_worker)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"[distributed] {error}") from error


def optimizer_of(config: Config, step: TrainingStep) -> torch.optim.Optimizer:
    """The optimizer of an experiment, for its training step."""
    table, registry = config.parts["optimizer"], PARTS["optimizer"][0]
    return build(table, registry, "optimizer", params=step.trainable_parameters())


def assemble(
    config: Config, facts: Facts, known: TripleIndex | None = None
) -> tuple[TrainingStep, Seeds]:
    """Model, sampler and loss of a sharded experiment, initialized under its seed.

    Args:
        known: the facts of all queries, for a sampler that all ranks use for the same ones.
    """
    seeds, layout, graph = Seeds(config.general.seed), facts.layout, facts.graph(known)
    torch.manual_seed(seeds.number("parameters"))
    names = (f"table/{number}" for number in itertools.count())

    def maker(kind: type[ShardedTable]) -> TableMaker:
        return lambda dim, init: kind(layout, dim, init=init, seeds=seeds, name=next(names))

    sampler_table = dict(config.parts["sampler"])
    sampler_table["name"] = SHARDED.get(sampler_table["name"], sampler_table["name"])
    with sharded_tables(layout.num_entities, maker(TABLES[config.distributed.tables])):
        model = build_part("model", config.parts["model"], graph, {})
        refuse_unsupported(model)
    with sharded_tables(layout.num_entities, maker(ShardedTable)):
        sampler: NegativeSampler = build_part("sampler", sampler_table, graph, {})
        loss = build_part("loss", config.parts["loss"], graph, {})
    if not isinstance(sampler, NegativeGenerator):
        workers = layout.own if known is None else range(layout.workers)
        sampler = PerWorkerSampler(sampler, workers)
    return TrainingStep(model, sampler, ShareOfLoss(loss, facts), OwnQueries(facts)), seeds
