"""The folder of a run: what it holds, and which graph it belongs to."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from torch import Tensor, nn

from sparring.data import store
from sparring.data.graph import SPLITS, KnowledgeGraph
from sparring.data.hashes import HASH_VERSION
from sparring.distributed import conversion
from sparring.evaluation.breakdown import Breakdown, Row
from sparring.evaluation.probability import ProbabilityCalibration
from sparring.evaluation.ranking import RankingResult
from sparring.experiments.assembly import assemble
from sparring.experiments.config import (
    Config,
    check_config,
    override_value,
    with_current_sections,
)
from sparring.experiments.graphs import load_graph
from sparring.experiments.trust import (
    check_config_digest,
    refuse_foreign_code,
)
from sparring.files import (
    DamagedFileError,
    read_object,
    unsealed,
)
from sparring.registry import ConfigError
from sparring.training import TrainingStep, checkpoint
from sparring.training.trainer import load_best, load_state, model_state

CALIBRATION = "calibration.json"
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

    def check_config(self) -> None:
        """Check that the configuration is that of the checkpoints, where there are any.

        Raises:
            CheckpointError: if a checkpoint is altered.
            UntrustedError: if the configuration was altered after training.
        """
        if conversion.exists(self.folder):
            return
        path = self.folder / "config.json"
        tables = self._json(path.name)
        for name in ("last", "best"):
            if checkpoint.exists(self.folder, name):
                check_config_digest(checkpoint.outline(self.folder, name), tables, path)

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
        return model_state(self._state())

    def metrics(self) -> dict[str, dict[str, float]]:
        """Filtered metrics by split: those of the result, and the best ones on `valid`."""
        found: dict[str, dict[str, float]] = {}
        rows = [row for row in self.log() if row["kind"] == "validation"]
        if rows:
            best = max(rows, key=lambda row: row["mrr"])
            found["valid"] = {name: best[name] for name in ("mrr", "hits@10", "mr")}
        if self.finished():
            result = self.result()
            names = ("mrr", "hits@1", "hits@3", "hits@10", "mr", "amri")
            found[result["split"]] = {name: result[name] for name in names}
        return found

    def finished(self) -> bool:
        """Whether there is a result."""
        return (self.folder / "result.json").exists()

    def _state(self) -> dict[str, Any]:
        load = conversion.load_best if conversion.exists(self.folder) else load_best
        tables, state = self._json("config.json"), load(self.folder)
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
            row = unsealed(json.loads(line))
            rows.append({"kind": row["kind"], "step": row["step"], **row})
    return rows


@contextmanager
def _damaged(path: Path, what: str = "it does not hold what a run writes") -> Iterator[None]:
    """Report content of another shape in one line."""
    try:
        yield
    except DamagedFileError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise DamagedFileError(f"{path} is damaged: {what} ({reason})") from error


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
