"""Embedding tables whose gradient is made once for all uses of a backward pass.

Autograd makes a gradient of the whole table for each use (look-up or scores) and adds these up. On
the CPU each use leaves a `PendingGradient` instead, and `GradientSink`, through which all uses pass
on the way back, makes one gradient of them. What holds:

- Autograd runs `GradientSink.backward` after the backward of every use, since each use takes the
  sink's output as an input. A use that the loss does not depend on leaves nothing.
- Pending gradients carry the id of their backward pass (`torch._C._current_graph_task_id`). The
  sink adds up those of its own pass and drops the others, which a pass has left that stopped short
  of the table (`torch.autograd.grad` for queries alone).
- One graph may go back several times (`retain_graph`), also in parts. Double backward raises an
  error, as gradients have no graph (`once_differentiable`).
- Hooks on the weight, and on its gradient accumulation, see the whole gradient once.
- The sink belongs to one version of one weight: after an optimizer step, a load or a move to
  another device the next use makes a new one. Copies of a table share nothing, so replicas in other
  processes (`DistributedDataParallel`) each have their own. Threads must not share a table:
  `nn.DataParallel` works on GPUs only, where this is not used."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from sparring.kernels.embedding import (
    RowGroups,
    ScoreKernel,
    add_vectors,
    group_by_row,
    merge_rows,
)
from sparring.kernels.matrices import add_products, draw_of, is_kept, multiply
from sparring.kernels.runtime import (
    enabled_for,
    in_huge_pages,
    refuse_unknown_ids,
    run_in_threads,
)


@runtime_checkable
class TableScorer(Protocol):
    """A scorer that compares one vector per query with rows of a table."""

    kernel: ClassVar[ScoreKernel | None]

    @property
    def query(self) -> Float[Tensor, "B d"]:
        """One vector per query."""
        ...

    def score_in_pytorch(self, ids: Int[Tensor, "G K"]) -> Float[Tensor, "B K"]:
        """The scores by PyTorch operations on the rows."""
        ...


class ScoringTable(ABC):
    """A table that knows the best way to compare queries with its rows, wherever these are."""

    @abstractmethod
    def compare(self, scorer: TableScorer, ids: Int[Tensor, "G K"]) -> Float[Tensor, "B K"]:
        """Scores of rows for the queries of a scorer, of which equal numbers share a list."""


class EmbeddingTable(nn.Embedding, ScoringTable):
    """An embedding table; on the CPU its gradient is made once for all uses together.

    Args:
        rows: number of vectors.
        dim: numbers per vector.
        sparse: give the gradient of the rows in use only.
    """

    def __init__(self, rows: int, dim: int, *, sparse: bool = False):
        super().__init__(rows, dim, sparse=sparse, _weight=in_huge_pages(torch.empty(rows, dim)))
        self.reset_parameters()
        self.accumulator = GradientAccumulator(sparse)

    def forward(self, input: Int[Tensor, "*shape"]) -> Float[Tensor, "*shape d"]:
        """The vectors of these rows."""
        sink = self.accumulator.sink(self.weight) if enabled_for(self.weight) else None
        if sink is None:
            return super().forward(input)
        return LookUp.apply(sink, self.weight.detach(), input, self.accumulator)

    def compare(self, scorer: TableScorer, ids: Int[Tensor, "G K"]) -> Float[Tensor, "B K"]:
        """Scores of rows for the queries of a scorer, by a compiled loop where one is faster."""
        if scorer.kernel and self.fits(scorer.kernel, scorer.query, ids):
            return self.score(scorer.kernel, scorer.query, ids)
        return scorer.score_in_pytorch(ids)

    def fits(
        self, kernel: ScoreKernel, query: Float[Tensor, "B c"], ids: Int[Tensor, "G K"]
    ) -> bool:
        """Whether `score` can compare these queries and rows, and is faster than PyTorch."""
        batch, lists = len(query), len(ids)
        alike = query.dtype == self.weight.dtype and query.shape[1] == self.embedding_dim
        evenly = lists > 0 and batch % lists == 0
        return enabled_for(self.weight) and alike and evenly and (kernel.shared or batch == lists)

    def score(
        self, kernel: ScoreKernel, query: Float[Tensor, "B d"], ids: Int[Tensor, "G K"]
    ) -> Float[Tensor, "B K"]:
        """Scores of rows for queries, of which equal numbers share a list.

        Raises:
            IndexError: for ids that are no rows of the table.
        """
        sink = self.accumulator.sink(self.weight)
        return Score.apply(sink, query, self.weight.detach(), ids, kernel, self.accumulator)

    def multiply(
        self,
        vectors: Float[Tensor, "B n"],
        ids: Int[Tensor, "B"],
        transposed: Bool[Tensor, "B"],
        *,
        dropout: float = 0.0,
    ) -> Float[Tensor, "B n"]:
        """Vectors times matrices, of n * n numbers, that these rows hold.

        Args:
            vectors: row vectors.
            ids: the row of each vector's matrix.
            transposed: where the matrix is transposed.
            dropout: probability of setting a number of a matrix to 0, for each vector by itself;
                the others are scaled.

        Raises:
            IndexError: for ids that are no rows of the table.
        """
        draw = draw_of(dropout, ids.device) if dropout else ids.new_zeros(3)
        if dropout:
            vectors = vectors * (1 / (1 - dropout) if dropout < 1 else 0)
        if enabled_for(self.weight) and vectors.dtype == self.weight.dtype:
            sink = self.accumulator.sink(self.weight)
            given = (self.weight.detach(), ids, transposed.long(), draw, self.accumulator)
            return Multiply.apply(sink, vectors, *given)
        matrix = self(ids)
        if dropout:
            place = torch.arange(matrix.numel(), device=matrix.device).view_as(matrix)
            matrix = matrix * is_kept(place, draw)
        matrix = matrix.unflatten(1, (vectors.shape[1], -1))
        matrix = torch.where(transposed.view(-1, 1, 1), matrix.mT, matrix)
        return torch.einsum("bi,bij->bj", vectors, matrix)


Init = Callable[..., Any]  # fills a tensor, perhaps from a `generator`, as those of `torch.nn.init`
TableMaker = Callable[[int, Init], nn.Module]  # makes a table of this width
_sharded: ContextVar[tuple[int, TableMaker] | None] = ContextVar("sharded", default=None)


def new_table(rows: int, dim: int, *, init: Init, sparse: bool = False) -> Any:
    """A table of random vectors; inside `sharded_tables` perhaps one that several ranks share.

    Args:
        rows: number of vectors.
        dim: numbers per vector.
        init: fills the weight.
        sparse: give the gradient of the rows in use only; sharded tables always do.
    """
    sharded = _sharded.get()
    if sharded is not None and sharded[0] == rows:
        return sharded[1](dim, init)
    table = EmbeddingTable(rows, dim, sparse=sparse)
    init(table.weight)
    return table


@contextmanager
def sharded_tables(rows: int, make: TableMaker) -> Iterator[None]:
    """Let `make` make the tables of so many rows, instead of `EmbeddingTable`."""
    token = _sharded.set((rows, make))
    try:
        yield
    finally:
        _sharded.reset(token)


class GradientAccumulator:
    """Collects the uses of one table in one backward pass, and adds up their gradients.

    Args:
        sparse: give the gradient of the rows in use only.
    """

    def __init__(self, sparse: bool):
        self.sparse = sparse
        self.pending: list[PendingGradient] = []
        self.current: Tensor | None = None
        self.version: tuple[int, ...] = ()

    def __getstate__(self) -> dict[str, Any]:
        return {"sparse": self.sparse}  # a copy has no uses

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)

    def sink(self, weight: Float[Tensor, "N d"]) -> Float[Tensor, ""] | None:
        """Stands for the table in the graph of every use; None where no gradient is wanted."""
        if not (weight.requires_grad and torch.is_grad_enabled()):
            return None
        version = (id(weight), weight.data_ptr(), weight._version)
        if self.current is None or self.version != version:
            self.pending, self.version = [], version
            self.current = GradientSink.apply(weight, self)
        return self.current

    def add(self, ids: Int[Tensor, "..."], loop: Callable[..., int], *given: Tensor) -> None:
        """Leave what one use knows of the gradient."""
        task = torch._C._current_graph_task_id()
        self.pending.append(PendingGradient(ids, loop, given, task))

    def total(self, shape: torch.Size, dtype: torch.dtype) -> Float[Tensor, "N d"]:
        """The gradient of the table in the current backward pass."""
        task = torch._C._current_graph_task_id()
        uses = [use for use in self.pending if use.task == task]
        self.pending = []
        groups = [group_by_row(use.ids.flatten(), shape[0]) for use in uses]
        if not self.sparse:
            out = torch.zeros(shape, dtype=dtype)
            for use, group in zip(uses, groups):
                use.add_to(out, group, group.rows)
            return out
        rows, targets = merge_rows([group.rows for group in groups], shape[0])
        out = torch.zeros(len(rows), shape[1], dtype=dtype)
        for use, group, target in zip(uses, groups, targets):
            use.add_to(out, group, target)
        return torch.sparse_coo_tensor(rows.unsqueeze(0), out, shape, check_invariants=False)


@dataclass(frozen=True, eq=False)
class PendingGradient:
    """What one use of a table knows of the table's gradient.

    Attributes:
        ids: rows that the use read.
        loop: adds the gradients of these rows to a sum.
        given: what the loop reads, after what says where to add.
        task: id of the backward pass.
    """

    ids: Int[Tensor, "..."]
    loop: Callable[..., int]
    given: tuple[Tensor, ...]
    task: int

    def add_to(
        self, out: Float[Tensor, "V d"], groups: RowGroups, targets: Int[Tensor, "U"]
    ) -> None:
        """Add the gradient of each row of these groups to its target row of `out`."""
        where = (groups.order, groups.first, groups.rows, targets)
        numbers = self.ids.numel() * out.shape[1]
        run_in_threads(self.loop, len(groups.rows), numbers, *where, *self.given, out)


class GradientSink(Function):
    """Gives a table's weight its gradient when the backward of every use has run."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, accumulator: GradientAccumulator) -> Tensor:
        ctx.accumulator, ctx.like = accumulator, (weight.shape, weight.dtype)
        return weight.new_zeros(())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return ctx.accumulator.total(*ctx.like), None


