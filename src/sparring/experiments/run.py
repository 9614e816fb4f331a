"""Run one experiment from start to end: train, evaluate, and write a record."""

import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import nn

from sparring.data import store
from sparring.data.graph import KnowledgeGraph
from sparring.evaluation.breakdown import Breakdown, breakdown
from sparring.evaluation.ensemble import Ensemble, as_proposal
from sparring.evaluation.ranking import RankingResult, evaluate
from sparring.experiments.assembly import assemble, device_of
from sparring.experiments.callbacks import Callback, JsonLines
from sparring.experiments.config import (
    PARTS,
    Config,
)
from sparring.experiments.environment import (
    keep_freed_memory,
    provenance,
    stopped_by_signals,
    use_threads,
    versions,
)
from sparring.experiments.graphs import load_graph
from sparring.experiments.loggers import Loggers, require_packages
from sparring.experiments.pretrained import digests
from sparring.experiments.run_folder import GRAPH, Run, RunError, check_graph, graph_identity
from sparring.experiments.trust import (
    config_digest,
    foreign_code,
)
from sparring.experiments.warm_start import start_from
from sparring.files import (
    locked,
    read_object,
    remove_drafts,
    write_json,
    write_object,
)
from sparring.models.base import KGEModel
from sparring.registry import ConfigError, build
from sparring.seeds import Seeds
from sparring.training import Trainer, TrainingStep, checkpoint

FILTERS = {"valid": "train + valid", "test": "train + valid + test"}  # facts left out of ranks


def prepare(
    config: Config,
    graph: KnowledgeGraph,
    folder: Path,
    objects: Mapping[str, nn.Module] = MappingProxyType({}),
) -> Trainer:
    """The trainer of an experiment, ready to run or to resume.

    Args:
        objects: parts that were given as objects, by table.

    Raises:
        ConfigError: as `assemble` does, and if the evaluated split is empty.
    """
    device = device_of(config)
    if not len(getattr(graph, config.evaluate.split)):
        raise ConfigError(f"[evaluate.split] {graph.name} has no {config.evaluate.split} triples")
    step, seeds = assemble(config, graph, objects)
    optimizer = build(
        config.parts["optimizer"],
        PARTS["optimizer"][0],
        "optimizer",
        params=step.trainable_parameters(),
    )
    return Trainer(
        step,
        optimizer,
        build(config.parts["schedule"], PARTS["schedule"][0], "schedule"),
        seeds,
        config.train,
        triples=graph.training.triples.to(device),
        valid=graph.valid.to(device),
        known=graph.known_for_validation.to(device),
        folder=folder,
        about={
            "config": config_digest(config.as_dict()),
            "versions": versions(),
            "pretrained": digests(config.parts),
        },
    )


def run(
    config: Config,
    folder: Path,
    *,
    graph: KnowledgeGraph | None = None,
    resume: bool = False,
    objects: Mapping[str, nn.Module] = MappingProxyType({}),
    callbacks: Callable[[Trainer], Sequence[Callback]] = lambda trainer: (),
) -> dict[str, Any] | None:
    """Train and evaluate one experiment in its folder.

    Args:
        folder: holds the run; see `Run`.
        graph: the graph, if it is loaded already.
        resume: continue from the folder's last checkpoint, if there is one, on the graph that the
            folder holds.
        objects: parts that were given as objects, by table.
        callbacks: makes the callbacks that receive the records of a trainer.

    Returns:
        The result, also written to `result.json`; None if training was stopped early.

    Raises:
        RunError: if the folder holds a run that must not be overwritten or continued.
        FolderInUseError: if another process is writing to the folder.
    """
    with locked(folder):
        return _run(config, folder, graph, resume, objects, callbacks)


