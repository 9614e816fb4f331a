"""Short runs give the numbers they have always given.

A difference here is a change of behaviour: of a stream of random numbers, a default, an order.
Where it is meant, write the new numbers down; they are the means of each epoch's losses.
"""

import pytest
import torch
from zoo import LOSSES, MODELS, SAMPLERS

from sparring.corruption import CorruptBoth
from sparring.seeds import Seeds
from sparring.testing import tiny_graph
from sparring.training import OPTIMIZERS, TrainingStep

GOLDEN = {
    ("complex", "uniform-filtered", "softmax-both"): [1.791309, 1.609150, 1.501152, 1.299016],
    ("distmult", "all-entities", "sampled-softmax"): [2.409424, 2.346506, 2.286665, 2.219891],
    ("rescal", "resample-known", "margin-ranking"): [0.934699, 0.676189, 0.640302, 0.584722],
    ("rotate", "mask-known", "nssa"): [0.972638, 0.784207, 0.709329, 0.673702],
    ("transd", "popularity", "nssa-plain"): [0.909412, 0.747075, 0.704630, 0.684540],
    ("transe", "kvs-all", "bce"): [3.933970, 3.074072, 2.781712, 2.626102],
    ("transh", "uniform-shared", "softmax-negatives"): [2.525743, 2.334631, 2.263594, 2.170955],
}


def losses(model, sampler, loss, epochs=4):
    graph, seeds = tiny_graph(), Seeds(3)
    torch.manual_seed(seeds.number("model"))
    step = TrainingStep(
        MODELS[model](graph), SAMPLERS[sampler](graph), LOSSES[loss](), CorruptBoth(graph)
    )
    optimizer = OPTIMIZERS["adagrad"](step.trainable_parameters(), lr=0.1)
    rng = seeds.stream("train")
    rows = graph.triples.split(10)
    told = [[step(some, optimizer, rng)["loss"].item() for some in rows] for _ in range(epochs)]
    return [sum(values) / len(values) for values in told]


@pytest.mark.parametrize("names", GOLDEN, ids=map("/".join, GOLDEN))
def test_runs_stay_the_same(names):
    assert losses(*names) == pytest.approx(GOLDEN[names], rel=1e-4)
