"""Vectors times matrices that are rows of a table, and the gradients.

No matrix is copied: products read the row where it stands, one after the other for all vectors that
it multiplies. The PyTorch twin is in `EmbeddingTable.multiply`.

Pairs of a vector and a row come grouped by row (`RowGroups`); a loop runs for groups from `start`
to `stop` - 1. `transposed` is 1 where a vector is multiplied by the transpose, else 0."""

from sparring.kernels.runtime import compiled


@compiled
def multiply(start, stop, order, first, rows, vectors, table, transposed, flip, out):
    """Write v W, or W v where transposed; the other way round if `flip` holds a 1."""
    width = vectors.shape[1]
    for run in range(start, stop):
        matrix = rows[run]
        for index in range(first[run], first[run + 1]):
            pair = order[index]
            for j in range(width):
                out[pair, j] = 0
            if transposed[pair] != flip[0]:
                for i in range(width):
                    total = out.dtype.type(0)
                    for j in range(width):
                        total += table[matrix, i * width + j] * vectors[pair, j]
                    out[pair, i] = total
            else:
                for i in range(width):
                    factor = vectors[pair, i]
                    for j in range(width):
                        out[pair, j] += factor * table[matrix, i * width + j]
    return 0


@compiled
def add_products(start, stop, order, first, rows, targets, vectors, transposed, gradient, out):
    """Add the gradient of products for the matrices to their target rows of `out`."""
    width = vectors.shape[1]
    for run in range(start, stop):
        target = targets[run]
        for index in range(first[run], first[run + 1]):
            pair = order[index]
            for i in range(width):
                if transposed[pair]:
                    factor = gradient[pair, i]
                    for j in range(width):
                        out[target, i * width + j] += factor * vectors[pair, j]
                else:
                    factor = vectors[pair, i]
                    for j in range(width):
                        out[target, i * width + j] += factor * gradient[pair, j]
    return 0


__all__ = ["add_products", "multiply"]
