"""Draws from the cells of an inverted multi-index, and the probability of entities in them.

One uniform number u makes each draw: it chooses a row of cells, what remains of it a column, and
what remains then an entity of the cell."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from sparring.groups import ungroup
from sparring.kernels.runtime import compiled, enabled_for, refuse_unknown_ids

BLOCK = 8  # weights that are skipped at once
BELOW = 1 - 1e-9  # keeps a number below a sum that rounding may have made smaller
NEXT = 1 - 2**-50  # leads from a number to one hardly less


class Cells(NamedTuple):
    """Entities in cells (a, c), sorted by cell.

    Attributes:
        mass: the weights of all entities in each cell.
        first: where the entities of each cell start in `order`.
        size: number of entities in each cell.
        cumulative: sums of the weights of `order`, up to each entity and with it.
        order: entities by cell.
        hint: where in `order` the first, second, ... of a cell's `size` equal shares begin.
    """

    mass: Float[Tensor, "A C"]
    first: Int[Tensor, "AC"]
    size: Int[Tensor, "AC"]
    cumulative: Float[Tensor, "N"]
    order: Int[Tensor, "N"]
    hint: Int[Tensor, "N"]


def draw_from_cells(
    row_weight: Float[Tensor, "B A"],
    column_weight: Float[Tensor, "B C"],
    cells: Cells,
    u: Float[Tensor, "B k"],
    uniform_mix: float,
) -> Int[Tensor, "B k"]:
    """Entities drawn for each query, with replacement.

    Args:
        row_weight: weight of each row of cells, all its columns together.
        column_weight: weight of each column, to be multiplied by the masses of a row.
        u: in [0, 1), one for each draw.
        uniform_mix: probability of a draw from all entities alike.
    """
    if enabled_for(u):
        ids = torch.empty_like(u, dtype=torch.long)
        given = (row_weight, column_weight, *cells, u, ids)
        write_draws(*(tensor.numpy() for tensor in given), uniform_mix)
        return ids
    rest = (u - uniform_mix).clamp(min=0) / (1 - uniform_mix)
    a, rest = draw_in_proportion(row_weight.double(), rest)
    weight = (cells.mass[a] * column_weight.unsqueeze(1)).double()
    c, rest = draw_in_proportion(weight, rest.unsqueeze(2))
    cell = a * cells.mass.shape[1] + c.squeeze(2)
    return entities_in_cells(cells, cell, rest.squeeze(2), u, uniform_mix)


def draw_from_weighted_cells(
    weight: Float[Tensor, "G AC"],
    cells: Cells,
    u: Float[Tensor, "G k"],
    uniform_mix: float,
) -> Int[Tensor, "G k"]:
    """Entities drawn for each list, with replacement, by a weight of every cell.

    Args:
        weight: of each cell, per unit of its mass.
        u, uniform_mix: as in `draw_from_cells`.
    """
    rest = (u - uniform_mix).clamp(min=0) / (1 - uniform_mix)
    cell, rest = draw_in_proportion((weight * cells.mass.flatten()).double(), rest)
    return entities_in_cells(cells, cell, rest, u, uniform_mix)


def entities_in_cells(
    cells: Cells,
    cell: Int[Tensor, "B k"],
    rest: Float[Tensor, "B k"],
    u: Float[Tensor, "B k"],
    uniform_mix: float,
) -> Int[Tensor, "B k"]:
    """The entities that the rest of each u leads to in its cell, or any where u is small."""
    ids = cells.order[index_in_cells(cells.first, cells.size, cells.cumulative, cell, rest)]
    if not uniform_mix:
        return ids
    anyone = (u * (BELOW * len(cells.order) / uniform_mix)).long()
    return torch.where(u < uniform_mix, anyone, ids)


def probability_in_cells(
    row_weight: Float[Tensor, "B A"],
    column_weight: Float[Tensor, "B C"],
    total: Float[Tensor, "B 1"],
    cell: Int[Tensor, "N"],
    weight: Float[Tensor, "N"],
    ids: Int[Tensor, "G K"],
    uniform_mix: float,
) -> Float[Tensor, "B K"]:
    """Probability of each candidate, of which equal numbers of queries share a list.

    Args:
        row_weight: weight of each row of cells, for one unit of mass.
        column_weight: the same of each column.
        total: weight of everything.
        cell: of each entity, a * C + c.
        weight: of each entity, in its cell's mass.
        uniform_mix: probability of a draw from all entities alike.

    Raises:
        IndexError: for ids that are no entities.
    """
    if enabled_for(ids):
        probability = row_weight.new_empty(len(row_weight), ids.shape[1])
        given = (row_weight, column_weight, total, cell, weight, ids, probability)
        wrong = write_probabilities(*(tensor.numpy() for tensor in given), uniform_mix)
        refuse_unknown_ids(wrong, probability.numel(), ids, len(cell))
        return probability
    ids = ungroup(ids, len(row_weight))
    a, c = cell[ids] // column_weight.shape[1], cell[ids] % column_weight.shape[1]
    share = row_weight.gather(1, a) * column_weight.gather(1, c) * weight[ids]
    return mix_with_uniform(share / total, uniform_mix, len(cell))


def mix_with_uniform(
    probability: Float[Tensor, "_ K"], uniform_mix: float, entities: int
) -> Float[Tensor, "_ K"]:
    """Probabilities of entities where a share `uniform_mix` of the draws is uniform."""
    return probability * (1 - uniform_mix) + uniform_mix / entities


def draw_in_proportion(
    weight: Float[Tensor, "... n"], u: Float[Tensor, "... k"]
) -> tuple[Int[Tensor, "... k"], Float[Tensor, "... k"]]:
    """Indices drawn in proportion to weights, one by each u, and what remains of each u."""
    cumulative = weight.cumsum(-1)
    target = u * BELOW * cumulative[..., -1:]
    index = torch.searchsorted(cumulative, target, right=True)
    before = (cumulative - weight).gather(-1, index)
    return index, ((target - before) / weight.gather(-1, index)).clamp(0, BELOW)


def index_in_cells(
    first: Int[Tensor, "AC"],
    size: Int[Tensor, "AC"],
    cumulative: Float[Tensor, "N"],
    cell: Int[Tensor, "*shape"],
    u: Float[Tensor, "*shape"],
) -> Int[Tensor, "*shape"]:
    """The index in `order` that a fraction of each cell's mass leads to."""
    target, last = targets_in_cells(first, size, cumulative, cell, u)
    return torch.minimum(torch.searchsorted(cumulative, target, right=True), last)


