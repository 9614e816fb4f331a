"""An embedding table whose rows are spread over all ranks, with the interface of a local one."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from sparring.distributed import world
from sparring.distributed.layout import Layout
from sparring.distributed.world import Route
from sparring.embedding import EmbeddingTable, Init, ScoringTable, TableScorer
from sparring.groups import ungroup
from sparring.kernels.rows import TakeRows, distinct
from sparring.seeds import Seeds

FLOAT, ID = 4, 8  # bytes


class WholeTableError(TypeError):
    """A part that reads all rows of a table at once, which no rank holds."""


class Sharded(nn.Module):
    """A module of which each rank holds the rows of its virtual workers.

    Attributes:
        same_queries: whether all ranks ask for the same queries, instead of each for its own.
    """

    same_queries = False


def ask_alike(module: nn.Module) -> None:
    """From now on, let all ranks use a module for the same queries, as evaluation does."""
    for one in module.modules():
        if isinstance(one, Sharded):
            one.same_queries = True


class RowBuffers(Sharded):
    """A module with buffers that have one row for each of this rank's rows of entities."""

    def row_buffers(self) -> list[Tensor]:
        """These buffers."""
        raise NotImplementedError

    def bytes_of_row(self) -> int:
        """Memory of one row, with what is made from the buffers."""
        return sum(buffer[0].nbytes for buffer in self.row_buffers())


class ShardedTable(Sharded, ScoringTable):
    """Vectors by entity, of which each rank holds those of its virtual workers.

    Look-ups and scores travel to the rows and back, gradients the other way. Every call is a
    collective one: all ranks must make it.

    Args:
        layout: who owns which rows.
        dim: numbers per vector.
        init: fills the rows of a virtual worker, from a generator that depends on the seed, the
            name and the worker only.
        seeds: of the initial numbers.
        name: of the table among others of the same seeds.
    """

    def __init__(self, layout: Layout, dim: int, *, init: Init, seeds: Seeds, name: str):
        super().__init__()
        self.layout, self.num_embeddings, self.embedding_dim = layout, layout.num_entities, dim
        with torch.random.fork_rng(devices=[]):  # other tables start alike on any number of ranks
            self.rows = EmbeddingTable(layout.own_rows, dim, sparse=True)
        with torch.no_grad():
            for block, worker in zip(self.rows.weight.split(layout.block), layout.own):
                init(block, generator=seeds.fresh(f"{name}/{worker}"))
        self.is_local = False

    @property
    def weight(self) -> Tensor:
        """No rank has it.

        Raises:
            WholeTableError: always.
        """
        raise WholeTableError(
            "a sharded table has no weight of all rows: models and samplers that read it cannot be "
            "sharded; train in one process, or choose others (docs/howto/distributed.md lists them)"
        )

    def forward(self, ids: Int[Tensor, "*shape"]) -> Float[Tensor, "*shape d"]:
        """The vectors of these entities."""
        if self.is_local or world.size() == 1:
            return self.rows(self.layout.row(ids) - self.layout.first_row)
        return fetch(self.layout, ids, self.rows)

    def distinct(self, ids: Int[Tensor, "P"]) -> tuple[Float[Tensor, "U d"], Int[Tensor, "P"]]:
        """The vectors of these entities, each once, and the number of each id's."""
        return fetch_distinct(self.layout, ids, self.rows)

    def attach(self, optimizer: torch.optim.Optimizer) -> None:
        """Prepare for an optimizer; this table leaves its gradients to it as any parameter does."""

    def bytes_sent(self, queries: int, k: int) -> int:
        """Bytes that a rank sends in a step for b queries with k candidates of their own.

        With a fraction f = (W - 1) / W of all rows elsewhere, anchors and answers take 2 b f ids,
        and vectors there and back; candidates a pair of row and query and two numbers back each,
        and the queries to all ranks and back.
        """
        ranks, vector = world.size(), FLOAT * self.embedding_dim
        away = (ranks - 1) / ranks
        vectors = 2 * queries * away * (ID + 2 * vector)
        pairs = queries * k * away * (2 * ID + 2 * FLOAT)
        return int(vectors + pairs + 2 * queries * (ranks - 1) * vector)

    def compare(self, scorer: TableScorer, ids: Int[Tensor, "G K"]) -> Float[Tensor, "B K"]:
        """Scores of entities for the queries of a scorer, of which equal numbers share a list.

        Where each query has a list of its own, longer than there are ranks, queries travel to the
        rows and scores come back; otherwise the rows travel.
        """
        if self.is_local or (world.size() == 1 and not self.same_queries):
            return self._score_own(scorer, ids)
        if self.same_queries and scorer.kernel:
            return self._score_at_home(scorer, ids)
        own_lists = len(ids) == len(scorer.query) and ids.shape[1] > world.size()
        if scorer.kernel and own_lists:
            return self._push(scorer, ids)
        return scorer.score_in_pytorch(ids)

    def _score_own(self, scorer: TableScorer, ids: Int[Tensor, "G K"]) -> Float[Tensor, "B K"]:
        """Scores of entities of this rank."""
        rows = self.layout.row(ids) - self.layout.first_row
        return self.rows.compare(replace(scorer, entity=self.rows), rows)  # pyright: ignore

    def _score_at_home(self, scorer: Any, ids: Int[Tensor, "G K"]) -> Float[Tensor, "B K"]:
        """Scores for queries that are the same on all ranks: each rank scores its own rows."""
        worker, own = ids % self.layout.workers, self.layout.own
        scores = scorer.query.new_zeros(len(scorer.query), ids.shape[1])
        if len(ids) == 1:
            for number in own:  # one at a time: products of the same shapes on any number of ranks
                column = (worker[0] == number).nonzero().squeeze(1)
                if len(column):
                    scores[:, column] = self._score_own(scorer, ids[:, column])
            return world.sum_all(scores + 0.0)
        each, worker = (ungroup(part, len(scores)) for part in (ids, worker))
        row, column = ((worker >= own.start) & (worker < own.stop)).nonzero(as_tuple=True)
        pairs = replace(scorer, query=scorer.query[row])
        found = self._score_own(pairs, each[row, column].unsqueeze(1))
        scores[row, column] = found.squeeze(1)
        return world.sum_all(scores + 0.0)  # no rank leaves a -0

    def _push(self, scorer: TableScorer, ids: Int[Tensor, "B K"]) -> Float[Tensor, "B K"]:
        rows = self.layout.row(ids).flatten()
        route = Route.to(self.layout.rank_of_row(rows))
        first = world.rank() * len(ids)
        query = torch.arange(first, first + len(ids), device=ids.device)
        asked = torch.stack([rows, query.repeat_interleave(ids.shape[1])], 1)
        row, query = route.send(asked).unbind(1)
        vectors = TakeRows.apply(world.gather_all(scorer.query), query)
        local: Any = replace(scorer, query=vectors, entity=self.rows)  # pyright: ignore
        scores = self.rows.compare(local, (row - self.layout.first_row).unsqueeze(1))
        return route.answer(scores.squeeze(1)).view_as(ids)


