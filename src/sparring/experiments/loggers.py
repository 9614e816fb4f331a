"""Loggers: the numbers of a training for TensorBoard, MLflow and Weights & Biases.

A logger that fails is switched off with one warning; training goes on, and `log.jsonl` has it all.
"""

import os
import threading
import time
import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, Protocol

from sparring.extras import MissingExtraError, optional
from sparring.files import read_object, write_json
from sparring.registry import refuse_unknown
from sparring.training import Record

GROUPS = {"progress": "training", "validation": "validation"}  # kinds of records that are logged


@dataclass(frozen=True)
class LogOptions:
    """Where the numbers of a training go, besides `log.jsonl`. They do not change the training.

    Addresses and keys come from the variables of the services: MLFLOW_TRACKING_URI,
    WANDB_API_KEY, WANDB_MODE and others.

    Attributes:
        to: some of "tensorboard", "mlflow" and "wandb"; "auto" for TensorBoard if it is installed.
        project: experiment of MLflow, project of Weights & Biases.
        name: of the run there; by default the last two parts of its folder.
    """

    to: Literal["auto"] | list[str] = "auto"
    project: str = "sparring"
    name: str = ""

    def __post_init__(self) -> None:
        if self.to != "auto":
            refuse_unknown(self.to, LOGGERS, "log.to")


class Logger(Protocol):
    """Receives numbers under names such as "validation/mrr"."""

    def log(self, values: Mapping[str, float], record: Record) -> None:
        """Log what was measured at a step."""

    def finish(self, metrics: Mapping[str, float]) -> None:
        """Log the final metrics, empty if training was stopped, and close."""


class TensorBoard:
    """An event file in the folder `tensorboard` of the run.

    Args:
        after: step of the checkpoint that training resumes from; later entries are purged.
    """

    def __init__(
        self, folder: Path, options: LogOptions, config: Mapping[str, Any], after: int = 0
    ) -> None:
        _package("tensorboard")
        # imported here: it takes a second, and most commands do not need it
        from torch.utils.tensorboard.writer import SummaryWriter

        self.hook = threading.excepthook
        threading.excepthook = self._show
        place = str(folder / "tensorboard")
        self.writer, self.step = SummaryWriter(place, purge_step=after + 1 if after else None), 0

    def log(self, values: Mapping[str, float], record: Record) -> None:
        self.step = record.step
        for name, value in values.items():
            self.writer.add_scalar(name, value, record.step)

    def finish(self, metrics: Mapping[str, float]) -> None:
        try:
            for name, value in metrics.items():
                self.writer.add_scalar(name, value, self.step)
            self.writer.close()
        finally:
            threading.excepthook = self.hook

    def _show(self, about: Any) -> None:
        """Show what ended a thread, but for that of the writer, which raises it later."""
        if not type(about.thread).__module__.startswith("tensorboard."):
            self.hook(about)


class MLflow:
    """A run on the tracking server, or in the database `mlflow.db` of the working directory.

    The run's id is kept in the folder, so that a resumed training continues it.
    """

    MOST = 100  # parameters per request

    def __init__(
        self, folder: Path, options: LogOptions, config: Mapping[str, Any], after: int = 0
    ) -> None:
        # so that a server that is down costs seconds, not minutes
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
        self.mlflow = _package("mlflow")
        self.client = self.mlflow.MlflowClient()
        kept = _kept_id(folder, "mlflow") if after else None
        if kept is None:
            self.run = self._new_run(options, config)
            _keep_id(folder, "mlflow", self.run)
        else:
            self.run = kept
            self.client.update_run(kept, status="RUNNING")

    def _new_run(self, options: LogOptions, config: Mapping[str, Any]) -> str:
        found = self.client.get_experiment_by_name(options.project)
        place = found.experiment_id if found else self.client.create_experiment(options.project)
        run = self.client.create_run(place, run_name=options.name).info.run_id
        param = self.mlflow.entities.Param
        params = [param(name, str(value)) for name, value in _flat(config)]
        for start in range(0, len(params), self.MOST):
            self.client.log_batch(run, params=params[start : start + self.MOST])
        return run

    def log(self, values: Mapping[str, float], record: Record) -> None:
        now, metric = int(1000 * time.time()), self.mlflow.entities.Metric
        metrics = [
            metric(_without_at(name), value, now, record.step) for name, value in values.items()
        ]
        self.client.log_batch(self.run, metrics=metrics)

    def finish(self, metrics: Mapping[str, float]) -> None:
        for name, value in metrics.items():
            self.client.log_metric(self.run, _without_at(name), value)
        self.client.set_terminated(self.run, status="FINISHED" if metrics else "KILLED")


