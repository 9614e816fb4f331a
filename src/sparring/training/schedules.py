"""Learning rate schedules: a factor on the learning rate of each update step."""

import math
from abc import ABC, abstractmethod

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

    def __init__(self, *, warmup: float = 0.0) -> None:
        self.warmup = _fraction("warmup", warmup)

    @abstractmethod
    def decay(self, done: float) -> float:
        """Factor after a fraction `done` of all steps."""

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


def _fraction(name: str, value: float) -> float:
    if not 0 <= value <= 1:
        raise ValueError(f"{name} must lie between 0 and 1; got {value}")
    return value
