"""What a rank knows of a graph: the queries of its virtual workers, and their answers."""

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from sparring.data.graph import KnowledgeGraph, TrainGraph
from sparring.data.index import TripleIndex, query_key
from sparring.distributed.layout import Layout


class PartialGraphError(TypeError):
    """A part that reads all triples, which no rank holds."""


class QueryIndex(TripleIndex):
    """The known answers of the queries of some virtual workers; for others it knows none.

    Args:
        facts: (anchor, relation, answer) with relations in [0, 2R), in any order.
    """

    def __init__(self, facts: Int[Tensor, "F 3"], num_entities: int, num_relations: int):
        nn.Module.__init__(self)
        self.num_entities, self.num_relations = num_entities, num_relations
        anchor, relation, entity = facts.long().unbind(1)
        self.index_facts(query_key(anchor, relation, num_relations), entity)


@dataclass(frozen=True, eq=False)
class Facts:
    """The training facts of a rank, one row per query and answer, worker by worker.

    Attributes:
        layout: who owns what.
        queries: (anchor, relation, answer) with relations in [0, 2R), in the order of the graph.
        sizes: number of facts of each virtual worker of this rank.
        total: number of facts of all ranks.
        degree: training facts that mention each entity.
    """

    layout: Layout
    queries: Int[Tensor, "F 3"]
    sizes: list[int]
    total: int
    degree: Float[Tensor, "N"]

    @classmethod
    def of(cls, graph: KnowledgeGraph, layout: Layout) -> "Facts":
        """This rank's part of a graph that every rank has read."""
        training = graph.training
        queries, sizes = own_queries(training.triples, layout)
        return cls(layout, queries, sizes, 2 * len(training.triples), training.degree)

    def weights(self) -> Float[Tensor, "v"]:
        """Weight of the queries of each virtual worker of this rank.

        Every step takes equally many queries of each worker. Weights make up for workers that own
        more or fewer than others, so that every fact counts the same.
        """
        return torch.tensor(self.sizes).double().mul(self.layout.workers / self.total).float()

    def of_few(self, entities: int) -> "Facts":
        """As if there were at most so many entities, and no facts but as many of each worker."""
        layout = replace(self.layout, num_entities=min(entities, self.layout.num_entities))
        degree = self.degree[: layout.num_entities]
        return replace(self, layout=layout, queries=self.queries[:0], degree=degree)

    def graph(self, known: TripleIndex | None = None) -> "PartialGraph":
        """The training view for models and samplers.

        Args:
            known: the facts of all queries, where this rank has read them.
        """
        some = self.queries[:0]
        sizes = self.layout.num_entities, self.layout.num_relations
        return PartialGraph(some, *sizes, facts=self, of_all=known)


@dataclass(frozen=True, eq=False)
class PartialGraph(TrainGraph):
    """A training graph of which a rank knows the facts of its own queries.

    Attributes:
        facts: these facts.
        of_all: those of all queries, where this rank has read them.
    """

    facts: Facts | None = None
    of_all: TripleIndex | None = None

    def __getattribute__(self, name: str) -> object:
        if name == "triples":
            raise PartialGraphError(
                "no rank holds all training triples: models and samplers that read them cannot be "
                "trained on several processes; train in one, or choose others "
                "(docs/howto/distributed.md lists them)"
            )
        return super().__getattribute__(name)

    @cached_property
    def known(self) -> TripleIndex:
        """Index of the facts of this rank's queries, or of all."""
        if self.of_all is not None:
            return self.of_all
        assert self.facts is not None
        return QueryIndex(self.facts.queries, self.num_entities, self.num_relations)

    @cached_property
    def degree(self) -> Float[Tensor, "N"]:
        """Training triples that mention each entity."""
        assert self.facts is not None
        return self.facts.degree


def own_queries(
    triples: Int[Tensor, "T 3"], layout: Layout
) -> tuple[Int[Tensor, "F 3"], list[int]]:
    """This rank's queries, of both ends of triples, worker by worker, and how many of each."""
    head, relation, tail = triples.unbind(1)
    inverse = torch.stack([tail, relation + layout.num_relations, head], 1)
    both = torch.cat([triples, inverse])
    worker = layout.worker_of_query(both[:, 0], both[:, 1])
    mine = (worker >= layout.own.start) & (worker < layout.own.stop)
    both, worker = both[mine], worker[mine] - layout.own.start
    order = worker.argsort(stable=True)
    return both[order], torch.bincount(worker, minlength=layout.per_rank).tolist()
