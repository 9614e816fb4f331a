"""How long to train, and how far a training has come."""

from dataclasses import dataclass, field
from typing import ClassVar


@dataclass(frozen=True)
class FitOptions:
    """How long to train, and how often to validate, save and log.

    Attributes:
        epochs: passes over the training triples, at most; 0 evaluates an untrained model.
        batch_size: triples per step.
        validate_every: epochs between validations; 0 never validates.
        validate_on: number of validation triples, drawn once at random; 0 uses all.
        patience: validations without a better MRR before training stops; 0 never stops early.
        minutes: of processor time for training and validation together, at most; 0 for no limit.
            When they are over, the model is validated and training ends, perhaps within an epoch.
            The schedule follows the share of the time where it is greater than that of the steps,
            so results depend on the speed of the machine.
        save_every: epochs between checkpoints.
        log_every: steps between progress records, and between checks of the loss.
        max_scores: scores held in memory at once while validating.
        average: decay per step of an exponential moving average of the model's weights, such as
            0.999; validation, the best epoch and the end result are those of the average. 0 for
            none. See `WeightAverage`.
        rejected_weight: weight of a triple that reviewers rejected vs. that of a fact; 0 ignores
            them. See `CuratedNegatives`.

    Raises:
        ValueError: for a number out of range.
    """

    renamed: ClassVar[dict[str, str]] = {"batch": "batch_size"}

    epochs: int = 20
    batch_size: int = 1024
    validate_every: int = 5
    validate_on: int = 0
    patience: int = 0
    minutes: float = 0.0
    save_every: int = 1
    log_every: int = 50
    max_scores: int = 2**25
    average: float = 0.0
    rejected_weight: float = 1.0

    def __post_init__(self) -> None:
        for name in ("batch_size", "save_every", "log_every", "max_scores"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1; got {getattr(self, name)}")
        amounts = ("epochs", "validate_every", "validate_on", "patience", "minutes")
        for name in (*amounts, "rejected_weight"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must not be negative; got {getattr(self, name)}")
        if not 0 <= self.average < 1:
            raise ValueError(f"average is at least 0 and below 1; got {self.average}")


@dataclass(frozen=True)
class Record:
    """One entry of the training log.

    Attributes:
        kind: "progress", "validation" or "end".
        epoch: completed epochs, with fractions.
        step: completed update steps.
        cpu_seconds: processor time spent on training so far, without validation.
        values: what was measured, such as the mean loss or the validation MRR.
    """

    kind: str
    epoch: float
    step: int
    cpu_seconds: float
    values: dict[str, float]


@dataclass
class Progress:
    """How far a training run has come; all of it is saved in the checkpoint.

    Attributes:
        step: completed update steps.
        cpu_seconds: processor time spent on training, without validation.
        validation_seconds: processor time spent on validation.
        best_mrr, best_epoch: the best validation so far; None and 0 before the first. An epoch that
            the limit of time cuts short counts as one.
        best_digest: of the checkpoint that it left.
        since_best: validations since then.
        validations: metrics of each validation.
        finished: whether the last epoch, or the end of patience or of time, was reached.
    """

    step: int = 0
    cpu_seconds: float = 0.0
    validation_seconds: float = 0.0
    best_mrr: float | None = None
    best_epoch: int = 0
    best_digest: str = ""
    since_best: int = 0
    validations: list[dict[str, float]] = field(default_factory=list)
    finished: bool = False