def _run(
    config: Config,
    folder: Path,
    graph: KnowledgeGraph | None,
    resume: bool,
    objects: Mapping[str, nn.Module],
    callbacks: Callable[[Trainer], Sequence[Callback]],
) -> dict[str, Any] | None:
    """As `run`, in a folder that is locked."""
    if config.distributed.virtual_workers:
        raise ConfigError(
            "[distributed] virtual_workers is for sparring fit and sparring run; leave it at 0 here"
        )
    check_folder(folder, config, resume)
    require_packages(config.log)
    remove_drafts(folder)
    for name in ("last", "best", "ranks"):
        checkpoint.remove_former(folder, name)
    keep_freed_memory()
    use_threads(config.general.threads)
    if graph is None:
        kept = resume and store.exists(folder / GRAPH)
        graph = store.load(folder / GRAPH) if kept else load_graph(config.graph)
    check_graph(folder, graph)
    trainer = prepare(config, graph, folder, objects)
    keep_config(folder, trainer, config)
    write_object(folder / "graph.json", graph_identity(graph))
    store.save(graph, folder / GRAPH)
    if resume and checkpoint.exists(folder, "last"):
        warn_of_other_origin(folder, trainer.about)
        trainer.resume()
    elif config.general.start:
        former = Run(Path(config.general.start))
        start_from(trainer.step.model, graph, former.model_state(), former.graph())
    after = trainer.progress.step
    with Loggers(config.log, folder, config.as_dict(), after) as loggers:
        _train(trainer, [JsonLines(folder / "log.jsonl", after), *callbacks(trainer)], loggers)
        if not trainer.progress.finished:
            return None
        best = trainer.load_best()
        ranks = evaluate_split(trainer.step.model, graph, config)
        loggers.finish(metrics(ranks), config.evaluate.split)
    checkpoint.save(folder, "ranks", vars(ranks))
    write_object(folder / "breakdown.json", breakdown_of(ranks, graph, config).to_dict())
    result = {**summary(config, graph, trainer, best), **metrics(ranks)}
    write_object(folder / "result.json", result)
    return result


def _train(trainer: Trainer, callbacks: Sequence[Callback], loggers: Loggers) -> None:
    """Train to the end, or until a signal."""
    try:
        with stopped_by_signals(trainer.stop):
            for record in trainer.run():
                for receive in (*callbacks, loggers):
                    receive(record)
    finally:
        for callback in callbacks:
            callback.close()


def ensemble(step: TrainingStep, weight: float) -> KGEModel:
    """The trained model, or its ensemble with the generator that it was trained with.

    Args:
        weight: of the generator's log-probability; 0 for the model alone.

    Raises:
        ConfigError: if the weight is not 0 and the sampler has no probabilities of entities.
    """
    if not weight:
        return step.model
    try:
        return Ensemble(step.model, as_proposal(step.sampler), weight=weight)
    except ValueError as error:
        raise ConfigError(f"[sampler] {error}") from error


def evaluate_split(model: KGEModel, graph: KnowledgeGraph, config: Config) -> RankingResult:
    """Filtered ranks on the split that the experiment evaluates; see `FILTERS`."""
    device, options = device_of(config), config.evaluate
    triples = getattr(graph, options.split).to(device)
    known = graph.known if options.split == "test" else graph.known_for_validation
    return evaluate(
        model, triples, known.to(device), max_scores=options.max_scores, precision=options.precision
    )


def metrics(ranks: RankingResult) -> dict[str, float]:
    """The metrics of a result."""
    hits = {f"hits@{k}": ranks.hits(k) for k in (1, 3, 10)}
    return {"mrr": ranks.mrr(), **hits, "mr": ranks.mr(), "amri": ranks.amri()}


def breakdown_of(ranks: RankingResult, graph: KnowledgeGraph, config: Config) -> Breakdown:
    """The ranks by side, cardinality, degree and relation, under the run's own seed."""
    rng = Seeds(config.general.seed).fresh("breakdown")
    return breakdown(ranks, graph, rng=rng, replicates=config.evaluate.bootstrap)


