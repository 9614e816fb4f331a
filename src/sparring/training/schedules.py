"""Learning rates as a function of how much of the training is done."""

import math
from abc import ABC, abstractmethod

from sparring.registry import Registry, register

SCHEDULES = Registry("schedule")


class Schedule(ABC):
    """The factor on the learning rate; it rises linearly from 0 over the warm-up.

    Args:
        warmup: share of all steps over which the rate rises to its full value.

    Raises:
        ValueError: if a share lies outside [0, 1].
    """

    registry = SCHEDULES

    def __init__(self, *, warmup: float = 0.0):
        self.warmup = _share("warmup", warmup)

    @abstractmethod
    def decay(self, done: float) -> float:
        """Factor after a share `done` of all steps."""

    def __call__(self, step: int, steps: int) -> float:
        """Factor on the rate of step 0 .. steps - 1."""
        rise = min(1.0, (step + 1) / (self.warmup * steps)) if self.warmup else 1.0
        return rise * self.decay(step / steps)


@register("constant")
class Constant(Schedule):
    """The same rate throughout."""

    def decay(self, done):
        return 1.0


@register("linear")
class Linear(Schedule):
    """Down to `floor` times the rate in a straight line."""

    def __init__(self, *, warmup: float = 0.0, floor: float = 0.0):
        super().__init__(warmup=warmup)
        self.floor = _share("floor", floor)

    def decay(self, done):
        return 1 - (1 - self.floor) * done


@register("cosine")
class Cosine(Schedule):
    """Down to `floor` times the rate along half a cosine (Loshchilov & Hutter, 2017)."""

    def __init__(self, *, warmup: float = 0.0, floor: float = 0.0):
        super().__init__(warmup=warmup)
        self.floor = _share("floor", floor)

    def decay(self, done):
        return self.floor + (1 - self.floor) * (1 + math.cos(math.pi * done)) / 2


@register("step-decay", aliases=["drop"])
class StepDecay(Schedule):
    """A tenth of the rate from a share `at` of all steps on (Sun et al., 2019: half)."""

    def __init__(self, *, warmup: float = 0.0, at: float = 0.5, factor: float = 0.1):
        super().__init__(warmup=warmup)
        self.at, self.factor = _share("at", at), _share("factor", factor)

    def decay(self, done):
        return self.factor if done >= self.at else 1.0


def _share(name: str, value: float) -> float:
    if not 0 <= value <= 1:
        raise ValueError(f"{name} is a share between 0 and 1; got {value}")
    return value
