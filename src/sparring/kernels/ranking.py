"""Counts of scores above a target, of which filtered ranks are made."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sparring.kernels.runtime import compiled, enabled_for, run_in_threads


def count_greater(
    scores: Float[Tensor, "B n"], target: Float[Tensor, "B 1"]
) -> tuple[Int[Tensor, "B"], Int[Tensor, "B"]]:
    """How many scores of each row are above its target, and how many at least as high."""
    if enabled_for(scores):
        above, at_least = torch.empty(2, len(scores), dtype=torch.int32)
        given = (scores, target, above, at_least)
        run_in_threads(count_rows, len(scores), scores.numel(), *given)
        return above, at_least
    above = (scores > target).sum(1, dtype=torch.int32)
    return above, (scores >= target).sum(1, dtype=torch.int32)


@compiled
def count_rows(start, stop, scores, target, above, at_least):
    """`count_greater` in one pass."""
    for row in range(start, stop):
        bar, more, same_or_more = target[row, 0], 0, 0
        for k in range(scores.shape[1]):
            more += scores[row, k] > bar
            same_or_more += scores[row, k] >= bar
        above[row], at_least[row] = more, same_or_more
    return 0
