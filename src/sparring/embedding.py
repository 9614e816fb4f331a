"""Gradients of a table's rows: every use of the table adds to one sum, made when all are known.

Autograd would make one table of gradients for each use and add these up; here each use leaves
what it knows in a ledger, and the last step back sorts all of it by row.

A table of vectors, whose rows are looked up, or compared with where they stand."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from sparring.kernels import embedding as loops
from sparring.kernels.runtime import can_loop, compiled, in_big_pages, in_parts

BITS = 15  # sorted by at a time: counts of 32,768 digits stay in a near cache


@compiled
def sort_by_digits(keys, turns, order, rank, count):
    """Write into `order` the places of ascending keys, equal ones as they stand.

    Args:
        turns: how many digits keys may have.
        rank, count: space for as many numbers as there are keys, and one more than there are
            values of a digit, a power of two.
    """
    digits = len(count) - 1
    bits = int(np.log2(digits))
    for place in range(len(keys)):
        order[place] = place
    for shift in range(0, turns * bits, bits):
        count[:] = 0
        for place in range(len(keys)):
            count[((keys[place] >> shift) & (digits - 1)) + 1] += 1
        for digit in range(digits):
            count[digit + 1] += count[digit]
        for place in range(len(keys)):
            rank[place] = order[place]
        for place in range(len(keys)):
            digit = (keys[rank[place]] >> shift) & (digits - 1)
            order[count[digit]] = rank[place]
            count[digit] += 1


@compiled
def find_runs(keys, order, first, rows):
    """Write where each run of equal keys starts, and its key; gives the number of runs."""
    runs = 0
    for spot in range(len(order)):
        key = keys[order[spot]]
        if not runs or rows[runs - 1] != key:
            first[runs], rows[runs] = spot, key
            runs += 1
    first[runs] = len(order)
    return runs


@compiled
def number_runs(order, first, run):
    """Write the number of each pair's run."""
    for number in range(len(first) - 1):
        for spot in range(first[number], first[number + 1]):
            run[order[spot]] = number


@compiled
def add_vectors(start, stop, order, first, rows, place, vectors, out):
    """Add vectors that were looked up to the rows that they came from."""
    for run in range(start, stop):
        here = place[run]
        for spot in range(first[run], first[run + 1]):
            pair = order[spot]
            for j in range(vectors.shape[1]):
                out[here, j] += vectors[pair, j]
    return 0


@dataclass(frozen=True, eq=False)
class Runs:
    """Pairs in the order of their rows.

    Attributes:
        order: places of the pairs, by row and then as they stand.
        first: where each row's pairs start in `order`; one more, where the last ones stop.
        rows: ascending.
    """

    order: Int[Tensor, "P"]
    first: Int[Tensor, "S"]
    rows: Int[Tensor, "U"]


