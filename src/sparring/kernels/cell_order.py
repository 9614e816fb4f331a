"""Entities sorted by cell, with what draws and densities read of them."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sparring.kernels.multi_index import index_in_cells
from sparring.kernels.runtime import compiled, enabled_for, in_huge_pages


def sort_cells(
    cell: Int[Tensor, "N"],
    weight: Float[Tensor, "N"],
    first: Int[Tensor, "AC"],
    size: Int[Tensor, "AC"],
    mass: Float[Tensor, "AC"],
    order: Int[Tensor, "N"],
    cumulative: Float[Tensor, "N"],
    hint: Int[Tensor, "N"],
) -> None:
    """Set the parts of `Cells` from the cell and the weight of each entity."""
    if enabled_for(weight):
        given = (cell, weight, first, size, mass, order, cumulative, hint)
        write_cells(*(tensor.numpy() for tensor in given))
        return
    order.copy_(cell.argsort(stable=True))
    double = weight.double()
    cumulative.copy_(double[order].cumsum(0))
    mass.copy_(torch.zeros_like(first, dtype=torch.double).index_add_(0, cell, double))
    size.zero_().index_add_(0, cell, torch.ones_like(cell))
    first.copy_(size.cumsum(0) - size)
    ordered = cell[order]
    share = (torch.arange(len(cell), device=cell.device) - first[ordered]).double() / size[ordered]
    hint.copy_(index_in_cells(first, size, cumulative, ordered, share))


def records_of(
    cumulative: Float[Tensor, "N"], order: Int[Tensor, "N"], weight: Float[Tensor, "N"]
) -> Float[Tensor, "N 2"] | None:
    """`Cells.records`."""
    if weight.dtype != torch.float32 or weight.device.type != "cpu":
        return None
    records = in_huge_pages(torch.empty(len(order), 2, dtype=torch.double))
    records[:, 0] = cumulative
    records.view(torch.int32)[:, 2] = order
    records.view(torch.float32)[:, 3] = weight[order]
    return records


@compiled
def write_cells(cell, weight, first, size, mass, order, cumulative, hint):
    """`sort_cells` by counting; ids ascend within each cell."""
    size[:] = 0
    for entity in range(len(cell)):
        size[cell[entity]] += 1
    start = 0
    for index in range(len(size)):
        first[index] = start
        start += size[index]
    place = first.copy()
    for entity in range(len(cell)):
        order[place[cell[entity]]] = entity
        place[cell[entity]] += 1
    running = 0.0
    for index in range(len(size)):
        start, many, before, own = first[index], size[index], running, 0.0
        for rank in range(start, start + many):
            running += weight[order[rank]]
            own += weight[order[rank]]
            cumulative[rank] = running
        mass[index] = own
        found = start
        for rank in range(many):
            target = before + rank / many * (running - before)
            while found < start + many - 1 and cumulative[found] <= target:
                found += 1
            hint[start + rank] = found
