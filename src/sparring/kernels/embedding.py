"""Compiled comparisons of query vectors with rows of a table, and their gradients.

No vector of a candidate is ever copied: a score reads the row where it stands, and so does its
gradient for the query. The gradient for the table goes row by row, each made of all pairs that
speak of it, so that it is written once and threads never meet; `rows.py` says in what order.

Candidates `ids` are [G, K]; a list is shared by B / G queries. `start` and `stop` are what one
thread does: of queries, or of rows of the table."""

import numpy as np

from sparring.kernels.runtime import compiled

TINY = 1e-12  # distances below 1e-6 have no direction
AT_ONCE = 512  # rows of the table that stay in a near cache while queries pass by


@compiled
def score_by_product(start, stop, query, table, ids, score):
    """Inner products; gives how many ids are no rows of the table."""
    share, width, wrong = len(query) // len(ids), query.shape[1], 0
    for row in range(start, stop):
        group = row // share
        for k in range(ids.shape[1]):
            entity = ids[group, k]
            if entity < 0 or entity >= len(table):
                wrong += 1
                continue
            total = score.dtype.type(0)
            for j in range(width):
                total += query[row, j] * table[entity, j]
            score[row, k] = total
    return wrong


@compiled
def query_of_product(start, stop, query, table, ids, weight, out):
    """Gradient of inner products for the query."""
    share, width = len(query) // len(ids), query.shape[1]
    for row in range(start, stop):
        group = row // share
        for j in range(width):
            out[row, j] = 0
        for k in range(ids.shape[1]):
            entity, factor = ids[group, k], weight[row, k]
            for j in range(width):
                out[row, j] += factor * table[entity, j]
    return 0


@compiled
def rows_of_product(start, stop, order, first, rows, place, query, table, ids, weight, out):
    """Gradient of inner products for rows of the table, added to `out`."""
    share, lists, width = len(query) // len(ids), ids.shape[1], query.shape[1]
    for run in range(start, stop):
        here = place[run]
        for spot in range(first[run], first[run + 1]):
            group, k = order[spot] // lists, order[spot] % lists
            for row in range(group * share, group * share + share):
                factor = weight[row, k]
                for j in range(width):
                    out[here, j] += factor * query[row, j]
    return 0


@compiled
def score_by_distance(start, stop, query, table, ids, score):
    """Minus L2 distances; gives how many ids are no rows of the table."""
    share, width, wrong = len(query) // len(ids), query.shape[1], 0
    for row in range(start, stop):
        group = row // share
        for k in range(ids.shape[1]):
            entity = ids[group, k]
            if entity < 0 or entity >= len(table):
                wrong += 1
                continue
            total = score.dtype.type(0)
            for j in range(width):
                apart = query[row, j] - table[entity, j]
                total += apart * apart
            score[row, k] = -np.sqrt(total)
    return wrong


@compiled
def query_of_distance(start, stop, query, table, ids, weight, out):
    """Gradient of minus L2 distances for the query; weights are gradients divided by scores."""
    share, width = len(query) // len(ids), query.shape[1]
    for row in range(start, stop):
        group = row // share
        for j in range(width):
            out[row, j] = 0
        for k in range(ids.shape[1]):
            entity, factor = ids[group, k], weight[row, k]
            for j in range(width):
                out[row, j] += factor * (query[row, j] - table[entity, j])
    return 0


@compiled
def rows_of_distance(start, stop, order, first, rows, place, query, table, ids, weight, out):
    """Gradient of minus L2 distances for rows of the table, added to `out`."""
    share, lists, width = len(query) // len(ids), ids.shape[1], query.shape[1]
    for run in range(start, stop):
        here, entity = place[run], rows[run]
        for spot in range(first[run], first[run + 1]):
            group, k = order[spot] // lists, order[spot] % lists
            for row in range(group * share, group * share + share):
                factor = weight[row, k]
                for j in range(width):
                    out[here, j] += factor * (table[entity, j] - query[row, j])
    return 0


