"""Run one experiment from start to end: train, evaluate, and write a record."""

import json
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from sparring.data import store
from sparring.data.graph import SPLITS, KnowledgeGraph, TrainGraph
from sparring.data.hashes import HASH_VERSION
from sparring.evaluation.breakdown import Breakdown, Row, breakdown
from sparring.evaluation.ensemble import Ensemble, as_proposal
from sparring.evaluation.probability import ProbabilityCalibration
from sparring.evaluation.ranking import RankingResult, evaluate
from sparring.experiments.callbacks import Callback, JsonLines
from sparring.experiments.config import (
    OBJECT,
    PARTS,
    Config,
    check_config,
    override_value,
    with_current_sections,
)
from sparring.experiments.environment import (
    keep_freed_memory,
    provenance,
    stopped_by_signals,
    versions,
)
from sparring.experiments.graphs import load_graph
from sparring.experiments.pretrained import digests
from sparring.experiments.trust import (
    check_config_digest,
    config_digest,
    foreign_code,
    refuse_foreign_code,
)
from sparring.experiments.warm_start import start_from
from sparring.files import (
    DamagedFileError,
    locked,
    read_object,
    remove_drafts,
    write_atomically,
)
from sparring.models.base import KGEModel
from sparring.registry import ConfigError, build
from sparring.seeds import Seeds
from sparring.training import Trainer, TrainingStep, checkpoint
from sparring.training.trainer import load_best, load_state

CALIBRATION = "calibration.json"
FILTERS = {"valid": "train + valid", "test": "train + valid + test"}  # facts left out of ranks
GRAPH = "graph"  # the folder in that of a run where its graph is stored


class RunError(RuntimeError):
    """A run folder that cannot be used."""


@dataclass(frozen=True)
class Run:
    """The folder of a run: configuration, graph, log, checkpoints, result and more.

    All methods raise `RunError` if the file that they read is missing, and `DamagedFileError` if it
    does not hold what it should.

    Args:
        trust: let the configuration name classes outside of sparring, whose code is run then.
    """

    folder: Path
    trust: bool = False

    def config(self, overrides: Sequence[str] = ()) -> Config:
        """The resolved configuration that the run was started with, with `path=value` overrides.

        Raises:
            UntrustedError: if the run names code outside of sparring and is not trusted.
        """
        path = self.folder / "config.json"
        kept = self._json(path.name)
        try:
            if not self.trust:
                refuse_foreign_code(kept, path)
            tables = check_config(kept).as_dict()  # with today's names
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from error
        except RecursionError:
            raise DamagedFileError(f"{path} is damaged: its tables are nested too deep") from None
        for override in overrides:
            override_value(tables, override)
        return check_config(tables)

    def kept_config(self) -> dict[str, Any]:
        """The tables in `config.json` as they are, under today's names of sections."""
        return with_current_sections(self._json("config.json"))

    def result(self) -> dict[str, Any]:
        """The metrics and the summary of the finished run."""
        return self._json("result.json")

    def log(self) -> list[dict[str, Any]]:
        """The records of training, in order."""
        return read_log(self._path("log.jsonl"))

    def ranks(self) -> RankingResult:
        """The filtered ranks of the result."""
        path = self._path("ranks.json")
        with _damaged(path):
            return RankingResult(**checkpoint.load(self.folder, "ranks"))

    def breakdown(self) -> Breakdown:
        """The result by side, cardinality, degree and relation."""
        found = self._json("breakdown.json")
        with _damaged(self.folder / "breakdown.json"):
            return Breakdown(**{**found, "rows": tuple(Row(**row) for row in found["rows"])})

    def calibration(self, guide: float = 0.0) -> ProbabilityCalibration | None:
        """What `sparring calibrate` has written, if it was for scores with this guide weight."""
        path = self.folder / CALIBRATION
        with _damaged(path):
            found = ProbabilityCalibration.load(path) if path.exists() else None
        return found if found and found.guide == guide else None

    def required_calibration(self, guide: float = 0.0) -> ProbabilityCalibration:
        """The same, for those who cannot do without.

        Raises:
            RunError: if there is none for this guide weight.
        """
        if found := self.calibration(guide):
            return found
        raise RunError(
            f"{self.folder} has no calibration for scores with guide={guide:g}; run "
            f"`sparring calibrate {self.folder} --guide {guide:g}`, or `Predictor.calibrate`"
        )

    def save_calibration(self, calibration: ProbabilityCalibration) -> None:
        """Keep a calibration, in place of an earlier one."""
        calibration.save(self.folder / CALIBRATION)

    def graph(self, config: Config | None = None) -> KnowledgeGraph:
        """The graph of the run: the copy in its folder.

        Runs of earlier versions have no copy. Their graph is read from where it was.

        Args:
            config: says where that is; the run's own if None.
        """
        if store.exists(self.folder / GRAPH):
            return store.load(self.folder / GRAPH)
        return load_graph((self.config() if config is None else config).graph)

    def load_step(
        self,
        config: Config,
        graph: KnowledgeGraph,
        objects: Mapping[str, nn.Module] = MappingProxyType({}),
    ) -> TrainingStep:
        """Model and sampler as the best epoch left them, or the last one without validation.

        Args:
            config: the run's own, possibly with overrides.
            objects: parts that were given as objects, by table; their state is replaced.

        Raises:
            RunError: if the run was trained on another graph.
            CheckpointError: if the checkpoint is missing or altered, or does not fit.
            UntrustedError: if the configuration was altered after training.
        """
        check_graph(self.folder, graph)
        state = self._state()
        step, _ = assemble(config, graph, objects)
        load_state(step, state, self.folder)
        return step.eval()

    def model_state(self) -> dict[str, Tensor]:
        """The state of the model as the best epoch left it, or the last one."""
        lead = "model."
        state = self._state()["step"].items()
        return {name.removeprefix(lead): value for name, value in state if name.startswith(lead)}

    def finished(self) -> bool:
        """Whether there is a result."""
        return (self.folder / "result.json").exists()

    def _state(self) -> dict[str, Any]:
        tables, state = self._json("config.json"), load_best(self.folder)
        check_config_digest(state, tables, self.folder / "config.json")
        return state

    def _path(self, name: str) -> Path:
        path = self.folder / name
        if path.exists():
            return path
        if (self.folder / "config.json").exists():
            raise RunError(f"{self.folder} has no {name}: the run is not finished")
        raise RunError(f"{self.folder} is not the folder of a run: it has no config.json")

    def _json(self, name: str) -> dict[str, Any]:
        return read_object(self._path(name))


