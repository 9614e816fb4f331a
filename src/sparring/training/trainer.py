"""Many steps: epochs, validation, early stopping, checkpoints, and going on where it stopped."""

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from jaxtyping import Int
from torch import Tensor

from sparring.data.index import TripleIndex
from sparring.evaluation.ranking import evaluate
from sparring.seeds import Seeds
from sparring.training import checkpoint
from sparring.training.schedules import Schedule
from sparring.training.step import TrainingStep

logger = logging.getLogger(__name__)


class DivergedError(FloatingPointError):
    """The loss is no longer a number; the last good checkpoint is untouched."""


@dataclass(frozen=True)
class FitOptions:
    """How long to train and how often to look.

    Attributes:
        epochs: passes over the training triples, at most; 0 to judge a model as it is made.
        batch: triples per step.
        validate_every: epochs between validations; 0 for none.
        validate_on: validation triples used for early stopping, drawn once; 0 for all.
        patience: validations without a better MRR before training stops; 0 for never.
        save_every: epochs between checkpoints.
        log_every: steps between progress records, and between checks of the loss.
        max_scores: scores held at once while validating.
    """

    epochs: int = 20
    batch: int = 1024
    validate_every: int = 5
    validate_on: int = 0
    patience: int = 0
    save_every: int = 1
    log_every: int = 50
    max_scores: int = 2**25

    def __post_init__(self):
        for name in ("batch", "save_every", "log_every", "max_scores"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1; got {getattr(self, name)}")
        for name in ("epochs", "validate_every", "validate_on", "patience"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative; got {getattr(self, name)}")


@dataclass(frozen=True)
class Record:
    """Something to report.

    Attributes:
        kind: "progress", "validation", or "end".
        epoch: completed epochs, with fractions.
        cpu_seconds: processor time spent on training so far, validation not included.
    """

    kind: str
    epoch: float
    step: int
    cpu_seconds: float
    values: dict[str, float]


@dataclass
class Progress:
    """Where a training stands; all of it is in the checkpoint."""

    step: int = 0
    cpu_seconds: float = 0.0
    best_mrr: float | None = None
    best_epoch: int = 0
    since_best: int = 0
    validations: list[dict[str, float]] = field(default_factory=list)
    finished: bool = False


class Trainer:
    """Trains a `TrainingStep` and leaves checkpoints "last" and "best" in a folder.

    Args:
        triples: the training triples.
        valid: validation triples, for choosing the best epoch only.
        known: facts that are no rivals in validation; those of all splits.
        folder: where checkpoints go.
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
    ):
        if not len(triples):
            raise ValueError("there are no training triples")
        self.step, self.optimizer, self.schedule = step, optimizer, schedule
        self.seeds, self.options, self.folder = seeds, options, folder
        self.triples, self.known = triples, known
        self.device = triples.device
        self.batch = min(options.batch, len(triples))
        self.steps_per_epoch = -(-len(triples) // self.batch)
        self.base_rates = [group["lr"] for group in optimizer.param_groups]
        self.valid = self._subset(valid)
        self.progress = Progress()
        self.stopping = False

    @property
    def steps(self) -> int:
        """Steps of the whole training."""
        return self.steps_per_epoch * self.options.epochs

    def stop(self) -> None:
        """Save and leave after the step under way; safe to call from a signal handler."""
        self.stopping = True

    def run(self) -> Iterator[Record]:
        """Train until done or stopped, yielding what there is to report.

        Raises:
            DivergedError: when the loss is NaN or infinite.
        """
        rng = self.seeds.stream("train", self.device)
        seen: list[dict[str, Tensor]] = []
        clock = time.process_time()
        shuffled = self.progress.step // self.steps_per_epoch
        order = self._order(shuffled)
        self.step.train()
        if not self.steps and not self.progress.finished:
            yield from self._end_of_epoch(0)
            clock = time.process_time()
        while self.progress.step < self.steps and not self.progress.finished and not self.stopping:
            epoch, place = divmod(self.progress.step, self.steps_per_epoch)
            if shuffled != epoch:
                order, shuffled = self._order(epoch), epoch
            self._set_rate()
            rows = order[place * self.batch : (place + 1) * self.batch]
            seen.append(self.step(self.triples[rows], self.optimizer, rng))
            self.progress.step += 1

            done = self.progress.step
            ended = done % self.steps_per_epoch == 0
            if done % self.options.log_every and not ended:
                continue
            values = self._means(seen)
            seen = []
            self.progress.cpu_seconds += time.process_time() - clock
            yield self._record("progress", values)
            if ended:
                yield from self._end_of_epoch(epoch + 1)
            clock = time.process_time()
        if seen:
            self._means(seen)
        self.progress.cpu_seconds += time.process_time() - clock
        if self.stopping and not self.progress.finished:
            self.save()
        yield self._record("end", {"stopped": float(self.stopping)})

    def _end_of_epoch(self, epoch: int) -> Iterator[Record]:
        self._refuse_broken()
        last = epoch == self.options.epochs
        every = self.options.validate_every
        if every and len(self.valid) and (epoch % every == 0 or last):
            yield self._validate(epoch)
        patience = self.options.patience
        self.progress.finished = last or bool(patience and self.progress.since_best >= patience)
        if epoch % self.options.save_every == 0 or self.progress.finished:
            self.save()

    def _validate(self, epoch: int) -> Record:
        ranks = evaluate(
            self.step.model, self.valid, self.known, max_scores=self.options.max_scores
        )
        values = {"mrr": ranks.mrr(), "hits@10": ranks.hits(10), "mr": ranks.mr()}
        progress = self.progress
        if progress.best_mrr is None or values["mrr"] > progress.best_mrr:
            progress.best_mrr, progress.best_epoch = values["mrr"], epoch
            progress.since_best = 0
            checkpoint.save(self.folder, "best", {"epoch": epoch, "step": self.step.state_dict()})
        else:
            progress.since_best += 1
        told = {"epoch": float(epoch), "cpu_seconds": progress.cpu_seconds, **values}
        progress.validations.append(told)
        return self._record("validation", values)

    def save(self) -> None:
        """Write the checkpoint "last", from which `resume` goes on bit for bit.

        Raises:
            DivergedError: if parameters are no longer finite; the old checkpoint stays.
        """
        self._refuse_broken()
        state = {
            "step": self.step.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "seeds": self.seeds.state_dict(),
            "global": _global_random_state(self.device),
            "progress": vars(self.progress),
            "batch": self.batch,
            "triples": len(self.triples),
        }
        checkpoint.save(self.folder, "last", state)

    def resume(self) -> None:
        """Go on from the checkpoint "last".

        Raises:
            CheckpointError: if it is missing, altered, or of another batch size or graph.
        """
        state = checkpoint.load(self.folder, "last")
        for name, here in (("batch", self.batch), ("triples", len(self.triples))):
            if state[name] != here:
                raise checkpoint.CheckpointError(
                    f"{self.folder / 'last.json'} was trained with {state[name]} {name}, not {here}"
                )
        self.step.load_state_dict(state["step"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.seeds.stream("train", self.device)
        self.seeds.load_state_dict(state["seeds"])
        _set_global_random_state(state["global"], self.device)
        self.progress = Progress(**state["progress"])

    def load_best(self) -> int:
        """Put the best epoch's parameters back; returns that epoch (0: never validated)."""
        if not checkpoint.exists(self.folder, "best"):
            return 0
        state = checkpoint.load(self.folder, "best")
        self.step.load_state_dict(state["step"])
        return state["epoch"]

    def _order(self, epoch: int) -> Int[Tensor, "S"]:
        """The epoch's order of triples: a function of the seed and the epoch alone.

        The last batch is filled up from the start, so that every batch is full.
        """
        rng = self.seeds.fresh(f"shuffle/{epoch}")
        order = torch.randperm(len(self.triples), generator=rng)
        missing = self.steps_per_epoch * self.batch - len(order)
        return torch.cat([order, order[:missing]]).to(self.device)

    def _subset(self, valid: Int[Tensor, "V 3"]) -> Int[Tensor, "W 3"]:
        wanted = self.options.validate_on
        if not wanted or wanted >= len(valid):
            return valid
        order = torch.randperm(len(valid), generator=self.seeds.fresh("validation"))
        return valid[order[:wanted].to(valid.device)]

    def _set_rate(self) -> None:
        factor = self.schedule(self.progress.step, self.steps)
        for group, base in zip(self.optimizer.param_groups, self.base_rates):
            group["lr"] = base * factor

    def _means(self, seen: list[dict[str, Tensor]]) -> dict[str, float]:
        """Mean of each logged value since the last look; the one place that waits for a GPU."""
        table = {name: torch.stack([row[name].float() for row in seen]) for name in seen[0]}
        loss = table["loss"]
        if not bool(loss.isfinite().all()):
            bad = int((~loss.isfinite()).nonzero()[0])
            at = self.progress.step - len(seen) + bad
            broken = ", ".join(self._broken()) or "none"
            raise DivergedError(
                f"the loss of step {at + 1} (epoch {at // self.steps_per_epoch + 1}) is "
                f"{loss[bad].item()}; parameters no longer finite: {broken}. "
                "Lower the learning rate, or the margin or penalty if scores overflow. "
                f"The last good checkpoint is in {self.folder}"
            )
        return {name: values.mean().item() for name, values in table.items()}

    def _refuse_broken(self) -> None:
        if broken := self._broken():
            raise DivergedError(
                f"after step {self.progress.step}, parameters are no longer finite: "
                f"{', '.join(broken)}. Lower the learning rate. "
                f"The last good checkpoint is in {self.folder}"
            )

    def _broken(self) -> list[str]:
        """Names of parameters that are no longer finite."""
        parameters = self.step.named_parameters()
        return [name for name, values in parameters if not bool(values.isfinite().all())]

    def _record(self, kind: str, values: dict[str, float]) -> Record:
        progress = self.progress
        epoch = progress.step / self.steps_per_epoch
        return Record(kind, epoch, progress.step, progress.cpu_seconds, values)


def _global_random_state(device: torch.device) -> list[Tensor]:
    """Dropout draws from the global streams."""
    states = [torch.get_rng_state()]
    return states + ([torch.cuda.get_rng_state(device)] if device.type == "cuda" else [])


def _set_global_random_state(states: list[Tensor], device: torch.device) -> None:
    torch.set_rng_state(states[0])
    if device.type == "cuda" and len(states) > 1:
        torch.cuda.set_rng_state(states[1], device)
