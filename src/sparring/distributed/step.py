"""What a training step needs to be the same on any number of ranks."""

from dataclasses import fields
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from sparring.batch import Negatives, Queries, Scorer
from sparring.corruption import Corruption
from sparring.distributed import world
from sparring.distributed.facts import Facts
from sparring.distributed.table import ShardedTable
from sparring.losses import Loss
from sparring.models.base import KGEModel
from sparring.samplers.base import NegativeSampler, SamplerWrapper

STREAM_BITS = 2**62
AVERAGED = "averaged"  # marks gradients that are the mean over ranks
UNSUPPORTED = (nn.modules.batchnorm._BatchNorm, nn.modules.dropout._DropoutNd)


class UnsupportedPartError(TypeError):
    """A part of a training step whose results would depend on the number of ranks."""


def worker_streams(rng: torch.Generator, workers: range) -> list[torch.Generator]:
    """A stream for each of these virtual workers, from one that is the same on all ranks."""
    base = int(torch.randint(STREAM_BITS, (), generator=rng, device=rng.device))
    return [
        torch.Generator(rng.device).manual_seed((base + worker * 0x9E3779B97F4A7C15) % 2**63)
        for worker in workers
    ]


class OwnQueries(Corruption):
    """Rows (anchor, relation, answer) of the virtual workers as queries, both ends of each triple.

    Args:
        facts: their weights, by virtual worker.
    """

    weights: Float[Tensor, "v"]

    def __init__(self, facts: Facts):
        nn.Module.__init__(self)
        self.register_buffer("weights", facts.weights(), persistent=False)

    def forward(self, triples: Int[Tensor, "T 3"], rng: torch.Generator) -> Queries:
        anchor, relation, answer = triples.long().unbind(1)
        weight = self.weights.repeat_interleave(len(triples) // len(self.weights))
        return Queries(anchor, relation, answer, weight)


class PerWorkerSampler(SamplerWrapper):
    """A sampler whose draws for each virtual worker have a random stream of their own.

    Raises:
        UnsupportedPartError: for a sampler that learns, or that looks at scores.
    """

    def __init__(self, inner: NegativeSampler, workers: range):
        super().__init__(inner)
        learns = type(inner).observe is not NegativeSampler.observe or inner.state_dict()
        if learns or inner.capabilities.needs_scores:
            raise UnsupportedPartError(
                f"{type(inner).__name__} learns or looks at scores, which works in one process "
                "only; train on several with uniform, uniform-filtered, popularity or generator"
            )
        self.workers = workers

    def sample(self, queries: Queries, score: Scorer, rng: torch.Generator) -> Negatives:
        streams, size = worker_streams(rng, self.workers), len(queries) // len(self.workers)
        return concatenate(
            [
                self.inner.sample(queries[number * size : (number + 1) * size], score, stream)
                for number, stream in enumerate(streams)
            ]
        )


def concatenate(parts: list[Negatives]) -> Negatives:
    """The negatives of one batch of queries after another."""
    blocks = tuple(torch.cat(lists) for lists in zip(*(part.blocks for part in parts)))
    joined: dict[str, Any] = {}
    for field in fields(Negatives)[1:]:
        values = [getattr(part, field.name) for part in parts]
        joined[field.name] = None if values[0] is None else torch.cat(values)
    return Negatives(blocks, **joined)


class ShareOfLoss(Loss):
    """The part of the loss that a rank's queries make, times W: gradients are averaged over ranks.

    Args:
        inner: gives the mean over the rank's queries by their weights.
        facts: the weights, whose mean over all ranks is 1.
    """

    def __init__(self, inner: Loss, facts: Facts):
        super().__init__()
        self.inner, self.factor = inner, float(facts.weights().mean())

    def check(self, sampler: NegativeSampler, model: KGEModel) -> None:
        self.inner.check(sampler, model)

    def forward(
        self,
        positive: Float[Tensor, "B"],
        negative: Float[Tensor, "B K"],
        negatives: Negatives,
        weight: Float[Tensor, "B"],
    ) -> Float[Tensor, ""]:
        return self.factor * self.inner(positive, negative, negatives, weight)


def average_gradients(module: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Let an optimizer step by the mean of the gradients of all ranks; with one, as it would.

    Gradients of sharded rows have come home already, as sums; those of all other parameters are
    summed over ranks.
    """
    if world.size() == 1:
        return
    tables = [one for one in module.modules() if isinstance(one, ShardedTable)]
    own = {id(table.rows.weight) for table in tables}
    parameters = [one for group in optimizer.param_groups for one in group["params"]]

    def average(*_: Any) -> None:
        for parameter in parameters:
            grad = parameter.grad
            if getattr(grad, AVERAGED, False):
                continue  # an optimizer's step may call that of its base class
            if id(parameter) in own:
                if grad is not None:
                    setattr(grad.div_(world.size()), AVERAGED, True)
                continue
            whole = torch.zeros_like(parameter) if grad is None else grad
            whole = whole.to_dense() if whole.is_sparse else whole
            whole = world.sum_all(whole).div_(world.size())
            setattr(whole, AVERAGED, True)
            parameter.grad = whole

    optimizer.register_step_pre_hook(average)


def refuse_unsupported(model: KGEModel) -> None:
    """Make sure that no layer of a model works on the batch as a whole, or draws at random.

    Raises:
        UnsupportedPartError: if one does.
    """
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Dropout) and not layer.p:
            continue
        if isinstance(layer, UNSUPPORTED):
            raise UnsupportedPartError(
                f"{type(model).__name__} has {type(layer).__name__} in {name}, whose results "
                "depend on the number of processes; switch it off, or train in one process"
            )
    if not any(isinstance(layer, ShardedTable) for layer in model.modules()):
        raise UnsupportedPartError(
            f"{type(model).__name__} has no table of entities that can be sharded; train on "
            "several processes with transe, rotate, distmult, complex or rescal"
        )


def mean_metrics(metrics: list[dict[str, Tensor]]) -> list[dict[str, Tensor]]:
    """The metrics of some steps, as means over ranks."""
    names = list(metrics[0])
    table = torch.stack([torch.stack([row[name].float() for name in names]) for row in metrics])
    means = world.sum_all(table) / world.size()
    return [dict(zip(names, row)) for row in means]
