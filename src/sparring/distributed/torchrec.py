"""Sharded tables whose training look-ups and updates are TorchRec's (optional).

TorchRec's optimizer steps inside the backward pass of each look-up, but a training step here looks
up anchors, answers and candidates one after another. So look-ups leave their gradients, and one
more look-up of all their entities takes the sums home: each row moves once per step."""

import logging
from typing import Any

import torch
import torch.distributed as dist
from jaxtyping import Float, Int
from torch import Tensor

from sparring.distributed import world
from sparring.distributed.table import FLOAT, ID, ShardedTable
from sparring.embedding import TableScorer
from sparring.extras import optional
from sparring.kernels.rows import TakeRows, distinct
from sparring.optim import RowwiseAdagrad
from sparring.option_types import ConfigError

NAME, KERNEL = "rows", "fused"  # of the table in TorchRec
REMEDY = 'or leave distributed.tables = "sharded"'


class TorchRecTable(ShardedTable):
    """A sharded table that TorchRec trains, by row-wise Adagrad; all else is as without it.

    Rows, their owners and checkpoints are those of `ShardedTable`, so that each goes on from a
    checkpoint of the other. Losses agree up to the order of sums.
    """

    trained: "TrainedRows | None" = None

    def attach(self, optimizer: torch.optim.Optimizer) -> None:
        """Hand the rows over to TorchRec, which steps whenever the optimizer does.

        For a moment, the rows are in memory twice.

        Raises:
            ConfigError: for another optimizer than row-wise Adagrad.
            MissingExtraError: if TorchRec is not installed.
        """
        if not isinstance(optimizer, RowwiseAdagrad):
            raise ConfigError(
                'tables of TorchRec need optimizer.name = "rowwise-adagrad", not '
                f"{type(optimizer).__name__}; choose it, {REMEDY}"
            )
        weight = self.rows.weight
        trained = TrainedRows(self.layout.all_rows, weight, _options(optimizer, weight)["eps"])
        self.trained, weight.data = trained, trained.weight

        def step(*_: Any) -> None:
            trained.step(_options(optimizer, weight)["lr"])

        def share_sums(*_: Any) -> None:
            state = optimizer.state[weight]
            if "sum" in state:
                trained.sums.copy_(state["sum"])
            state["sum"] = trained.sums

        share_sums()
        optimizer.register_step_pre_hook(step)
        optimizer.register_load_state_dict_post_hook(share_sums)

    def in_training(self) -> "TrainedRows | None":
        """TorchRec's rows, where a look-up belongs to a training step."""
        return self.trained if torch.is_grad_enabled() and not self.is_local else None

    def forward(self, ids: Int[Tensor, "*shape"]) -> Float[Tensor, "*shape d"]:
        """The vectors of these entities."""
        trained = self.in_training()
        if trained is None:
            return super().forward(ids)
        rows, place = distinct(self.layout.row(ids.flatten()), self.layout.all_rows)
        return TakeRows.apply(trained.use(rows), place).view(*ids.shape, self.embedding_dim)

    def compare(self, scorer: TableScorer, ids: Int[Tensor, "G K"]) -> Float[Tensor, "B K"]:
        """Scores of entities for the queries of a scorer; in training, the rows travel."""
        return scorer.score_in_pytorch(ids) if self.in_training() else super().compare(scorer, ids)

    def bytes_sent(self, queries: int, k: int) -> int:
        """Bytes that a rank sends in a step for b queries with k candidates of their own.

        Each use sends its ids and receives vectors. In the end ids and vectors travel once more,
        and gradients.
        """
        away = (world.size() - 1) / world.size()
        return int(queries * (k + 2) * away * (2 * ID + 3 * FLOAT * self.embedding_dim))


