"""Draws from cells that several processes share, by loops and by their twins."""

import pytest
import torch
from kernels.switch import kernels_on
from torch import nn

from sparring.generators.multi_index import nearest_code
from sparring.kernels.rows import TakeRows
from sparring.kernels.sharded_draws import (
    Runs,
    choose_runs,
    find_in_runs,
    nearest_cells,
    share_starts,
)

ROWS, COLUMNS, WORKERS, BLOCK, BATCH, DRAWS = 5, 3, 4, 12, 6, 300
CELLS, ENTITIES = ROWS * COLUMNS, WORKERS * BLOCK - 2


def shared():
    """The runs of a process that owns everything, and the masses of cells."""
    rng = torch.Generator().manual_seed(0)
    row = torch.arange(WORKERS * BLOCK)
    entity = row % BLOCK * WORKERS + row // BLOCK
    used = row[entity < ENTITIES]
    cell = torch.randint(CELLS - 2, row.shape, generator=rng, dtype=torch.int32)
    weight = torch.rand(len(row), generator=rng) + 0.1
    run = used // BLOCK * CELLS + cell[used]
    order = run.argsort(stable=True)
    run, mass = run[order], weight[used][order].double()
    size = torch.bincount(run, minlength=WORKERS * CELLS)
    first = size.cumsum(0) - size
    masses = torch.zeros(WORKERS * CELLS, dtype=torch.double).index_add(0, run, mass)
    upto = mass.cumsum(0)
    before = (upto - mass)[first[run]]
    key = run + ((upto - before) / masses[run]).clamp(max=1)
    runs = Runs(
        first, size, key, used[order], share_starts(first, size, key, 0), cell, weight, 0, 0
    )
    return runs, masses.view(WORKERS, CELLS).T.cumsum(1).contiguous()


def drawn(uniform_mix):
    runs, mass_up_to = shared()
    rng = torch.Generator().manual_seed(1)
    mass = mass_up_to[:, -1].float().view(ROWS, COLUMNS)
    row, column = (torch.rand(BATCH, n, generator=rng) for n in (ROWS, COLUMNS))
    u = torch.rand(BATCH, DRAWS, generator=rng, dtype=torch.double)
    row_total = (column @ mass.T) * row
    wanted, rest = choose_runs(row_total, column, mass, mass_up_to, u, uniform_mix, ENTITIES, BLOCK)
    return find_in_runs(runs, wanted, rest, BLOCK, WORKERS), runs


@pytest.mark.parametrize("uniform_mix", [0.0, 0.3])
def test_loops_and_twins_draw_the_same_entities(uniform_mix):
    with kernels_on(True):
        loop, runs = drawn(uniform_mix)
    with kernels_on(False):
        plain, _ = drawn(uniform_mix)
    assert (loop != plain).any(1).sum() <= 2  # those at an edge, which rounding moves
    ids, cell, weight = loop.long().T
    assert ids.unique().numel() == ENTITIES
    row = ids % WORKERS * BLOCK + ids // WORKERS
    assert torch.equal(cell, runs.cell[row].long())
    assert torch.equal(weight.int().view(torch.float32), runs.weight[row])


def test_the_nearest_codes_are_those_of_the_twin():
    rng = torch.Generator().manual_seed(0)
    rows, codebooks = torch.randn(24, 9, generator=rng), torch.randn(2, 5, 4, generator=rng)
    cell, bias = torch.full((24,), -1, dtype=torch.int32), torch.zeros(24)
    nearest_cells(rows, *codebooks, 2, 5, 12, cell, bias)
    chosen = torch.tensor([2, 3, 4, 14, 15, 16])
    a, c = (nearest_code(rows[chosen, 4 * h : 4 * h + 4], codebooks[h]) for h in range(2))
    assert torch.equal(cell[chosen].long(), 5 * a + c)
    assert torch.equal(bias[chosen], rows[chosen, 8])
    assert (cell == -1).sum() == 18


def test_rows_that_are_taken_several_times_add_up_their_gradients():
    matrix, index = torch.randn(5, 3, requires_grad=True), torch.tensor([4, 0, 4, 2])
    found = []
    for loops in (True, False):
        with kernels_on(loops):
            taken = TakeRows.apply(matrix, index)
            assert torch.equal(taken, matrix[index])
            found.append(torch.autograd.grad((taken**2).sum(), matrix)[0])
    expected = torch.autograd.grad((nn.functional.embedding(index, matrix) ** 2).sum(), matrix)[0]
    torch.testing.assert_close(found[0], expected)
    torch.testing.assert_close(found[1], expected)
