"""Draws from cells on the processor, in loops that list nothing and seldom guess wrong.

What all draws of a query do next is done side by side, so that none waits for another."""

import numpy as np

from sparring.kernels.runtime import compiled

BLOCK = 8  # weights that are skipped at once
BELOW = 1 - 1e-9  # keeps a lot below a sum that rounding may have made smaller
NEXT = 1 - 2**-50  # leads from a number to one hardly less


@compiled
def draw_from_cells(near, far, mass, first, size, upto, order, hint, lots, ids, floor):
    """Set `ids[b, k]` to an entity drawn for query b: each lot decides all that a draw asks.

    Where it falls tells the row of cells; where in the row's share, the column; where in the
    cell's, the entity. Lots below `floor` tell any entity instead.

    Args:
        near: [B, A], how much each query wants of each row of cells.
        far: [B, C], how much it wants of each column, to be multiplied by the row of `mass`.
        first, size, upto, order: the entities of each cell, and the sums of their mass up to them.
        hint: where to look for the first, second, ... of a cell's equal shares.
        lots: [B, k], in [0, 1).
    """
    (rows, columns), (batch, draws) = mass.shape, ids.shape
    row_want, column_want = in_blocks(rows), in_blocks(columns)
    row_sums = np.empty(len(row_want) // BLOCK)
    column_sums = np.empty(len(column_want) // BLOCK)
    spot, place = np.empty(draws, dtype=np.int64), np.empty(draws, dtype=np.int64)
    lot, before = np.empty(draws), np.empty(draws)
    for query in range(batch):
        for row in range(rows):
            row_want[row] = near[query, row]
        everything = add_up(row_want, row_sums) * BELOW / (1 - floor)
        count = 0
        lot[:] = 0.0
        for k in range(draws):
            if lots[query, k] < floor:
                ids[query, k] = int(lots[query, k] / floor * BELOW * len(order))
            else:
                place[count], lot[count] = k, (lots[query, k] - floor) * everything
                count += 1
        skip_blocks(row_sums, lot, before, spot)
        for k in range(count):
            row, skipped = pick(row_want, spot[k] * BLOCK, BLOCK, before[k], lot[k])
            spot[k], lot[k] = row, left(lot[k] - skipped, row_want[row])
        for k in range(count):
            row = spot[k]
            for column in range(columns):
                column_want[column] = mass[row, column] * far[query, column]
            here = lot[k] * add_up(column_want, column_sums)
            block, skipped = pick(column_sums, 0, len(column_sums), 0.0, here)
            column, skipped = pick(column_want, block * BLOCK, BLOCK, skipped, here)
            spot[k] = row * columns + column
            lot[k] = left(here - skipped, column_want[column])
        for k in range(count):
            ids[query, place[k]] = order[search(first, size, upto, hint, spot[k], lot[k])]


@compiled
def state(near, far, total, cell, weight, ids, stated, floor):
    """Set `stated[b, k]` to query b's probability of candidate k; ids are [G, K].

    Args:
        near, far: how much each query wants of rows and columns of cells; `total` of everything.
        cell, weight: of each entity.
        floor: the share of draws that are uniform.

    Gives how many ids are no entities.
    """
    columns, share, wrong = far.shape[1], len(stated) // len(ids), 0
    number = stated.dtype.type
    flat, less = number(floor / len(cell)), number(1 - floor)
    for query in range(len(stated)):
        scale = less / total[query, 0]
        for k in range(ids.shape[1]):
            entity = ids[query // share, k]
            if entity < 0 or entity >= len(cell):
                wrong += 1
                continue
            row, column = divmod(cell[entity], columns)
            part = near[query, row] * far[query, column] * weight[entity]
            stated[query, k] = part * scale + flat
    return wrong


@compiled
def in_blocks(number):
    """Space for so many weights and, so that all blocks are full, a few of 0."""
    return np.zeros((number + BLOCK - 1) // BLOCK * BLOCK)


@compiled
def add_up(weight, sums):
    """The sum of all weights; that of each block goes to `sums`."""
    everything = 0.0
    for block in range(len(sums)):
        together = 0.0
        for place in range(BLOCK):  # as many turns as are known beforehand: added at once
            together += weight[block * BLOCK + place]
        sums[block] = together
        everything += together
    return everything


@compiled
def skip_blocks(sums, lot, before, block):
    """Set the block that each lot falls into, and the sum of those before it."""
    running = 0.0
    for k in range(len(lot)):
        block[k], before[k] = 0, 0.0
    for place in range(len(sums) - 1):
        running += sums[place]
        for k in range(len(lot)):
            beyond = running <= lot[k]
            block[k] += beyond
            before[k] = running if beyond else before[k]


@compiled
def pick(weight, start, many, running, lot):
    """Which of so many weights takes the running sum beyond the lot, and the sum before it."""
    chosen, before = start, running
    for place in range(start, start + many - 1):
        running += weight[place]
        beyond = running <= lot
        chosen += beyond
        before = running if beyond else before
    return chosen, before


@compiled
def left(lot, weight):
    """The share of a weight that the rest of a lot makes, whatever rounding did to it."""
    share = lot / weight
    return share if 0 <= share < BELOW else BELOW


@compiled
def search(first, size, upto, hint, cell, lot):
    """The place of the entity of a cell that a share of the cell's mass leads to."""
    start, many = min(first[cell], len(upto) - 1), size[cell]
    before, whole = upto[start - 1] if start else 0.0, upto[start + many - 1]
    share = min(before + lot * (whole - before), whole * NEXT)
    place = hint[start + int(lot * many)]
    while upto[place] <= share:
        place += 1
    return place
