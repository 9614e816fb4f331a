"""An inverted multi-index: exact draws from a softmax over all entities in O(sqrt(N)) per query."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from sparring.data.index import ragged_arange
from sparring.groups import group_rows, group_size, ungroup
from sparring.kernels.cell_order import records_of, sort_cells
from sparring.kernels.multi_index import (
    Cells,
    Placed,
    draw_from_cells,
    draw_from_weighted_cells,
    mix_with_uniform,
    place_in_cells,
    probability_of,
)
from sparring.kernels.runtime import in_huge_pages

# every cell stays possible, and products of three such numbers stay above the smallest float
MIN_CODE_WEIGHT, MAX_BIAS_GAP = 1e-11, 25.0


class CellDistribution(ABC):
    """What B queries draw from, in G lists."""

    @abstractmethod
    def __getitem__(self, rows: slice) -> "CellDistribution":
        """The distribution of the chosen queries."""

    @abstractmethod
    def draw_placed(self, k: int, rng: torch.Generator, uniform_mix: float = 0.0) -> Placed:
        """k entities per list, with replacement, and what their density takes.

        Args:
            uniform_mix: probability that a draw is uniform over all entities.
        """

    @abstractmethod
    def place(self, ids: Int[Tensor, "G K"]) -> Placed:
        """Entities with what their density takes.

        Raises:
            IndexError: for ids that are no entities.
        """

    @abstractmethod
    def log_prob_of(self, placed: Placed, uniform_mix: float = 0.0) -> Float[Tensor, "B K"]:
        """Log-probability that a draw is each of these entities."""

    def draw(self, k: int, rng: torch.Generator, uniform_mix: float = 0.0) -> Int[Tensor, "G k"]:
        """k entities per list, with replacement."""
        return self.draw_placed(k, rng, uniform_mix).ids

    def log_prob(self, ids: Int[Tensor, "G K"], uniform_mix: float = 0.0) -> Float[Tensor, "B K"]:
        """Log-probability that a draw is each of `ids`.

        Raises:
            IndexError: for ids that are no entities.
        """
        return self.log_prob_of(self.place(ids), uniform_mix)


@dataclass(frozen=True, eq=False)
class PerQueryDistribution(CellDistribution):
    """Each query draws a list of its own, with its own weights of cells.

    The weight of cell (a, c) for a query is row[a] * column[c] * mass[a, c].

    Attributes:
        index: the entities in their cells.
        row: weight of each code of the first codebook.
        column: weight of each code of the second codebook.
        row_total: weight of each row of cells, all its columns together.
        total: weight of all cells.
    """

    index: "InvertedMultiIndex"
    row: Float[Tensor, "B A"]
    column: Float[Tensor, "B C"]
    row_total: Float[Tensor, "B A"]
    total: Float[Tensor, "B 1"]

    def __getitem__(self, rows: slice | Int[Tensor, "M"]) -> "PerQueryDistribution":
        parts = (self.row, self.column, self.row_total, self.total)
        return PerQueryDistribution(self.index, *(part[rows] for part in parts))

    def draw_placed(self, k: int, rng: torch.Generator, uniform_mix: float = 0.0) -> Placed:
        """A draw takes one random number: what a choice leaves of it makes the next choice."""
        shape, device = (len(self.row), k), self.row.device
        u = torch.rand(shape, generator=rng, device=device, dtype=torch.double)
        return draw_from_cells(self.row_total, self.column, self.index.cells, u, uniform_mix)

    def place(self, ids: Int[Tensor, "G K"]) -> Placed:
        return self.index.place(ids)

    def log_prob_of(self, placed: Placed, uniform_mix: float = 0.0) -> Float[Tensor, "B K"]:
        weights = (self.row, self.column, self.total)
        return probability_of(*weights, placed, uniform_mix, self.index.num_entities).log_()

    def topk(self, m: int) -> Int[Tensor, "B m"]:
        """The m most probable entities of each query, in any order.

        No cell holds one of them unless it is among the m whose best entities are most probable.
        Not for training: the size of the result depends on how many entities these cells hold.
        """
        index, cells = self.index, self.index.size.numel()
        best = index.weight.new_zeros(cells).scatter_reduce(0, index.cell, index.weight, "amax")
        bound = self.row.unsqueeze(2) * self.column.unsqueeze(1) * best.view_as(index.mass)
        chosen = bound.flatten(1).topk(min(m, cells), dim=1).indices
        size = index.size[chosen]
        _, place = ragged_arange(index.first[chosen].flatten(), size.flatten())
        count = size.sum(1)
        row, column = ragged_arange(torch.zeros_like(count), count)
        ids = size.new_zeros(len(chosen), int(count.max()))
        ids[row, column] = index.order[place]
        real = torch.zeros_like(ids, dtype=torch.bool)
        real[row, column] = True
        log_prob = self.log_prob(ids).masked_fill(~real, -torch.inf)
        return ids.gather(1, log_prob.topk(m, dim=1).indices)


@dataclass(frozen=True, eq=False)
class BatchMeanDistribution(CellDistribution):
    """One list for all queries, drawn from the mean of their distributions.

    Attributes:
        own: the distributions of the queries.
        weight: mean probability of each cell, per unit of its mass.
        size: number of queries that share the list.
    """

    own: PerQueryDistribution
    weight: Float[Tensor, "A C"]
    size: int

    @classmethod
    def of(cls, own: PerQueryDistribution) -> "BatchMeanDistribution":
        """The mean of these distributions, by one matrix product."""
        size = len(own.total)
        return cls(own, (own.row / (size * own.total)).T @ own.column, size)

    def __getitem__(self, rows: slice) -> "BatchMeanDistribution":
        """The same distribution, for some of the queries."""
        return BatchMeanDistribution(self.own, self.weight, len(range(self.size)[rows]))

    def draw_placed(self, k: int, rng: torch.Generator, uniform_mix: float = 0.0) -> Placed:
        """Each draw is one of a random query."""
        batch, device = len(self.own.total), self.weight.device
        rows = torch.randint(batch, (k,), generator=rng, device=device)
        return self.own[rows].draw_placed(1, rng, uniform_mix).map(lambda part: part.T)

    def place(self, ids: Int[Tensor, "G K"]) -> Placed:
        return self.own.index.place(ids)

    def log_prob_of(self, placed: Placed, uniform_mix: float = 0.0) -> Float[Tensor, "B K"]:
        """The same for all queries."""
        probability = self.weight.flatten()[placed.cell] * placed.weight
        entities = self.own.index.num_entities
        return ungroup(mix_with_uniform(probability, uniform_mix, entities).log(), self.size)


@dataclass(frozen=True, eq=False)
class GroupMeanDistribution(CellDistribution):
    """One list for each group of queries, drawn from the mean of their distributions.

    Attributes:
        index: the entities in their cells.
        weight: mean probability of each cell in each group, per unit of its mass.
        group: of each query.
    """

    index: "InvertedMultiIndex"
    weight: Float[Tensor, "G AC"]
    group: Int[Tensor, "B"]

    @classmethod
    def of(cls, own: PerQueryDistribution, groups: int) -> "GroupMeanDistribution":
        """The means of neighboring queries' distributions, by one matrix product per group."""
        batch = len(own.total)
        size = group_size(groups, batch)
        row = group_rows(own.row / (size * own.total), groups)
        weight = (row.mT @ group_rows(own.column, groups)).flatten(1)
        group = torch.arange(groups, device=weight.device).repeat_interleave(size)
        return cls(own.index, weight, group)

    def __getitem__(self, rows: slice) -> "GroupMeanDistribution":
        """The same distributions, for some of the queries."""
        return GroupMeanDistribution(self.index, self.weight, self.group[rows])

    def draw_placed(self, k: int, rng: torch.Generator, uniform_mix: float = 0.0) -> Placed:
        """One random number makes each draw: it chooses a cell, and what remains an entity."""
        shape, device = (len(self.weight), k), self.weight.device
        u = torch.rand(shape, generator=rng, device=device, dtype=torch.double)
        return draw_from_weighted_cells(self.weight, self.index.cells, u, uniform_mix)

    def place(self, ids: Int[Tensor, "L K"]) -> Placed:
        return self.index.place(ids)

    def log_prob_of(self, placed: Placed, uniform_mix: float = 0.0) -> Float[Tensor, "B K"]:
        """The same for all queries of a group.

        Args:
            placed: one list for all queries, or one for each group, or one for each query.
        """
        (groups, cells), batch = self.weight.shape, len(self.group)
        per_group = len(placed.ids) in (1, groups)
        spread = lambda part: part.expand(groups, -1) if per_group else ungroup(part, batch)
        cell, weight = spread(placed.cell), spread(placed.weight)
        group = torch.arange(groups, device=cell.device) if per_group else self.group
        place = group.unsqueeze(1) * cells + cell
        probability = self.weight.flatten()[place] * weight
        log_prob = mix_with_uniform(probability, uniform_mix, self.index.num_entities).log()
        return log_prob[self.group] if per_group else log_prob