class LookUp(Function):
    """Rows of a table."""

    @staticmethod
    def forward(
        ctx: Any, sink: Tensor, table: Tensor, ids: Tensor, accumulator: GradientAccumulator
    ) -> Tensor:
        ctx.save_for_backward(ids)
        ctx.accumulator = accumulator
        return nn.functional.embedding(ids, table)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (ids,) = ctx.saved_tensors
        vectors = grad.reshape(-1, grad.shape[-1]).contiguous()
        ctx.accumulator.add(ids, add_vectors, vectors)
        return grad.new_zeros(()), None, None, None


class Multiply(Function):
    """Vectors times matrices that rows of a table hold; the matrices are not copied."""

    @staticmethod
    def forward(
        ctx: Any,
        sink: Tensor | None,
        vectors: Tensor,
        table: Tensor,
        ids: Tensor,
        transposed: Tensor,
        draw: Tensor,
        accumulator: GradientAccumulator,
    ) -> Tensor:
        vectors, ids = vectors.contiguous(), ids.contiguous()
        ctx.save_for_backward(vectors, table, ids, transposed, draw)
        ctx.accumulator = accumulator
        return products(vectors, table, ids, transposed, draw, backward=False)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        vectors, table, ids, transposed, draw = ctx.saved_tensors
        grad = grad.contiguous()
        vectors_grad = None
        if ctx.needs_input_grad[1]:
            vectors_grad = products(grad, table, ids, transposed, draw, backward=True)
        if not ctx.needs_input_grad[0]:
            return None, vectors_grad, None, None, None, None, None
        ctx.accumulator.add(ids, add_products, vectors, transposed, draw, grad)
        return grad.new_zeros(()), vectors_grad, None, None, None, None, None