class WandB:
    """A run at Weights & Biases; offline, in the folder of the run, where nobody is logged in.

    `wandb sync` sends runs that were logged offline. The run's id is kept in the folder, so that a
    resumed training continues it.
    """

    def __init__(
        self, folder: Path, options: LogOptions, config: Mapping[str, Any], after: int = 0
    ) -> None:
        wandb = _package("wandb")
        kept = _kept_id(folder, "wandb") if after else None
        name = kept or uuid.uuid4().hex[:8]
        _keep_id(folder, "wandb", name)
        mode = os.environ.get("WANDB_MODE") or ("online" if wandb.api.api_key else "offline")
        self.run = wandb.init(
            project=options.project,
            name=options.name,
            id=name,
            resume="allow",
            dir=str(folder),
            config=dict(config),
            mode=mode,
            reinit="create_new",
            settings=wandb.Settings(silent=True, console="off"),
        )
        self.run.define_metric("*", step_metric="step")

    def log(self, values: Mapping[str, float], record: Record) -> None:
        self.run.log({**values, "step": record.step, "epoch": record.epoch})

    def finish(self, metrics: Mapping[str, float]) -> None:
        self.run.log(dict(metrics))
        self.run.finish(exit_code=0 if metrics else 1)


LOGGERS: dict[str, Callable[..., Logger]] = {
    "tensorboard": TensorBoard,
    "mlflow": MLflow,
    "wandb": WandB,
}


AUTO = ("tensorboard",)


class Loggers:
    """All loggers of one training; a failure of one is warned of once, and ends it alone.

    Args:
        folder: of the run.
        config: the resolved configuration, which some services show.
        after: step of the checkpoint that training resumes from.

    """

    def __init__(
        self, options: LogOptions, folder: Path, config: Mapping[str, Any], after: int = 0
    ) -> None:
        name = options.name or "/".join(folder.absolute().parts[-2:])
        options = LogOptions(options.to, options.project, name)
        self.open: dict[str, Logger] = {}
        for name in _installed(AUTO) if options.to == "auto" else options.to:
            try:
                self.open[name] = LOGGERS[name](folder, options, config, after)
            except Exception as error:
                self._warn(name, error)

    def __enter__(self) -> "Loggers":
        return self

    def __exit__(self, *_: object) -> None:
        self.finish()

    def __call__(self, record: Record) -> None:
        """Log the values of a record."""
        group = GROUPS.get(record.kind)
        if group:
            values = {f"{group}/{name}": value for name, value in record.values.items()}
            self._each(lambda logger: logger.log(values, record))

    def finish(self, metrics: Mapping[str, float] | None = None, split: str = "test") -> None:
        """Log the final metrics of a split, None if training was stopped, and close."""
        values = {f"{split}/{name}": value for name, value in (metrics or {}).items()}
        self._each(lambda logger: logger.finish(values))
        self.open = {}

    def _each(self, action: Callable[[Logger], None]) -> None:
        for name, logger in list(self.open.items()):
            try:
                action(logger)
            except Exception as error:
                del self.open[name]
                self._warn(name, error)

    def _warn(self, name: str, error: Exception) -> None:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        warnings.warn(
            f"the log for {name} failed and is off; training goes on: {reason}", stacklevel=3
        )


def require_packages(options: LogOptions) -> None:
    """Check that the packages of all loggers that are named are installed.

    Raises:
        MissingExtraError: for one that is not.
    """
    for name in () if options.to == "auto" else options.to:
        _package(name)


def _package(name: str) -> ModuleType:
    """The package of a logger, whose extra has the same name."""
    return optional(name, extra=name, purpose=f"the log for {name}")


def _installed(names: Sequence[str]) -> list[str]:
    """Those of some loggers whose package is there."""
    found = []
    for name in names:
        with suppress(MissingExtraError):
            _package(name)
            found.append(name)
    return found


def _flat(table: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """The entries of nested tables under names such as "model.dim"."""
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{path}{key}.")
        else:
            yield f"{path}{key}", value


def _without_at(name: str) -> str:
    """A name that MLflow allows: "hits_at_10"."""
    return name.replace("@", "_at_")


def _kept_id(folder: Path, service: str) -> str | None:
    """The run's id at a service, if it has one."""
    path = folder / f"{service}.json"
    return read_object(path)["id"] if path.exists() else None


def _keep_id(folder: Path, service: str, name: str) -> None:
    write_json(folder / f"{service}.json", {"id": name})
