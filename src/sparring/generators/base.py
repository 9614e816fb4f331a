"""Samplers with parameters of their own, and how they draw and learn."""

import math
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sparring.batch import Queries
from sparring.samplers.base import NegativeSampler


class NegativeGenerator(NegativeSampler):
    """A sampler that feedback trains, by an optimiser of its own.

    The main loss cannot reach its parameters, and its loss cannot reach the main model's: all
    that passes between them is detached, but for `trace`, which is the generator's own.
    """

    optimizer: torch.optim.Optimizer

    def false_negative(self, queries: Queries, ids: Int[Tensor, "G K"]) -> Float[Tensor, "B K"]:
        """Estimated probability that each candidate is in truth a fact; here, no estimate: 0."""
        return queries.weight.new_zeros(len(queries), ids.shape[1])

    def learn(self, loss: Float[Tensor, ""]) -> None:
        """One step of the generator's own optimiser."""
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    def _apply(self, fn, recurse=True):
        moved = super()._apply(fn, recurse)
        self.optimizer.load_state_dict(self.optimizer.state_dict())  # its state goes along
        return moved

    def get_extra_state(self) -> dict[str, Any]:
        return {"optimizer": self.optimizer.state_dict()}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        self.optimizer.load_state_dict(state["optimizer"])


def draw(log_share: Float[Tensor, "B M"], k: int, rng: torch.Generator) -> Int[Tensor, "B k"]:
    """k columns per row, drawn with replacement in proportion to exp(log_share)."""
    upto = log_share.detach().double().exp().cumsum(1)
    lot = torch.rand(len(upto), k, generator=rng, device=upto.device, dtype=torch.double)
    pick = torch.searchsorted(upto, lot * upto[:, -1:], right=True)
    return pick.clamp_(max=log_share.shape[1] - 1)


def floored(log_share: Float[Tensor, "B M"], floor: float, entities: int) -> Float[Tensor, "B M"]:
    """Log-probabilities with a uniform floor mixed in, from which the share `floor` is drawn."""
    flat = math.log(floor / entities) if floor else -math.inf
    return torch.logaddexp(log_share + math.log1p(-floor), log_share.new_full((), flat))


def policy_gradient(
    trace: Float[Tensor, "B K"], advantage: Float[Tensor, "B K"], mask: Bool[Tensor, "B K"]
) -> Float[Tensor, ""]:
    """What to minimise to raise the expected advantage of the draws that count (REINFORCE)."""
    return -(advantage * mask * trace).sum() / mask.sum().clamp(min=1)
