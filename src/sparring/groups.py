"""Candidate lists that groups of queries share: G lists for B queries, G divides B."""

from collections.abc import Iterable
from typing import Any

import torch
from jaxtyping import Shaped
from torch import Tensor


def group_rows(rows: Shaped[Tensor, "B ..."], groups: int) -> Shaped[Tensor, "G b ..."]:
    """View of B rows as [G, B/G, ...]: the queries that share each candidate list."""
    return rows.unflatten(0, (groups, group_size(groups, len(rows))))


def expand_lists(lists: Shaped[Tensor, "G K"], batch: int) -> Shaped[Tensor, "G b K"]:
    """View of candidate lists as seen by each query of their group."""
    return lists.unsqueeze(1).expand(-1, group_size(len(lists), batch), -1)


def ungroup(lists: Shaped[Tensor, "G K"], batch: int) -> Shaped[Tensor, "B K"]:
    """Candidate lists, or values of their candidates, with one row per query."""
    return expand_lists(lists, batch).reshape(batch, lists.shape[1])


def join_columns(given: Iterable[Any]) -> Shaped[Tensor, "B K"]:
    """Parts [B, _] side by side; one row, expanded, where that is what all of them are."""
    parts = list(given)
    batch = len(parts[0])
    if len(parts) == 1:
        return parts[0]
    if batch > 1 and all(part.stride(0) == 0 for part in parts):
        return torch.cat([part[:1] for part in parts], 1).expand(batch, -1)
    return torch.cat(parts, 1)


def group_size(groups: int, batch: int) -> int:
    """How many queries share each of the candidate lists; 1 in an empty batch without lists.

    Raises:
        ValueError: if the number of lists does not divide the batch.
    """
    size = max(batch, 1) // max(groups, 1)
    if groups * size != batch:
        raise ValueError(f"{groups} candidate lists cannot be shared evenly by {batch} queries")
    return size
