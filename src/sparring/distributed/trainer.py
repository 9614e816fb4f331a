"""The training loop on several ranks: as `Trainer`, with sharded checkpoints and validation."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from sparring.data.index import TripleIndex
from sparring.distributed import checkpoint, world
from sparring.distributed.facts import Facts
from sparring.distributed.ranking import evaluate
from sparring.distributed.step import average_gradients, mean_metrics
from sparring.distributed.table import RowBuffers, ShardedTable
from sparring.seeds import Seeds
from sparring.training import CheckpointError, FitOptions, Record, Trainer, TrainingStep
from sparring.training.schedules import Schedule
from sparring.training.trainer import load_state


class ShardedTrainer(Trainer):
    """Trains a `TrainingStep` whose tables are sharded, in the same way on any number of ranks.

    All ranks run it, and yield the same records. Checkpoints are written by all of them.

    Args:
        facts: the training facts of this rank.
        known: answers that filtered ranks of validation leave out, for the queries of this rank.
        step, optimizer, schedule, seeds, options, valid, folder, about: as for `Trainer`. A batch
            of b triples is one of 2 b queries.

    Raises:
        ValueError: if there are no training facts, or a batch has fewer queries than there are
            virtual workers.
    """

    def __init__(
        self,
        step: TrainingStep,
        optimizer: torch.optim.Optimizer,
        schedule: Schedule,
        seeds: Seeds,
        options: FitOptions,
        *,
        facts: Facts,
        valid: Int[Tensor, "V 3"],
        known: TripleIndex,
        folder: Path,
        about: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        layout = facts.layout
        if options.average or options.minutes:
            raise ValueError("train.average and train.minutes work in one process only; leave 0")
        if min(facts.sizes) < 1:
            raise ValueError(
                "a virtual worker has no training facts; set distributed.virtual_workers lower"
            )
        self.facts, self.layout = facts, layout
        self.per_worker = queries_per_worker(options, facts)
        super().__init__(
            *(step, optimizer, schedule, seeds, options),
            triples=facts.queries.to(valid.device),
            valid=valid,
            known=known,
            folder=folder,
            about=about,
        )
        self.batch_size = layout.per_rank * self.per_worker
        self.steps_per_epoch = -(-facts.total // (layout.workers * self.per_worker))
        self.wants_to_stop = False
        average_gradients(step.model, optimizer)
        for module in step.model.modules():
            if isinstance(module, ShardedTable):
                module.attach(optimizer)

    def stop(self) -> None:
        """Save and stop after the next record, when all ranks know of it."""
        self.wants_to_stop = True

    def _epoch_order(self, epoch: int) -> Int[Tensor, "S"]:
        """The order of each virtual worker's facts, which depends on nothing else."""
        need = self.steps_per_epoch * self.per_worker
        orders, start = [], 0
        for worker, size in zip(self.layout.own, self.facts.sizes):
            rng = self.seeds.fresh(f"shuffle/{epoch}/{worker}")
            order = torch.randperm(size, generator=rng)
            orders.append(order[torch.arange(need) % size] + start)
            start += size
        steps = torch.stack(orders).unflatten(1, (self.steps_per_epoch, self.per_worker))
        return steps.transpose(0, 1).flatten().to(self.device)

    def _means(self, metrics: list[dict[str, Tensor]]) -> dict[str, float]:
        self.stopping = world.any_rank(self.wants_to_stop, self.device)
        return super()._means(mean_metrics(metrics))

    def _not_finite(self) -> list[str]:
        names = [name for name, _ in self.step.named_parameters()]
        here = super()._not_finite()
        flags = torch.tensor([int(name in here) for name in names], device=self.device)
        return [name for name, bad in zip(names, world.max_all(flags)) if bad]

    def _validate(self, epoch: int) -> Record:
        ranks = evaluate(
            *(self.step.model, self.valid, self.known, self.layout),
            max_scores=self.options.max_scores,
        )
        values = {"mrr": ranks.mrr(), "hits@10": ranks.hits(10), "mr": ranks.mr()}
        progress = self.progress
        if progress.best_mrr is None or values["mrr"] > progress.best_mrr:
            progress.best_mrr, progress.best_epoch, progress.since_best = values["mrr"], epoch, 0
            self._write("best", {"epoch": epoch, "step": self.step.state_dict(), **self.about})
        else:
            progress.since_best += 1
        progress.validations.append(
            {"epoch": float(epoch), "cpu_seconds": progress.cpu_seconds, **values}
        )
        return self._record("validation", values)

    def save(self) -> None:
        """Write the checkpoint "last", from which any number of ranks may continue."""
        self._check_finite()
        state = {
            "step": self.step.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "seeds": self.seeds.state_dict(),
            "progress": vars(self.progress),
            "per_worker": self.per_worker,
            "facts": self.facts.total,
            **self.about,
        }
        self._write("last", state)

    def resume(self) -> None:
        """Continue from the checkpoint "last", whatever number of ranks wrote it."""
        state = checkpoint.load(self.folder, "last", self.layout)
        for name, current in (("per_worker", self.per_worker), ("facts", self.facts.total)):
            if state.get(name) != current:
                raise CheckpointError(
                    f"the checkpoint in {self.folder} was trained with {name} = {state.get(name)}, "
                    f"not {current}"
                )
        load_state(self.step, state, self.folder)
        self.optimizer.load_state_dict(state["optimizer"])
        self.seeds.stream("train", self.device)
        self.seeds.load_state_dict(state["seeds"])
        self.progress = type(self.progress)(**state["progress"])

    def load_best(self) -> int:
        """Restore the parameters of the best epoch; gives that epoch, 0 if none was validated."""
        if self.progress.best_mrr is None:
            return 0
        state = checkpoint.load(self.folder, "best", self.layout)
        load_state(self.step, state, self.folder)
        return state["epoch"]

    def _write(self, name: str, state: dict[str, Any]) -> None:
        checkpoint.save(self.folder, name, state, set(self._sharded()), self.layout)

    def _sharded(self) -> Iterator[int]:
        """Where the tensors begin of which this rank has some rows."""
        optimizers = [self.optimizer, getattr(self.step.sampler, "optimizer", None)]
        for module in self.step.modules():
            if isinstance(module, ShardedTable):
                weight = module.rows.weight
                yield weight.data_ptr()
                for optimizer in filter(None, optimizers):
                    for value in optimizer.state.get(weight, {}).values():
                        if value.dim() and len(value) == len(weight):
                            yield value.data_ptr()
            elif isinstance(module, RowBuffers):
                yield from (buffer.data_ptr() for buffer in module.row_buffers())


def queries_per_worker(options: FitOptions, facts: Facts) -> int:
    """How many queries of each virtual worker a step takes.

    Raises:
        ValueError: if a batch has fewer queries than there are virtual workers.
    """
    workers = facts.layout.workers
    if size := min(2 * options.batch_size, facts.total) // workers:
        return size
    raise ValueError(
        f"a batch of {options.batch_size} triples has {2 * options.batch_size} queries, fewer than "
        f"{workers} virtual workers; raise train.batch_size, or lower distributed.virtual_workers"
    )