def read_log(path: Path) -> list[dict[str, Any]]:
    """The records in the log of a run.

    Raises:
        DamagedFileError: with the line that is none.
    """
    rows = []
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        with _damaged(path, f"line {number} is no record of training"):
            row = json.loads(line)
            rows.append({"kind": row["kind"], "step": row["step"], **row})
    return rows


@contextmanager
def _damaged(path: Path, what: str = "it does not hold what a run writes") -> Iterator[None]:
    """Report content of another shape in one line."""
    try:
        yield
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise DamagedFileError(f"{path} is damaged: {what} ({reason})") from error


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
        step = TrainingStep(**parts)
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
        resume: continue from the folder's last checkpoint, if there is one.
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
    check_folder(folder, config, resume)
    remove_drafts(folder)
    keep_freed_memory()
    if config.general.threads:
        torch.set_num_threads(config.general.threads)
    graph = load_graph(config.graph) if graph is None else graph
    check_graph(folder, graph)
    trainer = prepare(config, graph, folder, objects)
    keep_config(folder, trainer, config)
    write_json(folder / "graph.json", graph_identity(graph))
    store.save(graph, folder / GRAPH)
    if resume and checkpoint.exists(folder, "last"):
        warn_of_other_origin(folder, trainer.about)
        trainer.resume()
    elif config.general.start:
        former = Run(Path(config.general.start))
        start_from(trainer.step.model, graph, former.model_state(), former.graph())
    listening = [JsonLines(folder / "log.jsonl", after=trainer.progress.step), *callbacks(trainer)]
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
    ranks = evaluate_split(trainer.step.model, graph, config)
    checkpoint.save(folder, "ranks", vars(ranks))
    write_json(folder / "breakdown.json", breakdown_of(ranks, graph, config).to_dict())
    result = {**summary(config, graph, trainer, best), **metrics(ranks)}
    write_json(folder / "result.json", result)
    return result


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


def summary(config: Config, graph: KnowledgeGraph, trainer: Trainer, best: int) -> dict[str, Any]:
    """Parts, options, cost and provenance of a run, as `result.json` holds them."""
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


def write_json(path: Path, content: Any) -> None:
    """Write indented JSON atomically."""
    write_atomically(path, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())


def check_folder(folder: Path, config: Config, resume: bool) -> None:
    """Check that a folder is empty, or holds the run to resume.

    Raises:
        RunError: if it holds a run and `resume` is not set, or a run of another configuration.
    """
    if not (folder / "config.json").exists():
        return
    if not resume:
        raise RunError(
            f"{folder} holds a run already; add --resume to continue it, or name another folder"
        )
    if changed := config_changes(config, Run(folder)):
        raise RunError(
            f"{folder} was started with another configuration: {', '.join(changed)} differ; "
            "resume with the old configuration, or name another folder"
        )


def config_changes(config: Config, run: Run) -> list[str]:
    """The tables in which a configuration differs from the one that a run was started with.

    The run's may name the code outside of sparring that the configuration names too.
    """
    now = json.loads(json.dumps(config.as_dict()))
    own, named = set(foreign_code(now)), set(foreign_code(run.kept_config()))
    before = Run(run.folder, trust=named <= own).config().as_dict()
    return sorted(key for key in now if before[key] != now[key])


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


def graph_identity(graph: KnowledgeGraph, hash_version: int = HASH_VERSION) -> dict[str, Any]:
    """Name, hashes and sizes by which a run recognizes its graph.

    Args:
        hash_version: of the hashes; that of the file that they are compared with.
    """
    sizes = {split: len(getattr(graph, split)) for split in SPLITS}
    return {
        "name": graph.name,
        "hash_version": hash_version,
        "content_hash": graph.hash(hash_version),
        "training_hash": graph.training.hash(hash_version),
        "entities": len(graph.entities),
        "relations": len(graph.relations),
        **sizes,
    }


def graph_changes(folder: Path, graph: KnowledgeGraph) -> list[str]:
    """How a graph differs from the one that a folder's run was started on; empty if equal."""
    path = folder / "graph.json"
    if not path.exists():
        return []
    before = read_object(path)
    now = graph_identity(graph, before.get("hash_version", 1))
    if before.get("content_hash") == now["content_hash"]:
        return []
    del now["hash_version"]
    return [f"{key} {before.get(key)} -> {now[key]}" for key in now if before.get(key) != now[key]]


def check_graph(folder: Path, graph: KnowledgeGraph) -> None:
    """Check that ids mean the same as when a folder's run was started.

    Raises:
        RunError: if the graph is another one.
    """
    if changed := graph_changes(folder, graph):
        raise RunError(
            f"{folder} was trained on another graph: {', '.join(changed)}; restore the old files, "
            "or train again in another folder"
        )
