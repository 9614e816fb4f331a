"""The generator on several ranks: its student and its cells are sharded as the model is."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from sparring.batch import Queries
from sparring.data.graph import TrainGraph
from sparring.distributed import world
from sparring.distributed.facts import PartialGraph
from sparring.distributed.index import ShardedMultiIndex
from sparring.distributed.step import UnsupportedPartError
from sparring.distributed.table import FLOAT, ID
from sparring.embedding import new_table
from sparring.generators.ns_generator import NSGenerator
from sparring.generators.student import StudentModel
from sparring.kernels.distillation import distill


class ShardedStudent(StudentModel):
    """A student whose rows of entities are spread over ranks."""

    def new_entity_table(self, rows: int, sparse: bool) -> Any:
        return new_table(rows, self.dim + 1, init=self.fill_entities, sparse=True)

    def reset_parameters(self) -> None:
        nn.init.normal_(self.relation.weight, std=self.std)
        with torch.no_grad():
            self.relation.weight[:, : self.dim // 2] = 1.0
            self.relation.weight[:, self.dim // 2 : self.dim] = 0.0

    @property
    def vectors(self) -> Float[Tensor, "n d"]:
        """The vectors of this rank's entities, detached."""
        return self.own_rows[:, : self.dim]

    @property
    def bias(self) -> Float[Tensor, "n"]:
        """The biases of this rank's entities, detached."""
        return self.own_rows[:, self.dim]

    @property
    def own_rows(self) -> Float[Tensor, "n d1"]:
        """The vectors and biases of this rank's entities, detached."""
        table: Any = self.entity
        return table.rows.weight.detach()

    def distillation_loss(
        self,
        queries: Queries,
        ids: Int[Tensor, "G K"],
        log_q: Float[Tensor, "B K"],
        target: Float[Tensor, "B K"],
        answer_weight: float,
    ) -> Float[Tensor, ""]:
        table: Any = self.entity
        parts = [queries.anchor, queries.answer, ids.flatten()]
        rows, place = table.distinct(torch.cat(parts))
        anchor, answer, candidates = place.split([len(part) for part in parts])
        given = (anchor, queries.relation, answer, candidates.view(ids.shape), log_q, target)
        return distill(rows, self.relation.weight, *given, answer_weight, all_used=True)


class ShardedGenerator(NSGenerator):
    """`NSGenerator` on several ranks; options are the same.

    Raises:
        UnsupportedPartError: for options that need all queries of a batch at once.
    """

    def new_student(self, graph: TrainGraph, dim: int, sparse: bool) -> StudentModel:
        unsupported = {
            "share_negatives": self.share_negatives,
            "group_size": self.group_size,
            "target_hardness": self.target_hardness,
            "false_negatives.missing_rate": self.false_negatives.missing_rate,
        }
        if chosen := [name for name, value in unsupported.items() if value]:
            raise UnsupportedPartError(
                f"the generator's {', '.join(chosen)} works in one process only; leave it out"
            )
        return ShardedStudent(graph, dim=dim, sparse=True)

    def bytes_sent(self, queries: int) -> int:
        """Bytes that a rank sends in a step on the average, if no entity occurs twice.

        Of f = (W - 1) / W of all rows: 24 bytes a draw; the anchors' vectors, and cells and weights
        of the answers; in an update, ids and vectors of its candidates, and gradients back.
        """
        away = (world.size() - 1) / world.size()
        share = 1 / (self.schedule.update_every * self.schedule.stride)
        vector = FLOAT * (self.student.dim + 1)
        candidates = self.k + self.schedule.num_uniform + 2
        by_query = 6 * FLOAT * self.k + (ID + vector) + (ID + 2 * FLOAT)
        return int(queries * away * (by_query + share * candidates * (ID + 2 * vector)))

    def _own_distributions(self, queries: Queries) -> Any:
        return self.index.distribution(self.student.context(queries) * self.inverse_temperature)

    def new_index(self, graph: TrainGraph, dim: int, codes: int, assign_per_update: int) -> Any:
        assert isinstance(graph, PartialGraph) and graph.facts is not None
        table: Any = self.student.entity
        return ShardedMultiIndex(
            graph.facts.layout, table, codes=codes, assign_per_update=assign_per_update
        )
