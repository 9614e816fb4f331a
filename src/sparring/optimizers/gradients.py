"""Sparse gradients as rows and what is added to them."""

from jaxtyping import Float, Int
from torch import Tensor

from sparring.compiled import compiled


@compiled
def ascend(rows):
    """Whether every row has a higher number than the one before."""
    falls = 0
    for place in range(1, len(rows)):
        falls += rows[place] <= rows[place - 1]
    return falls == 0


def by_row(grad: Tensor) -> tuple[Int[Tensor, "U"], Float[Tensor, "U d"]]:
    """Distinct rows, ascending, and their gradients; on the processor only."""
    # gradients that come in order are distinct, though autograd drops the note of it
    grad = grad if ascend(grad._indices()[0].numpy()) else grad.coalesce()
    return grad._indices()[0], grad._values().contiguous()
