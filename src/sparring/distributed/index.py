"""The generator's cells over entities that several ranks share, with the same law of draws.

Codes and the masses of all cells are known to all ranks, and each rank knows the cells of its own
entities. The rank that draws chooses a cell and, in proportion to the masses of its entities there,
a virtual worker, all by one random number; the owner chooses inside the cell by what is left of the
number. Nothing depends on how many ranks there are."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from sparring.distributed import world
from sparring.distributed.layout import Layout
from sparring.distributed.step import worker_streams
from sparring.distributed.table import RowBuffers, ShardedTable, fetch
from sparring.distributed.world import Route
from sparring.generators.multi_index import (
    MAX_BIAS_GAP,
    CellDistribution,
    code_weights,
    nearest_code,
)
from sparring.kernels.multi_index import Placed, probability_of
from sparring.kernels.runtime import enabled_for
from sparring.kernels.sharded_draws import (
    Runs,
    choose_runs,
    find_in_runs,
    nearest_cells,
    share_starts,
)

AT_ONCE = 2**14  # entities of a virtual worker that are assigned together at the start


@dataclass(frozen=True, eq=False)
class ShardedDistribution(CellDistribution):
    """What the queries of this rank draw from, each a list of its own.

    Attributes:
        index: the entities in their cells.
        row, column: weight of each code of the two codebooks.
        row_total: weight of each row of cells, all its columns together.
        total: weight of all cells.
    """

    index: "ShardedMultiIndex"
    row: Float[Tensor, "B A"]
    column: Float[Tensor, "B C"]
    row_total: Float[Tensor, "B A"]
    total: Float[Tensor, "B 1"]

    def __getitem__(self, rows: slice) -> "ShardedDistribution":
        parts = (self.row, self.column, self.row_total, self.total)
        return ShardedDistribution(self.index, *(part[rows] for part in parts))

    def draw_placed(self, k: int, rng: torch.Generator, uniform_mix: float = 0.0) -> Placed:
        """k entities per query, with replacement; one random number makes each draw."""
        index, device = self.index, self.row.device
        parts = torch.arange(len(self.row)).tensor_split(len(index.asking))
        u = torch.cat(
            [
                torch.rand((len(part), k), generator=stream, device=device, dtype=torch.double)
                for part, stream in zip(parts, worker_streams(rng, index.asking))
            ]
        )
        weights = (self.row_total, self.column, index.mass, index.mass_up_to)
        layout = index.layout
        wanted, rest = choose_runs(*weights, u, uniform_mix, layout.num_entities, layout.block)
        ids, cell, weight = index.find(wanted, rest)
        return Placed(ids.view(u.shape), cell.view(u.shape), weight.view(u.shape))

    def place(self, ids: Int[Tensor, "G K"]) -> Placed:
        """Entities with what their density takes."""
        index = self.index
        known = fetch(index.layout, ids, index.cell_and_weight)
        return Placed(ids, known[..., 0].long(), known[..., 1])

    def log_prob_of(self, placed: Placed, uniform_mix: float = 0.0) -> Float[Tensor, "B K"]:
        """Log-probability that a draw is each of these entities."""
        weights, entities = (self.row, self.column, self.total), self.index.layout.num_entities
        return probability_of(*weights, placed, uniform_mix, entities).log_()


class ShardedMultiIndex(RowBuffers):
    """As `InvertedMultiIndex`, over the rows of a `ShardedTable`.

    Codes move to the mean of their entities as they are when all have been assigned.

    Args:
        layout: who owns which rows.
        table: rows of the student: a vector and a bias.
        codes: of the first codebook; the second has half as many.
        assign_per_update: entities that one call of `assign` assigns anew, on all ranks together,
            at least one of each virtual worker.
    """

    codebook_1: Float[Tensor, "A h"]
    codebook_2: Float[Tensor, "C h"]
    cell: Int[Tensor, "n"]
    weight: Float[Tensor, "n"]  # exp(bias), scaled to a maximum of 1 over all ranks
    next_cell: Int[Tensor, "n"]
    next_bias: Float[Tensor, "n"]
    order: Int[Tensor, "m"]  # rows by virtual worker and cell
    key: Float[Tensor, "m"]  # number of worker and cell, and the share of its mass up to each row
    hint: Int[Tensor, "m"]
    first: Int[Tensor, "runs"]
    size: Int[Tensor, "runs"]
    mass_up_to: Float[Tensor, "AC V"]  # of the first workers' entities in each cell
    mass: Float[Tensor, "A C"]

    def __init__(self, layout: Layout, table: ShardedTable, *, codes: int, assign_per_update: int):
        super().__init__()
        self.layout, self.position = layout, 0
        self.rows = [table.rows]  # in a list: it is registered elsewhere
        self.look_up = [table]
        self.width = (table.embedding_dim - 1) // 2
        self.step = max(1, assign_per_update // layout.workers)
        a, c = (min(n, layout.num_entities) for n in (codes, max(1, codes // 2)))
        if layout.workers * max(a * c, layout.block) >= 2**31:
            raise ValueError(
                f"{layout.workers} virtual workers and {a * c} cells are too many; set codes or "
                "distributed.virtual_workers lower"
            )
        self.register_buffer("codebook_1", torch.zeros(a, self.width))
        self.register_buffer("codebook_2", torch.zeros(c, self.width))
        for name in ("cell", "next_cell"):
            self.register_buffer(name, torch.zeros(layout.own_rows, dtype=torch.int32))
        for name in ("weight", "next_bias"):
            self.register_buffer(name, torch.zeros(layout.own_rows))
        self.register_load_state_dict_post_hook(lambda module, _: module._sort())

    def row_buffers(self) -> list[Tensor]:
        return [self.cell, self.next_cell, self.weight, self.next_bias]

    def bytes_of_row(self) -> int:
        sorted_rows = (self.order, self.key, self.hint)
        return super().bytes_of_row() + sum(one.element_size() for one in sorted_rows)

    @property
    def vectors(self) -> Float[Tensor, "n d1"]:
        """The rows of this rank, with their biases."""
        return self.rows[0].weight.detach()

    def counts(self) -> list[int]:
        """Rows in use of each virtual worker of this rank."""
        return [len(self.layout.entities_of(worker)) for worker in self.layout.own]

    @torch.no_grad()
    def initialize(self, *_: Any) -> None:
        """Start with codes at entities evenly spaced by id, and assign every entity."""
        for codebook, spaced in zip((self.codebook_1, self.codebook_2), self._spaced()):
            codebook.copy_(spaced)
        self.position = 0
        for _part in range(0, self.layout.block, AT_ONCE):
            self._assign(AT_ONCE)

    @torch.no_grad()
    def assign(self, *_: Any) -> None:
        """Assign the next few entities; after the last, all assignments take effect."""
        self._assign(self.step)

    def _assign(self, rows: int) -> None:
        """Assign so many entities of each virtual worker."""
        block = self.layout.block
        stop = min(self.position + rows, block)
        if enabled_for(self.vectors):
            given = (self.vectors, self.codebook_1, self.codebook_2, self.position, stop, block)
            nearest_cells(*given, self.next_cell, self.next_bias)
        else:
            self._assign_in_pytorch(self.position, stop)
        self.position = stop
        if stop == block:
            self._rebuild()

    def _assign_in_pytorch(self, start: int, stop: int) -> None:
        for block in range(0, self.layout.own_rows, self.layout.block):
            some = slice(
                block + start, block + stop
            )  # one worker at a time: always the same shapes
            first, second, bias = self.vectors[some].split([self.width, self.width, 1], 1)
            a, c = nearest_code(first, self.codebook_1), nearest_code(second, self.codebook_2)
            self.next_cell[some] = (a * len(self.codebook_2) + c).int()
            self.next_bias[some] = bias.squeeze(1)

    def _rebuild(self) -> None:
        """Let all assignments take effect, and move codes to the mean of their entities."""
        cells = [
            cell[:count]
            for cell, count in zip(self.next_cell.split(self.layout.block), self.counts())
        ]
        vectors = self.vectors.split(self.layout.block)
        biggest = world.max_all(torch.stack([self.next_bias[self._used()].amax()]))
        spaced, columns = self._spaced(), len(self.codebook_2)
        for half, codebook in enumerate((self.codebook_1, self.codebook_2)):
            totals = []
            for cell, rows in zip(cells, vectors):
                code = cell.long() // columns if half == 0 else cell.long() % columns
                part = rows[: len(cell), half * self.width : (half + 1) * self.width]
                total = part.new_zeros(len(codebook), self.width + 1)
                totals.append(total.index_add_(0, code, nn.functional.pad(part, (0, 1), value=1.0)))
            total = world.gather_all(torch.stack(totals)).sum(0)  # worker by worker, on all ranks
            count = total[:, -1:]
            mean = total[:, :-1] / count.clamp(min=1)
            codebook.copy_(torch.where(count > 0, mean, spaced[half]))
        self.cell.copy_(self.next_cell)
        self.weight.copy_((self.next_bias - biggest).clamp(min=-MAX_BIAS_GAP, max=0).exp())
        self.position = 0
        self._sort()

    @torch.no_grad()
    def _sort(self) -> None:
        """Order the rows by worker and cell, and tell all ranks the masses of all cells."""
        layout, cells = self.layout, len(self.codebook_1) * len(self.codebook_2)
        used = self._used()
        number = used // layout.block
        run = number * cells + self.cell[used].long()
        order = run.argsort(stable=True)
        run, weight = run[order], self.weight[used][order].double()
        self.order = used[order]
        runs = layout.per_rank * cells
        self.size = torch.bincount(run, minlength=runs)
        self.first = self.size.cumsum(0) - self.size
        mass = weight.new_zeros(runs).index_add_(0, run, weight)
        # sums begin anew with each worker, so that they are the same on any number of ranks
        upto = torch.cat([part.cumsum(0) for part in weight.split(self.counts())])
        start = self.first[run]
        before = upto[start] - weight[start]
        share = ((upto - before) / mass[run]).clamp(max=1)
        self.key = share + (run + layout.own.start * cells)
        if enabled_for(self.key):
            self.hint = share_starts(self.first, self.size, self.key, layout.own.start * cells)
        else:
            self.hint = self.order[:0]
        masses = world.gather_all(mass.view(layout.per_rank, cells)).T
        self.mass_up_to = masses.cumsum(1).contiguous()
        self.mass = self.mass_up_to[:, -1].float().view(len(self.codebook_1), -1)

    def _used(self) -> Int[Tensor, "m"]:
        """The rows of this rank that are in use."""
        block, device = self.layout.block, self.cell.device
        return torch.cat(
            [
                torch.arange(number * block, number * block + count, device=device)
                for number, count in enumerate(self.counts())
            ]
        )

    def _spaced(self) -> tuple[Float[Tensor, "A h"], Float[Tensor, "C h"]]:
        """Halves of the vectors of entities evenly spaced by id, one for each code."""
        found = []
        for half, codebook in enumerate((self.codebook_1, self.codebook_2)):
            ids = torch.arange(len(codebook), device=codebook.device)
            vectors = self.look_up[0](ids * self.layout.num_entities // len(codebook)).detach()
            found.append(vectors[:, half * self.width : (half + 1) * self.width])
        return found[0], found[1]

    def distribution(self, context: Float[Tensor, "B d"]) -> ShardedDistribution:
        """What queries with these vectors draw from."""
        parts = []
        for rows in context.tensor_split(len(self.asking)):  # always the same shapes
            first, second = rows.split(self.width, 1)
            row = code_weights(first @ self.codebook_1.T)
            column = code_weights(second @ self.codebook_2.T)
            total = (column @ self.mass.T).mul_(row)
            parts.append((row, column, total, total.sum(1, keepdim=True)))
        return ShardedDistribution(self, *(torch.cat(part) for part in zip(*parts)))

    @property
    def asking(self) -> range:
        """The virtual workers whose queries a batch holds."""
        return range(self.layout.workers) if self.same_queries else self.layout.own

    def find(
        self, wanted: Int[Tensor, "P"], rest: Float[Tensor, "P"]
    ) -> tuple[Int[Tensor, "P"], Int[Tensor, "P"], Float[Tensor, "P"]]:
        """Entity, cell and weight of each draw, from the process that owns the entity.

        Args:
            wanted, rest: as `choose_runs` gives them. 12 bytes of each travel, and 12 come back.
        """
        layout, cells = self.layout, self.mass.numel()
        route = None
        if world.size() > 1:
            of_row, of_run = layout.rank_of_row(-1 - wanted), wanted // cells // layout.per_rank
            route = Route.to(torch.where(wanted < 0, of_row, of_run).long())
            asked = [wanted.unsqueeze(1), rest.view(torch.int32).view(-1, 2)]
            asked = route.send(torch.cat(asked, 1))
            wanted = asked[:, 0].contiguous()
            rest = asked[:, 1:].contiguous().view(torch.double).squeeze(1)
        sorted_rows = (self.first, self.size, self.key, self.order, self.hint)
        starts = (layout.own.start * cells, layout.first_row)
        runs = Runs(*sorted_rows, self.cell, self.weight, *starts)
        found = find_in_runs(runs, wanted, rest, layout.block, layout.workers)
        found = found if route is None else route.answer(found)
        ids, cell, weight = found.T.contiguous()
        return ids.long(), cell.long(), weight.view(torch.float32)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "ShardedMultiIndex":
        moved = super()._apply(fn, recurse)
        moved._sort()
        return moved

    def cell_and_weight(self, rows: Int[Tensor, "M"]) -> Float[Tensor, "M 2"]:
        """Cell and weight of rows of this rank; numbers of cells are small enough for floats."""
        return torch.stack([self.cell[rows].float(), self.weight[rows]], 1)

    def get_extra_state(self) -> dict[str, int]:
        return {"position": self.position}

    def set_extra_state(self, state: dict[str, int]) -> None:
        self.position = state["position"]
