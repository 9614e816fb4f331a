"""Averages of a model's weights over the update steps, for evaluation."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor, nn


class WeightAverage:
    """An exponential moving average of all parameters of a model.

    After the first step it equals the parameters; after each later one it is
    decay * average + (1 - decay) * parameters, as `torch.optim.swa_utils` has it. Buffers are not
    averaged.

    It costs a second copy of the model and a pass over it per step. For tables with sparse
    gradients and an optimizer that moves the rows of the gradient only, a step touches no other
    row: the average of a row is brought up to date, by a power of `decay`, before the row moves.

    Args:
        model: whose parameters are averaged.
        optimizer: updates them.
        decay: share of the old average that a step keeps; 0 does nothing.
    """

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer, decay: float):
        self.decay, self.steps = decay, 0
        self.parameters = [p for p in model.parameters() if p.requires_grad] if decay else []
        self.averages: list[Tensor] = []
        # for lazily updated tables, after how many steps each row's average was last right
        self.current: list[Tensor | None] = []
        self.lazy_rows = getattr(optimizer, "moves_only_rows_of_gradient", False)
        if decay:
            optimizer.register_step_pre_hook(self._before_step)

    @torch.no_grad()
    def update(self) -> None:
        """Take in the parameters after an update step."""
        self.steps += 1
        if self.steps == 1:
            self.averages = [parameter.detach().clone() for parameter in self.parameters]
            self.current = [self._first_steps(parameter) for parameter in self.parameters]
            return
        for parameter, average, current in zip(self.parameters, self.averages, self.current):
            if current is None:
                average.lerp_(parameter, 1 - self.decay)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The model has its averaged parameters; afterwards it has its own again."""
        self._bring_up_to_date()
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def apply(self) -> None:
        """Give the model its averaged parameters for good."""
        self._bring_up_to_date()
        for parameter, average in zip(self.parameters, self.averages):
            parameter.data.copy_(average)

    def state_dict(self) -> dict[str, Any]:
        """All that `load_state_dict` needs to go on bit for bit."""
        return {"steps": self.steps, "averages": self.averages, "current": self.current}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a `state_dict`."""
        self.steps = state["steps"]
        devices = [parameter.device for parameter in self.parameters]
        self.averages = [part.to(device) for part, device in zip(state["averages"], devices)]
        self.current = [
            None if part is None else part.to(device)
            for part, device in zip(state["current"], devices)
        ]

    def _first_steps(self, parameter: nn.Parameter) -> Int[Tensor, "N"] | None:
        """One step for each row of a table that is lazily updated."""
        if self.lazy_rows and parameter.grad is not None and parameter.grad.is_sparse:
            return torch.ones(len(parameter), dtype=torch.int32, device=parameter.device)
        return None

    @torch.no_grad()
    def _before_step(self, *_: Any) -> None:
        """Bring the rows up to date that the step is about to move; may run twice a step."""
        for parameter, average, current in zip(self.parameters, self.averages, self.current):
            if current is None or parameter.grad is None:
                continue
            rows = parameter.grad._indices()[0]
            kept = self.decay ** (self.steps - current[rows]).to(average.dtype).unsqueeze(1)
            average[rows] = torch.lerp(parameter[rows], average[rows], kept)
            current[rows] = self.steps

    @torch.no_grad()
    def _bring_up_to_date(self) -> None:
        for parameter, average, current in zip(self.parameters, self.averages, self.current):
            if current is not None:
                kept = self.decay ** (self.steps - current).to(average.dtype).unsqueeze(1)
                average.copy_(torch.lerp(parameter, average, kept))
                current.fill_(self.steps)

    def _swap(self) -> None:
        for place, average in enumerate(self.averages):
            parameter = self.parameters[place]
            self.averages[place], parameter.data = parameter.data, average
