"""Scores of table rows, and the gradients of rows that were scored or looked up.

No vector of a candidate is copied: a score reads the row where it stands, and so does its gradient
for the query. The gradient for the table is made row by row, each from all pairs that name the row
(`RowGroups`), so that every row is written once and threads never meet. The PyTorch twins are the
scorers of `sparring.models.scorers` and the gradients of `torch.nn.functional.embedding`.

Candidates `ids` are [G, K]; B / G queries share each list. A loop runs for queries, or for groups
of equal rows, from `start` to `stop` - 1."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from sparring.kernels.runtime import compiled

TINY = 1e-12  # distances below 1e-6 have no direction
ROWS_AT_ONCE = 512  # rows of the table that stay in a near cache while queries pass by
DIGIT_BITS = 15  # sorted by at a time: counts of 32,768 digits stay in a near cache


@compiled
def score_dot(start, stop, query, table, ids, score):
    """Inner products; returns how many ids are no rows of the table."""
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
def query_grad_dot(start, stop, query, table, ids, weight, out):
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
def row_grad_dot(start, stop, order, first, rows, targets, query, table, ids, weight, out):
    """Gradient of inner products for rows of the table, added to `out`."""
    share, many, width = len(query) // len(ids), ids.shape[1], query.shape[1]
    for run in range(start, stop):
        target = targets[run]
        for index in range(first[run], first[run + 1]):
            group, k = order[index] // many, order[index] % many
            for row in range(group * share, group * share + share):
                factor = weight[row, k]
                for j in range(width):
                    out[target, j] += factor * query[row, j]
    return 0


@compiled
def score_l2(start, stop, query, table, ids, score):
    """Minus L2 distances; returns how many ids are no rows of the table."""
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
                gap = query[row, j] - table[entity, j]
                total += gap * gap
            score[row, k] = -np.sqrt(total)
    return wrong


@compiled
def query_grad_l2(start, stop, query, table, ids, weight, out):
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
def row_grad_l2(start, stop, order, first, rows, targets, query, table, ids, weight, out):
    """Gradient of minus L2 distances for rows of the table, added to `out`."""
    share, many, width = len(query) // len(ids), ids.shape[1], query.shape[1]
    for run in range(start, stop):
        target, entity = targets[run], rows[run]
        for index in range(first[run], first[run + 1]):
            group, k = order[index] // many, order[index] % many
            for row in range(group * share, group * share + share):
                factor = weight[row, k]
                for j in range(width):
                    out[target, j] += factor * (table[entity, j] - query[row, j])
    return 0


@compiled
def score_squared_l2(start, stop, query, table, ids, score):
    """Sums of both biases minus squared L2 distances; returns how many ids are no rows."""
    share, width, wrong = len(query) // len(ids), query.shape[1] - 1, 0
    for row in range(start, stop):
        group = row // share
        for k in range(ids.shape[1]):
            entity = ids[group, k]
            if entity < 0 or entity >= len(table):
                wrong += 1
                continue
            total = score.dtype.type(0)
            for j in range(width):
                gap = query[row, j] - table[entity, j]
                total += gap * gap
            score[row, k] = query[row, width] + table[entity, width] - total
    return wrong


@compiled
def query_grad_squared_l2(start, stop, query, table, ids, weight, out):
    """Gradient of biased squared L2 distances for the query."""
    share, width = len(query) // len(ids), query.shape[1] - 1
    for row in range(start, stop):
        group = row // share
        for j in range(width + 1):
            out[row, j] = 0
        for k in range(ids.shape[1]):
            entity, factor = ids[group, k], weight[row, k]
            for j in range(width):
                out[row, j] -= 2 * factor * (query[row, j] - table[entity, j])
            out[row, width] += factor
    return 0


@compiled
def row_grad_squared_l2(start, stop, order, first, rows, targets, query, table, ids, weight, out):
    """Gradient of biased squared L2 distances for rows of the table, added to `out`."""
    share, many, width = len(query) // len(ids), ids.shape[1], query.shape[1] - 1
    for run in range(start, stop):
        target, entity = targets[run], rows[run]
        for index in range(first[run], first[run + 1]):
            group, k = order[index] // many, order[index] % many
            for row in range(group * share, group * share + share):
                factor = weight[row, k]
                for j in range(width):
                    out[target, j] -= 2 * factor * (table[entity, j] - query[row, j])
                out[target, width] += factor
    return 0


@compiled
def score_l1(start, stop, query, table, ids, score):
    """Minus L1 distances; returns how many ids are no rows of the table."""
    share, width, wrong = len(query) // len(ids), query.shape[1], 0
    for low in range(0, ids.shape[1], ROWS_AT_ONCE):
        for row in range(start, stop):
            group = row // share
            for k in range(low, min(low + ROWS_AT_ONCE, ids.shape[1])):
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
def query_grad_l1(start, stop, query, table, ids, weight, out):
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
def row_grad_l1(start, stop, order, first, rows, targets, query, table, ids, weight, out):
    """Gradient of minus L1 distances for rows of the table, added to `out`."""
    share, many, width = len(query) // len(ids), ids.shape[1], query.shape[1]
    for run in range(start, stop):
        target, entity = targets[run], rows[run]
        for index in range(first[run], first[run + 1]):
            group, k = order[index] // many, order[index] % many
            for row in range(group * share, group * share + share):
                factor = weight[row, k]
                for j in range(width):
                    out[target, j] += factor * np.sign(query[row, j] - table[entity, j])
    return 0


@compiled
def score_complex_l1(start, stop, query, table, ids, score):
    """Minus sums of moduli of complex differences; returns how many ids are no rows."""
    share, half, wrong = len(query) // len(ids), query.shape[1] // 2, 0
    for low in range(0, ids.shape[1], ROWS_AT_ONCE):
        for row in range(start, stop):
            group = row // share
            for k in range(low, min(low + ROWS_AT_ONCE, ids.shape[1])):
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
def query_grad_complex_l1(start, stop, query, table, ids, weight, out):
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
                slope = factor / np.sqrt(max(square, least)) if square >= least else none
                out[row, j] -= slope * real
                out[row, j + half] -= slope * imaginary
    return 0


@compiled
def row_grad_complex_l1(start, stop, order, first, rows, targets, query, table, ids, weight, out):
    """Gradient of minus sums of moduli for rows of the table, added to `out`."""
    share, many, half = len(query) // len(ids), ids.shape[1], query.shape[1] // 2
    none, least = out.dtype.type(0), out.dtype.type(TINY)
    for run in range(start, stop):
        target, entity = targets[run], rows[run]
        for index in range(first[run], first[run + 1]):
            group, k = order[index] // many, order[index] % many
            for row in range(group * share, group * share + share):
                factor = weight[row, k]
                for j in range(half):
                    real = query[row, j] - table[entity, j]
                    imaginary = query[row, j + half] - table[entity, j + half]
                    square = real * real + imaginary * imaginary
                    slope = factor / np.sqrt(max(square, least)) if square >= least else none
                    out[target, j] += slope * real
                    out[target, j + half] += slope * imaginary
    return 0


@compiled
def add_vectors(start, stop, order, first, rows, targets, vectors, out):
    """Add the gradients of vectors that were looked up to the rows they came from."""
    for run in range(start, stop):
        target = targets[run]
        for index in range(first[run], first[run + 1]):
            pair = order[index]
            for j in range(vectors.shape[1]):
                out[target, j] += vectors[pair, j]
    return 0


@dataclass(frozen=True)
class ScoreKernel:
    """The loops of one score function.

    Attributes:
        score: writes the scores; returns how many ids are no rows.
        query_grad: writes the gradient for the queries.
        row_grad: adds the gradient for rows of the table.
        by_score: whether the gradient loops take the gradient of a score divided by the score.
        shared: whether the loops are faster than PyTorch for shared lists too: they are where no
            matrix product does the same.
    """

    score: Callable[..., int]
    query_grad: Callable[..., int]
    row_grad: Callable[..., int]
    by_score: bool = False
    shared: bool = False


DOT = ScoreKernel(score_dot, query_grad_dot, row_grad_dot)
L2 = ScoreKernel(score_l2, query_grad_l2, row_grad_l2, by_score=True)
SQUARED_L2 = ScoreKernel(score_squared_l2, query_grad_squared_l2, row_grad_squared_l2)
L1 = ScoreKernel(score_l1, query_grad_l1, row_grad_l1, shared=True)
COMPLEX_L1 = ScoreKernel(score_complex_l1, query_grad_complex_l1, row_grad_complex_l1, shared=True)


@dataclass(frozen=True, eq=False)
class RowGroups:
    """Pairs of a query and a row, grouped by row.

    Attributes:
        order: indices of the pairs, by row and, within a row, as given.
        first: where the pairs of each row start in `order`; at the end, the number of pairs.
        rows: the distinct rows, ascending.
    """

    order: Int[Tensor, "P"]
    first: Int[Tensor, "S"]
    rows: Int[Tensor, "U"]


def group_by_row(ids: Int[Tensor, "P"], num_rows: int) -> RowGroups:
    """Group pairs by the row that each names; for CPU tensors."""
    order = torch.empty(len(ids), dtype=torch.int32)
    first, scratch = torch.empty(len(ids) + 1, dtype=torch.int32), torch.empty_like(order)
    rows = torch.empty_like(ids)
    bits = max(num_rows - 1, 1).bit_length()
    digits = -(-bits // DIGIT_BITS)
    count = np.zeros(2 ** -(-bits // digits) + 1, dtype=np.int32)
    sort_by_digits(ids.numpy(), digits, order.numpy(), scratch.numpy(), count)
    runs = find_groups(ids.numpy(), order.numpy(), first.numpy(), rows.numpy())
    return RowGroups(order, first[: runs + 1], rows[:runs])


def merge_rows(
    parts: list[Int[Tensor, "_"]], num_rows: int
) -> tuple[Int[Tensor, "V"], tuple[Int[Tensor, "_"], ...]]:
    """The rows of all parts, ascending, and the index of each part's own rows among them."""
    groups = group_by_row(torch.cat(parts), num_rows)
    index = torch.empty_like(groups.order)
    number_groups(groups.order.numpy(), groups.first.numpy(), index.numpy())
    return groups.rows, index.split([len(part) for part in parts])


