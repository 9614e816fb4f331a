"""Who owns which rows and queries: V virtual workers, shared out evenly among W ranks."""

from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from sparring.distributed import world

GOLDEN = -7046029254386353131  # 2**64 divided by the golden ratio, as a signed number
HASH_BITS = 31


@dataclass(frozen=True)
class Layout:
    """Rows of entities in turn, queries by a hash of (anchor, relation).

    Virtual worker v owns entities v, v + V, v + 2V, ..., which are `block` rows of every table; the
    last one is unused where V does not divide N. Neighbors in the order of first appearance, which
    are about equally frequent, so belong to different workers.

    Args:
        num_entities: N.
        num_relations: R.
        workers: V, a property of the run that its results depend on.

    Raises:
        LaunchError: if the number of ranks does not divide V, or V is above N.
    """

    num_entities: int
    num_relations: int
    workers: int

    def __post_init__(self) -> None:
        ranks = world.size()
        if not 1 <= self.workers <= self.num_entities:
            raise world.LaunchError(
                f"virtual_workers is from 1 to the number of entities, {self.num_entities}; "
                f"got {self.workers}"
            )
        if self.workers % ranks:
            fitting = [n for n in range(1, self.workers + 1) if self.workers % n == 0]
            raise world.LaunchError(
                f"{ranks} processes cannot share {self.workers} virtual workers evenly; start one "
                f"of {', '.join(map(str, fitting))} processes, or set distributed.virtual_workers"
            )

    @property
    def block(self) -> int:
        """Rows of each virtual worker."""
        return -(-self.num_entities // self.workers)

    @property
    def all_rows(self) -> int:
        """Rows of all ranks."""
        return self.workers * self.block

    @property
    def per_rank(self) -> int:
        """Virtual workers of each rank."""
        return self.workers // world.size()

    @property
    def own(self) -> range:
        """The virtual workers of this rank."""
        start = world.rank() * self.per_rank
        return range(start, start + self.per_rank)

    @property
    def own_rows(self) -> int:
        """Rows of each rank."""
        return self.per_rank * self.block

    def row(self, ids: Int[Tensor, "..."]) -> Int[Tensor, "..."]:
        """The row of each entity in the whole table, worker by worker."""
        return ids % self.workers * self.block + ids // self.workers

    def entity(self, rows: Int[Tensor, "..."]) -> Int[Tensor, "..."]:
        """The entity in each row of the whole table; at or above N for unused rows."""
        return rows % self.block * self.workers + rows // self.block

    def rank_of_row(self, rows: Int[Tensor, "..."]) -> Int[Tensor, "..."]:
        """The rank that owns each row of the whole table."""
        return rows // self.own_rows

    @property
    def first_row(self) -> int:
        """The first of this rank's rows in the whole table."""
        return self.own.start * self.block

    def entities_of(self, worker: int) -> Int[Tensor, "n"]:
        """The entities whose rows a virtual worker owns, in the order of its rows."""
        return torch.arange(worker, self.num_entities, self.workers)

    def worker_of_query(
        self, anchor: Int[Tensor, "..."], relation: Int[Tensor, "..."]
    ) -> Int[Tensor, "..."]:
        """The virtual worker that owns each query; relations run over [0, 2R)."""
        key = anchor * (2 * self.num_relations) + relation
        return ((key * GOLDEN) >> (64 - HASH_BITS) & (2**HASH_BITS - 1)) % self.workers
