"""One experiment, end to end: train, judge, and leave a record."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sparring.data.graph import SPLITS, KnowledgeGraph
from sparring.evaluation.breakdown import Breakdown, Row, breakdown
from sparring.evaluation.predict import Ensemble, as_proposal
from sparring.evaluation.ranking import RankingResult, evaluate
from sparring.experiments.callbacks import JsonLines, Listener
from sparring.experiments.config import PARTS, Config, check_config, load_graph, override_value
from sparring.experiments.environment import keep_freed_memory, provenance, stopped_by_signals
from sparring.models.base import KGEModel
from sparring.registry import ConfigError, build
from sparring.seeds import Seeds
from sparring.training import Trainer, TrainingStep, checkpoint
from sparring.training.checkpoint import write_atomically


class RunError(RuntimeError):
    """A run folder that cannot be used as asked."""


@dataclass(frozen=True)
class Run:
    """A run folder, from `config.json` over `log.jsonl` and checkpoints to `result.json`.

    Raises:
        RunError: where a file is asked for that is not there.
    """

    folder: Path

    def config(self, overrides: Sequence[str] = ()) -> Config:
        """The resolved configuration the run was started with, changed where asked."""
        tables = self._json("config.json")
        for override in overrides:
            override_value(tables, override)
        return check_config(tables)

    def result(self) -> dict[str, Any]:
        """What the finished run reported."""
        return self._json("result.json")

    def log(self) -> list[dict[str, Any]]:
        """The records of training, in order."""
        return [json.loads(line) for line in self._path("log.jsonl").read_text().splitlines()]

    def ranks(self) -> RankingResult:
        """The filtered ranks behind the result."""
        self._path("ranks.json")
        return RankingResult(**checkpoint.load(self.folder, "ranks"))

    def parts(self) -> Breakdown:
        """The result by side, cardinality, degree and relation."""
        found = self._json("breakdown.json")
        return Breakdown(**{**found, "rows": tuple(Row(**row) for row in found["rows"])})

    def trained(self, config: Config, graph: KnowledgeGraph) -> TrainingStep:
        """Model and sampler as the best epoch left them, or the last where none was validated.

        Args:
            config: the run's own, or what `config` made of it.

        Raises:
            RunError: if the graph is another one than the run was trained on.
            CheckpointError: if the checkpoint is missing or altered.
        """
        self._path("config.json")
        refuse_other_graph(self.folder, graph)
        name = "best" if checkpoint.exists(self.folder, "best") else "last"
        state = checkpoint.load(self.folder, name)
        step, _ = assemble(config, graph)
        step.load_state_dict(state["step"])
        return step.eval()

    def finished(self) -> bool:
        """Is there a result?"""
        return (self.folder / "result.json").exists()

    def _path(self, name: str) -> Path:
        path = self.folder / name
        if path.exists():
            return path
        if (self.folder / "config.json").exists():
            raise RunError(f"{self.folder} has no {name}: the run is not finished")
        raise RunError(f"{self.folder} is not the folder of a run: it has no config.json")

    def _json(self, name: str) -> dict[str, Any]:
        return json.loads(self._path(name).read_text())


def assemble(config: Config, graph: KnowledgeGraph) -> tuple[TrainingStep, Seeds]:
    """Model, sampler, loss and sides of an experiment, initialised under its seed.

    They see the training view of the graph, and nothing else.

    Raises:
        ConfigError: if a part refuses its options, or two parts do not go together.
    """
    device = device_of(config)
    seeds = Seeds(config.general.seed)
    torch.manual_seed(seeds.number("parameters"))
    training = graph.training.to(device)
    made = {
        name: build(config.parts[name], PARTS[name][0], name, graph=training)
        for name in ("model", "sampler", "loss", "corruption")
    }
    try:
        step = TrainingStep(**made)
    except ValueError as error:
        raise ConfigError(f"[loss] {error}") from error
    return step.to(device), seeds


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


def prepare(config: Config, graph: KnowledgeGraph, folder: Path) -> Trainer:
    """Everything that trains, ready to run or to resume.

    Raises:
        ConfigError: as `assemble` does, and if there is nothing to judge the model on.
    """
    device = device_of(config)
    if not len(getattr(graph, config.evaluate.split)):
        raise ConfigError(f"[evaluate.split] {graph.name} has no {config.evaluate.split} triples")
    step, seeds = assemble(config, graph)
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
        known=graph.known.to(device),
        folder=folder,
    )


def run(
    config: Config,
    folder: Path,
    *,
    graph: KnowledgeGraph | None = None,
    resume: bool = False,
    listeners: Callable[[Trainer], Sequence[Listener]] = lambda fit: (),
) -> dict[str, Any] | None:
    """Train and judge one experiment in its folder.

    Args:
        graph: the graph, if it is loaded already.
        resume: go on from the folder's last checkpoint, if there is one.
        listeners: who is told of progress, given what trains.

    Returns:
        The result, also written to `result.json`; None if training was stopped early.

    Raises:
        RunError: if the folder holds a run that must not be overwritten or continued.
    """
    refuse_claimed(folder, config, resume)
    keep_freed_memory()
    if config.general.threads:
        torch.set_num_threads(config.general.threads)
    graph = load_graph(config.graph) if graph is None else graph
    refuse_other_graph(folder, graph)
    fit = prepare(config, graph, folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "config.json", config.as_dict())
    write_json(folder / "graph.json", identity(graph))
    if resume and checkpoint.exists(folder, "last"):
        fit.resume()
    told = [JsonLines(folder / "log.jsonl", after=fit.progress.step), *listeners(fit)]
    try:
        with stopped_by_signals(fit.stop):
            for record in fit.run():
                for listener in told:
                    listener(record)
    finally:
        for listener in told:
            listener.close()
    if not fit.progress.finished:
        return None
    best = fit.load_best()
    ranks = judge(fit.step.model, graph, config)
    checkpoint.save(folder, "ranks", vars(ranks))
    write_json(folder / "breakdown.json", in_parts(ranks, graph, config).to_dict())
    result = {**summary(config, graph, fit, best), **measures(ranks)}
    write_json(folder / "result.json", result)
    return result


def guided(step: TrainingStep, weight: float) -> KGEModel:
    """The trained model, with so much of its generator's opinion.

    Raises:
        ConfigError: if there is to be some and the sampler has none.
    """
    if not weight:
        return step.model
    try:
        return Ensemble(step.model, as_proposal(step.sampler), weight=weight)
    except ValueError as error:
        raise ConfigError(f"[sampler] {error}") from error


def judge(model: KGEModel, graph: KnowledgeGraph, config: Config) -> RankingResult:
    """Filtered ranks on the split that the experiment is judged on."""
    device = device_of(config)
    triples = getattr(graph, config.evaluate.split).to(device)
    known, how = graph.known.to(device), config.evaluate
    return evaluate(model, triples, known, max_scores=how.max_scores, precision=how.precision)


def measures(ranks: RankingResult) -> dict[str, float]:
    """The numbers that a result is quoted by."""
    hits = {f"hits@{k}": ranks.hits(k) for k in (1, 3, 10)}
    return {"mrr": ranks.mrr(), **hits, "mr": ranks.mr(), "amri": ranks.amri()}


def in_parts(ranks: RankingResult, graph: KnowledgeGraph, config: Config) -> Breakdown:
    """The ranks by side, cardinality, degree and relation, under the run's own seed."""
    rng = Seeds(config.general.seed).fresh("breakdown")
    return breakdown(ranks, graph, rng=rng, replicates=config.evaluate.bootstrap)