def runs_of(ids: Int[Tensor, "P"], num_rows: int) -> Runs:
    """Which pairs speak of which row; on the processor only."""
    order = torch.empty(len(ids), dtype=torch.int32)
    first, rank = torch.empty(len(ids) + 1, dtype=torch.int32), torch.empty_like(order)
    rows = torch.empty_like(ids)
    bits = max(num_rows - 1, 1).bit_length()
    turns = -(-bits // BITS)
    count = np.zeros(2 ** -(-bits // turns) + 1, dtype=np.int32)
    sort_by_digits(ids.numpy(), turns, order.numpy(), rank.numpy(), count)
    runs = find_runs(ids.numpy(), order.numpy(), first.numpy(), rows.numpy())
    return Runs(order, first[: runs + 1], rows[:runs])


def together(
    parts: list[Int[Tensor, "_"]], num_rows: int
) -> tuple[Int[Tensor, "V"], tuple[Int[Tensor, "_"], ...]]:
    """Rows of all parts, ascending, and where each part's own are among them."""
    runs = runs_of(torch.cat(parts), num_rows)
    place = torch.empty_like(runs.order)
    number_runs(runs.order.numpy(), runs.first.numpy(), place.numpy())
    return runs.rows, place.split([len(part) for part in parts])


@dataclass(frozen=True, eq=False)
class PendingGradient:
    """What one use of a table knows of the table's gradient.

    Attributes:
        ids: rows that the use read.
        add: a loop that adds the gradients of these rows to a sum.
        given: what the loop reads, after what says where to add.
        task: the pass back through the graph that the entry belongs to.
    """

    ids: Int[Tensor, "..."]
    add: Callable[..., int]
    given: tuple[Tensor, ...]
    task: int

    def add_to(self, out: Float[Tensor, "V d"], runs: Runs, place: Int[Tensor, "U"]) -> None:
        """Add the gradient of each row of these runs at its place."""
        where = (runs.order, runs.first, runs.rows, place)
        numbers = self.ids.numel() * out.shape[1]
        in_parts(self.add, len(runs.rows), numbers, *where, *self.given, out)


class GradientAccumulator:
    """Collects the uses of one table in one pass back, and adds them up.

    Args:
        sparse: give the gradient of the rows in use only.
    """

    def __init__(self, sparse: bool):
        self.sparse = sparse
        self.forget()

    def forget(self) -> None:
        """Start anew; a copy of the ledger knows of no uses either."""
        self.entries: list[PendingGradient] = []
        self.joint: Tensor | None = None
        self.key: tuple[Any, ...] = ()

    def __getstate__(self) -> dict[str, bool]:
        return {"sparse": self.sparse}

    def __setstate__(self, state: dict[str, bool]) -> None:
        self.__init__(**state)

    def hub(self, weight: Tensor) -> Tensor | None:
        """Stands for the table in the graph of every use; None where no gradient is wanted."""
        if not (weight.requires_grad and torch.is_grad_enabled()):
            return None
        key = (id(weight), weight.data_ptr(), weight._version)
        if self.joint is None or self.key != key:
            self.entries, self.key, self.joint = [], key, GradientSink.apply(weight, self)
        return self.joint

    def enter(self, ids: Tensor, add: Callable[..., int], *given: Tensor) -> None:
        """Leave what one use knows of the gradient."""
        self.entries.append(PendingGradient(ids, add, given, torch._C._current_graph_task_id()))

    def total(self, shape: torch.Size, dtype: torch.dtype) -> Tensor:
        """The gradient of the table."""
        task = torch._C._current_graph_task_id()
        entries = [entry for entry in self.entries if entry.task == task]
        self.entries = []
        each = [runs_of(entry.ids.flatten(), shape[0]) for entry in entries]
        if not self.sparse:
            out = torch.zeros(shape, dtype=dtype)
            for entry, runs in zip(entries, each):
                entry.add_to(out, runs, runs.rows)
            return out
        rows, places = together([runs.rows for runs in each], shape[0])
        out = torch.zeros(len(rows), shape[1], dtype=dtype)
        for entry, runs, place in zip(entries, each, places):
            entry.add_to(out, runs, place)
        return torch.sparse_coo_tensor(rows.unsqueeze(0), out, shape, check_invariants=False)


class GradientSink(Function):
    """Through which every use of a table passes on the way back."""

    @staticmethod
    def forward(ctx, weight, ledger):
        ctx.ledger, ctx.about = ledger, (weight.shape, weight.dtype)
        return weight.new_zeros(())

    @staticmethod
    def backward(ctx, grad):
        return ctx.ledger.total(*ctx.about), None


PRECISE = (torch.float32, torch.float64)  # what loops reckon in


@dataclass(frozen=True)
class Comparison:
    """How query vectors meet rows of a table, as loops: see `loops.py`.

    Attributes:
        score: writes the scores, and gives how many ids are no rows.
        query: writes the gradient for the queries.
        rows: adds the gradient for rows of the table.
        by_score: whether these are told the gradient divided by the score.
        shared: whether loops do best for shared lists too: no matrix product does the same.
    """

    score: Callable[..., int]
    query: Callable[..., int]
    rows: Callable[..., int]
    by_score: bool = False
    shared: bool = False


PRODUCT = Comparison(loops.score_by_product, loops.query_of_product, loops.rows_of_product)
DISTANCE = Comparison(
    loops.score_by_distance, loops.query_of_distance, loops.rows_of_distance, by_score=True
)
CITY_BLOCK = Comparison(
    loops.score_by_city_block, loops.query_of_city_block, loops.rows_of_city_block, shared=True
)
MODULI = Comparison(loops.score_by_moduli, loops.query_of_moduli, loops.rows_of_moduli, shared=True)


class EmbeddingTable(nn.Embedding):
    """An embedding table. On the processor its gradient is made once for all uses together."""

    def __init__(self, rows: int, dim: int, *, sparse: bool = False):
        super().__init__(rows, dim, sparse=sparse, _weight=in_big_pages(torch.empty(rows, dim)))
        self.reset_parameters()
        self.ledger = GradientAccumulator(sparse)

    def loops(self) -> bool:
        """Whether compiled loops can read the table."""
        return can_loop(self.weight) and self.weight.dtype in PRECISE

    def fits(self, how: Comparison, query: Float[Tensor, "B c"], ids: Int[Tensor, "G K"]) -> bool:
        """Whether compiled loops can make this comparison, and do best."""
        batch, lists = len(query), len(ids)
        alike = query.dtype == self.weight.dtype and query.shape[1] == self.embedding_dim
        evenly = lists > 0 and batch % lists == 0
        return self.loops() and alike and evenly and (how.shared or batch == lists)

    def forward(self, input):
        """The vectors of these rows."""
        hub = self.ledger.hub(self.weight) if self.loops() else None
        if hub is None:
            return super().forward(input)
        return LookUp.apply(hub, self.weight.detach(), input, self.ledger)

    def compare(
        self, how: Comparison, query: Float[Tensor, "B d"], ids: Int[Tensor, "G K"]
    ) -> Float[Tensor, "B K"]:
        """Scores of rows for queries, of which equal numbers share a list.

        Raises:
            IndexError: for ids that are no rows of the table.
        """
        hub = self.ledger.hub(self.weight)
        return Compare.apply(hub, query, self.weight.detach(), ids, how, self.ledger)


def refuse_strangers(wrong: int, of: int, ids: Int[Tensor, "G K"], rows: int) -> None:
    """Make sure that a loop has met no id outside of the table.

    Raises:
        IndexError: if it has met some.
    """
    if wrong:
        raise IndexError(
            f"{wrong} of {of} candidates are no entities: ids run from 0 to {rows - 1}, and here "
            f"from {int(ids.min())} to {int(ids.max())}"
        )


class LookUp(Function):
    """Rows of a table."""

    @staticmethod
    def forward(ctx, hub, table, ids, ledger):
        ctx.save_for_backward(ids)
        ctx.ledger, ctx.hub = ledger, (hub.dtype, hub.device)
        return nn.functional.embedding(ids, table)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        (ids,) = ctx.saved_tensors
        ctx.ledger.enter(ids, add_vectors, grad.reshape(-1, grad.shape[-1]).contiguous())
        return grad.new_zeros(()), None, None, None


class Compare(Function):
    """Queries against rows of a table, neither of which is copied."""

    @staticmethod
    def forward(ctx, hub, query, table, ids, how, ledger):
        query, ids = query.contiguous(), ids.contiguous()
        score = query.new_empty(len(query), ids.shape[1])
        wrong = in_parts(
            how.score, len(query), score.numel() * query.shape[1], query, table, ids, score
        )
        refuse_strangers(wrong, score.numel(), ids, len(table))
        ctx.save_for_backward(query, table, ids, score)
        ctx.how, ctx.ledger = how, ledger
        return score

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        query, table, ids, score = ctx.saved_tensors
        # nothing pulls where a distance is 0
        weight = torch.where(score == 0, 0, grad / score) if ctx.how.by_score else grad
        given = (query, table, ids, weight.contiguous())
        pull = None
        if ctx.needs_input_grad[1]:
            pull = torch.empty_like(query)
            in_parts(ctx.how.query, len(query), score.numel() * query.shape[1], *given, pull)
        if not ctx.needs_input_grad[0]:
            return None, pull, None, None, None, None
        ctx.ledger.enter(ids, ctx.how.rows, *given)
        return grad.new_zeros(()), pull, None, None, None, None
