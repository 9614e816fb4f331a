"""Is it known? What are the answers? Both as searches in one sorted tensor."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from sparring.batch import Queries, ungroup
from sparring.kernels.lookup import Runs, members, non_members
from sparring.kernels.runtime import can_loop

NONE = 2**63 - 1


class TripleIndex(nn.Module):
    """Answers "is (anchor, relation, id) known?" for whole batches at once, exactly.

    Each fact is the integer (anchor * 2R + relation) * N + id, stored once per side and
    sorted, so membership and listing are both binary searches, on any device. On the processor
    compiled loops read each query's answers as a whole where that takes less time.

    Raises:
        ValueError: if N * N * 2R does not fit into 63 bits.
    """

    facts: Int[Tensor, "F"]
    query: Int[Tensor, "Q+1"]
    first: Int[Tensor, "Q+2"]
    gap: Int[Tensor, "F"]

    def __init__(self, triples: Int[Tensor, "T 3"], num_entities: int, num_relations: int):
        super().__init__()
        if num_entities**2 * 2 * num_relations >= 2**63:
            raise ValueError(
                f"{num_entities} entities and {num_relations} relations overflow a 64-bit fact key"
            )
        self.num_entities, self.num_relations = num_entities, num_relations
        head, relation, tail = triples.long().unbind(1)
        tails = self._key(head, relation) * num_entities + tail
        heads = self._key(tail, relation + num_relations) * num_entities + head
        facts = torch.cat([tails, heads]).unique(sorted=True)
        self.register_buffer("facts", facts, persistent=False)
        query, count = (facts // num_entities).unique_consecutive(return_counts=True)
        # one more query, of no facts, so that a search never leads beyond the last
        query = torch.cat([query, query.new_full((1,), NONE)])
        first = nn.functional.pad(count.cumsum(0), (1, 0))
        self.register_buffer("query", query, persistent=False)
        self.register_buffer("first", torch.cat([first, first[-1:]]), persistent=False)

    def _key(self, anchor: Tensor, relation: Tensor) -> Tensor:
        return anchor * (2 * self.num_relations) + relation

    def _span(self, queries: Queries) -> tuple[Int[Tensor, "B"], Int[Tensor, "B"]]:
        """Where each query's answers start and stop in `facts`."""
        key = self._key(queries.anchor, queries.relation)
        if can_loop(key) and len(self.facts):
            return self._runs().find(key)
        place = torch.searchsorted(self.query, key)
        seen = self.query[place] == key
        return self.first[place], self.first[place + seen]

    def _runs(self) -> Runs:
        if not hasattr(self, "runs"):
            self.runs = Runs(self.query[:-1], self.first[:-1], self.facts)
        return self.runs

    def _offset(self, queries: Queries) -> Int[Tensor, "B"]:
        """What each query's facts have on top of the entity."""
        return self._key(queries.anchor, queries.relation) * self.num_entities

    def count(self, queries: Queries) -> Int[Tensor, "B"]:
        """Number of known answers of each query."""
        start, stop = self._span(queries)
        return stop - start

    def contains(self, queries: Queries, ids: Int[Tensor, "G K"]) -> Bool[Tensor, "B K"]:
        """True where (anchor, relation, id) is known."""
        if not len(self.facts):
            return torch.zeros(len(queries), ids.shape[1], dtype=torch.bool, device=ids.device)
        if can_loop(ids):
            key = self._key(queries.anchor, queries.relation)
            return self._runs().contain(key, self.num_entities, ids)
        wanted = ungroup(ids, len(queries)) + self._offset(queries).unsqueeze(1)
        spot = torch.searchsorted(self.facts, wanted).clamp_(max=len(self.facts) - 1)
        return self.facts[spot] == wanted

    def answers(self, queries: Queries) -> tuple[Int[Tensor, "A"], Int[Tensor, "A"]]:
        """All known answers as (row of the batch, entity) pairs, ordered by row and entity."""
        start, stop = self._span(queries)
        row, spot = ragged_arange(start, stop - start)
        return row, self.facts[spot] % self.num_entities

    def answer(self, queries: Queries, rank: Int[Tensor, "B K"]) -> Int[Tensor, "B K"]:
        """The known answer with the given rank (from 0); beyond the last one, any entity."""
        start, _ = self._span(queries)
        spot = (start.unsqueeze(1) + rank).clamp(max=len(self.facts) - 1)
        return self.facts[spot] % self.num_entities

    def unknown(self, queries: Queries, rank: Int[Tensor, "B K"]) -> Int[Tensor, "B K"]:
        """The entity with the given rank (from 0) among those that are *not* known answers.

        The j-th non-answer is j plus the number of answers a_i with a_i - i <= j, and a_i - i
        grows with i: one more binary search, no rejection. Ranks at or beyond the number of
        non-answers give ids at or beyond N.
        """
        start, stop = self._span(queries)
        if can_loop(rank):
            return non_members(self.facts, start, stop, self._offset(queries), rank)
        if not hasattr(self, "gap"):
            query = self.facts // self.num_entities
            place = torch.arange(len(self.facts), device=self.facts.device)
            first = torch.searchsorted(self.facts, query * self.num_entities)
            self.register_buffer("gap", self.facts - (place - first), persistent=False)
        low = self._offset(queries).unsqueeze(1)
        spot = torch.searchsorted(self.gap, low + rank, right=True)
        below = torch.minimum(spot, stop.unsqueeze(1)) - start.unsqueeze(1)
        return rank + below.clamp_(min=0)


def ragged_arange(
    start: Int[Tensor, "M"], times: Int[Tensor, "M"]
) -> tuple[Int[Tensor, "A"], Int[Tensor, "A"]]:
    """Spell out runs: item i stands times[i] times, with positions start[i], start[i] + 1, ..."""
    item = torch.arange(len(times), device=times.device).repeat_interleave(times)
    step = torch.arange(len(item), device=times.device) - (times.cumsum(0) - times)[item]
    return item, start[item] + step


class Ragged(nn.Module):
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
    def of_pairs(cls, row: Int[Tensor, "P"], entity: Int[Tensor, "P"], rows: int) -> "Ragged":
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
        turn, spot = ragged_arange(self.start[row], self.size[row])
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
