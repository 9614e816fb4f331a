"""The same numbers give the same bits, in every place in memory and in every process."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from training.runs import state, train, trainer_of

from sparring.corruption import CorruptBoth
from sparring.generators import NSGenerator, UpdateSchedule
from sparring.kernels import (
    distillation,
    embedding,
    losses,
    matrices,
    multi_index,
    optim,
    runtime,
)
from sparring.losses import SampledSoftmax
from sparring.models import ComplEx
from sparring.testing import tiny_graph
from sparring.training import TrainingStep, checkpoint

QUERIES, ENTITIES, RELATIONS, ROWS, COLUMNS = 6, 40, 4, 5, 9


class Arguments:
    """Random arguments of the loops, for vectors of one width and lists of `many` candidates.

    Two queries share each list.
    """

    def __init__(self, width, many, dtype):
        self.rng = np.random.default_rng(0)
        self.width, self.many, self.dtype = width, many, dtype
        self.pairs = self.floats(QUERIES, width), self.floats(ENTITIES, width)
        self.ids = self.integers(ENTITIES, QUERIES // 2, many)
        self.weight = self.floats(QUERIES, many)

    def floats(self, *shape):
        return self.rng.random(shape).astype(self.dtype)

    def zeros(self, *shape):
        return np.zeros(shape, self.dtype)

    def integers(self, below, *shape):
        return self.rng.integers(0, below, shape)

    def groups(self, ids):
        found = embedding.group_by_row(torch.from_numpy(ids.reshape(-1)), ENTITIES)
        order, first, rows = (one.numpy() for one in (found.order, found.first, found.rows))
        return [0, len(rows), order, first, rows, np.arange(len(rows), dtype=np.int32)]

    def score(self):
        return [0, QUERIES, *self.pairs, self.ids, self.zeros(QUERIES, self.many)]

    def query_grad(self):
        out = self.zeros(QUERIES, self.width)
        return [0, QUERIES, *self.pairs, self.ids, self.weight, out]

    def row_grad(self):
        out = self.zeros(ENTITIES, self.width)
        return [*self.groups(self.ids), *self.pairs, self.ids, self.weight, out]

    def vectors(self):
        out = self.zeros(ENTITIES, self.width)
        return [*self.groups(self.ids), self.floats(self.ids.size, self.width), out]

    def matrices(self):
        found = self.groups(self.integers(RELATIONS, QUERIES))
        return found[:5], found[5], self.integers(2, QUERIES), self.floats(QUERIES, self.width)

    def products(self):
        groups, _, transposed, vectors = self.matrices()
        table = self.floats(RELATIONS, self.width**2)
        flip, out = np.zeros(1, int), np.zeros_like(vectors)
        return [*groups, vectors, table, transposed, np.array([3, 4, 2**31]), flip, out]

    def product_grad(self):
        groups, targets, transposed, vectors = self.matrices()
        out = self.zeros(RELATIONS, self.width**2)
        gradient, draw = self.floats(QUERIES, self.width), np.array([3, 4, 2**31])
        return [*groups, targets, vectors, transposed, draw, gradient, out]

    def distillation(self):
        entity, relation, _ = self.student()
        triples = [self.integers(number, QUERIES) for number in (ENTITIES, RELATIONS, ENTITIES)]
        places = [one.astype(np.int32) for one in (triples[0], triples[2], self.ids)]
        target, grads = (
            self.floats(QUERIES, self.many),
            (np.zeros_like(entity), np.zeros_like(relation)),
        )
        return [entity, relation, *places, *triples, self.ids, self.weight, target, *grads, 0.5]

    def student(self):
        half = (self.width + 1) // 2
        return self.floats(ENTITIES, 2 * half + 1), self.floats(RELATIONS, 4 * half), half

    def hinge(self):
        mask = self.floats(QUERIES, self.many) < 0.8
        score, shift = self.floats(QUERIES, self.many), self.floats(QUERIES)
        return [0, QUERIES, self.weight, mask, score, shift]

    def hinge_mean(self):
        return [*self.hinge(), self.zeros(QUERIES), self.zeros(QUERIES)]

    def hinge_grad(self):
        out = self.zeros(QUERIES, self.many), self.zeros(QUERIES)
        return [*self.hinge(), self.floats(QUERIES), *out]

    def update(self):
        rows = np.sort(self.rng.permutation(ENTITIES)[:QUERIES])
        return [rows, self.floats(QUERIES, self.width)]

    def table(self):
        return self.floats(ENTITIES, self.width)

    def adam(self):
        moments = self.table(), self.table()
        return [0, ENTITIES, *self.update(), self.floats(6), *moments, self.table()]

    def adagrad(self):
        return [0, QUERIES, *self.update(), self.floats(2), self.table(), self.table()]

    def rowwise(self):
        total = self.floats(ENTITIES)
        return [0, QUERIES, *self.update(), total, self.floats(2), self.table()]

    def blocks(self):
        return [self.rng.random(8 * self.many), np.zeros(self.many)]

    def draws(self):
        cells = ROWS * COLUMNS
        cell = np.sort(np.append(np.arange(cells), self.integers(cells, cells)))
        weight = self.rng.random(len(cell)) + 0.1
        size = np.bincount(cell)
        first = np.cumsum(size) - size
        mass = np.bincount(cell, weight).reshape(ROWS, COLUMNS).astype(self.dtype)
        order, shape = self.rng.permutation(len(cell)), (QUERIES, self.many)
        records = np.stack([np.cumsum(weight), weight], 1)
        order_of = np.repeat(order[:, None].astype(np.int32), 4, 1)
        return [
            *(self.floats(QUERIES, ROWS), self.floats(QUERIES, COLUMNS), mass),
            *(first, size, first[cell], cell[np.argsort(order)], self.floats(len(cell))),
            *(records, order_of, self.floats(len(cell), 4), self.rng.random(shape)),
            *(np.zeros(shape, int), np.zeros(shape, int), self.zeros(*shape), 0.1),
        ]

    def probabilities(self):
        given = (self.floats(QUERIES, ROWS), self.floats(QUERIES, COLUMNS), self.floats(QUERIES, 1))
        cell, weight = self.integers(ROWS * COLUMNS, *self.ids.shape), self.floats(*self.ids.shape)
        return [*given, cell, weight, self.zeros(QUERIES, self.many), 0.1, ENTITIES]


LOOPS = {
    embedding.score_dot: Arguments.score,
    embedding.score_l2: Arguments.score,
    embedding.score_squared_l2: Arguments.score,
    embedding.score_l1: Arguments.score,
    embedding.score_complex_l1: Arguments.score,
    embedding.query_grad_dot: Arguments.query_grad,
    embedding.query_grad_l2: Arguments.query_grad,
    embedding.query_grad_squared_l2: Arguments.query_grad,
    embedding.query_grad_l1: Arguments.query_grad,
    embedding.query_grad_complex_l1: Arguments.query_grad,
    embedding.row_grad_dot: Arguments.row_grad,
    embedding.row_grad_l2: Arguments.row_grad,
    embedding.row_grad_squared_l2: Arguments.row_grad,
    embedding.row_grad_l1: Arguments.row_grad,
    embedding.row_grad_complex_l1: Arguments.row_grad,
    embedding.add_vectors: Arguments.vectors,
    matrices.multiply: Arguments.products,
    matrices.add_products: Arguments.product_grad,
    distillation.add_gradients: Arguments.distillation,
    losses.mean_above: Arguments.hinge_mean,
    losses.grad_above: Arguments.hinge_grad,
    optim.adam: Arguments.adam,
    optim.adagrad: Arguments.adagrad,
    optim.rowwise: Arguments.rowwise,
    multi_index.add_up: Arguments.blocks,
    multi_index.write_draws: Arguments.draws,
    multi_index.write_probabilities: Arguments.probabilities,
}


@pytest.fixture(scope="module")
def empty():
    """Makes arrays of so many bytes where compiled loops make theirs."""
    if runtime.numba is None:
        pytest.skip("loops are not compiled")
    return runtime.numba.njit(lambda size: np.empty(size, np.uint8))


@pytest.mark.parametrize("loop", LOOPS, ids=lambda loop: loop.__name__)
@pytest.mark.parametrize("width, many", [(13, 11), (20, 8), (32, 8), (64, 16)])
@pytest.mark.slow
def test_a_loop_gives_the_same_bits_at_every_address(empty, loop, width, many):
    """Arrays lie anew for each call, and so do those that the loop makes itself."""
    arguments = LOOPS[loop](Arguments(width, many, np.float32))
    rng, between, results = np.random.default_rng(0), [], set()
    for _ in range(200):
        given = list(arguments)
        for index in rng.permutation(len(given)):
            if isinstance(given[index], np.ndarray):
                given[index] = moved(given[index], empty, rng)
                between.append(empty(int(rng.integers(1, 200))))
        rng.shuffle(between)
        del between[64:]
        value = loop(*given)
        arrays = [one.tobytes() for one in given if isinstance(one, np.ndarray)]
        results.add((value, *arrays))
    assert len(results) == 1


def moved(array, empty, rng):
    """A copy that starts with a block of memory or a few numbers later."""
    shift = int(rng.integers(4)) * array.itemsize
    copy = empty(shift + array.nbytes)[shift:].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


@pytest.mark.slow
def test_a_run_with_a_generator_is_the_same_in_every_process(tmp_path):
    """Thirty steps here, and in another process that stops and resumes."""
    words = [sys.executable, "-c", IN_TWO_PARTS, str(tmp_path / "two parts")]
    path = os.pathsep.join([str(Path(__file__).parents[1]), *filter(None, sys.path)])
    environment = os.environ | {"PYTHONPATH": path}
    other = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert other.returncode == 0, other.stderr
    assert other.stdout == f"{learned(tmp_path / 'whole', 30)}\n"


IN_TWO_PARTS = """
import sys
from pathlib import Path
from kernels.test_determinism import learned
print(learned(Path(sys.argv[1]), 15, 30))
"""


def learned(folder, *stops):
    """All that a run with a generator has learned, after it was stopped at these steps."""
    for until in stops:
        torch.manual_seed(0)
        graph = tiny_graph()
        step = TrainingStep(
            ComplEx(graph, dim=64, sparse=True),
            NSGenerator(graph, k=8, schedule=UpdateSchedule(update_every=1, update_fraction=1.0)),
            SampledSoftmax(correction="both"),
            CorruptBoth(graph),
        )
        trainer = trainer_of(folder, step=step, epochs=6)
        if checkpoint.exists(folder, "last"):
            trainer.resume()
        train(trainer, until=until)
    return state(trainer)
