"""Drawing without replacement, and what to make of draws that repeat themselves."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def gumbel(like: Float[Tensor, "B C"], rng: torch.Generator) -> Float[Tensor, "B C"]:
    """Noise whose addition to log-weights makes the order one of drawing without replacement."""
    lot = torch.empty_like(like).exponential_(generator=rng)
    return -lot.clamp(min=torch.finfo(like.dtype).tiny).log()


def repeated(ids: Int[Tensor, "B C"]) -> Bool[Tensor, "B C"]:
    """True where an id stands further left in its row already."""
    ascending, order = ids.sort(stable=True)
    again = torch.zeros_like(ids, dtype=torch.bool)
    again[:, 1:] = ascending[:, 1:] == ascending[:, :-1]
    return torch.zeros_like(again).scatter(1, order, again)


def times(ids: Int[Tensor, "B C"], mask: Bool[Tensor, "B C"]) -> Int[Tensor, "B C"]:
    """How often each id is masked True in its row."""
    ascending, order = ids.sort(stable=True)
    run = torch.zeros_like(ids)
    run[:, 1:] = (ascending[:, 1:] != ascending[:, :-1]).cumsum(1)
    run = torch.zeros_like(ids).scatter(1, order, run)
    return torch.zeros_like(ids).scatter_add(1, run, mask.long()).gather(1, run)