def targets_in_cells(
    first: Int[Tensor, "AC"],
    size: Int[Tensor, "AC"],
    cumulative: Float[Tensor, "N"],
    cell: Int[Tensor, "*shape"],
    u: Float[Tensor, "*shape"],
) -> tuple[Float[Tensor, "*shape"], Int[Tensor, "*shape"]]:
    """The cumulative weight at a fraction of each cell's mass, and the cell's last entity."""
    start = first[cell]
    last = start + size[cell] - 1
    before = torch.where(start > 0, cumulative[(start - 1).clamp(min=0)], 0.0)
    return before + u * (cumulative[last] - before), last


def share_starts(
    first: Int[Tensor, "AC"], size: Int[Tensor, "AC"], cumulative: Float[Tensor, "N"], cell: Tensor
) -> Int[Tensor, "N"]:
    """Where in `order` the first, second, ... of a cell's `size` equal shares begin.

    Args:
        cell: of each entity of `order`, ascending.
    """
    rank = torch.arange(len(cell), device=cell.device) - first[cell]
    share = rank.double() / size[cell]
    if not enabled_for(cell):
        return index_in_cells(first, size, cumulative, cell, share)
    target, last = targets_in_cells(first, size, cumulative, cell, share)
    found = torch.empty_like(cell)
    find_ascending(cumulative.numpy(), target.numpy(), found.numpy())
    return torch.minimum(found, last)


@compiled
def find_ascending(values, targets, found):
    """As `searchsorted(values, targets, right=True)`, for targets that ascend too."""
    place = 0
    for index in range(len(targets)):
        while place < len(values) and values[place] <= targets[index]:
            place += 1
        found[index] = place


