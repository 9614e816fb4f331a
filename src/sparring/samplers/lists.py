"""Rows of entities of any length, and samplers that draw uniformly from one row per query."""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from sparring.batch import Negatives, Queries, per_query
from sparring.compiled import can_loop
from sparring.graph.facts import spelled
from sparring.graph.knowledge_graph import TrainGraph
from sparring.graph.lookup import members
from sparring.samplers.base import NegativeSampler


class Lists(nn.Module):
    """Distinct entities per row, ascending: 4 bytes for each, and 16 for each row.

    Args:
        entity: the rows one after another.
        size: entities per row.
    """

    entity: Int[Tensor, "L"]
    start: Int[Tensor, "rows"]
    size: Int[Tensor, "rows"]

    def __init__(self, entity: Int[Tensor, "L"], size: Int[Tensor, "rows"]):
        super().__init__()
        self.longest = int(size.max()) if len(size) else 0
        # one spare entry, so that positions of empty rows can be looked up
        padded = torch.cat([entity.int(), entity.new_zeros(1, dtype=torch.int32)])
        self.register_buffer("entity", padded, persistent=False)
        self.register_buffer("start", size.cumsum(0) - size, persistent=False)
        self.register_buffer("size", size, persistent=False)

    @classmethod
    def of_pairs(cls, row: Int[Tensor, "P"], entity: Int[Tensor, "P"], rows: int) -> "Lists":
        """Rows from (row, entity) pairs in any order, repeated or not."""
        width = int(entity.max()) + 1 if len(entity) else 1
        pairs = (row.long() * width + entity).unique()
        return cls(pairs % width, torch.bincount(pairs // width, minlength=rows))

    def pick(self, row: Int[Tensor, "B"], lot: Float[Tensor, "B K"]) -> Int[Tensor, "B K"]:
        """The entity at the share `lot`, in [0, 1), of each row; anything for an empty row."""
        place = (lot * self.size[row].unsqueeze(1)).long()
        place += self.start[row].unsqueeze(1)
        return self.entity.index_select(0, place.view(-1)).view(lot.shape).long()

    def spread(self, row: Int[Tensor, "M"]) -> tuple[Int[Tensor, "P"], Int[Tensor, "P"]]:
        """Everything that these rows list, as (position in `row`, entity) pairs."""
        turn, spot = spelled(self.start[row], self.size[row])
        return turn, self.entity[spot].long()

    def contains(self, row: Int[Tensor, "B"], ids: Int[Tensor, "B K"]) -> Bool[Tensor, "B K"]:
        """True where the row lists the entity."""
        if can_loop(ids):
            start = self.start[row]
            return members(self.entity, start, start + self.size[row], start * 0, ids)
        return self._search(row, ids)

    def _search(self, row: Int[Tensor, "B"], ids: Int[Tensor, "B K"]) -> Bool[Tensor, "B K"]:
        """A binary search inside each row."""
        low = self.start[row].unsqueeze(1).expand(ids.shape)
        end = low + self.size[row].unsqueeze(1)
        high = end
        for _ in range(self.longest.bit_length()):
            middle = (low + high) // 2
            below = (self.entity[middle] < ids) & (low < high)
            low, high = torch.where(below, middle + 1, low), torch.where(below, high, middle)
        return (self.entity[low] == ids) & (low < end)


class ListSampler(NegativeSampler, ABC):
    """Entities of the query's own list, with equal probability; all entities if it is empty.

    Args:
        floor: share of draws that come from all entities alike, in [0, 1].

    Raises:
        ValueError: if the floor is no share.
    """

    schedulable = (("floor", 0.0, 1.0),)

    def __init__(self, graph: TrainGraph, lists: Lists, *, k: int, floor: float):
        super().__init__(k)
        self.floor = checked_floor(floor)
        self.num_entities, self.lists = graph.num_entities, lists

    @abstractmethod
    def row(self, queries: Queries) -> Int[Tensor, "B"]:
        """Which list each query draws from."""

    def sample(self, queries, score, rng):
        shape, device = (len(queries), self.k), queries.anchor.device
        row = self.row(queries)
        coin = torch.rand(shape, generator=rng, device=device) if self.floor else None
        lot = torch.rand(shape, generator=rng, device=device, dtype=torch.double)
        listed, anyone = self.lists.pick(row, lot), lot.mul_(self.num_entities).long()
        if coin is None:  # what is drawn from a list is listed, without a look
            ids = torch.where(self.lists.size[row].unsqueeze(1) > 0, listed, anyone)
            log_q = self._if_listed(row)
            return Negatives.offer(queries, ids, log_q.unsqueeze(1).expand(shape), log_q)
        free = coin < self._floor(row)
        ids = torch.where(free, anyone, listed)
        log_q = self._log_share(row, self.lists.contains(row, ids))
        return Negatives.offer(queries, ids, log_q, self.answer_log_prob(queries))

    def log_prob(self, queries, ids):
        row = self.row(queries)
        return self._log_share(row, self.lists.contains(row, per_query(ids, len(queries))))

    def answer_log_prob(self, queries):
        """An answer that is never drawn counts as listed."""
        if not self.floor:
            return self._if_listed(self.row(queries))
        return self.log_prob(queries, queries.answer.unsqueeze(1)).squeeze(1)

    def _if_listed(self, row: Int[Tensor, "B"]) -> Float[Tensor, "B"]:
        return self._log_share(row, row.new_ones(len(row), 1, dtype=torch.bool)).squeeze(1)

    def _floor(self, row: Int[Tensor, "B"]) -> Float[Tensor, "B 1"]:
        return (self.lists.size[row] == 0).float().clamp(min=self.floor).unsqueeze(1)

    def _log_share(
        self, row: Int[Tensor, "B"], listed: Bool[Tensor, "B K"]
    ) -> Float[Tensor, "B K"]:
        floor = self._floor(row)
        size = self.lists.size[row].clamp(min=1).unsqueeze(1)
        return (floor / self.num_entities + (1 - floor) * listed / size).log()


def checked_floor(floor: float) -> float:
    """The floor, if it is a share."""
    if not 0 <= floor <= 1:
        raise ValueError(f"the floor is the share of uniform draws, from 0 to 1; got {floor}")
    return floor