def fetch(
    layout: Layout, ids: Int[Tensor, "*shape"], look_up: Callable[[Tensor], Tensor]
) -> Shaped[Tensor, "*shape d"]:
    """What the owners of these entities know of them; each entity travels once.

    Args:
        look_up: from rows of this rank to what it knows of each; gradients travel back to it.
    """
    answers, place = fetch_distinct(layout, ids.flatten(), look_up)
    return TakeRows.apply(answers, place).view(*ids.shape, *answers.shape[1:])


def fetch_distinct(
    layout: Layout, ids: Int[Tensor, "P"], look_up: Callable[[Tensor], Tensor]
) -> tuple[Shaped[Tensor, "U d"], Int[Tensor, "P"]]:
    """What the owners of these entities know, for each entity once, and the number of each id's."""
    rows, place = distinct(layout.row(ids), layout.all_rows)
    route = Route.to(layout.rank_of_row(rows), ordered=True)
    return route.answer(look_up(route.send(rows) - layout.first_row)), place


@contextmanager
def local_tables(module: nn.Module) -> Iterator[None]:
    """Let the sharded tables of a module take entities of this rank only, without collectives."""
    tables = [one for one in module.modules() if isinstance(one, ShardedTable)]
    with ExitStack() as stack:
        for table in tables:
            table.is_local = True
            stack.callback(setattr, table, "is_local", False)
        yield
