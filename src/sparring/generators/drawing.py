"""Draws from cells on the processor, in a loop that lists nothing and seldom guesses wrong."""

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
    rows, columns = mass.shape
    row_sums = np.empty((rows + BLOCK - 1) // BLOCK, dtype=np.float32)
    column_sums = np.empty((columns + BLOCK - 1) // BLOCK, dtype=np.float32)
    wanted = np.empty(columns, dtype=np.float32)
    for query in range(len(ids)):
        everything = add_up(near[query], row_sums)
        for k in range(ids.shape[1]):
            row = pick(near[query], row_sums, lots[0, query, k] * everything)
            for column in range(columns):
                wanted[column] = mass[row, column] * far[query, column]
            together = add_up(wanted, column_sums)
            column = pick(wanted, column_sums, lots[1, query, k] * together)
            cell = row * columns + column
            low, high = first[cell], first[cell] + size[cell] - 1
            if low < high:
                before = upto[low - 1] if low else 0.0
                lot = before + inside[query, k] * (upto[high] - before)
                while low < high:
                    middle = (low + high) >> 1
                    if upto[middle] <= lot:
                        low = middle + 1
                    else:
                        high = middle
            ids[query, k] = order[low]


@compiled
def add_up(weight, sums):
    """The sum of all weights; that of each block goes to `sums`."""
    everything, full = np.float32(0.0), len(weight) // BLOCK
    for block in range(full):
        together = np.float32(0.0)
        for place in range(BLOCK):
            together += weight[block * BLOCK + place]
        sums[block] = together
        everything += together
    for block in range(full, len(sums)):
        together = np.float32(0.0)
        for place in range(full * BLOCK, len(weight)):
            together += weight[place]
        sums[block] = together
        everything += together
    return everything


@compiled
def pick(weight, sums, lot):
    """Where the running sum of weights goes beyond the lot."""
    block, lot = pick_between(sums, 0, len(sums), lot)
    start = block * BLOCK
    return pick_between(weight, start, min(len(weight), start + BLOCK), lot)[0]


@compiled
def pick_between(weight, start, stop, lot):
    """The same among some of them, and what is left of the lot there; never at a weight of 0."""
    running, taken, chosen = np.float32(0.0), np.float32(0.0), start
    for place in range(start, stop - 1):
        running += weight[place]
        beyond = running <= lot
        chosen += beyond
        taken = running if beyond else taken
    while weight[chosen] == 0 and chosen > start:  # rounding led beyond the last
        chosen -= 1
    return chosen, lot - taken
