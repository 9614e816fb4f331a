"""Draws from cells on the processor, in loops that list nothing and seldom guess wrong.

What all draws of a query do next is done side by side, so that none waits for another.
"""

import numpy as np

from sparring.compiled import compiled

BLOCK = 16  # weights that are skipped at once


@compiled
def draw_from_cells(near, far, mass, first, size, upto, order, lots, inside, ids):
    """Set `ids[b, k]` to an entity drawn for query b.

    Args:
        near: [B, A], how much each query wants of each row of cells.
        far: [B, C], how much it wants of each column, to be multiplied by the row of `mass`.
        first, size, upto, order: the entities of each cell, and the sums of their mass up to them.
        lots: [2, B, k], in [0, 1), for row and column.
        inside: [B, k], for the entity in the cell.
    """
    (rows, columns), draws = mass.shape, ids.shape[1]
    sums = np.empty((rows + BLOCK - 1) // BLOCK, dtype=np.float32)
    spot, lot = np.empty(draws, dtype=np.int64), np.empty(draws, dtype=np.float32)
    taken = np.empty_like(lot)
    wanted = np.empty((draws, columns), dtype=np.float32)
    for query in range(len(ids)):
        everything = add_up(near[query], sums)
        for k in range(draws):
            lot[k] = lots[0, query, k] * everything
        skip_blocks(sums, lot, taken, spot)
        for k in range(draws):
            start = spot[k] * BLOCK
            spot[k] = pick(near[query], start, min(start + BLOCK, rows), lot[k])
        for k in range(draws):
            row, together = spot[k], np.float32(0.0)
            for column in range(columns):
                wanted[k, column] = mass[row, column] * far[query, column]
            for column in range(columns):
                together += wanted[k, column]
            lot[k] = lots[1, query, k] * together
        for k in range(draws):
            spot[k] = spot[k] * columns + pick(wanted[k], 0, columns, lot[k])
        for k in range(draws):
            ids[query, k] = order[search(first, size, upto, spot[k], inside[query, k])]


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
def add_up(weight, sums):
    """The sum of all weights; that of each block goes to `sums`."""
    everything, full = np.float32(0.0), len(weight) // BLOCK
    for block in range(full):
        together = np.float32(0.0)
        for place in range(BLOCK):  # as many turns as are known beforehand: added at once
            together += weight[block * BLOCK + place]
        sums[block] = together
        everything += together
    if full < len(sums):
        sums[full] = weight[full * BLOCK :].sum()
        everything += sums[full]
    return everything


@compiled
def skip_blocks(sums, lot, taken, block):
    """Set the block that each lot falls into; of the lot, leave what is inside the block.

    Args:
        taken: space for as many numbers as there are lots.
    """
    running = np.float32(0.0)
    for k in range(len(lot)):
        block[k], taken[k] = 0, 0
    for before in range(len(sums) - 1):
        running += sums[before]
        for k in range(len(lot)):
            beyond = running <= lot[k]
            block[k] += beyond
            taken[k] = running if beyond else taken[k]
    for k in range(len(lot)):
        lot[k] -= taken[k]
        while sums[block[k]] == 0 and block[k] > 0:  # rounding led beyond the last
            block[k] -= 1


@compiled
def pick(weight, start, stop, lot):
    """Where the running sum of weights goes beyond the lot; never at a weight of 0."""
    running, chosen = np.float32(0.0), start
    for place in range(start, stop - 1):
        running += weight[place]
        chosen += running <= lot
    while weight[chosen] == 0 and chosen > start:  # rounding led beyond the last
        chosen -= 1
    return chosen


@compiled
def search(first, size, upto, cell, lot):
    """The place of the entity of a cell that a share of the cell's mass leads to."""
    low, high = first[cell], first[cell] + size[cell] - 1
    if low < high:
        before = upto[low - 1] if low else 0.0
        lot = before + lot * (upto[high] - before)
        while low < high:
            middle = (low + high) >> 1
            if upto[middle] <= lot:
                low = middle + 1
            else:
                high = middle
    return low
