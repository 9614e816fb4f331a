"""Functions run on several ranks of a group on this machine, and the parts of a small training."""

import multiprocessing
import tempfile
from pathlib import Path

import torch
import torch.distributed as dist

from sparring.data.frames import graph_from_frames
from sparring.distributed.facts import Facts
from sparring.distributed.layout import Layout
from sparring.distributed.ranking import known_answers
from sparring.distributed.step import (
    OwnQueries,
    PerWorkerSampler,
    ShareOfLoss,
    average_gradients,
)
from sparring.distributed.table import ShardedTable
from sparring.distributed.trainer import ShardedTrainer
from sparring.embedding import sharded_tables
from sparring.losses import SampledSoftmax
from sparring.models import MODELS
from sparring.optim import OPTIMIZERS
from sparring.samplers import Uniform
from sparring.seeds import Seeds
from sparring.training import FitOptions, TrainingStep
from sparring.training.schedules import Constant

WORKERS = 4


def on_ranks(number, function, *given, start="fork"):
    """What a function gives on each of so many ranks, in their order.

    Args:
        start: "forkserver" for a function of a module that uses Polars, whose threads do not
            outlive a fork of this process.
    """
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        context = multiprocessing.get_context(start)
        arguments = lambda rank: (rank, number, Path(folder), function, given)
        processes = [
            context.Process(target=_on_rank, args=arguments(rank)) for rank in range(number)
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join(120)
        assert [process.exitcode for process in processes] == [0] * number
        return [
            torch.load(Path(folder, f"{rank}.pt"), weights_only=False) for rank in range(number)
        ]


def on_fresh_ranks(number, function, *given):
    """The same, where Polars is used."""
    return on_ranks(number, function, *given, start="forkserver")


def _on_rank(rank, number, folder, function, given):
    store = dist.FileStore(str(folder / "store"), number)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=number)
    torch.save(function(*given), folder / f"{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


def small_graph(entities=61, relations=5, triples=500):
    """Random facts, of which the last are held out."""
    rng = torch.Generator().manual_seed(0)
    ends = torch.randint(entities, (triples, 2), generator=rng)
    kind = torch.randint(relations, (triples, 1), generator=rng)
    rows = torch.cat([ends[:, :1], kind, ends[:, 1:]], 1).unique(dim=0)
    rows = rows[torch.randperm(len(rows), generator=rng)]
    named = [(f"e{h}", f"r{r}", f"e{t}") for h, r, t in rows.tolist()]
    splits = {"train": named[60:], "valid": named[:30], "test": named[30:60]}
    return graph_from_frames(splits, name="small")


def made(graph, model="complex", sampler=None, kind=ShardedTable, **options):
    """Facts and a training step of a graph, under fixed seeds."""
    layout = Layout(len(graph.entities), len(graph.relations), WORKERS)
    facts, seeds = Facts.of(graph, layout), Seeds(0)
    names = iter(range(9))
    table = lambda kind: (
        lambda dim, init: kind(layout, dim, init=init, seeds=seeds, name=f"{next(names)}")
    )
    torch.manual_seed(0)
    with sharded_tables(layout.num_entities, table(kind)):
        built = MODELS[model](facts.graph(), dim=8, **options)
    with sharded_tables(layout.num_entities, table(ShardedTable)):
        drawn = None if sampler is None else sampler(facts.graph(), k=6, codes=4, dim=8)
    if drawn is None:
        drawn = PerWorkerSampler(Uniform(facts.graph(), k=6), layout.own)
    else:
        average_gradients(drawn, drawn.optimizer)
    loss = ShareOfLoss(SampledSoftmax(correction="both"), facts)
    return facts, TrainingStep(built, drawn, loss, OwnQueries(facts))


def trainer(graph, folder, *, epochs=2, optimizer="rowwise-adagrad", lr=0.1, **given):
    """A trainer of this rank."""
    facts, step = made(graph, **given)
    layout = facts.layout
    options = FitOptions(epochs=epochs, batch_size=40, log_every=1, validate_every=epochs)
    return ShardedTrainer(
        step,
        OPTIMIZERS[optimizer](step.trainable_parameters(), lr=lr),
        Constant(),
        Seeds(0),
        options,
        facts=facts,
        valid=graph.valid,
        known=known_answers(torch.cat([graph.train, graph.valid]), layout),
        folder=folder,
    )
