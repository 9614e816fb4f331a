"""Known facts in memory: rows of any length, and which answers each query has.

This is the only module that turns pairs of ids into integer keys. `Ragged` holds rows of any
length, `TripleIndex` the known answers of queries, and `PairIndex` the relations between two
entities. All work on whole batches and on any device; on the CPU, compiled loops do the search.
"""

from collections.abc import Iterator

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from sparring.batch import Queries
from sparring.kernels.lookup import (
    KeyedRows,
    Rows,
    contains_between,
    find_between,
    missing_between,
    range_between,
    rows_of,
)

NO_KEY = 2**63 - 1  # above any key
MAX_ENTITIES = 2**31


class Ragged(nn.Module):
    """Rows of integers of any length, in compressed form: 4 bytes per value and 8 per row.

    Row i is `values[offsets[i] : offsets[i + 1]]`. Searches need ascending, distinct values in
    each row, as `from_pairs` makes them.

    Args:
        values: the rows one after another; each value is in [0, 2**31).
        sizes: number of values in each row.
    """

    values: Int[Tensor, "V+1"]
    offsets: Int[Tensor, "rows+1"]

    def __init__(self, values: Int[Tensor, "V"], sizes: Int[Tensor, "rows"]):
        super().__init__()
        self.longest = int(sizes.max()) if len(sizes) else 0
        # one spare value, so that the place of an empty row can be read
        padded = torch.cat([values.int(), values.new_zeros(1, dtype=torch.int32)])
        self.register_buffer("values", padded, persistent=False)
        offsets = nn.functional.pad(sizes.cumsum(0), (1, 0))
        self.register_buffer("offsets", offsets, persistent=False)

    @classmethod
    def from_pairs(cls, row: Int[Tensor, "P"], value: Int[Tensor, "P"], num_rows: int) -> "Ragged":
        """Rows from (row, value) pairs in any order; repeated pairs count once."""
        width = int(value.max()) + 1 if len(value) else 1
        pairs = (row.long() * width + value).unique()
        return cls(pairs % width, torch.bincount(pairs // width, minlength=num_rows))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def bounds(self, row: Int[Tensor, "M"]) -> tuple[Int[Tensor, "M"], Int[Tensor, "M"]]:
        """Where these rows start and stop in `values`."""
        return self.offsets.index_select(0, row), self.offsets[1:].index_select(0, row)

    def sizes(self, row: Int[Tensor, "M"]) -> Int[Tensor, "M"]:
        """Number of values in each of these rows."""
        start, stop = self.bounds(row)
        return stop - start

    def gather_rows(self, row: Int[Tensor, "M"]) -> tuple[Int[Tensor, "A"], Int[Tensor, "A"]]:
        """All values of these rows, as (position in `row`, value) pairs in order."""
        start, stop = self.bounds(row)
        item, index = ragged_arange(start, stop - start)
        return item, self.values[index].long()

    def sample_at(self, row: Int[Tensor, "B"], u: Float[Tensor, "B K"]) -> Int[Tensor, "B K"]:
        """The value at the fraction `u`, in [0, 1), of each row; any value for an empty row."""
        start, stop = self.bounds(row)
        index = (u * (stop - start).unsqueeze(1)).long()
        index += start.unsqueeze(1)
        return self.values.index_select(0, index.view(-1)).view(u.shape).long()

    def contains(self, row: Int[Tensor, "B"], ids: Int[Tensor, "G K"]) -> Bool[Tensor, "B K"]:
        """True where the row holds the value."""
        return self.contains_between(*self.bounds(row), ids)

    def find(self, row: Int[Tensor, "B"], ids: Int[Tensor, "B K"]) -> Int[Tensor, "B K"]:
        """The index into `values` of each value in its row; -1 where the row lacks it."""
        return self.find_between(*self.bounds(row), ids)

    def equal_range(
        self, row: Int[Tensor, "B"], ids: Int[Tensor, "B K"]
    ) -> tuple[Int[Tensor, "B K"], Int[Tensor, "B K"]]:
        """Where values that equal the id start and stop in each row, which may repeat them."""
        return range_between(self.values, *self.bounds(row), self.longest, ids)

    def contains_between(
        self, start: Int[Tensor, "B"], stop: Int[Tensor, "B"], ids: Int[Tensor, "G K"]
    ) -> Bool[Tensor, "B K"]:
        """True where `values[start:stop]` holds the value."""
        return contains_between(self.values, start, stop, self.longest, ids)

    def find_between(
        self, start: Int[Tensor, "B"], stop: Int[Tensor, "B"], ids: Int[Tensor, "B K"]
    ) -> Int[Tensor, "B K"]:
        """The index of each value in `values[start:stop]`; -1 where it is not there."""
        return find_between(self.values, start, stop, self.longest, ids)

    def missing_between(
        self, start: Int[Tensor, "B"], stop: Int[Tensor, "B"], rank: Int[Tensor, "B K"]
    ) -> Int[Tensor, "B K"]:
        """The number of the given rank (from 0) among those that `values[start:stop]` lacks.

        The j-th of them is j plus the number of values a_i with a_i - i <= j.
        """
        return missing_between(self.values, start, stop, self.longest, rank)


class TripleIndex(nn.Module):
    """The known answers of every query, from both ends of each triple; exact for any graph size.

    Distinct queries that have answers are numbered 0 .. Q - 1 in the order of (anchor, relation),
    and facts, one for each end of each distinct triple, in the order of (query, entity). Takes 4
    bytes per fact and 16 per query; on the CPU up to 64 more per query, from the first search on.

    Args:
        triples: known triples, in any order; repeated ones count once.

    Raises:
        ValueError: if there are more than 2**31 entities.
    """

    keys: Int[Tensor, "Q+1"]

    def __init__(self, triples: Int[Tensor, "T 3"], num_entities: int, num_relations: int):
        super().__init__()
        if num_entities > MAX_ENTITIES:
            raise ValueError(f"{num_entities} entities do not fit into 32-bit ids")
        self.num_entities, self.num_relations = num_entities, num_relations
        head, relation, tail = triples.long().unbind(1)
        anchor, entity = torch.cat([head, tail]), torch.cat([tail, head])
        key = query_key(anchor, torch.cat([relation, relation + num_relations]), num_relations)
        self.index_facts(key, entity)

    def index_facts(self, key: Int[Tensor, "F"], entity: Int[Tensor, "F"]) -> None:
        """Index these answers of queries, which are given by key."""
        keys, sizes, entities = zip(*self._sorted_portions(key, entity))
        # one more query, without answers, so that no search leads beyond the last
        keys = torch.cat([*keys, key.new_full((1,), NO_KEY)])
        self.register_buffer("keys", keys, persistent=False)
        self.entities = Ragged(torch.cat(entities), torch.cat([*sizes, key.new_zeros(1)]))
        self._by_key = KeyedRows()

    def _sorted_portions(
        self, key: Int[Tensor, "F"], entity: Int[Tensor, "F"]
    ) -> Iterator[tuple[Int[Tensor, "q"], Int[Tensor, "q"], Int[Tensor, "f"]]]:
        """Distinct keys, their numbers of answers, and the answers, all in order.

        A portion has as many keys as leave room for a fact in one 64-bit integer: all of them,
        where there are up to 2**62 possible facts.
        """
        num_keys = self.num_entities * 2 * self.num_relations
        width = max(1, 2**62 // max(1, self.num_entities))
        for start in range(0, max(1, num_keys), width):
            if width < num_keys:
                inside = (key >= start) & (key < start + width)
                packed = (key[inside] - start) * self.num_entities + entity[inside]
            else:
                packed = key * self.num_entities + entity
            packed = packed.unique()
            own, sizes = (packed // self.num_entities).unique_consecutive(return_counts=True)
            yield own + start, sizes, (packed % self.num_entities).int()

    @property
    def num_queries(self) -> int:
        """Number of distinct queries that have answers: Q."""
        return len(self.keys) - 1

    @property
    def num_facts(self) -> int:
        """Number of (query, answer) pairs: twice the number of distinct triples."""
        return len(self.entities.values) - 1

    def key(self, queries: Queries) -> Int[Tensor, "B"]:
        """The integer that stands for (anchor, relation) of each query."""
        return query_key(queries.anchor, queries.relation, self.num_relations)

    def rows(self, queries: Queries) -> Int[Tensor, "B"]:
        """The number of each query; Q for a query without known answers."""
        return rows_of(self.key(queries), self.keys)

    def queries(self, rows: Int[Tensor, "M"] | None = None) -> Queries:
        """The queries of these numbers; all of them for None. Their anchor stands in as answer."""
        key = self.keys[:-1] if rows is None else self.keys[rows]
        anchor, relation = split_key(key, self.num_relations)
        return Queries(anchor, relation, anchor, torch.ones(len(key), device=key.device))

    def facts(self) -> tuple[Int[Tensor, "F"], Int[Tensor, "F"], Int[Tensor, "F"]]:
        """(anchor, relation, entity) of every fact, in order."""
        queries = self.queries()
        row, entity = self.entities.gather_rows(torch.arange(len(queries), device=self.keys.device))
        return queries.anchor[row], queries.relation[row], entity

    def sizes(self) -> Int[Tensor, "Q"]:
        """Number of known answers of every query, by its number."""
        return self.entities.offsets.diff()[:-1]

    def anchor_rows(self, anchor: Int[Tensor, "B"]) -> tuple[Int[Tensor, "B"], Int[Tensor, "B"]]:
        """The numbers of each anchor's queries: the first one, and the one after the last."""
        first = query_key(anchor, torch.zeros_like(anchor), self.num_relations)
        beyond = query_key(anchor + 1, torch.zeros_like(anchor), self.num_relations)
        return torch.searchsorted(self.keys, first), torch.searchsorted(self.keys, beyond)

    def anchor_bounds(self, anchor: Int[Tensor, "B"]) -> tuple[Int[Tensor, "B"], Int[Tensor, "B"]]:
        """The numbers of each anchor's facts: the first one, and the one after the last."""
        first, beyond = self.anchor_rows(anchor)
        offsets = self.entities.offsets
        return offsets.index_select(0, first), offsets.index_select(0, beyond)

    def count(self, queries: Queries) -> Int[Tensor, "B"]:
        """Number of known answers of each query."""
        start, stop = self.bounds(queries)
        return stop - start

    def contains(self, queries: Queries, ids: Int[Tensor, "G K"]) -> Bool[Tensor, "B K"]:
        """True where (anchor, relation, id) is known."""
        return self._by_key.contains(self.key(queries), self._rows, ids)

    def contains_triples(self, triples: Int[Tensor, "T 3"]) -> Bool[Tensor, "T"]:
        """True where a triple is known."""
        head, relation, tail = triples.unbind(1)
        queries = Queries(head, relation, tail, torch.ones(len(triples), device=triples.device))
        return self.contains(queries, tail.unsqueeze(1)).squeeze(1)

    def find(self, queries: Queries, ids: Int[Tensor, "B K"]) -> Int[Tensor, "B K"]:
        """The number of each fact (anchor, relation, id); -1 where it is not known."""
        return self.entities.find_between(*self.bounds(queries), ids)

    def answers(self, queries: Queries) -> tuple[Int[Tensor, "A"], Int[Tensor, "A"]]:
        """All known answers as (row of the batch, entity) pairs, ordered by row and entity."""
        start, stop = self.bounds(queries)
        row, index = ragged_arange(start, stop - start)
        return row, self.entities.values[index].long()

    def answer(self, queries: Queries, rank: Int[Tensor, "B K"]) -> Int[Tensor, "B K"]:
        """The known answer with the given rank (from 0); beyond the last one, any entity."""
        start, _ = self.bounds(queries)
        index = (start.unsqueeze(1) + rank).clamp_(max=self.num_facts)
        return self.entities.values.index_select(0, index.view(-1)).view(rank.shape).long()

    def unknown(self, queries: Queries, rank: Int[Tensor, "B K"]) -> Int[Tensor, "B K"]:
        """The entity with the given rank (from 0) among those that are *not* known answers.

        Exact, without rejection. Ranks at or beyond the number of such entities give ids at or
        beyond N.
        """
        return self.entities.missing_between(*self.bounds(queries), rank)

    def bounds(self, queries: Queries) -> tuple[Int[Tensor, "B"], Int[Tensor, "B"]]:
        """The numbers of each query's facts: the first one, and the one after the last."""
        return self._by_key.bounds(self.key(queries), self._rows)

    def _rows(self) -> Rows:
        entities = self.entities
        return Rows(self.keys, entities.offsets, entities.values, entities.longest)


class PairIndex(nn.Module):
    """The relations that lead from one entity to another; 8 bytes per fact, and 8 per entity.

    Args:
        anchor, relation, entity: facts, each once, in any order.
    """

    relation: Int[Tensor, "F"]

    def __init__(
        self,
        anchor: Int[Tensor, "F"],
        relation: Int[Tensor, "F"],
        entity: Int[Tensor, "F"],
        num_entities: int,
    ):
        super().__init__()
        order = (anchor * num_entities + entity).sort(stable=True).indices
        self.entities = Ragged(entity[order], torch.bincount(anchor, minlength=num_entities))
        self.register_buffer("relation", relation[order].int(), persistent=False)

    def count(self, anchor: Int[Tensor, "B"], ids: Int[Tensor, "B K"]) -> Int[Tensor, "B K"]:
        """Number of relations from each anchor to each entity."""
        start, stop = self.entities.equal_range(anchor, ids)
        return stop - start

    def between(
        self, anchor: Int[Tensor, "A"], entity: Int[Tensor, "A"]
    ) -> tuple[Int[Tensor, "P"], Int[Tensor, "P"]]:
        """Every relation from each anchor to its entity, as (row of the input, relation)."""
        start, stop = self.entities.equal_range(anchor, entity.unsqueeze(1))
        row, index = ragged_arange(start.squeeze(1), (stop - start).squeeze(1))
        return row, self.relation[index].long()


def query_key(
    anchor: Int[Tensor, "..."], relation: Int[Tensor, "..."], num_relations: int
) -> Int[Tensor, "..."]:
    """One integer per (anchor, relation), in their order; relations run over [0, 2R)."""
    return anchor * (2 * num_relations) + relation


def split_key(
    key: Int[Tensor, "..."], num_relations: int
) -> tuple[Int[Tensor, "..."], Int[Tensor, "..."]]:
    """(anchor, relation) of keys made by `query_key`."""
    return key // (2 * num_relations), key % (2 * num_relations)


def triple_keys(
    triples: Int[Tensor, "T 3"], num_entities: int, num_relations: int
) -> Int[Tensor, "T"]:
    """One integer per triple, equal for equal triples only, but in no order.

    Products beyond 63 bits wrap around, which keeps up to 2**64 possible triples apart.

    Raises:
        ValueError: if there are more possible triples.
    """
    if num_entities**2 * num_relations > 2**64:
        raise ValueError(f"{num_entities} entities and {num_relations} relations overflow 64 bits")
    head, relation, tail = triples.unbind(1)
    return (head * num_relations + relation) * num_entities + tail


def ragged_arange(
    start: Int[Tensor, "M"], sizes: Int[Tensor, "M"]
) -> tuple[Int[Tensor, "A"], Int[Tensor, "A"]]:
    """Ranges one after another: start[i], start[i] + 1, ..., `sizes[i]` numbers for each i.

    Returns:
        The i of each number, and the number itself.
    """
    item = torch.arange(len(sizes), device=sizes.device).repeat_interleave(sizes)
    step = torch.arange(len(item), device=sizes.device) - (sizes.cumsum(0) - sizes)[item]
    return item, start[item] + step
