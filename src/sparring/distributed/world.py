"""Collectives of `torch.distributed` that gradients travel through, and the process group itself.

A single process has a group of one, so that everything else is written once."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from jaxtyping import Int, Shaped
from torch import Tensor
from torch.autograd import Function

from sparring.kernels.rows import stable_order
from sparring.option_types import ConfigError

Result = TypeVar("Result")
LAUNCHED = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")  # set by torchrun


class LaunchError(ConfigError):
    """Processes that cannot work together as they were started."""


class FirstProcessError(LaunchError):
    """The first process has met an error, which it reports itself."""


@contextmanager
def process_group(device: torch.device, timeout: float = 600.0) -> Iterator[None]:
    """Join the group of processes that `torchrun` has started; without it, a group of one.

    Args:
        device: gloo connects CPUs, NCCL connects GPUs.
        timeout: seconds to wait for another process before it counts as lost.

    Raises:
        LaunchError: if only some of the variables of `torchrun` are set.
    """
    if dist.is_initialized():
        yield
        return
    backend = "nccl" if device.type == "cuda" else "gloo"
    if device.type == "cuda" and device.index is None:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    given = [name for name in LAUNCHED if name in os.environ]
    if given and len(given) < len(LAUNCHED):
        missing = ", ".join(name for name in LAUNCHED if name not in os.environ)
        raise LaunchError(f"{', '.join(given)} are set but not {missing}; start with torchrun")
    limit = timedelta(seconds=timeout)
    if given:
        dist.init_process_group(backend, timeout=limit)
    else:
        store = dist.HashStore()  # pyright: ignore
        dist.init_process_group(backend, store=store, rank=0, world_size=1, timeout=limit)
    try:
        yield
    finally:
        dist.destroy_process_group()


def is_launched() -> bool:
    """Whether `torchrun` has started this process."""
    return all(name in os.environ for name in LAUNCHED)


def is_first() -> bool:
    """Whether this process is the one that prints and writes; also true outside of a group."""
    return int(os.environ.get("RANK", "0")) == 0


def restarts() -> int:
    """How often `torchrun` has started this process again."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))


def job() -> str | None:
    """The name that all processes of this launch have in common, also those started again."""
    name = os.environ.get("TORCHELASTIC_RUN_ID", "none")
    return None if name == "none" else name


def rank() -> int:
    """The number of this process."""
    return dist.get_rank()


def size() -> int:
    """The number of processes, W."""
    return dist.get_world_size()


class Exchange(Function):
    """Sends rows to ranks; gradients travel the other way."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, sent: list[int], received: list[int]) -> Tensor:
        ctx.back = received, sent
        if len(sent) == 1:
            return rows.view_as(rows)
        out = rows.new_empty(sum(received), *rows.shape[1:])
        dist.all_to_all_single(out, rows.contiguous(), received, sent)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:  # pyright: ignore
        return Exchange.apply(grad, *ctx.back), None, None


class GatherAll(Function):
    """Equal numbers of rows of every rank, in the order of ranks; gradients are summed at home."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        parts = [torch.empty_like(rows) for _ in range(size())]
        dist.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # pyright: ignore
        out = torch.empty_like(grad)
        dist.all_to_all_single(out, grad.contiguous())
        return out.unflatten(0, (size(), -1)).sum(0)


def gather_all(rows: Shaped[Tensor, "n ..."]) -> Shaped[Tensor, "Wn ..."]:
    """The rows of every rank, in the order of ranks; all ranks have equally many."""
    return GatherAll.apply(rows)


def gather_ragged(rows: Shaped[Tensor, "_ ..."]) -> Shaped[Tensor, "_ ..."]:
    """The rows of every rank, in the order of ranks; each has any number."""
    counts = gather_all(torch.tensor([len(rows)], device=rows.device)).tolist()
    padded = rows.new_zeros(max(counts), *rows.shape[1:])
    padded[: len(rows)] = rows
    every = gather_all(padded).unflatten(0, (size(), -1))
    return torch.cat([part[:count] for part, count in zip(every, counts)])


def sum_all(values: Shaped[Tensor, "*s"]) -> Shaped[Tensor, "*s"]:
    """The sum over ranks."""
    total = values.clone()
    dist.all_reduce(total)
    return total


def max_all(values: Shaped[Tensor, "*s"]) -> Shaped[Tensor, "*s"]:
    """The maximum over ranks."""
    most = values.clone()
    dist.all_reduce(most, dist.ReduceOp.MAX)
    return most


def any_rank(yes: bool, device: torch.device) -> bool:
    """Whether it is so on some rank."""
    return bool(max_all(torch.tensor(int(yes), device=device)))


def on_first_rank(action: Callable[[], Result]) -> Result | None:
    """What an action gives on rank 0, which alone runs it; None on all others.

    Raises:
        FirstProcessError: on the other ranks, if the action fails.
        Exception: on rank 0, as the action does.
    """
    error, result = None, None
    if rank() == 0:
        try:
            result = action()
        except Exception as raised:
            error = raised
    reason: list[Any] = [error and f"{type(error).__name__}: {error}"]
    dist.broadcast_object_list(reason, 0)
    if error:
        raise error
    if reason[0]:
        raise FirstProcessError(f"process 0 has failed: {reason[0]}")
    return result


class Reorder(Function):
    """Rows in the order of a permutation, or back in theirs; so are gradients."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, order: Tensor, back: bool) -> Tensor:
        ctx.order, ctx.back = order, back
        if not back:
            return rows.index_select(0, order)
        return torch.empty_like(rows).index_copy_(0, order, rows)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:  # pyright: ignore
        return Reorder.apply(grad, ctx.order, not ctx.back), None, None


@dataclass(frozen=True, eq=False)
class Route:
    """Where rows go, and how answers come back.

    Attributes:
        order: rows in the order of their ranks; None where they come in it.
        sent, received: number of rows to and from each rank.
    """

    order: Int[Tensor, "P"] | None
    sent: list[int]
    received: list[int]

    @classmethod
    def to(cls, dest: Int[Tensor, "P"], *, ordered: bool = False) -> "Route":
        """The route to these ranks.

        Args:
            ordered: whether `dest` ascends.
        """
        if size() == 1:
            return cls(None, [len(dest)], [len(dest)])
        order = None if ordered else stable_order(dest, size())
        sent = torch.bincount(dest, minlength=size())
        received = torch.empty_like(sent)
        dist.all_to_all_single(received, sent)
        return cls(order, sent.tolist(), received.tolist())

    def send(self, rows: Shaped[Tensor, "P ..."]) -> Shaped[Tensor, "Q ..."]:
        """What arrives here of the rows that all ranks send."""
        rows = rows if self.order is None else Reorder.apply(rows, self.order, False)
        return Exchange.apply(rows, self.sent, self.received)

    def answer(self, rows: Shaped[Tensor, "Q ..."]) -> Shaped[Tensor, "P ..."]:
        """The answers of all ranks to what was sent, in the order of the rows sent."""
        answers = Exchange.apply(rows, self.received, self.sent)
        return answers if self.order is None else Reorder.apply(answers, self.order, True)
