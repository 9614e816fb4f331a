"""Vectors times matrices that are rows of a table, and the gradients.

No matrix is copied: products read the row where it stands, one after the other for all vectors that
it multiplies. Dropout of numbers of a matrix, for each vector by itself, keeps no masks either: a
hash of the place says what is dropped. The PyTorch twin is in `EmbeddingTable.multiply`.

Pairs of a vector and a row come grouped by row (`RowGroups`); a loop runs for groups from `start`
to `stop` - 1. `transposed` is 1 where a vector is multiplied by the transpose, else 0. `draw` holds
what `draw_of` returns."""

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from sparring.kernels.runtime import compiled

WORD = 2**32
FACTORS = (0x7FEB352D, 0x46CA68B5)  # odd, below 2**31, so that products fit in 64 bits


def draw_of(dropout: float, device: torch.device) -> Int[Tensor, "3"]:
    """A new random function of places: factor, shift, and the hash below which one is dropped."""
    factor, shift = torch.randint(WORD // 2, (2,), device=device)
    threshold = torch.full_like(shift, round(dropout * WORD))
    return torch.stack([2 * factor + 1, shift, threshold])


def is_kept(place: Int[Tensor, "*s"], draw: Int[Tensor, "3"]) -> Bool[Tensor, "*s"]:
    """Whether the number at each place is not dropped; the twin of `write_kept`."""
    factor, shift, threshold = draw
    word = (place * factor + shift) % WORD
    word = (word ^ (word >> 16)) * FACTORS[0] % WORD
    word = (word ^ (word >> 15)) * FACTORS[1] % WORD
    return (word ^ (word >> 16)) >= threshold


@compiled
def write_kept(kept, start, draw):
    """Write 1 for each place from `start` on that is not dropped, else 0."""
    factor, shift, threshold = np.uint32(draw[0]), np.uint32(draw[1]), draw[2]
    first, second = np.uint32(FACTORS[0]), np.uint32(FACTORS[1])
    for j in range(len(kept)):
        word = np.uint32(np.uint32(np.uint32(start + j) * factor) + shift)
        word = np.uint32(np.uint32(word ^ (word >> np.uint32(16))) * first)
        word = np.uint32(np.uint32(word ^ (word >> np.uint32(15))) * second)
        word = np.uint32(word ^ (word >> np.uint32(16)))
        kept[j] = 1 if word >= threshold else 0


@compiled
def multiply(start, stop, order, first, rows, vectors, table, transposed, draw, flip, out):
    """Write v W, or W v where transposed; the other way round if `flip` holds a 1."""
    width = vectors.shape[1]
    kept = np.ones(width, dtype=vectors.dtype)
    for run in range(start, stop):
        matrix = rows[run]
        for index in range(first[run], first[run + 1]):
            pair = order[index]
            for j in range(width):
                out[pair, j] = 0
            for i in range(width):
                line = i * width
                if draw[2]:
                    write_kept(kept, pair * width * width + line, draw)
                if transposed[pair] != flip[0]:
                    total = out.dtype.type(0)
                    for j in range(width):
                        total += kept[j] * table[matrix, line + j] * vectors[pair, j]
                    out[pair, i] = total
                else:
                    factor = vectors[pair, i]
                    for j in range(width):
                        out[pair, j] += factor * kept[j] * table[matrix, line + j]
    return 0


@compiled
def add_products(
    start, stop, order, first, rows, targets, vectors, transposed, draw, gradient, out
):
    """Add the gradient of products for the matrices to their target rows of `out`."""
    width = vectors.shape[1]
    kept = np.ones(width, dtype=vectors.dtype)
    for run in range(start, stop):
        target = targets[run]
        for index in range(first[run], first[run + 1]):
            pair = order[index]
            for i in range(width):
                line = i * width
                if draw[2]:
                    write_kept(kept, pair * width * width + line, draw)
                if transposed[pair]:
                    factor = gradient[pair, i]
                    for j in range(width):
                        out[target, line + j] += factor * kept[j] * vectors[pair, j]
                else:
                    factor = vectors[pair, i]
                    for j in range(width):
                        out[target, line + j] += factor * kept[j] * gradient[pair, j]
    return 0


__all__ = ["add_products", "draw_of", "is_kept", "multiply"]