class TrainedRows:
    """The rows of all ranks in TorchRec, sharded by row, which moves them in a backward pass.

    It is no `nn.Module`, since its parameters are those of the table that it belongs to.

    Args:
        total: rows of all ranks.
        weight: of this rank; copied.
        eps: of row-wise Adagrad.

    Attributes:
        weight, sums: rows of this rank and their accumulators, which change in place.
        uses: rows and vectors of the look-ups since the last step.
    """

    def __init__(self, total: int, weight: Float[Tensor, "n d"], eps: float):
        # it warns of what TorchRec calls
        logging.getLogger("torch.fx._symbolic_trace").setLevel(logging.ERROR)
        with torch.random.fork_rng(devices=[]):
            self.module = _sharded_collection(total, weight, eps)
        (shard,) = self.module.state_dict()[f"embeddings.{NAME}.weight"].local_shards()
        (state,) = self.module.fused_optimizer.state_dict()["state"].values()
        (sums,) = (value for name, value in state.items() if name.endswith("momentum1"))
        self.weight, self.sums = shard.tensor.detach(), sums.local_shards()[0].tensor
        self.weight.copy_(weight.detach())
        self.jagged = _torchrec("sparse.jagged_tensor").KeyedJaggedTensor
        self.total = total
        self.uses: list[tuple[Tensor, Tensor]] = []

    def use(self, rows: Int[Tensor, "U"]) -> Float[Tensor, "U d"]:
        """The vectors of rows of any rank, whose gradients the next step takes home."""
        with torch.no_grad():
            vectors = self._look_up(rows)
        self.uses.append((rows, vectors.requires_grad_()))
        return vectors

    def step(self, lr: float) -> None:
        """Move all rows in use by the mean of their gradients over ranks."""
        used = [(rows, vectors.grad) for rows, vectors in self.uses if vectors.grad is not None]
        self.uses = []
        # row 0 without a gradient, which moves nothing: TorchRec wants a row of each rank
        nothing = self.weight.new_zeros(1, self.weight.shape[1])
        used.append((self.weight.new_zeros(1, dtype=torch.long), nothing))
        rows, place = distinct(torch.cat([rows for rows, _ in used]), self.total)
        grad = self.weight.new_zeros(len(rows), self.weight.shape[1])
        grad.index_add_(0, place, torch.cat([grad for _, grad in used]))
        optimizer = self.module.fused_optimizer
        optimizer.param_groups[0]["lr"] = lr
        optimizer.zero_grad()  # which hands the learning rate on
        with torch.enable_grad():
            self._look_up(rows).backward(grad / world.size())
        torch.autograd.graph.increment_version(self.weight)

    def _look_up(self, rows: Int[Tensor, "U"]) -> Float[Tensor, "U d"]:
        asked = self.jagged(keys=[NAME], values=rows, lengths=torch.ones_like(rows))
        return self.module(asked)[NAME].values()


def _options(optimizer: torch.optim.Optimizer, weight: Tensor) -> dict[str, Any]:
    """The options that an optimizer has for a weight, as they are now."""
    groups = optimizer.param_groups
    return next(group for group in groups if any(one is weight for one in group["params"]))


def _torchrec(module: str) -> Any:
    purpose = 'distributed.tables = "torchrec"'
    return optional(f"torchrec.{module}", extra="torchrec", purpose=purpose)


def _sharded_collection(total: int, weight: Float[Tensor, "n d"], eps: float) -> Any:
    """One table of TorchRec, sharded by row over all ranks, with row-wise Adagrad inside."""
    configs, modules = (
        _torchrec("modules.embedding_configs"),
        _torchrec("modules.embedding_modules"),
    )
    plans, sharding = _torchrec("distributed.sharding_plan"), _torchrec("distributed.embedding")
    kinds = optional("fbgemm_gpu.split_embedding_configs", extra="torchrec", purpose="TorchRec")
    _torchrec("distributed.comm_ops").set_gradient_division(False)  # `TrainedRows.step` divides
    config = configs.EmbeddingConfig(
        name=NAME, embedding_dim=weight.shape[1], num_embeddings=total, feature_names=[NAME]
    )
    module = modules.EmbeddingCollection(tables=[config], device=torch.device("meta"))
    adagrad = {"optimizer": kinds.EmbOptimType.EXACT_ROWWISE_ADAGRAD, "eps": eps}
    sharder = sharding.EmbeddingCollectionSharder(fused_params={**adagrad, "learning_rate": 0.0})
    plan = plans.construct_module_sharding_plan(
        module,
        {NAME: plans.row_wise(compute_kernel=KERNEL)},
        sharder=sharder,
        local_size=world.size(),
        world_size=world.size(),
        device_type=weight.device.type,
    )
    env = _torchrec("distributed.types").ShardingEnv.from_process_group(dist.group.WORLD)
    return sharder.shard(module, plan, env, weight.device)
