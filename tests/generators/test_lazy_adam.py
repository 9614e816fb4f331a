"""Adam for the rows that have a gradient: where all have one, Adam; where few, SparseAdam."""

import pytest
import torch

from sparring.generators import lazy_adam
from sparring.generators.lazy_adam import LazyAdam

ROWS, WIDTH = 12, 5
SOME = torch.tensor([1, 4, 9])


def lines(step):
    return torch.randn(len(SOME), WIDTH, generator=torch.Generator().manual_seed(step))


def sparse(step):
    return torch.sparse_coo_tensor(
        SOME.unsqueeze(0), lines(step), (ROWS, WIDTH), check_invariants=False
    )


def twice_told(step):
    """The same, where every row is named twice and not in order."""
    where = torch.cat([SOME.flip(0), SOME]).unsqueeze(0)
    parts = torch.cat([0.25 * lines(step).flip(0), 0.75 * lines(step)])
    return torch.sparse_coo_tensor(where, parts, (ROWS, WIDTH), check_invariants=False)


def dense(step):
    return sparse(step).to_dense()


def after(make, grad, steps=4):
    table = torch.nn.Parameter(torch.ones(ROWS, WIDTH))
    optimizer = make([table], 0.1)
    for step in range(steps):
        table.grad = grad(step)
        optimizer.step()
    return table.detach()


@pytest.mark.parametrize("grad", [sparse, twice_told, dense])
@pytest.mark.parametrize("loops", [True, False])
def test_few_rows_move_as_by_torchs_sparse_adam(loops, grad, monkeypatch):
    monkeypatch.setattr(lazy_adam, "can_loop", lambda over: loops)
    expected = after(torch.optim.SparseAdam, sparse)
    assert (expected == 1).all(1).sum() == ROWS - len(SOME)
    torch.testing.assert_close(after(LazyAdam, grad), expected)


@pytest.mark.parametrize("loops", [True, False])
def test_where_every_row_has_a_gradient_it_is_adam(loops, monkeypatch):
    monkeypatch.setattr(lazy_adam, "can_loop", lambda over: loops)
    grad = lambda step: torch.randn(ROWS, WIDTH, generator=torch.Generator().manual_seed(step))
    torch.testing.assert_close(after(LazyAdam, grad), after(torch.optim.Adam, grad))


@pytest.mark.parametrize("loops", [True, False])
def test_a_row_of_which_nothing_is_said_rests_until_it_is(loops, monkeypatch):
    """Its moments wait; only the correction for the steps that went by does not."""
    monkeypatch.setattr(lazy_adam, "can_loop", lambda over: loops)
    halting = lambda step: dense(step) * (step != 2)
    two, three, four = (after(LazyAdam, halting, steps) for steps in (2, 3, 4))
    assert torch.equal(two, three)
    assert not torch.equal(three, four)


@pytest.mark.parametrize("loops", [True, False])
@pytest.mark.parametrize("shape", [(), (3,), (2, 3, 4)])
def test_parameters_need_not_be_tables(shape, loops, monkeypatch):
    monkeypatch.setattr(lazy_adam, "can_loop", lambda over: loops)
    got = []
    for make in (LazyAdam, torch.optim.Adam):
        one = torch.nn.Parameter(torch.ones(shape))
        optimizer = make([one], 0.1)
        for step in (1.0, -3.0):
            one.grad = torch.tensor(step).expand(shape)
            optimizer.step()
        got.append(one.detach())
    torch.testing.assert_close(*got)


def test_a_rate_that_leads_nowhere_is_refused():
    with pytest.raises(ValueError, match="must be above 0"):
        LazyAdam([torch.nn.Parameter(torch.ones(1))], 0.0)
