"""Which entities may answer a query: not the known ones, nor its own entity, nor of other types."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from sparring.batch import Queries
from sparring.data.graph import SPLITS, KnowledgeGraph
from sparring.data.index import TripleIndex
from sparring.data.vocabulary import Vocabulary


@dataclass(frozen=True, eq=False)
class Exclusion:
    """Entities that are no candidates.

    Attributes:
        facts: their entities are left out.
        anchor: relation ids in [0, 2R) whose queries leave out their own entity.
        entity: entities that answer no query.
        notes: what is left out, in words.
    """

    facts: TripleIndex
    anchor: Bool[Tensor, "R2"]
    entity: Bool[Tensor, "N"]
    notes: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        graph: KnowledgeGraph,
        remove: Sequence[str] = SPLITS,
        exclude_anchor: bool = True,
        types: Sequence[str] = (),
        device: torch.device | None = None,
    ) -> "Exclusion":
        """The exclusion of known facts, of the query's own entity, and of other types.

        Args:
            remove: splits whose facts are left out.
            exclude_anchor: leave out the query's own entity, where the relation has no loop.
            types: names of the types of which entities may be; of any type, if empty.

        Raises:
            UnknownNameError: for an unknown type, with similar names.
            ValueError: if the graph has no types.
        """
        device = graph.train.device if device is None else device
        anchor = ~loop_relations(graph.train, len(graph.relations)).to(device) & exclude_anchor
        entity = ~entities_of_types(graph, types).to(device)
        notes = (
            *(("known facts",) if remove else ()),
            *(("the query's own entity",) if exclude_anchor else ()),
            *((f"entities of other types than {', '.join(types)}",) if types else ()),
        )
        return cls(facts_of(graph, remove, device), anchor, entity, notes)

    def pairs(self, queries: Queries) -> tuple[Int[Tensor, "A"], Int[Tensor, "A"]]:
        """Entities left out by facts and as the query's own, as (row of the batch, entity)."""
        row, entity = self.facts.answers(queries)
        own = self.anchor[queries.relation].nonzero().squeeze(1)
        return torch.cat([row, own]), torch.cat([entity, queries.anchor[own]])

    def contains(self, queries: Queries, ids: Int[Tensor, "B K"]) -> Bool[Tensor, "B K"]:
        """True where an entity is left out."""
        own = (ids == queries.anchor.unsqueeze(1)) & self.anchor[queries.relation].unsqueeze(1)
        return self.facts.contains(queries, ids) | own | self.entity[ids]


def facts_of(graph: KnowledgeGraph, splits: Sequence[str], device: torch.device) -> TripleIndex:
    """The facts of these splits; where the graph keeps an index of them, this is it."""
    if device == graph.train.device and (kept := _kept(graph, tuple(splits))):
        return kept
    triples = torch.cat([graph.train[:0], *(getattr(graph, split) for split in splits)])
    return TripleIndex(triples.to(device), len(graph.entities), len(graph.relations))


def _kept(graph: KnowledgeGraph, splits: tuple[str, ...]) -> TripleIndex | None:
    if splits == SPLITS:
        return graph.known
    if splits == ("train", "valid"):
        return graph.known_for_validation
    return graph.training.known if splits == ("train",) and not graph.hold_out else None


def loop_relations(triples: Int[Tensor, "T 3"], num_relations: int) -> Bool[Tensor, "R2"]:
    """Relation ids in [0, 2R) that lead from some entity to itself."""
    head, relation, tail = triples.unbind(1)
    loops = torch.zeros(num_relations, dtype=torch.bool, device=triples.device)
    loops[relation[head == tail]] = True
    return loops.repeat(2)


def entities_of_types(graph: KnowledgeGraph, types: Sequence[str]) -> Bool[Tensor, "N"]:
    """True for entities of one of these types; for all, if there are none.

    Raises:
        UnknownNameError: for an unknown type, with similar names.
        ValueError: if the graph has no types.
    """
    if not types:
        return torch.ones(len(graph.entities), dtype=torch.bool)
    if graph.entity_type is None:
        raise ValueError(
            f"{graph.name} has no entity types; add a file `types` next to its triples, or choose "
            "no types"
        )
    wanted = Vocabulary(graph.types, kind="type").ids(types)
    entity, kind = graph.entity_type.cpu().unbind(1)
    found = torch.zeros(len(graph.entities), dtype=torch.bool)
    found[entity[torch.isin(kind, wanted)]] = True
    return found
