"""Wrong answers that change with the progress of training."""

from sparring.graph.knowledge_graph import TrainGraph
from sparring.samplers.base import NegativeSampler, SamplerWrapper


class Curriculum(SamplerWrapper):
    """Lead one option of a sampler from one value to another, evenly over the first steps.

    Progress is counted in training steps: batches asked for in training mode.

    Args:
        option: what changes, such as the floor of `Typed` or the rank of `HardestOf`. Whole
            numbers stay whole.
        start, end: values at the first step and from step `steps` on.

    Raises:
        ValueError: if the sampler has no such option that may change while training, a value is
            out of its bounds, or there are no steps.
    """

    def __init__(
        self,
        graph: TrainGraph,
        *,
        inner: NegativeSampler,
        option: str,
        start: float,
        end: float,
        steps: int,
    ):
        super().__init__(inner)
        bounds = {name: (low, high) for name, low, high in inner.schedulable}
        if option not in bounds:
            raise ValueError(
                f"{type(inner).__name__} has no option {option!r} that may change while training; "
                f"it has: {', '.join(bounds) or 'none'}"
            )
        low, high = bounds[option]
        for value in (start, end):
            if not low <= value <= high:
                raise ValueError(f"{option} lies between {low} and {high}; got {value}")
        if steps < 1:
            raise ValueError(f"a curriculum takes at least one step; got steps={steps}")
        self.option, self.start, self.end, self.steps = option, start, end, steps
        self.whole = isinstance(getattr(inner, option), int)
        self.set_extra_state(0)

    def value(self) -> float | int:
        """Where the option stands now."""
        value = self.start + (self.end - self.start) * min(1.0, self.calls / self.steps)
        return round(value) if self.whole else value

    def sample(self, queries, score, rng):
        setattr(self.inner, self.option, self.value())
        self.calls += self.training
        return self.inner.sample(queries, score, rng)

    def get_extra_state(self) -> int:
        return self.calls

    def set_extra_state(self, state: int) -> None:
        self.calls = state
        setattr(self.inner, self.option, self.value())
