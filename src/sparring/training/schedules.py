"""Learning rate schedules: a factor on the learning rate of each update step."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from sparring.registry import Registry, register

SCHEDULES = Registry("schedule")


class Schedule(ABC):
    """A factor on the learning rate, which rises linearly from 0 during the warm-up.

    Args:
        warmup: fraction of all steps after which the rate has its full value.

    Raises:
        ValueError: if a fraction lies outside [0, 1].
    """

    registry = SCHEDULES

    needs_validation: ClassVar[bool] = False  # whether `reduction` is ever below 1

    def __init__(self, *, warmup: float = 0.0) -> None:
        self.warmup = _fraction("warmup", warmup)

    @abstractmethod
    def decay(self, done: float) -> float:
        """Factor after a fraction `done` of all steps."""

    def reduction(self, scores: Sequence[float]) -> float:
        """Further factor after validations with these scores; higher scores are better."""
        return 1.0

    def __call__(self, step: int, steps: int) -> float:
        """Factor on the learning rate of one step, counted from 0."""
        warmup = min(1.0, (step + 1) / (self.warmup * steps)) if self.warmup else 1.0
        return warmup * self.decay(step / steps)


@register("constant")
class Constant(Schedule):
    """The same learning rate throughout."""

    def decay(self, done: float) -> float:
        return 1.0


@register("linear")
class Linear(Schedule):
    """Falls to `floor` times the learning rate in a straight line."""

    def __init__(self, *, warmup: float = 0.0, floor: float = 0.0) -> None:
        super().__init__(warmup=warmup)
        self.floor = _fraction("floor", floor)

    def decay(self, done: float) -> float:
        return 1 - (1 - self.floor) * done


@register("cosine")
class Cosine(Schedule):
    """Falls to `floor` times the learning rate along half a cosine (Loshchilov & Hutter, 2017)."""

    def __init__(self, *, warmup: float = 0.0, floor: float = 0.0) -> None:
        super().__init__(warmup=warmup)
        self.floor = _fraction("floor", floor)

    def decay(self, done: float) -> float:
        return self.floor + (1 - self.floor) * (1 + math.cos(math.pi * done)) / 2


@register("step-decay", aliases=["drop"])
class StepDecay(Schedule):
    """Multiplies the learning rate by `factor` after a fraction `at` of all steps.

    Sun et al. (2019) do so in the middle of training.
    """

    def __init__(self, *, warmup: float = 0.0, at: float = 0.5, factor: float = 0.1) -> None:
        super().__init__(warmup=warmup)
        self.at, self.factor = _fraction("at", at), _fraction("factor", factor)

    def decay(self, done: float) -> float:
        return self.factor if done >= self.at else 1.0


@register("plateau")
class Plateau(Schedule):
    """Multiplies the learning rate by `factor` whenever the validation MRR no longer rises.

    As `torch.optim.lr_scheduler.ReduceLROnPlateau` does, by validations instead of epochs.

    Args:
        warmup: as for all schedules.
        factor: of each reduction.
        patience: validations without a better score before a reduction, which the next one brings.
        threshold: a better score is above the best one times 1 + threshold.
        floor: lowest product of all reductions.

    Raises:
        ValueError: if a fraction lies outside [0, 1], or the patience is negative.
    """

    needs_validation = True

    def __init__(
        self,
        *,
        warmup: float = 0.0,
        factor: float = 0.5,
        patience: int = 3,
        threshold: float = 1e-4,
        floor: float = 0.0,
    ) -> None:
        super().__init__(warmup=warmup)
        self.factor, self.floor = _fraction("factor", factor), _fraction("floor", floor)
        self.threshold, self.patience = _fraction("threshold", threshold), patience
        if patience < 0:
            raise ValueError(f"patience must not be negative; got {patience}")

    def decay(self, done: float) -> float:
        return 1.0

    def reduction(self, scores: Sequence[float]) -> float:
        best, bad, factor = -math.inf, 0, 1.0
        for score in scores:
            better = score > best * (1 + self.threshold)
            best, bad = (score, 0) if better else (best, bad + 1)
            if bad > self.patience:
                factor, bad = max(self.floor, factor * self.factor), 0
        return factor


def _fraction(name: str, value: float) -> float:
    if not 0 <= value <= 1:
        raise ValueError(f"{name} must lie between 0 and 1; got {value}")
    return value