def summary(config: Config, graph: Any, trainer: Trainer, best: int) -> dict[str, Any]:
    """Parts, options, cost and provenance of a run, as `result.json` holds them.

    Args:
        graph: has a name and a content hash.
    """
    sampler = trainer.step.sampler
    return {
        "dataset": graph.name,
        "content_hash": graph.content_hash,
        "split": config.evaluate.split,
        "filter": FILTERS[config.evaluate.split],
        "validation_filter": FILTERS["valid"],
        "model": config.parts["model"]["name"],
        "dim": config.parts["model"].get("dim"),
        "sampler": config.parts["sampler"]["name"],
        "loss": config.parts["loss"]["name"],
        "k": sampler.k,
        "scored_per_query": sampler.k + sampler.capabilities.num_extra_scores,
        "shared_per_query": sampler.capabilities.num_shared,
        "seed": config.general.seed,
        "epochs": trainer.progress.step // trainer.steps_per_epoch,
        "best_epoch": best,
        "valid_mrr": trainer.progress.best_mrr,
        "cpu_seconds": round(trainer.progress.cpu_seconds, 1),
        "threads": torch.get_num_threads(),
        "resolved": config.as_dict(),
        **provenance(),
        "pretrained": trainer.about["pretrained"],
    }


RECORDED = (
    *("dataset", "split", "model", "dim", "sampler", "loss", "k", "scored_per_query", "seed"),
    *("epochs", "mrr", "hits@1", "hits@3", "hits@10", "cpu_seconds", "threads"),
)


def as_record(result: Mapping[str, Any], config: str, overrides: Sequence[str]) -> dict[str, Any]:
    """A result as a study keeps it: the main entries first, then all others.

    Args:
        config: path of the experiment file, relative to the repository.
        overrides: the `path=value` overrides of the run.
    """
    first = {name: result[name] for name in RECORDED}
    return {**first, "config": config, "commit": result["commit"], "overrides": [*overrides]} | {
        name: value for name, value in result.items() if name not in first
    }


def check_folder(folder: Path, config: Config, resume: bool) -> None:
    """Check that a folder is empty, or holds the run to resume.

    Raises:
        RunError: if it holds a run and `resume` is not set, or a run of another configuration.
        UntrustedError: if the configuration of that run was altered.
    """
    if not (folder / "config.json").exists():
        return
    if not resume:
        raise RunError(
            f"{folder} holds a run already; add --resume to continue it, or name another folder"
        )
    if changed := config_changes(config, Run(folder)):
        Run(folder).check_config()
        raise RunError(
            f"the run of {folder / 'config.json'} was started with another configuration: "
            f"{', '.join(changed)} differ; "
            "resume with the old configuration, or name another folder"
        )


def config_changes(config: Config, run: Run) -> list[str]:
    """The tables in which a configuration differs from the one that a run was started with.

    Where it is logged makes no difference.

    The run's may name the code outside of sparring that the configuration names too.
    """
    now = json.loads(json.dumps(config.as_dict()))
    own, named = set(foreign_code(now)), set(foreign_code(run.kept_config()))
    before = Run(run.folder, trust=named <= own).config().as_dict()
    return sorted(key for key in now if before[key] != now[key] and key != "log")


def keep_config(folder: Path, trainer: Trainer, config: Config) -> None:
    """Write the configuration into the folder; one that is there stays, since checkpoints have its
    digest."""
    path = folder / "config.json"
    if path.exists():
        trainer.about["config"] = config_digest(read_object(path))
    else:
        write_json(path, config.as_dict())


def warn_of_other_origin(folder: Path, now: Mapping[str, Any]) -> None:
    """Warn if a training is resumed under other versions, or with other pretrained models."""
    before = checkpoint.outline(folder, "last")
    for kind in ("versions", "pretrained"):
        old, new = before.get(kind, now[kind]), now[kind]
        changed = [
            f"{name} {old.get(name)} -> {new.get(name)}"
            for name in {**old, **new}
            if old.get(name) != new.get(name)
        ]
        if changed:
            warnings.warn(
                f"{folder} was started with other {kind}: {', '.join(changed)}; the result may "
                "differ from that of an uninterrupted run",
                stacklevel=2,
            )