def summary(config: Config, graph: KnowledgeGraph, fit: Trainer, best: int) -> dict[str, Any]:
    """What was run, on what, at what price."""
    sampler = fit.step.sampler
    return {
        "dataset": graph.name,
        "content_hash": graph.content_hash,
        "split": config.evaluate.split,
        "model": config.parts["model"]["name"],
        "dim": config.parts["model"].get("dim"),
        "sampler": config.parts["sampler"]["name"],
        "loss": config.parts["loss"]["name"],
        "k": sampler.k,
        "scored_per_query": sampler.k + sampler.capabilities.num_extra_scores,
        "seed": config.general.seed,
        "epochs": fit.progress.step // fit.steps_per_epoch,
        "best_epoch": best,
        "valid_mrr": fit.progress.best_mrr,
        "cpu_seconds": round(fit.progress.cpu_seconds, 1),
        "threads": torch.get_num_threads(),
        "resolved": config.as_dict(),
        **provenance(),
    }


RECORDED = (
    *("dataset", "split", "model", "dim", "sampler", "loss", "k", "scored_per_query", "seed"),
    *("epochs", "mrr", "hits@1", "hits@3", "hits@10", "cpu_seconds", "threads"),
)


def as_record(result: Mapping[str, Any], config: str, overrides: Sequence[str]) -> dict[str, Any]:
    """A result as a study keeps it: what is quoted first, then everything else.

    Args:
        config: the experiment file, as a path that means something to others.
    """
    first = {name: result[name] for name in RECORDED}
    return {**first, "config": config, "commit": result["commit"], "overrides": [*overrides]} | {
        name: value for name, value in result.items() if name not in first
    }


def write_json(path: Path, content: Any) -> None:
    """Write JSON that people can read, in one atomic step."""
    write_atomically(path, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())


def refuse_claimed(folder: Path, config: Config, resume: bool) -> None:
    """Make sure that a folder is free, or holds the run that is to be resumed.

    Raises:
        RunError: if it holds a run already and is not to be resumed, or that of another config.
    """
    if not (folder / "config.json").exists():
        return
    if not resume:
        raise RunError(
            f"{folder} holds a run already; add --resume to go on with it, or name another folder"
        )
    if changed := differences(config, Run(folder)):
        raise RunError(
            f"{folder} was started with another configuration: {', '.join(changed)} differ; "
            "resume with the old one, or name another folder"
        )


def differences(config: Config, run: Run) -> list[str]:
    """The tables in which a configuration differs from the one that a run was started with."""
    before, now = run.config().as_dict(), json.loads(json.dumps(config.as_dict()))
    return sorted(key for key in now if before[key] != now[key])


def identity(graph: KnowledgeGraph) -> dict[str, Any]:
    """What tells a graph from another one."""
    sizes = {split: len(getattr(graph, split)) for split in SPLITS}
    return {
        "name": graph.name,
        "content_hash": graph.content_hash,
        "training_hash": graph.training.content_hash,
        "entities": len(graph.entities),
        "relations": len(graph.relations),
        **sizes,
    }


def other_graph(folder: Path, graph: KnowledgeGraph) -> list[str]:
    """In what a graph differs from the one that a folder's run was started on; empty if equal."""
    path = folder / "graph.json"
    if not path.exists():
        return []
    before, now = json.loads(path.read_text()), identity(graph)
    if before["content_hash"] == now["content_hash"]:
        return []
    return [f"{key} {before[key]} -> {now[key]}" for key in before if before[key] != now[key]]


def refuse_other_graph(folder: Path, graph: KnowledgeGraph) -> None:
    """Make sure that ids mean the same as when a folder's run was started.

    Raises:
        RunError: if the graph is another one.
    """
    if changed := other_graph(folder, graph):
        raise RunError(
            f"{folder} was trained on another graph: {', '.join(changed)}; restore the old files, "
            "or train anew in another folder"
        )
