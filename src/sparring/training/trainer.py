"""The training loop: epochs, validation, early stopping, checkpoints and resuming."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from sparring.data.index import TripleIndex
from sparring.evaluation.ranking import evaluate
from sparring.registry import ConfigError
from sparring.seeds import Seeds
from sparring.training import checkpoint
from sparring.training.averaging import WeightAverage
from sparring.training.progress import FitOptions, Progress, Record
from sparring.training.schedules import Schedule
from sparring.training.step import TrainingStep


class DivergedError(FloatingPointError):
    """The loss or a parameter is no longer finite; the last good checkpoint is untouched."""


class Trainer:
    """Trains a `TrainingStep` and writes the checkpoints "last" and "best" into a folder.

    Args:
        step: model, sampler, loss and corruption.
        optimizer: of the parameters that `step.trainable_parameters()` lists.
        schedule: factor on the learning rate.
        seeds: random streams; the same seed gives the same run.
        options: how long to train, and how often to validate, save and log.
        triples: training triples.
        valid: validation triples; they only choose the best epoch.
        known: facts that filtered ranks of validation leave out: those of train and valid. With
            facts of test, test triples would choose the best epoch too.
        folder: where the checkpoints are written.
        about: further entries of the checkpoints, such as a digest of the configuration.

    Raises:
        ValueError: if there are no training triples.
        ConfigError: if the schedule needs validations and there are none.
    """

    def __init__(
        self,
        step: TrainingStep,
        optimizer: torch.optim.Optimizer,
        schedule: Schedule,
        seeds: Seeds,
        options: FitOptions,
        *,
        triples: Int[Tensor, "T 3"],
        valid: Int[Tensor, "V 3"],
        known: TripleIndex,
        folder: Path,
        about: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        if not len(triples):
            raise ValueError("there are no training triples")
        self.step, self.optimizer, self.schedule = step, optimizer, schedule
        self.seeds, self.options, self.folder = seeds, options, folder
        self.triples, self.known, self.about = triples, known, dict(about)
        self.device = triples.device
        self.batch_size = min(options.batch_size, len(triples))
        self.steps_per_epoch = -(-len(triples) // self.batch_size)
        self.learning_rates = [group["lr"] for group in optimizer.param_groups]
        self.valid = self._validation_subset(valid)
        if schedule.needs_validation and not (len(valid) and options.validate_every):
            raise ConfigError(
                f"[schedule] {type(schedule).__name__} follows the validation MRR, but nothing is "
                "validated; set train.validate_every, or choose another schedule"
            )
        self.average = WeightAverage(step.model, optimizer, options.average)
        self.progress = Progress()
        self.clock: float | None = None  # when the present stretch of training began
        self.stopping = False

    @property
    def steps(self) -> int:
        """Update steps of the whole training run."""
        return self.steps_per_epoch * self.options.epochs

    @property
    def share_done(self) -> float:
        """Share of the steps done, or of the time where it is limited and that is more."""
        steps = self.progress.step / self.steps if self.steps else 1.0
        limit = 60 * self.options.minutes
        return min(1.0, max(steps, self._seconds() / limit)) if limit else steps

    def stop(self) -> None:
        """Save and stop after the current step; safe to call from a signal handler."""
        self.stopping = True

    def run(self) -> Iterator[Record]:
        """Train until finished or stopped, and yield the log records.

        Raises:
            DivergedError: when the loss is NaN or infinite.
        """
        rng = self.seeds.stream("train", self.device)
        metrics: list[dict[str, Tensor]] = []
        self._start_clock()
        shuffled = self.progress.step // self.steps_per_epoch
        order = self._epoch_order(shuffled)
        self.step.train()
        if not self.steps and not self.progress.finished:
            self._stop_clock()
            yield from self._end_of_epoch(0)
            self._start_clock()
        while self.progress.step < self.steps and not self.progress.finished and not self.stopping:
            epoch, position = divmod(self.progress.step, self.steps_per_epoch)
            if shuffled != epoch:
                order, shuffled = self._epoch_order(epoch), epoch
            self._set_learning_rates()
            rows = order[position * self.batch_size : (position + 1) * self.batch_size]
            metrics.append(self.step(self.triples[rows], self.optimizer, rng))
            self.average.update()
            self.progress.step += 1

            done = self.progress.step
            out_of_time = self._out_of_time()
            ended = done % self.steps_per_epoch == 0 or out_of_time
            if done % self.options.log_every and not ended:
                continue
            values = self._means(metrics)
            metrics = []
            self._stop_clock()
            yield self._record("progress", values)
            if ended:
                yield from self._end_of_epoch(epoch + 1, out_of_time)
            self._start_clock()
        if metrics:
            self._means(metrics)
        self._stop_clock()
        stopped = self.stopping and not self.progress.finished
        if stopped:
            self.save()
        yield self._record("end", {"stopped": float(stopped)})

    def _start_clock(self) -> None:
        self.clock = time.process_time()

    def _stop_clock(self) -> None:
        self.progress.cpu_seconds += time.process_time() - (self.clock or 0.0)
        self.clock = None

    def _seconds(self) -> float:
        """Processor time so far, of training and validation."""
        running = 0.0 if self.clock is None else time.process_time() - self.clock
        return self.progress.cpu_seconds + self.progress.validation_seconds + running

    def _out_of_time(self) -> bool:
        """Whether the time that is left is needed to validate once more."""
        limit = 60 * self.options.minutes
        if not limit:
            return False
        validations = len(self.progress.validations)
        reserved = self.progress.validation_seconds / validations if validations else 0.0
        return self._seconds() + reserved >= limit

    def _end_of_epoch(self, epoch: int, out_of_time: bool = False) -> Iterator[Record]:
        self._check_finite()
        last = epoch == self.options.epochs or out_of_time
        every = self.options.validate_every
        if every and len(self.valid) and (epoch % every == 0 or last):
            with self.average.in_place():
                record = self._validate(epoch)
            yield record
        patience = self.options.patience
        self.progress.finished = last or bool(patience and self.progress.since_best >= patience)
        if self.progress.finished:
            self.average.apply()
        if epoch % self.options.save_every == 0 or self.progress.finished:
            self.save()

    def _validate(self, epoch: int) -> Record:
        clock = time.process_time()
        ranks = evaluate(
            self.step.model, self.valid, self.known, max_scores=self.options.max_scores
        )
        self.progress.validation_seconds += time.process_time() - clock
        values = {"mrr": ranks.mrr(), "hits@10": ranks.hits(10), "mr": ranks.mr()}
        progress = self.progress
        if progress.best_mrr is None or values["mrr"] > progress.best_mrr:
            progress.best_mrr, progress.best_epoch = values["mrr"], epoch
            progress.since_best = 0
            state = {"epoch": epoch, "step": self.step.state_dict(), **self.about}
            progress.best_digest = checkpoint.save(self.folder, "best", state)
        else:
            progress.since_best += 1
        record = {"epoch": float(epoch), "cpu_seconds": progress.cpu_seconds, **values}
        progress.validations.append(record)
        return self._record("validation", values)

    def save(self) -> None:
        """Write the checkpoint "last", from which `resume` continues bit for bit.

        Raises:
            DivergedError: if a parameter is no longer finite; the old checkpoint stays.
        """
        self._check_finite()
        state = {
            "step": self.step.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "seeds": self.seeds.state_dict(),
            "global": _global_random_state(self.device),
            "average": self.average.state_dict(),
            "progress": vars(self.progress),
            "batch_size": self.batch_size,
            "triples": len(self.triples),
            **self.about,
        }
        checkpoint.save(self.folder, "last", state)

    def resume(self) -> None:
        """Continue from the checkpoint "last".

        Raises:
            CheckpointError: if it is missing, damaged, or of another batch size, graph or model;
                also if the best epoch's checkpoint, which it names, is.
        """
        state = _state(self.folder, "last")
        progress = _progress(state, self.folder)
        for name, current in (("batch_size", self.batch_size), ("triples", len(self.triples))):
            if state.get(name) != current:
                raise checkpoint.CheckpointError(
                    f"{self.folder / 'last.json'} was trained with {name} = {state.get(name)}, "
                    f"not {current}"
                )
        if progress.best_mrr is not None:
            _best_state(self.folder, progress)
        load_state(self.step, state, self.folder)
        with _of_another_model(self.folder):
            self.optimizer.load_state_dict(state["optimizer"])
            if "average" in state:
                self.average.load_state_dict(state["average"])
            self.seeds.stream("train", self.device)
            self.seeds.load_state_dict(state["seeds"])
            _set_global_random_state(state["global"], self.device)
        self.progress = progress

    def load_best(self) -> int:
        """Restore the parameters of the best epoch.

        Returns:
            that epoch; 0 if none was validated.

        Raises:
            CheckpointError: if its checkpoint is missing, damaged, or that of another epoch.
        """
        if self.progress.best_mrr is None:
            return 0
        state = _best_state(self.folder, self.progress)
        load_state(self.step, state, self.folder)
        return state["epoch"]

    def _epoch_order(self, epoch: int) -> Int[Tensor, "S"]:
        """The order of triples, which depends on the seed and the epoch alone.

        The last batch is filled up from the start of the order, so that every batch is full.
        """
        rng = self.seeds.fresh(f"shuffle/{epoch}")
        order = torch.randperm(len(self.triples), generator=rng)
        padding = self.steps_per_epoch * self.batch_size - len(order)
        return torch.cat([order, order[:padding]]).to(self.device)

    def _validation_subset(self, valid: Int[Tensor, "V 3"]) -> Int[Tensor, "W 3"]:
        size = self.options.validate_on
        if not size or size >= len(valid):
            return valid
        order = torch.randperm(len(valid), generator=self.seeds.fresh("validation"))
        return valid[order[:size].to(valid.device)]

    def _set_learning_rates(self) -> None:
        limited = bool(self.options.minutes)
        place = int(self.share_done * self.steps) if limited else self.progress.step
        factor = self.schedule(place, self.steps)
        factor *= self.schedule.reduction([row["mrr"] for row in self.progress.validations])
        for group, rate in zip(self.optimizer.param_groups, self.learning_rates):
            group["lr"] = rate * factor

    def _means(self, metrics: list[dict[str, Tensor]]) -> dict[str, float]:
        """Mean of each metric over these steps; the only place that waits for a GPU."""
        table = {name: torch.stack([row[name].float() for row in metrics]) for name in metrics[0]}
        loss = table["loss"]
        if not bool(loss.isfinite().all()):
            first = int((~loss.isfinite()).nonzero()[0])
            step = self.progress.step - len(metrics) + first
            parameters = ", ".join(self._not_finite()) or "none"
            raise DivergedError(
                f"the loss of step {step + 1} (epoch {step // self.steps_per_epoch + 1}) is "
                f"{loss[first].item()}; parameters no longer finite: {parameters}. "
                "Lower the learning rate, or the margin or regularization if scores overflow. "
                f"The last good checkpoint is in {self.folder}"
            )
        return {name: values.mean().item() for name, values in table.items()}

    def _check_finite(self) -> None:
        if parameters := self._not_finite():
            raise DivergedError(
                f"after step {self.progress.step}, parameters are no longer finite: "
                f"{', '.join(parameters)}. Lower the learning rate. "
                f"The last good checkpoint is in {self.folder}"
            )

    def _not_finite(self) -> list[str]:
        """Names of parameters that are no longer finite."""
        named = self.step.named_parameters()
        return [name for name, values in named if not bool(values.isfinite().all())]

    def _record(self, kind: str, values: dict[str, float]) -> Record:
        progress = self.progress
        epoch = progress.step / self.steps_per_epoch
        return Record(kind, epoch, progress.step, progress.cpu_seconds, values)


def load_best(folder: Path) -> dict[str, Any]:
    """The checkpoint of a folder's best epoch, or the last one of a training without validation.

    Raises:
        CheckpointError: if it is missing, damaged, or not the one that the last checkpoint names.
    """
    if not checkpoint.exists(folder, "last") and checkpoint.exists(folder, "best"):
        return _state(folder, "best")  # stopped before the first regular checkpoint
    progress = _progress(checkpoint.outline(folder, "last"), folder)
    if progress.best_mrr is None and not checkpoint.exists(folder, "best"):
        return _state(folder, "last")
    return _best_state(folder, progress)


def model_state(state: Mapping[str, Any]) -> dict[str, Tensor]:
    """The part of a checkpoint that is the state of the model."""
    lead, entries = "model.", state["step"].items()
    return {name.removeprefix(lead): value for name, value in entries if name.startswith(lead)}


def load_state(step: TrainingStep, state: Mapping[str, Any], folder: Path) -> None:
    """Restore a training step from a checkpoint of a folder.

    Raises:
        CheckpointError: if the checkpoint is that of other parts or options.
    """
    with _of_another_model(folder):
        step.load_state_dict(state["step"])


def _best_state(folder: Path, progress: Progress) -> dict[str, Any]:
    """The checkpoint "best", if it is the one that the last checkpoint speaks of.

    It may be of a later epoch, if training was killed before it could write the last checkpoint.
    Training goes there again, and finds the same.
    """
    path, remedy = folder / "best.json", checkpoint.REMEDY
    if not checkpoint.exists(folder, "best"):
        raise checkpoint.CheckpointError(
            f"{path} is missing: it holds the best epoch, {progress.best_epoch}, and the last one "
            f"must not take its place; {remedy}"
        )
    state = _state(folder, "best")
    epoch = state.get("epoch", 0)
    later = epoch > progress.best_epoch and not progress.finished
    same = epoch == progress.best_epoch
    if same and progress.best_digest:
        same = checkpoint.digest_of(folder, "best") == progress.best_digest
    if not (same or later):
        raise checkpoint.CheckpointError(
            f"{path} is not the checkpoint of the best epoch, {progress.best_epoch}, that "
            f"{folder / 'last.json'} names; {remedy}"
        )
    return state


def _state(folder: Path, name: str) -> dict[str, Any]:
    """A checkpoint of a training.

    Raises:
        CheckpointError: if it is missing or damaged, or holds something else.
    """
    state = checkpoint.load(folder, name)
    if isinstance(state, dict):
        return state
    raise checkpoint.CheckpointError(
        f"{folder / f'{name}.json'} holds no state of a training; {checkpoint.REMEDY}"
    )


def _progress(state: Any, folder: Path) -> Progress:
    try:
        return Progress(**state["progress"])
    except (KeyError, TypeError):
        path = folder / "last.json"
        raise checkpoint.CheckpointError(
            f"{path} holds no state of a training; {checkpoint.REMEDY}"
        ) from None


@contextmanager
def _of_another_model(folder: Path) -> Iterator[None]:
    """Report what does not fit a checkpoint in one line."""
    try:
        yield
    except (RuntimeError, KeyError, ValueError, TypeError, AttributeError, IndexError) as error:
        reason = " ".join(str(error).split())
        raise checkpoint.CheckpointError(
            f"the checkpoint in {folder} does not fit the model and its options: {reason}"
        ) from error


def _global_random_state(device: torch.device) -> list[Tensor]:
    """State of the global generators, which dropout draws from."""
    states = [torch.get_rng_state()]
    return states + ([torch.cuda.get_rng_state(device)] if device.type == "cuda" else [])


def _set_global_random_state(states: list[Tensor], device: torch.device) -> None:
    torch.set_rng_state(states[0])
    if device.type == "cuda" and len(states) > 1:
        torch.cuda.set_rng_state(states[1], device)
