"""Draws from cells whose entities several processes share; see `sparring.distributed.index`.

The process that draws chooses a *run*, the entities of one virtual worker in one cell, and the
worker's process finds the entity there by what is left of the random number. Nothing depends on how
many processes there are: a loop does for each draw what it does in one process."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from sparring.kernels.multi_index import (
    BELOW,
    BLOCK,
    choose_cells,
    draw_in_proportion,
    find_ascending,
    in_blocks,
    remainder,
)
from sparring.kernels.runtime import compiled, enabled_for


def choose_runs(
    row_weight: Float[Tensor, "B A"],
    column_weight: Float[Tensor, "B C"],
    mass: Float[Tensor, "A C"],
    mass_up_to: Float[Tensor, "AC V"],
    u: Float[Tensor, "B k"],
    uniform_mix: float,
    num_entities: int,
    block: int,
) -> tuple[Int[Tensor, "Bk"], Float[Tensor, "Bk"]]:
    """What is drawn by each u, and what is left of it to find the entity in a run.

    Args:
        row_weight: weight of each row of cells, all its columns together.
        column_weight: weight of each column, to be multiplied by the masses of a row.
        mass: of all entities of each cell.
        mass_up_to: of the entities of the first workers, up to each and with it.
        uniform_mix: probability of a draw from all entities alike.
        block: rows of each worker; worker v has entities v, v + V, v + 2V, ...

    Returns:
        the run, worker * A * C + cell; or -1 - row for an entity that a uniform draw chose.
    """
    workers = mass_up_to.shape[1]
    if enabled_for(u):
        wanted, rest = u.new_empty(u.shape, dtype=torch.int32), torch.zeros_like(u)
        given = (row_weight, column_weight, mass, mass_up_to, u, wanted, rest)
        write_runs(*(tensor.numpy() for tensor in given), uniform_mix, num_entities, block)
        return wanted.flatten(), rest.flatten()
    left = (u - uniform_mix).clamp(min=0) / (1 - uniform_mix)
    a, left = draw_in_proportion(row_weight.double(), left)
    weight = (mass[a] * column_weight.unsqueeze(1)).double()
    c, left = draw_in_proportion(weight, left.unsqueeze(2))
    cell = a * mass.shape[1] + c.squeeze(2)
    upto = mass_up_to[cell]
    of_worker = torch.cat([upto[..., :1], upto.diff(dim=-1)], -1)
    worker, left = draw_in_proportion(of_worker, left)
    run = worker.squeeze(2) * mass.numel() + cell
    if uniform_mix:
        anyone = (u / uniform_mix * BELOW * num_entities).long()
        row = anyone % workers * block + anyone // workers
        run = torch.where(u < uniform_mix, -1 - row, run)
    return run.int().flatten(), left.squeeze(2).flatten()


class Runs(NamedTuple):
    """The rows of one process, by worker and cell.

    Attributes:
        first: where the rows of each run start in `order`.
        size: number of rows in each run.
        key: number of the run, and the share of its mass up to each row and with it.
        order: rows by run.
        hint: where in `order` the first, second, ... of a run's `size` equal shares begin.
        cell: of each row.
        weight: of each row.
        start: number of the first run of this process.
        first_row: the first row of this process.
    """

    first: Int[Tensor, "runs"]
    size: Int[Tensor, "runs"]
    key: Float[Tensor, "m"]
    order: Int[Tensor, "m"]
    hint: Int[Tensor, "m"]
    cell: Int[Tensor, "n"]
    weight: Float[Tensor, "n"]
    start: int
    first_row: int


def find_in_runs(
    runs: Runs, wanted: Int[Tensor, "P"], rest: Float[Tensor, "P"], block: int, workers: int
) -> Int[Tensor, "P 3"]:
    """What the owner answers to draws: entity, cell, and weight as the bits of a float.

    Args:
        wanted, rest: as `choose_runs` gives them.
    """
    if enabled_for(wanted):
        found = wanted.new_empty(len(wanted), 3)
        given = (*runs[:6], runs.weight.view(torch.int32), wanted, rest, found)
        answer_draws(*(one.numpy() for one in given), runs.start, runs.first_row, block, workers)
        return found
    run = wanted.long()
    own = (run - runs.start).clamp(min=0)
    first = runs.first[own]
    place = torch.searchsorted(runs.key, run + rest, right=True)
    last = (first + runs.size[own] - 1).clamp(min=0)
    drawn = runs.order[torch.minimum(torch.maximum(place, first), last)]
    row = torch.where(run < 0, -1 - run - runs.first_row, drawn)
    place = row + runs.first_row
    entity = place % block * workers + place // block
    return torch.stack([entity.int(), runs.cell[row], runs.weight[row].view(torch.int32)], 1)


def nearest_cells(
    rows: Float[Tensor, "n d1"],
    codebook_1: Float[Tensor, "A h"],
    codebook_2: Float[Tensor, "C h"],
    start: int,
    stop: int,
    block: int,
    cell: Int[Tensor, "n"],
    bias: Float[Tensor, "n"],
) -> None:
    """Set the cells of some rows of each worker, and their biases; for CPU tensors.

    Args:
        rows: of vectors, with their biases last.
        start, stop: rows of each block.
    """
    given = (rows, codebook_1, codebook_2, cell, bias)
    write_nearest(*(tensor.numpy() for tensor in given), start, stop, block)


def share_starts(
    first: Int[Tensor, "runs"], size: Int[Tensor, "runs"], key: Float[Tensor, "m"], start: int
) -> Int[Tensor, "m"]:
    """`Runs.hint`; for CPU tensors, as loops alone read it."""
    run = torch.arange(len(size)).repeat_interleave(size)
    rank = torch.arange(len(run)) - first[run]
    target = start + run + rank.double() / size[run]
    found = torch.empty(len(run), dtype=torch.int32)
    find_ascending(key.numpy(), target.numpy(), found.numpy())
    return torch.minimum(found, (first + size - 1)[run]).int()


@compiled
def write_runs(
    row_weight, column_weight, mass, mass_up_to, us, wanted, rest, uniform_mix, num_entities, block
):
    """Set what each u chooses, and what is left of it; see `choose_runs`."""
    (rows, columns), (batch, draws) = mass.shape, us.shape
    cells, workers = rows * columns, mass_up_to.shape[1]
    row_wants, column_wants = in_blocks(rows), in_blocks(columns)
    row_sums = np.empty(len(row_wants) // BLOCK)
    column_sums = np.empty(len(column_wants) // BLOCK)
    cell_of, index = np.empty(draws, dtype=np.int64), np.empty(draws, dtype=np.int64)
    u, before = np.empty(draws), np.empty(draws)
    for query in range(batch):
        for k in range(draws):
            if us[query, k] < uniform_mix:
                entity = int(us[query, k] / uniform_mix * BELOW * num_entities)
                wanted[query, k] = -1 - (entity % workers * block + entity // workers)
        count = choose_cells(
            *(row_weight[query], column_weight[query], mass, us[query], uniform_mix),
            *(index, cell_of, u, before, row_wants, row_sums, column_wants, column_sums),
        )
        for k in range(count):
            cell = cell_of[k]
            target = u[k] * BELOW * mass_up_to[cell, workers - 1]
            low, high = 0, workers - 1
            while low < high:
                middle = (low + high) >> 1
                if mass_up_to[cell, middle] <= target:
                    low = middle + 1
                else:
                    high = middle
            skipped = mass_up_to[cell, low - 1] if low else 0.0
            wanted[query, index[k]] = low * cells + cell
            rest[query, index[k]] = remainder(target - skipped, mass_up_to[cell, low] - skipped)


@compiled
def answer_draws(
    first,
    size,
    key,
    order,
    hint,
    cell,
    weight_bits,
    wanted,
    rest,
    found,
    start,
    first_row,
    block,
    workers,
):
    """Set entity, cell and weight of each draw; see `find_in_runs`.

    What all draws do next is done in one loop, so that none waits for another.
    """
    for index in range(len(wanted)):
        own = wanted[index] - start
        if wanted[index] >= 0:
            found[index, 0] = hint[first[own] + int(rest[index] * size[own])]
    for index in range(len(wanted)):
        row = -1 - wanted[index] - first_row
        if wanted[index] >= 0:
            own, place = wanted[index] - start, found[index, 0]
            last, target = first[own] + size[own] - 1, wanted[index] + rest[index]
            while place < last and key[place] <= target:
                place += 1
            row = order[place]
        found[index, 0] = row
    for index in range(len(wanted)):
        row = found[index, 0]
        place = row + first_row
        found[index, 0] = place % block * workers + place // block
        found[index, 1], found[index, 2] = cell[row], weight_bits[row]


@compiled
def write_nearest(rows, codebook_1, codebook_2, cell, bias, start, stop, block):
    """`nearest_cells` for all blocks of rows."""
    half = codebook_1.shape[1]
    for first in range(0, len(rows), block):
        for row in range(first + start, first + stop):
            a = nearest(rows[row, :half], codebook_1)
            c = nearest(rows[row, half : 2 * half], codebook_2)
            cell[row] = a * len(codebook_2) + c
            bias[row] = rows[row, 2 * half]


@compiled
def nearest(vector, codebook):
    """The first of the codes at the least Euclidean distance."""
    best, least = 0, np.inf
    for code in range(len(codebook)):
        total = 0.0
        for j in range(len(vector)):
            gap = vector[j] - codebook[code, j]
            total += gap * gap
        if total < least:
            best, least = code, total
    return best
