"""What a sharded run is going to take, computed before its first step."""

import os
from dataclasses import dataclass

from rich.console import Console

from sparring.distributed import world
from sparring.distributed.table import ShardedTable
from sparring.distributed.trainer import ShardedTrainer

FLOAT, ID = 4, 8  # bytes
MOMENTS = {"Adam": 2, "Adagrad": 1}  # numbers that an optimizer keeps for each weight


@dataclass(frozen=True)
class Forecast:
    """Memory and traffic of one rank.

    Attributes:
        processes: W.
        workers: V.
        memory: bytes of tables, their optimizers and the facts; activations come on top.
        sent: bytes that a training step sends, at most.
    """

    processes: int
    workers: int
    memory: int
    sent: int

    def show(self, console: Console) -> None:
        """Print the forecast, and a warning where the memory is not there."""
        console.print(
            f"{self.processes} processes, {self.workers} virtual workers; each process: "
            f"{self.memory / 1e6:,.0f} MB for tables and facts, up to {self.sent / 1e6:,.2f} MB "
            "sent per step",
            soft_wrap=True,
        )
        free = available_memory()
        local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        if free is not None and local * self.memory > free:
            console.print(
                f"warning: {local} processes here need {local * self.memory / 1e9:,.1f} GB, but "
                f"{free / 1e9:,.1f} GB are free; start more machines, or lower model.dim",
                style="yellow",
                soft_wrap=True,
            )


def forecast(trainer: ShardedTrainer) -> Forecast:
    """The forecast of a trainer's next step."""
    step, layout = trainer.step, trainer.layout
    numbers = sum(parameter.numel() for parameter in step.parameters())
    kind = type(trainer.optimizer).__mro__
    moments = max((n for name, n in MOMENTS.items() if any(name in k.__name__ for k in kind)))
    buffers = sum(buffer.nbytes for buffer in step.buffers())
    facts = trainer.facts.queries.nbytes + trainer.facts.degree.nbytes
    memory = numbers * FLOAT * (1 + moments) + buffers + 2 * facts
    return Forecast(world.size(), layout.workers, memory, bytes_sent(trainer))


def bytes_sent(trainer: ShardedTrainer) -> int:
    """Bytes that one rank sends in a step, if no entity occurs twice.

    b queries per rank, K candidates per query, d numbers per vector, a fraction f = (W - 1) / W of
    all rows elsewhere. Anchors and answers: 2 b f ids and vectors there and back. Own lists: pairs
    of row and query and two numbers back per candidate, and the queries to all ranks and back.
    """
    ranks, b, k = world.size(), trainer.batch_size, trainer.step.sampler.k
    away = (ranks - 1) / ranks
    dims = [
        table.embedding_dim
        for table in trainer.step.model.modules()
        if isinstance(table, ShardedTable)
    ]
    vectors = 2 * b * away * sum(ID + 2 * FLOAT * d for d in dims)
    lists = b * k * away * (2 * ID + 2 * FLOAT) + 2 * FLOAT * b * (ranks - 1) * sum(dims)
    replicated = sum(
        one.numel() for name, one in trainer.step.named_parameters() if ".rows." not in name
    )
    return int(vectors + lists + 2 * FLOAT * replicated * away)


def available_memory() -> int | None:
    """Bytes that this machine can still give; None where it does not say."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            lines = dict(line.split(":") for line in file)
        return int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return None
