"""Draws from the cells of an inverted multi-index, and the probability of entities in them.

One uniform number u makes each draw: it chooses a row of cells, what remains of it a column, and
what remains then an entity of the cell."""

from collections.abc import Callable
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
        cell: of each entity, a * C + c.
        weight: of each entity, in its cell's mass.
        records: what loops read of `cumulative`, `order` and `weight`, side by side for each place
            in `order`; None for weights of 64 bits.
    """

    mass: Float[Tensor, "A C"]
    first: Int[Tensor, "AC"]
    size: Int[Tensor, "AC"]
    cumulative: Float[Tensor, "N"]
    order: Int[Tensor, "N"]
    hint: Int[Tensor, "N"]
    cell: Int[Tensor, "N"]
    weight: Float[Tensor, "N"]
    records: Float[Tensor, "N 2"] | None = None


class Placed(NamedTuple):
    """Entities with what their density takes, in G lists.

    Attributes:
        ids: the entities.
        cell: of each.
        weight: of each, in its cell's mass.
    """

    ids: Int[Tensor, "G K"]
    cell: Int[Tensor, "G K"]
    weight: Float[Tensor, "G K"]

    def map(self, function: Callable[[Tensor], Tensor]) -> "Placed":
        """A function of all parts."""
        return Placed(*(function(part) for part in self))


def draw_from_cells(
    row_weight: Float[Tensor, "B A"],
    column_weight: Float[Tensor, "B C"],
    cells: Cells,
    u: Float[Tensor, "B k"],
    uniform_mix: float,
) -> Placed:
    """Entities drawn for each query, with replacement.

    Args:
        row_weight: weight of each row of cells, all its columns together.
        column_weight: weight of each column, to be multiplied by the masses of a row.
        u: in [0, 1), one for each draw.
        uniform_mix: probability of a draw from all entities alike.
    """
    if enabled_for(u) and cells.records is not None:
        ids, cell = (torch.empty_like(u, dtype=torch.long) for _ in range(2))
        weight, records = cells.weight.new_empty(u.shape), cells.records
        by_cell = (cells.mass, cells.first, cells.size, cells.hint, cells.cell, cells.weight)
        parts = (records, records.view(torch.int32), records.view(torch.float32))
        given = (row_weight, column_weight, *by_cell, *parts, u, ids, cell, weight)
        write_draws(*(tensor.numpy() for tensor in given), uniform_mix)
        return Placed(ids, cell, weight)
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
) -> Placed:
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
) -> Placed:
    """The entities that the rest of each u leads to in its cell, or any where u is small."""
    ids = cells.order[index_in_cells(cells.first, cells.size, cells.cumulative, cell, rest)]
    if uniform_mix:
        anyone = (u * (BELOW * len(cells.order) / uniform_mix)).long()
        ids = torch.where(u < uniform_mix, anyone, ids)
    return Placed(ids, cells.cell[ids], cells.weight[ids])


def place_in_cells(
    cell: Int[Tensor, "N"], weight: Float[Tensor, "N"], ids: Int[Tensor, "G K"]
) -> Placed:
    """Entities with the cell and the weight of each.

    Raises:
        IndexError: for ids that are no entities.
    """
    if not enabled_for(ids):
        return Placed(ids, cell[ids], weight[ids])
    found, own = torch.empty_like(ids), weight.new_empty(ids.shape)
    given = (cell, weight, ids, found, own)
    wrong = look_up_cells(*(tensor.numpy() for tensor in given))
    refuse_unknown_ids(wrong, ids.numel(), ids, len(cell))
    return Placed(ids, found, own)


def probability_of(
    row_weight: Float[Tensor, "B A"],
    column_weight: Float[Tensor, "B C"],
    total: Float[Tensor, "B 1"],
    placed: Placed,
    uniform_mix: float,
    num_entities: int,
) -> Float[Tensor, "B K"]:
    """Probability of each candidate, of which equal numbers of queries share a list.

    Args:
        row_weight: weight of each row of cells, for one unit of mass.
        column_weight: the same of each column.
        total: weight of everything.
        uniform_mix: probability of a draw from all entities alike.
    """
    if enabled_for(placed.ids):
        probability = row_weight.new_empty(len(row_weight), placed.ids.shape[1])
        given = (row_weight, column_weight, total, placed.cell, placed.weight, probability)
        write_probabilities(*(tensor.numpy() for tensor in given), uniform_mix, num_entities)
        return probability
    cell, weight = (ungroup(part, len(row_weight)) for part in placed[1:])
    a, c = cell // column_weight.shape[1], cell % column_weight.shape[1]
    share = row_weight.gather(1, a) * column_weight.gather(1, c) * weight
    return mix_with_uniform(share / total, uniform_mix, num_entities)


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
    row_weight,
    column_weight,
    mass,
    first,
    size,
    hint,
    cell,
    weight,
    records,
    records_as_int,
    records_as_float,
    us,
    ids,
    cell_out,
    weight_out,
    uniform_mix,
):
    """Set `ids[b, k]` to an entity drawn for query b by one number u, and its cell and weight.

    Where u falls chooses the row of cells; where in the row's share, the column; where in the
    cell's share, the entity. A u below `uniform_mix` chooses any entity instead.
    """
    (rows, columns), (batch, draws) = mass.shape, ids.shape
    row_wants, column_wants = in_blocks(rows), in_blocks(columns)
    row_sums = np.empty(len(row_wants) // BLOCK)
    column_sums = np.empty(len(column_wants) // BLOCK)
    cell_of, index = np.empty(draws, dtype=np.int64), np.empty(draws, dtype=np.int64)
    u, before, places = np.empty(draws), np.empty(draws), np.empty(draws, dtype=np.int64)
    for query in range(batch):
        for k in range(draws):
            if us[query, k] < uniform_mix:
                entity = int(us[query, k] / uniform_mix * BELOW * len(records))
                ids[query, k] = entity
                cell_out[query, k], weight_out[query, k] = cell[entity], weight[entity]
        count = choose_cells(
            *(row_weight[query], column_weight[query], mass, us[query], uniform_mix),
            *(index, cell_of, u, before, row_wants, row_sums, column_wants, column_sums),
        )
        for k in range(count):
            places[k] = first_guess(first, size, hint, cell_of[k], u[k])
        for k in range(count):
            place = search_cell(first, size, records, places[k], cell_of[k], u[k])
            out = index[k]
            ids[query, out] = records_as_int[place, 2]
            cell_out[query, out], weight_out[query, out] = cell_of[k], records_as_float[place, 3]


@compiled
def choose_cells(
    row_weight,
    column_weight,
    mass,
    us,
    uniform_mix,
    index,
    cell_of,
    u,
    before,
    row_wants,
    row_sums,
    column_wants,
    column_sums,
):
    """Set the cell of each draw of a query that is not uniform, and what is left of its number.

    What all draws do next is done in one loop, so that none waits for another.

    Args:
        index: receives the numbers of these draws.
        before, row_wants, row_sums, column_wants, column_sums: memory to work in.

    Returns how many there are.
    """
    rows, columns = mass.shape
    for row in range(rows):
        row_wants[row] = row_weight[row]
    everything = add_up(row_wants, row_sums) * BELOW / (1 - uniform_mix)
    count = 0
    u[:] = 0.0
    for k in range(len(us)):
        if us[k] >= uniform_mix:
            index[count], u[count] = k, (us[k] - uniform_mix) * everything
            count += 1
    skip_blocks(row_sums, u, before, cell_of)
    for k in range(count):
        row, skipped = pick(row_wants, cell_of[k] * BLOCK, BLOCK, before[k], u[k])
        cell_of[k], u[k] = row, remainder(u[k] - skipped, row_wants[row])
    for k in range(count):
        row = cell_of[k]
        for column in range(columns):
            column_wants[column] = mass[row, column] * column_weight[column]
        here = u[k] * add_up(column_wants, column_sums)
        block, skipped = pick(column_sums, 0, len(column_sums), 0.0, here)
        column, skipped = pick(column_wants, block * BLOCK, BLOCK, skipped, here)
        cell_of[k] = row * columns + column
        u[k] = remainder(here - skipped, column_wants[column])
    return count


@compiled
def look_up_cells(cell, weight, ids, cell_out, weight_out):
    """Set the cell and the weight of each id; returns how many ids are no entities."""
    wrong = 0
    for group in range(len(ids)):
        for k in range(ids.shape[1]):
            entity = ids[group, k]
            known = 0 <= entity < len(cell)
            wrong += not known
            entity = entity if known else 0
            cell_out[group, k], weight_out[group, k] = cell[entity], weight[entity]
    return wrong


@compiled
def write_probabilities(
    row_weight, column_weight, total, cell, weight, probability, uniform_mix, num_entities
):
    """Set `probability[b, k]` to query b's probability of candidate k; lists are [G, K]."""
    columns, share, many = column_weight.shape[1], len(probability) // len(cell), cell.shape[1]
    number = probability.dtype.type
    flat, less = number(uniform_mix / num_entities), number(1 - uniform_mix)
    rows, own_columns = np.empty(many, dtype=np.uint64), np.empty(many, dtype=np.uint64)
    for group in range(len(cell)):
        for k in range(many):  # what all queries of a list ask for
            rows[k], own_columns[k] = divmod(cell[group, k], columns)
        weights = weight[group]
        for query in range(group * share, group * share + share):
            scale = less / total[query, 0]
            by_row, by_column = row_weight[query], column_weight[query]  # so that loads are simple
            out = probability[query]
            for k in range(many):
                part = by_row[rows[k]] * by_column[own_columns[k]] * weights[k]
                out[k] = part * scale + flat


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
def first_guess(first, size, hint, cell, u):
    """The index in `order` where the search for a fraction of a cell's mass starts."""
    return hint[min(first[cell], len(hint) - 1) + int(u * size[cell])]


@compiled
def search_cell(first, size, records, index, cell, u):
    """The index in `order` that a fraction of a cell's mass leads to, at least `index`."""
    start, many = min(first[cell], len(records) - 1), size[cell]
    before, whole = records[start - 1, 0] if start else 0.0, records[start + many - 1, 0]
    share = min(before + u * (whole - before), whole * NEXT)
    while records[index, 0] <= share:
        index += 1
    return index