class InvertedMultiIndex(nn.Module):
    """Entities in cells (a, c), by the nearest code of each half of their vectors.

    The probability of an entity for a query is in proportion to
    exp(query_1 . code_a + query_2 . code_c + bias), where `query_1` and `query_2` are the halves of
    the query's vector: an inverted multi-index (Chen et al., 2022). It factors, so its sum over
    all cells is exp(query_1 . codebook_1) M exp(query_2 . codebook_2) with one matrix M of the
    masses of cells, and a draw needs one row of M. With codes in proportion to the fourth root of
    N, that is O(sqrt(N)) per query; a draw inside a cell is a binary search.

    Entities are assigned to cells anew a few at a time, and codes move to the mean of their
    entities once all have been assigned, so that no step waits for a clustering. Until then
    vectors, biases and cells are what they were at the last such moment: densities are always
    exact.

    Args:
        num_entities: N.
        dim: width of vectors, even.
        codes: of the first codebook; the second has half as many.
        assign_per_update: entities that one call of `assign` assigns anew.

    Raises:
        ValueError: for an odd dim, or a number below 1.
    """

    codebook_1: Float[Tensor, "A h"]
    codebook_2: Float[Tensor, "C h"]
    sum_1: Float[Tensor, "A h1"]
    sum_2: Float[Tensor, "C h1"]
    cell: Int[Tensor, "N"]
    weight: Float[Tensor, "N"]  # exp(bias), scaled to a maximum of 1
    order: Int[Tensor, "N"]
    cumulative: Float[Tensor, "N"]
    first: Int[Tensor, "AC"]
    size: Int[Tensor, "AC"]
    hint: Int[Tensor, "N"]
    mass: Float[Tensor, "A C"]
    next_cell: Int[Tensor, "N"]
    next_bias: Float[Tensor, "N"]

    def __init__(self, num_entities: int, *, dim: int, codes: int, assign_per_update: int):
        super().__init__()
        if dim < 2 or dim % 2:
            raise ValueError(f"vectors are halved, so dim must be even; got dim={dim}")
        if codes < 1 or assign_per_update < 1:
            raise ValueError(
                "an index has at least one code, and assigns at least one entity per update; "
                f"got codes={codes}, assign_per_update={assign_per_update}"
            )
        self.num_entities, self.assign_per_update = num_entities, assign_per_update
        self.width, self.position = dim // 2, 0
        a, c = min(codes, num_entities), min(max(1, codes // 2), num_entities)
        for half, size in ((1, a), (2, c)):
            self.register_buffer(f"codebook_{half}", torch.zeros(size, self.width))
            self.register_buffer(f"sum_{half}", torch.zeros(size, self.width + 1))
        blank = lambda kind: in_huge_pages(torch.empty(num_entities, dtype=kind)).zero_()
        for name in ("weight", "next_bias"):
            self.register_buffer(name, blank(torch.float32))
        for name in ("cell", "next_cell", "order"):
            self.register_buffer(name, blank(torch.long))
        self.register_buffer("hint", blank(torch.int32))
        for name in ("first", "size"):
            self.register_buffer(name, torch.zeros(a * c, dtype=torch.long))
        self.register_buffer("cumulative", torch.zeros(num_entities, dtype=torch.double))
        self.register_buffer("mass", torch.zeros(a, c))
        self.records: Tensor | None = None
        self.register_load_state_dict_post_hook(_forget_records)

    @property
    def cells(self) -> Cells:
        """Entities by cell, as draws read them."""
        if self.records is None:  # after loading, or on another device
            self.records = records_of(self.cumulative, self.order, self.weight)
        by_cell = (self.mass, self.first, self.size, self.cumulative, self.order, self.hint)
        return Cells(*by_cell, self.cell, self.weight, self.records)

    def place(self, ids: Int[Tensor, "G K"]) -> Placed:
        """Entities with the cell and the weight of each.

        Raises:
            IndexError: for ids that are no entities.
        """
        return place_in_cells(self.cell, self.weight, ids)

    @torch.no_grad()
    def initialize(self, vectors: Float[Tensor, "N d"], bias: Float[Tensor, "N"]) -> None:
        """Start with codes at entities evenly spaced by id, and assign every entity."""
        halves = vectors.split(self.width, 1)
        for codebook, half in zip((self.codebook_1, self.codebook_2), halves):
            codebook.copy_(half[self._evenly_spaced(len(codebook))])
        for _ in range(-(-self.num_entities // self.assign_per_update)):
            self.assign(vectors, bias)

    @torch.no_grad()
    def assign(self, vectors: Float[Tensor, "N d"], bias: Float[Tensor, "N"]) -> None:
        """Assign the next few entities; after the last, all assignments take effect."""
        stop = min(self.position + self.assign_per_update, self.num_entities)
        some = slice(self.position, stop)
        first, second = vectors[some].split(self.width, 1)
        a, c = nearest_code(first, self.codebook_1), nearest_code(second, self.codebook_2)
        self.sum_1.index_add_(0, a, nn.functional.pad(first, (0, 1), value=1.0))
        self.sum_2.index_add_(0, c, nn.functional.pad(second, (0, 1), value=1.0))
        self.next_cell[some] = a * len(self.codebook_2) + c
        self.next_bias[some] = bias[some]
        self.position = stop
        if stop == self.num_entities:
            self._rebuild(vectors)

    def _rebuild(self, vectors: Float[Tensor, "N d"]) -> None:
        """Let all assignments take effect, and move codes to the mean of their entities."""
        halves = vectors.split(self.width, 1)
        books, sums = (self.codebook_1, self.codebook_2), (self.sum_1, self.sum_2)
        for codebook, total, half in zip(books, sums, halves):
            count = total[:, -1:]
            mean = total[:, :-1] / count.clamp(min=1)
            # a code without entities starts again at one of them
            spaced = half[self._evenly_spaced(len(codebook))]
            codebook.copy_(torch.where(count > 0, mean, spaced))
            total.zero_()
        self.cell.copy_(self.next_cell)
        self.weight.copy_((self.next_bias - self.next_bias.amax()).clamp(min=-MAX_BIAS_GAP).exp())
        self.sort_cells()
        self.position = 0

    def sort_cells(self) -> None:
        """Find all that draws read from the cell and the weight of each entity."""
        mass = self.mass.new_empty(self.mass.numel(), dtype=torch.double)
        by_cell = (self.first, self.size, mass, self.order, self.cumulative, self.hint)
        sort_cells(self.cell, self.weight, *by_cell)
        self.mass.copy_(mass.view_as(self.mass))
        self.records = records_of(self.cumulative, self.order, self.weight)

    def _evenly_spaced(self, number: int) -> Int[Tensor, "C"]:
        return torch.arange(number, device=self.cell.device) * self.num_entities // number

    def distribution(self, context: Float[Tensor, "B d"]) -> PerQueryDistribution:
        """What queries with these vectors draw from."""
        first, second = context.split(self.width, 1)
        row = code_weights(first @ self.codebook_1.T)
        column = code_weights(second @ self.codebook_2.T)
        row_total = (column @ self.mass.T).mul_(row)
        return PerQueryDistribution(self, row, column, row_total, row_total.sum(1, keepdim=True))

    def get_extra_state(self) -> dict[str, int]:
        return {"position": self.position}

    def set_extra_state(self, state: dict[str, int]) -> None:
        self.position = state["position"]


def _forget_records(index: Any, _: object) -> None:
    """After loading, make the records anew when they are needed."""
    index.records = None


def code_weights(logit: Float[Tensor, "B C"]) -> Float[Tensor, "B C"]:
    """Softmax of each row, where every code keeps a little weight."""
    return logit.softmax(1).add_(MIN_CODE_WEIGHT)


def nearest_code(points: Float[Tensor, "M h"], codebook: Float[Tensor, "C h"]) -> Int[Tensor, "M"]:
    """The code at the least Euclidean distance of each point."""
    return torch.addmm((codebook**2).sum(1), points, codebook.T, alpha=-2).min(1).indices