def products(
    vectors: Float[Tensor, "B n"],
    table: Float[Tensor, "R nn"],
    ids: Int[Tensor, "B"],
    transposed: Int[Tensor, "B"],
    draw: Int[Tensor, "3"],
    *,
    backward: bool,
) -> Float[Tensor, "B n"]:
    """Vectors times matrices, or their gradients times the transposed matrices."""
    groups, out = group_by_row(ids, len(table)), torch.empty_like(vectors)
    if len(ids) and not 0 <= int(groups.rows[0]) <= int(groups.rows[-1]) < len(table):
        raise IndexError(f"ids of matrices run from 0 to {len(table) - 1}")
    numbers = len(vectors) * table.shape[1]
    given = (vectors, table, transposed, draw, torch.tensor([int(backward)]), out)
    where = (groups.order, groups.first, groups.rows)
    run_in_threads(multiply, len(groups.rows), numbers, *where, *given)
    return out


class Score(Function):
    """Scores of rows of a table, which are not copied."""

    @staticmethod
    def forward(
        ctx: Any,
        sink: Tensor | None,
        query: Tensor,
        table: Tensor,
        ids: Tensor,
        kernel: ScoreKernel,
        accumulator: GradientAccumulator,
    ) -> Tensor:
        query, ids = query.contiguous(), ids.contiguous()
        score = query.new_empty(len(query), ids.shape[1])
        numbers = score.numel() * query.shape[1]
        wrong = run_in_threads(kernel.score, len(query), numbers, query, table, ids, score)
        refuse_unknown_ids(wrong, score.numel(), ids, len(table))
        ctx.save_for_backward(query, table, ids, score)
        ctx.kernel, ctx.accumulator = kernel, accumulator
        return score

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        query, table, ids, score = ctx.saved_tensors
        # a distance of 0 has no direction
        weight = torch.where(score == 0, 0, grad / score) if ctx.kernel.by_score else grad
        given = (query, table, ids, weight.contiguous())
        query_grad = None
        if ctx.needs_input_grad[1]:
            query_grad = torch.empty_like(query)
            numbers = score.numel() * query.shape[1]
            run_in_threads(ctx.kernel.query_grad, len(query), numbers, *given, query_grad)
        if not ctx.needs_input_grad[0]:
            return None, query_grad, None, None, None, None
        ctx.accumulator.add(ids, ctx.kernel.row_grad, *given)
        return grad.new_zeros(()), query_grad, None, None, None, None
