"""Entities in cells of two codes: exact draws from a softmax over cells, without listing them."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from sparring.batch import ungroup
from sparring.data.index import ragged_arange
from sparring.kernels.multi_index import (
    Cells,
    draw_from_cells,
    index_in_cells,
    mix_with_uniform,
    probability_in_cells,
)

# every cell stays possible, and products of three such numbers stay above the smallest float
LITTLE, DEEPEST = 1e-11, 25.0


@dataclass(frozen=True, eq=False)
class CellDistribution:
    """How queries divide their attention among cells (a, b), up to a factor per query.

    Attributes:
        near, far: attention to the codes of either half.
        row: attention to each near code with all far codes together.
        total: attention to everything.
    """

    near: Float[Tensor, "B A"]
    far: Float[Tensor, "B C"]
    row: Float[Tensor, "B A"]
    total: Float[Tensor, "B 1"]

    def __getitem__(self, rows: slice | Int[Tensor, "M"]) -> "CellDistribution":
        """Those of the chosen queries."""
        return CellDistribution(self.near[rows], self.far[rows], self.row[rows], self.total[rows])

    def draw(
        self, codes: "InvertedMultiIndex", k: int, rng: torch.Generator, floor: float = 0.0
    ) -> Int[Tensor, "B k"]:
        """k entities for each query, with replacement, but for a share that is uniform."""
        return codes.draw(self, k, rng, floor)

    def log_prob(
        self, codes: "InvertedMultiIndex", ids: Int[Tensor, "G K"], floor: float = 0.0
    ) -> Float[Tensor, "B K"]:
        """Log-probability of ids, as each query draws them but for a share that is uniform."""
        return codes.log_prob(self, ids, floor)


@dataclass(frozen=True, eq=False)
class BatchMeanDistribution:
    """One list for all queries, drawn from the mean of what each would draw from.

    Attributes:
        shares: of the queries.
        table: the mean of their attention to each cell, in shares of everything.
        size: number of queries that look at the list.
    """

    shares: CellDistribution
    table: Float[Tensor, "A C"]
    size: int

    @classmethod
    def of(cls, shares: CellDistribution) -> "BatchMeanDistribution":
        """The pool of these queries: one matrix product."""
        size = len(shares.total)
        return cls(shares, (shares.near / (size * shares.total)).T @ shares.far, size)

    def __getitem__(self, rows: slice) -> "BatchMeanDistribution":
        """The same pool for some of the queries."""
        return BatchMeanDistribution(self.shares, self.table, len(range(self.size)[rows]))

    def draw(
        self, codes: "InvertedMultiIndex", k: int, rng: torch.Generator, floor: float = 0.0
    ) -> Int[Tensor, "1 k"]:
        """k entities, each as one query at random would draw it."""
        device = self.table.device
        rows = torch.randint(len(self.shares.total), (k,), generator=rng, device=device)
        return codes.draw(self.shares[rows], 1, rng, floor).T

    def log_prob(
        self, codes: "InvertedMultiIndex", ids: Int[Tensor, "G K"], floor: float = 0.0
    ) -> Float[Tensor, "B K"]:
        """The same for the pool, in which all queries are alike."""
        share = self.table.flatten()[codes.cell[ids]] * codes.weight[ids]
        stated = mix_with_uniform(share, floor, codes.entities).log()
        return ungroup(stated, self.size)


class InvertedMultiIndex(nn.Module):
    """Cells (a, b) of entities, by the nearest code of each half of their vectors.

    The share of an entity in what a query asks for is in proportion to
    exp(near . code_a + far . code_b + bias), where `near` and `far` are the halves of the query's
    vector: an inverted multi-index (Chen et al., 2022). Because it factors, its sum over all
    cells is exp(near . codes) M exp(far . codes) with one matrix M of the cells' mass, and a draw
    needs one row of M. With codes in proportion to the fourth root of N, that is O(sqrt N) per
    query, and a draw inside a cell is a binary search.

    Entities are assigned anew a few at a time, and codes move to the mean of their entities when
    all have been visited, so that no step waits for a clustering. Until the next such moment
    vectors, biases and cells are what they were at the last: densities are always exact.

    Args:
        entities: N.
        dim: numbers per vector, even.
        codes: of the near half; the far half has half as many.
        visits: entities assigned anew per step.

    Raises:
        ValueError: for an odd dim, or fewer than one code or visit.
    """

    near: Float[Tensor, "A h"]
    far: Float[Tensor, "C h"]
    sum_near: Float[Tensor, "A h1"]
    sum_far: Float[Tensor, "C h1"]
    cell: Int[Tensor, "N"]
    weight: Float[Tensor, "N"]  # exp(bias), of which the greatest is 1
    order: Int[Tensor, "N"]
    upto: Float[Tensor, "N"]
    first: Int[Tensor, "AC"]
    size: Int[Tensor, "AC"]
    hint: Int[Tensor, "N"]  # where in `order` the first, second, ... of a cell's equal shares begin
    mass: Float[Tensor, "A C"]
    next_cell: Int[Tensor, "N"]
    next_bias: Float[Tensor, "N"]

    def __init__(self, entities: int, *, dim: int, codes: int, visits: int):
        super().__init__()
        if dim < 2 or dim % 2:
            raise ValueError(f"vectors are halved, so dim must be even; got dim={dim}")
        if codes < 1 or visits < 1:
            raise ValueError(
                f"an index has at least one code and visit; got codes={codes}, visits={visits}"
            )
        self.entities, self.visits, self.width, self.place = entities, visits, dim // 2, 0
        a, c = min(codes, entities), min(max(1, codes // 2), entities)
        for name, codes_of_half in (("near", a), ("far", c)):
            self.register_buffer(name, torch.zeros(codes_of_half, self.width))
            self.register_buffer(f"sum_{name}", torch.zeros(codes_of_half, self.width + 1))
        for name in ("weight", "next_bias"):
            self.register_buffer(name, torch.zeros(entities))
        for name in ("cell", "next_cell", "order", "hint"):
            self.register_buffer(name, torch.zeros(entities, dtype=torch.long))
        for name in ("first", "size"):
            self.register_buffer(name, torch.zeros(a * c, dtype=torch.long))
        self.register_buffer("upto", torch.zeros(entities, dtype=torch.double))
        self.register_buffer("mass", torch.zeros(a, c))

    @torch.no_grad()
    def restart(self, vectors: Float[Tensor, "N d"], bias: Float[Tensor, "N"]) -> None:
        """Begin with codes at entities evenly spaced by id, and assign every entity."""
        for codes, half in zip((self.near, self.far), vectors.split(self.width, 1)):
            codes.copy_(half[self._spaced(len(codes))])
        for _ in range(-(-self.entities // self.visits)):
            self.visit(vectors, bias)

    @torch.no_grad()
    def visit(self, vectors: Float[Tensor, "N d"], bias: Float[Tensor, "N"]) -> None:
        """Assign the next few entities anew; after the last, let all assignments take effect."""
        some = slice(self.place, min(self.place + self.visits, self.entities))
        near, far = vectors[some].split(self.width, 1)
        a, b = nearest(near, self.near), nearest(far, self.far)
        self.sum_near.index_add_(0, a, nn.functional.pad(near, (0, 1), value=1.0))
        self.sum_far.index_add_(0, b, nn.functional.pad(far, (0, 1), value=1.0))
        self.next_cell[some] = a * len(self.far) + b
        self.next_bias[some] = bias[some]
        self.place = some.stop
        if self.place == self.entities:
            self._take_effect(vectors)

    def _take_effect(self, vectors: Float[Tensor, "N d"]) -> None:
        near, far = vectors.split(self.width, 1)
        for codes, total, half in ((self.near, self.sum_near, near), (self.far, self.sum_far, far)):
            count = total[:, -1:]
            mean = total[:, :-1] / count.clamp(min=1)
            # a code without entities starts again at one of them
            codes.copy_(torch.where(count > 0, mean, half[self._spaced(len(codes))]))
            total.zero_()
        self.cell.copy_(self.next_cell)
        self.weight.copy_((self.next_bias - self.next_bias.amax()).clamp(min=-DEEPEST).exp())
        self.order.copy_(self.cell.argsort(stable=True))
        mass = self.weight.double()
        self.upto.copy_(mass[self.order].cumsum(0))
        sums = torch.zeros_like(self.first, dtype=torch.double).index_add_(0, self.cell, mass)
        self.mass.copy_(sums.view_as(self.mass))
        self.size.zero_().index_add_(0, self.cell, torch.ones_like(self.cell))
        self.first.copy_(self.size.cumsum(0) - self.size)
        cell = self.cell[self.order]
        turn = torch.arange(self.entities, device=cell.device) - self.first[cell]
        where = (self.first, self.size, self.upto, cell, turn.double() / self.size[cell])
        self.hint.copy_(index_in_cells(*where))
        self.place = 0

    def _spaced(self, number: int) -> Int[Tensor, "C"]:
        return torch.arange(number, device=self.cell.device) * self.entities // number

    def shares(self, context: Float[Tensor, "B d"]) -> CellDistribution:
        """What each query asks for."""
        near, far = context.split(self.width, 1)
        near, far = attention(near @ self.near.T), attention(far @ self.far.T)
        row = (far @ self.mass.T).mul_(near)
        return CellDistribution(near, far, row, row.sum(1, keepdim=True))

    def draw(
        self, shares: CellDistribution, k: int, rng: torch.Generator, floor: float = 0.0
    ) -> Int[Tensor, "B k"]:
        """k entities per query, with replacement, where a share `floor` of them is uniform.

        A draw takes one random number: what a choice leaves of it makes the next.
        """
        batch, device = len(shares.row), shares.row.device
        lots = torch.rand(batch, k, generator=rng, device=device, dtype=torch.double)
        cells = Cells(self.mass, self.first, self.size, self.upto, self.order, self.hint)
        return draw_from_cells(shares.row, shares.far, cells, lots, floor)

    def log_prob(
        self, shares: CellDistribution, ids: Int[Tensor, "G K"], floor: float = 0.0
    ) -> Float[Tensor, "B K"]:
        """Log-probability of ids, where a share `floor` of the draws is uniform.

        Raises:
            IndexError: for ids that are no entities.
        """
        given = (shares.near, shares.far, shares.total, self.cell, self.weight, ids)
        return probability_in_cells(*given, floor).log_()

    def topk(self, shares: CellDistribution, m: int) -> Int[Tensor, "B m"]:
        """The m most probable entities of each query, in any order.

        No cell holds one of them unless it is among the m whose best entities are most probable.
        Not for training: it waits for the number of entities in these cells.
        """
        cells = self.size.numel()
        best = self.weight.new_zeros(cells).scatter_reduce(0, self.cell, self.weight, "amax")
        hope = shares.near.unsqueeze(2) * shares.far.unsqueeze(1) * best.view_as(self.mass)
        chosen = hope.flatten(1).topk(min(m, cells), dim=1).indices
        size = self.size[chosen]
        _, spot = ragged_arange(self.first[chosen].flatten(), size.flatten())
        held = size.sum(1)
        row, column = ragged_arange(torch.zeros_like(held), held)
        ids = size.new_zeros(len(chosen), int(held.max()))
        ids[row, column] = self.order[spot]
        real = torch.zeros_like(ids, dtype=torch.bool)
        real[row, column] = True
        stated = self.log_prob(shares, ids).masked_fill(~real, -torch.inf)
        return ids.gather(1, stated.topk(m, dim=1).indices)

    def get_extra_state(self) -> dict[str, int]:
        return {"place": self.place}

    def set_extra_state(self, state: dict[str, int]) -> None:
        self.place = state["place"]


def attention(logit: Float[Tensor, "B C"]) -> Float[Tensor, "B C"]:
    """Softmax of each row, and a little more than nothing for everyone."""
    return logit.softmax(1).add_(LITTLE)


def nearest(points: Float[Tensor, "M h"], codes: Float[Tensor, "C h"]) -> Int[Tensor, "M"]:
    """The code at the least Euclidean distance of each point."""
    return torch.addmm((codes**2).sum(1), points, codes.T, alpha=-2).min(1).indices
