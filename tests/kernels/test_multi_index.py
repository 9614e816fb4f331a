"""Draws from cells and their probabilities, by loops and by their twins."""

import pytest
import torch
from kernels.switch import kernels_on

from sparring.kernels.cell_order import records_of, sort_cells
from sparring.kernels.multi_index import (
    BELOW,
    Cells,
    draw_from_cells,
    place_in_cells,
    probability_of,
    remainder,
)

ROWS, COLUMNS, ENTITIES, BATCH = 5, 3, 40, 6


def cells_of():
    """Cells of random entities, some of them empty."""
    rng = torch.Generator().manual_seed(0)
    cell = torch.randint(ROWS * COLUMNS - 4, (ENTITIES,), generator=rng)
    weight = torch.rand(ENTITIES, generator=rng)
    return sorted_cells(cell, weight)


def sorted_cells(cell, weight):
    first, size = (torch.empty(ROWS * COLUMNS, dtype=torch.long) for _ in range(2))
    mass, cumulative = (torch.empty(n, dtype=torch.double) for n in (len(first), len(cell)))
    order, hint = torch.empty_like(cell), torch.empty_like(cell, dtype=torch.int32)
    sort_cells(cell, weight, first, size, mass, order, cumulative, hint)
    by_cell = (mass.float().view(ROWS, COLUMNS), first, size, cumulative, order, hint)
    return Cells(*by_cell, cell, weight, records_of(cumulative, order, weight))


def queries_of(cells):
    rng = torch.Generator().manual_seed(1)
    row, column = (torch.rand(BATCH, n, generator=rng) for n in (ROWS, COLUMNS))
    row_total = (column @ cells.mass.T) * row
    return row, column, row_total, row_total.sum(1, keepdim=True)


@pytest.mark.parametrize("uniform_mix", [0.0, 0.3])
def test_loops_and_twins_draw_the_same_entities(uniform_mix):
    cells = cells_of()
    _, column, row_total, _ = queries_of(cells)
    u = torch.rand(BATCH, 500, dtype=torch.double, generator=torch.Generator().manual_seed(2))
    with kernels_on(True):
        loop = draw_from_cells(row_total, column, cells, u, uniform_mix)
    with kernels_on(False):
        plain = draw_from_cells(row_total, column, cells, u, uniform_mix)
    assert (loop.ids != plain.ids).sum() <= 2  # those at an edge, which rounding moves
    for drawn in (loop, plain):
        assert torch.equal(drawn.cell, cells.cell[drawn.ids])
        assert torch.equal(drawn.weight, cells.weight[drawn.ids])


@pytest.mark.parametrize("lists", [BATCH, 2, 1])
@pytest.mark.parametrize("uniform_mix", [0.0, 0.3])
def test_loops_and_twins_give_the_same_probabilities(lists, uniform_mix):
    cells = cells_of()
    row, column, _, total = queries_of(cells)
    ids = torch.arange(ENTITIES).expand(lists, -1)
    found = []
    for loops in (True, False):
        with kernels_on(loops):
            placed = place_in_cells(cells.cell, cells.weight, ids)
            given = (row, column, total, placed, uniform_mix, ENTITIES)
            found.append(probability_of(*given))
    torch.testing.assert_close(*found)
    torch.testing.assert_close(found[0].sum(1), torch.ones(BATCH))


def test_what_rounding_did_to_a_fraction_is_undone():
    assert remainder(0.5, 2.0) == 0.25
    for u, weight in ((2.5, 2.0), (1.0, 0.0), (-1e-9, 2.0), (0.0, 0.0)):
        assert remainder(u, weight) == BELOW


def test_loops_and_twins_sort_cells_alike():
    cells = cells_of()
    with kernels_on(False):
        plain = sorted_cells(cells.cell, cells.weight)
    with kernels_on(True):
        loop = sorted_cells(cells.cell, cells.weight)
    for one, other in zip(loop, plain):
        assert torch.equal(one, other)
