"""Draws from cells and their probabilities, by loops and by their twins."""

import pytest
import torch
from kernels.switch import kernels_on

from sparring.kernels.multi_index import (
    BELOW,
    Cells,
    draw_from_cells,
    probability_in_cells,
    remainder,
    share_starts,
)

ROWS, COLUMNS, ENTITIES, BATCH = 5, 3, 40, 6


def cells_of():
    """Cells of random entities, some of them empty, with the cell and weight of each entity."""
    rng = torch.Generator().manual_seed(0)
    cell = torch.randint(ROWS * COLUMNS - 4, (ENTITIES,), generator=rng)
    weight = torch.rand(ENTITIES, generator=rng)
    order = cell.argsort(stable=True)
    size = torch.bincount(cell, minlength=ROWS * COLUMNS)
    first = size.cumsum(0) - size
    mass = torch.zeros(ROWS * COLUMNS).index_add(0, cell, weight).view(ROWS, COLUMNS)
    cumulative = weight.double()[order].cumsum(0)
    hint = share_starts(first, size, cumulative, cell[order])
    return Cells(mass, first, size, cumulative, order, hint), cell, weight


def queries_of(cells):
    rng = torch.Generator().manual_seed(1)
    row, column = (torch.rand(BATCH, n, generator=rng) for n in (ROWS, COLUMNS))
    row_total = (column @ cells.mass.T) * row
    return row, column, row_total, row_total.sum(1, keepdim=True)


@pytest.mark.parametrize("uniform_mix", [0.0, 0.3])
def test_loops_and_twins_draw_the_same_entities(uniform_mix):
    cells, *_ = cells_of()
    _, column, row_total, _ = queries_of(cells)
    u = torch.rand(BATCH, 500, dtype=torch.double, generator=torch.Generator().manual_seed(2))
    with kernels_on(True):
        loop = draw_from_cells(row_total, column, cells, u, uniform_mix)
    with kernels_on(False):
        plain = draw_from_cells(row_total, column, cells, u, uniform_mix)
    assert (loop != plain).sum() <= 2  # those at an edge, which rounding moves


@pytest.mark.parametrize("lists", [BATCH, 2, 1])
@pytest.mark.parametrize("uniform_mix", [0.0, 0.3])
def test_loops_and_twins_give_the_same_probabilities(lists, uniform_mix):
    cells, cell, weight = cells_of()
    row, column, _, total = queries_of(cells)
    ids = torch.arange(ENTITIES).expand(lists, -1)
    found = []
    for loops in (True, False):
        with kernels_on(loops):
            given = (row, column, total, cell, weight, ids, uniform_mix)
            found.append(probability_in_cells(*given))
    torch.testing.assert_close(*found)
    torch.testing.assert_close(found[0].sum(1), torch.ones(BATCH))


def test_what_rounding_did_to_a_fraction_is_undone():
    assert remainder(0.5, 2.0) == 0.25
    for u, weight in ((2.5, 2.0), (1.0, 0.0), (-1e-9, 2.0), (0.0, 0.0)):
        assert remainder(u, weight) == BELOW


def test_shares_of_cells_start_at_the_same_entities_by_loops_and_twins():
    cells, cell, _ = cells_of()
    with kernels_on(False):
        plain = share_starts(cells.first, cells.size, cells.cumulative, cell[cells.order])
    with kernels_on(True):
        loop = share_starts(cells.first, cells.size, cells.cumulative, cell[cells.order])
    assert torch.equal(loop, plain)
