"""A table of vectors, whose rows are looked up, or compared with where they stand."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from sparring.compiled import can_loop, in_big_pages, in_parts
from sparring.models import loops
from sparring.models.rows import Ledger, add_vectors

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


class Table(nn.Embedding):
    """An embedding table. On the processor its gradient is made once for all uses together."""

    def __init__(self, rows: int, dim: int, *, sparse: bool = False):
        super().__init__(rows, dim, sparse=sparse, _weight=in_big_pages(torch.empty(rows, dim)))
        self.reset_parameters()
        self.ledger = Ledger(sparse)

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