@compiled
def write_draws(
    row_weight, column_weight, mass, first, size, cumulative, order, hint, us, ids, uniform_mix
):
    """Set `ids[b, k]` to an entity drawn for query b by one number u.

    Where u falls chooses the row of cells; where in the row's share, the column; where in the
    cell's share, the entity. A u below `uniform_mix` chooses any entity instead. What all draws of
    a query do next is done in one loop, so that none waits for another.
    """
    (rows, columns), (batch, draws) = mass.shape, ids.shape
    row_wants, column_wants = in_blocks(rows), in_blocks(columns)
    row_sums = np.empty(len(row_wants) // BLOCK)
    column_sums = np.empty(len(column_wants) // BLOCK)
    cell_of, index = np.empty(draws, dtype=np.int64), np.empty(draws, dtype=np.int64)
    u, before = np.empty(draws), np.empty(draws)
    for query in range(batch):
        for row in range(rows):
            row_wants[row] = row_weight[query, row]
        everything = add_up(row_wants, row_sums) * BELOW / (1 - uniform_mix)
        count = 0
        u[:] = 0.0
        for k in range(draws):
            if us[query, k] < uniform_mix:
                ids[query, k] = int(us[query, k] / uniform_mix * BELOW * len(order))
            else:
                index[count], u[count] = k, (us[query, k] - uniform_mix) * everything
                count += 1
        skip_blocks(row_sums, u, before, cell_of)
        for k in range(count):
            row, skipped = pick(row_wants, cell_of[k] * BLOCK, BLOCK, before[k], u[k])
            cell_of[k], u[k] = row, remainder(u[k] - skipped, row_wants[row])
        for k in range(count):
            row = cell_of[k]
            for column in range(columns):
                column_wants[column] = mass[row, column] * column_weight[query, column]
            here = u[k] * add_up(column_wants, column_sums)
            block, skipped = pick(column_sums, 0, len(column_sums), 0.0, here)
            column, skipped = pick(column_wants, block * BLOCK, BLOCK, skipped, here)
            cell_of[k] = row * columns + column
            u[k] = remainder(here - skipped, column_wants[column])
        for k in range(count):
            ids[query, index[k]] = order[
                search_cell(first, size, cumulative, hint, cell_of[k], u[k])
            ]


@compiled
def write_probabilities(
    row_weight, column_weight, total, cell, weight, ids, probability, uniform_mix
):
    """Set `probability[b, k]` to query b's probability of candidate k; ids are [G, K].

    Returns how many ids are no entities.
    """
    columns, share, many = column_weight.shape[1], len(probability) // len(ids), ids.shape[1]
    number, wrong = probability.dtype.type, 0
    flat, less = number(uniform_mix / len(cell)), number(1 - uniform_mix)
    rows, own_columns = np.empty(many, dtype=np.uint64), np.empty(many, dtype=np.uint64)
    weights = np.empty(many, dtype=weight.dtype)
    for group in range(len(ids)):
        for k in range(many):  # what all queries of a list ask for
            entity = ids[group, k]
            known = 0 <= entity < len(cell)
            wrong += share * (not known)
            entity = entity if known else 0
            rows[k], own_columns[k] = divmod(cell[entity], columns)
            weights[k] = weight[entity]
        for query in range(group * share, group * share + share):
            scale = less / total[query, 0]
            by_row, by_column = row_weight[query], column_weight[query]  # so that loads are simple
            out = probability[query]
            for k in range(many):
                part = by_row[rows[k]] * by_column[own_columns[k]] * weights[k]
                out[k] = part * scale + flat
    return wrong


@compiled
def in_blocks(number):
    """Zeros for so many weights, in full blocks."""
    return np.zeros((number + BLOCK - 1) // BLOCK * BLOCK)


@compiled
def add_up(weight, sums):
    """The sum of all weights; that of each block goes to `sums`."""
    everything = 0.0
    for block in range(len(sums)):
        together = 0.0
        for index in range(BLOCK):  # a fixed number: added at once
            together += weight[block * BLOCK + index]
        sums[block] = together
        everything += together
    return everything


@compiled
def skip_blocks(sums, u, before, block):
    """Set the block that each u falls into, and the sum of the blocks before it."""
    running = 0.0
    for k in range(len(u)):
        block[k], before[k] = 0, 0.0
    for index in range(len(sums) - 1):
        running += sums[index]
        for k in range(len(u)):
            beyond = running <= u[k]
            block[k] += beyond
            before[k] = running if beyond else before[k]


@compiled
def pick(weight, start, many, running, u):
    """Which of so many weights takes the running sum beyond u, and the sum before that weight."""
    chosen, before = start, running
    for index in range(start, start + many - 1):
        running += weight[index]
        beyond = running <= u
        chosen += beyond
        before = running if beyond else before
    return chosen, before


@compiled
def remainder(u, weight):
    """u as a fraction of a weight, inside [0, 1) however it was rounded."""
    share = u / weight
    return share if 0 <= share < BELOW else BELOW


@compiled
def search_cell(first, size, cumulative, hint, cell, u):
    """The index in `order` that a fraction of a cell's mass leads to."""
    start, many = min(first[cell], len(cumulative) - 1), size[cell]
    before, whole = cumulative[start - 1] if start else 0.0, cumulative[start + many - 1]
    share = min(before + u * (whole - before), whole * NEXT)
    index = hint[start + int(u * many)]
    while cumulative[index] <= share:
        index += 1
    return index