@compiled
def score_by_city_block(start, stop, query, table, ids, score):
    """Minus L1 distances; gives how many ids are no rows of the table."""
    share, width, wrong = len(query) // len(ids), query.shape[1], 0
    for low in range(0, ids.shape[1], AT_ONCE):
        for row in range(start, stop):
            group = row // share
            for k in range(low, min(low + AT_ONCE, ids.shape[1])):
                entity = ids[group, k]
                if entity < 0 or entity >= len(table):
                    wrong += 1
                    continue
                total = score.dtype.type(0)
                for j in range(width):
                    total += abs(query[row, j] - table[entity, j])
                score[row, k] = -total
    return wrong


@compiled
def query_of_city_block(start, stop, query, table, ids, weight, out):
    """Gradient of minus L1 distances for the query."""
    share, width = len(query) // len(ids), query.shape[1]
    for row in range(start, stop):
        group = row // share
        for j in range(width):
            out[row, j] = 0
        for k in range(ids.shape[1]):
            entity, factor = ids[group, k], weight[row, k]
            for j in range(width):
                out[row, j] -= factor * np.sign(query[row, j] - table[entity, j])
    return 0


@compiled
def rows_of_city_block(start, stop, order, first, rows, place, query, table, ids, weight, out):
    """Gradient of minus L1 distances for rows of the table, added to `out`."""
    share, lists, width = len(query) // len(ids), ids.shape[1], query.shape[1]
    for run in range(start, stop):
        here, entity = place[run], rows[run]
        for spot in range(first[run], first[run + 1]):
            group, k = order[spot] // lists, order[spot] % lists
            for row in range(group * share, group * share + share):
                factor = weight[row, k]
                for j in range(width):
                    out[here, j] += factor * np.sign(query[row, j] - table[entity, j])
    return 0


@compiled
def score_by_moduli(start, stop, query, table, ids, score):
    """Minus sums of moduli of complex differences; gives how many ids are no rows."""
    share, half, wrong = len(query) // len(ids), query.shape[1] // 2, 0
    for low in range(0, ids.shape[1], AT_ONCE):
        for row in range(start, stop):
            group = row // share
            for k in range(low, min(low + AT_ONCE, ids.shape[1])):
                entity = ids[group, k]
                if entity < 0 or entity >= len(table):
                    wrong += 1
                    continue
                total, least = score.dtype.type(0), score.dtype.type(TINY)
                for j in range(half):
                    real = query[row, j] - table[entity, j]
                    imaginary = query[row, j + half] - table[entity, j + half]
                    total += np.sqrt(max(real * real + imaginary * imaginary, least))
                score[row, k] = -total
    return wrong


@compiled
def query_of_moduli(start, stop, query, table, ids, weight, out):
    """Gradient of minus sums of moduli for the query; none where a modulus is next to 0."""
    share, half = len(query) // len(ids), query.shape[1] // 2
    none, least = out.dtype.type(0), out.dtype.type(TINY)
    for row in range(start, stop):
        group = row // share
        for j in range(2 * half):
            out[row, j] = 0
        for k in range(ids.shape[1]):
            entity, factor = ids[group, k], weight[row, k]
            for j in range(half):
                real = query[row, j] - table[entity, j]
                imaginary = query[row, j + half] - table[entity, j + half]
                square = real * real + imaginary * imaginary
                pull = factor / np.sqrt(max(square, least)) if square >= least else none
                out[row, j] -= pull * real
                out[row, j + half] -= pull * imaginary
    return 0


@compiled
def rows_of_moduli(start, stop, order, first, rows, place, query, table, ids, weight, out):
    """Gradient of minus sums of moduli for rows of the table, added to `out`."""
    share, lists, half = len(query) // len(ids), ids.shape[1], query.shape[1] // 2
    none, least = out.dtype.type(0), out.dtype.type(TINY)
    for run in range(start, stop):
        here, entity = place[run], rows[run]
        for spot in range(first[run], first[run + 1]):
            group, k = order[spot] // lists, order[spot] % lists
            for row in range(group * share, group * share + share):
                factor = weight[row, k]
                for j in range(half):
                    real = query[row, j] - table[entity, j]
                    imaginary = query[row, j + half] - table[entity, j + half]
                    square = real * real + imaginary * imaginary
                    pull = factor / np.sqrt(max(square, least)) if square >= least else none
                    out[here, j] += pull * real
                    out[here, j + half] += pull * imaginary
    return 0
