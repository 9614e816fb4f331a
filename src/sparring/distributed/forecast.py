"""What a sharded run is going to take, computed before its tables are made.

A copy of the training step with few entities shows how many bytes each entity takes, for any parts.
The rest is arithmetic."""

import copy
import os
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from rich.console import Console
from torch import Tensor, nn

from sparring.distributed import world
from sparring.distributed.layout import Layout
from sparring.distributed.memory import available_memory
from sparring.distributed.table import FLOAT, ID, RowBuffers, ShardedTable
from sparring.training import TrainingStep

MANY = 2**16  # entities of the copy that is measured, at most


@dataclass(frozen=True)
class Forecast:
    """Memory and traffic of one rank.

    Attributes:
        processes: W.
        workers: V.
        tables: bytes of tables, their optimizers and the generator's cells.
        batch: bytes of what a step holds in addition, about.
        sent: bytes that a step sends, at most.
    """

    processes: int
    workers: int
    tables: int
    batch: int
    sent: int

    def show(self, console: Console) -> None:
        """Print the forecast."""
        console.print(
            f"{self.processes} processes, {self.workers} virtual workers; each process: "
            f"{self.tables / 1e6:,.0f} MB for tables, about {self.batch / 1e6:,.0f} MB for a "
            f"step, up to {self.sent / 1e6:,.2f} MB sent per step",
            soft_wrap=True,
        )

    def check_memory(self, device: torch.device) -> None:
        """Make sure that the tables of all processes of this machine fit into its memory.

        Raises:
            LaunchError: on all ranks, if they do not fit on some machine.
        """
        local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        free = available_memory() if device.type == "cpu" else torch.cuda.mem_get_info(device)[0]
        short = free is not None and local * self.tables > free
        if not world.any_rank(short, device):
            return
        remedy = "start processes on more machines, or lower model.dim"
        if free is None or not short:
            raise world.LaunchError(f"another machine has too little memory for its part; {remedy}")
        raise world.LaunchError(
            f"the tables need {self.tables / 1e9:,.2f} GB in each process, and {local} run here, "
            f"but {free / 1e9:,.2f} GB are free; {remedy}"
        )


def forecast(
    step: TrainingStep, optimizer: torch.optim.Optimizer | None, layout: Layout, per_worker: int
) -> Forecast:
    """The forecast of a training, or, without an optimizer, of an evaluation.

    Args:
        step, optimizer: its parts, with as few entities as is convenient.
        layout: of the training itself.
        per_worker: queries of each virtual worker in a step.
    """
    kept = {**state_bytes(optimizer), **state_bytes(getattr(step.sampler, "optimizer", None))}
    by_row, replicated = sum(bytes_of_rows(step, kept)), sum(replicated_bytes(step, kept))
    queries = layout.per_rank * per_worker
    pairs, dims = queries * (step.sampler.k + 2), sum(table.embedding_dim for table in main(step))
    return Forecast(
        world.size(),
        layout.workers,
        layout.own_rows * by_row + replicated,
        pairs * (3 * FLOAT * dims + 12 * ID),
        bytes_sent(step, queries),
    )


def main(step: TrainingStep) -> list[ShardedTable]:
    """The sharded tables of the main model."""
    return [table for table in step.model.modules() if isinstance(table, ShardedTable)]


def bytes_of_rows(step: TrainingStep, kept: Mapping[Tensor, int]) -> list[int]:
    """Bytes that each sharded table, with its optimizer, and each set of buffers has for a row.

    Args:
        kept: bytes that optimizers keep for each parameter.
    """
    found = []
    for module in step.modules():
        if isinstance(module, ShardedTable):
            weight = module.rows.weight
            found.append(module.embedding_dim * FLOAT + kept.get(weight, 0) // len(weight))
        elif isinstance(module, RowBuffers):
            found.append(module.bytes_of_row())
    return found


def replicated_bytes(step: TrainingStep, kept: Mapping[Tensor, int]) -> list[int]:
    """Bytes of each parameter and buffer that every rank holds.

    Args:
        kept: as for `bytes_of_rows`.
    """
    rows = [m.row_buffers() for m in step.modules() if isinstance(m, RowBuffers)]
    sharded = {id(buffer) for buffers in rows for buffer in buffers}
    return [one.nbytes + kept.get(one, 0) for one in replicated_parameters(step)] + [
        buffer.nbytes for buffer in step.buffers() if id(buffer) not in sharded
    ]


def replicated_parameters(step: TrainingStep) -> list[nn.Parameter]:
    """The parameters that every rank holds."""
    sharded = {id(one.rows.weight) for one in step.modules() if isinstance(one, ShardedTable)}
    return [one for one in step.parameters() if id(one) not in sharded]


def state_bytes(optimizer: torch.optim.Optimizer | None) -> dict[Tensor, int]:
    """Bytes that an optimizer keeps for each parameter, found by a step of a copy of it."""
    if optimizer is None:
        return {}
    copied = copy.deepcopy(optimizer)
    parameters, twins = (
        [one for group in each.param_groups for one in group["params"]]
        for each in (optimizer, copied)
    )
    for twin in twins:
        twin.grad = torch.zeros_like(twin)
    copied.step()
    return {
        own: sum(one.nbytes for one in copied.state[twin].values() if isinstance(one, Tensor))
        for own, twin in zip(parameters, twins)
    }


def bytes_sent(step: TrainingStep, queries: int) -> int:
    """Bytes that one rank sends in a step, if no entity occurs twice.

    What tables send, and the gradients of replicated parameters, to and from all ranks. A sampler
    that sends something of its own adds it.
    """
    away = (world.size() - 1) / world.size()
    tables = sum(table.bytes_sent(queries, step.sampler.k) for table in main(step))
    replicated = sum(one.numel() for one in replicated_parameters(step))
    own = getattr(step.sampler, "bytes_sent", lambda number: 0)(queries)
    return tables + int(2 * FLOAT * replicated * away) + own
