"""Whole runs on a tiny graph, built anew each time, as after a crash."""

import dataclasses

import torch

from sparring.corruption import CorruptEither
from sparring.data.index import TripleIndex
from sparring.losses import SampledSoftmax
from sparring.models import ComplEx
from sparring.samplers import MaskKnown, Uniform
from sparring.seeds import Seeds
from sparring.testing import tiny_graph
from sparring.training import OPTIMIZERS, FitOptions, Trainer, TrainingStep
from sparring.training.schedules import Cosine

VALID = torch.tensor([[0, 0, 1], [4, 1, 9], [10, 2, 0]])


def step_of(graph, **options):
    """A step that draws for its sides and negatives, and may drop out."""
    return TrainingStep(
        ComplEx(graph, dim=8, **options),
        MaskKnown(graph, inner=Uniform(graph, k=4)),
        SampledSoftmax(learn_temperature=True, correction="both"),
        CorruptEither(graph),
    )


def trainer_of(
    folder,
    *,
    optimizer="adam",
    init=0,
    valid=VALID,
    lr=0.05,
    step=None,
    schedule=None,
    sparse=None,
    **options,
):
    """A trainer with five steps per epoch; a resumed run must not depend on the seed `init`."""
    graph = tiny_graph()
    torch.manual_seed(init)
    sparse = optimizer == "rowwise-adagrad" if sparse is None else sparse
    step = step or step_of(graph, sparse=sparse, dropout=0.3)
    settings = {"epochs": 4, "batch_size": 8, "validate_every": 2, "log_every": 1} | options
    return Trainer(
        step,
        OPTIMIZERS[optimizer](step.trainable_parameters(), lr=lr),
        schedule or Cosine(warmup=0.1),
        Seeds(5),
        FitOptions(**settings),
        triples=graph.triples,
        valid=valid,
        known=TripleIndex(
            torch.cat([graph.triples, valid]), graph.num_entities, graph.num_relations
        ),
        folder=folder,
    )


def logged(records):
    """What records say, but for the time it took."""
    return [
        (record.kind, record.epoch, record.step, record.values)
        for record in records
        if record.kind != "end"
    ]


def train(trainer, until=None):
    """Run, ask to stop after the given step, and return what was reported."""
    records = []
    for record in trainer.run():
        records.append(record)
        if record.step == until:
            trainer.stop()
    return logged(records)


def assert_resumes(make, folder, stop=7):
    """Raise AssertionError unless a run that is stopped goes on as if it were not, bit for bit.

    Args:
        make: builds the trainer for a folder; its parameters depend on the seed `init`.
    """
    unbroken = make(folder / "unbroken")
    records = train(unbroken)
    before = train(make(folder / "broken"), until=stop)
    second = make(folder / "broken", init=1)
    torch.manual_seed(99)
    second.resume()
    assert before + train(second) == records
    assert state(second) == state(unbroken)


def state(trainer):
    """All that a run has learned, as plain numbers."""
    progress = dataclasses.asdict(trainer.progress)
    del progress["cpu_seconds"], progress["validation_seconds"]
    for row in progress["validations"]:
        row.pop("cpu_seconds")
    return {
        "step": numbers(trainer.step.state_dict()),
        "optimizer": numbers(trainer.optimizer.state_dict()),
        "seeds": numbers(trainer.seeds.state_dict()),
        "progress": progress,
    }


def numbers(value):
    """Nested tensors as lists, which compare exactly."""
    if isinstance(value, torch.Tensor):
        return value.tolist()
    if isinstance(value, dict):
        return {key: numbers(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [numbers(item) for item in value]
    return value