@compiled
def sort_by_digits(keys, digits, order, scratch, count):
    """Write the indices of ascending keys into `order`, those of equal keys as given.

    Args:
        digits: how many digits keys may have.
        scratch: as long as there are keys.
        count: one longer than there are values of a digit, a power of two.
    """
    values = len(count) - 1
    bits = int(np.log2(values))
    for index in range(len(keys)):
        order[index] = index
    for shift in range(0, digits * bits, bits):
        count[:] = 0
        for index in range(len(keys)):
            count[((keys[index] >> shift) & (values - 1)) + 1] += 1
        for value in range(values):
            count[value + 1] += count[value]
        for index in range(len(keys)):
            scratch[index] = order[index]
        for index in range(len(keys)):
            value = (keys[scratch[index]] >> shift) & (values - 1)
            order[count[value]] = scratch[index]
            count[value] += 1


@compiled
def find_groups(keys, order, first, rows):
    """Write where each run of equal keys starts, and its key; returns the number of runs."""
    runs = 0
    for index in range(len(order)):
        key = keys[order[index]]
        if not runs or rows[runs - 1] != key:
            first[runs], rows[runs] = index, key
            runs += 1
    first[runs] = len(order)
    return runs


@compiled
def number_groups(order, first, run):
    """Write the number of each pair's run."""
    for number in range(len(first) - 1):
        for index in range(first[number], first[number + 1]):
            run[order[index]] = number
