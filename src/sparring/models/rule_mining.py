"""Mining of rules with one or two body atoms, by counting groundings in the training graph."""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from sparring.batch import Queries
from sparring.data.graph import TrainGraph
from sparring.data.index import PairIndex, ragged_arange

MAX_PATHS = 2**22  # paths of two steps held in memory at once


@dataclass(frozen=True, eq=False)
class Rules:
    """Rules head(X, Y) <- first(X, Z), second(Z, Y), by head relation, the most confident first.

    Relations are in [0, 2R). As second atom, 2R is the identity: head(X, Y) <- first(X, Y).

    Attributes:
        head, first, second: relation of each atom.
        support: groundings (X, Y) of the body for which the head is a fact.
        body: groundings (X, Y) of the body that were counted.
        confidence: support / (body + unseen_negatives).
    """

    head: Int[Tensor, "M"]
    first: Int[Tensor, "M"]
    second: Int[Tensor, "M"]
    support: Int[Tensor, "M"]
    body: Int[Tensor, "M"]
    confidence: Float[Tensor, "M"]

    def __len__(self) -> int:
        return len(self.head)

    def __getitem__(self, rows: Tensor) -> "Rules":
        """The selected rules, in the given order."""
        return Rules(*(getattr(self, part.name)[rows] for part in fields(self)))


def mine_rules(
    graph: TrainGraph,
    *,
    anchors_per_relation: int = 100,
    min_support: int = 2,
    min_confidence: float = 0.01,
    unseen_negatives: float = 5.0,
    rules_per_relation: int = 200,
    seed: int = 0,
) -> Rules:
    """All rules above a support and a confidence, which is that of AnyBURL.

    Meilicke et al., 2019, "Anytime Bottom-Up Rule Learning for Knowledge Graph Completion". X, Y
    and Z of a rule are three different entities, and no relation implies itself.

    Args:
        graph: the training graph.
        anchors_per_relation: entities X per first relation from which bodies are grounded, drawn
            at random; all of them, where there are fewer.
        min_support: least support, among the groundings that were counted.
        min_confidence: least confidence.
        unseen_negatives: added to the groundings of the body, so that rules with few groundings are
            less confident.
        rules_per_relation: rules kept per head relation, the most confident ones.
        seed: of the draw of anchors.

    Returns:
        The rules of all 2R head relations.

    Raises:
        ValueError: for a count below 1 or negative `unseen_negatives`.
    """
    if min(anchors_per_relation, min_support, rules_per_relation) < 1 or unseen_negatives < 0:
        raise ValueError(
            "anchors_per_relation, min_support and rules_per_relation must be at least 1, and "
            f"unseen_negatives not negative; got anchors_per_relation={anchors_per_relation}, "
            f"min_support={min_support}, rules_per_relation={rules_per_relation}, "
            f"unseen_negatives={unseen_negatives}"
        )
    index, relations = NeighborIndex(graph), RelationIndex(graph)
    anchor, first = _sample_anchors(graph, anchors_per_relation, seed)
    row, middle = index.neighbors(anchor, first)
    paths = torch.zeros_like(anchor).index_add(0, row, index.degree(middle))
    bodies, heads = [], []
    for chunk in chunks_of(paths, MAX_PATHS):
        body, head = _count_groundings(index, relations, anchor[chunk], first[chunk])
        bodies.append(body)
        heads.append(head)
    rules = _to_rules(index.identity, _merge_counts(bodies), _merge_counts(heads), unseen_negatives)
    rules = rules[(rules.support >= min_support) & (rules.confidence >= min_confidence)]
    rules = rules[rules.confidence.argsort(descending=True, stable=True)]
    rules = rules[rules.head.argsort(stable=True)]
    rules = rules[_rank_within(rules.head) < rules_per_relation]
    return replace(rules, confidence=rules.confidence.float())


class NeighborIndex(nn.Module):
    """Neighbors of entities along relations; relation 2R is the identity."""

    def __init__(self, graph: TrainGraph):
        super().__init__()
        self.known, self.identity = graph.known, 2 * graph.num_relations
        self.num_entities = graph.num_entities

    def neighbors(
        self, entity: Int[Tensor, "A"], relation: Int[Tensor, "A"]
    ) -> tuple[Int[Tensor, "P"], Int[Tensor, "P"]]:
        """All neighbors along the given relations, as (row of the input, neighbor)."""
        row, fact = ragged_arange(*self._facts(entity, relation))
        itself = relation[row] == self.identity
        return row, torch.where(itself, entity[row], self.known.entities.values[fact])

    def count(self, entity: Int[Tensor, "A"], relation: Int[Tensor, "A"]) -> Int[Tensor, "A"]:
        """Number of neighbors along the given relations."""
        return self._facts(entity, relation)[1]

    def all_neighbors(
        self, entity: Int[Tensor, "A"]
    ) -> tuple[Int[Tensor, "P"], Int[Tensor, "P"], Int[Tensor, "P"]]:
        """All neighbors along all relations, as (row of the input, relation, neighbor)."""
        first, beyond = self.known.anchor_rows(entity)
        row, query = ragged_arange(first, beyond - first + 1)
        itself = query == beyond[row]  # one more query for each entity: the identity
        relation = torch.where(itself, self.identity, self.known.queries(query).relation)
        start, stop = self.known.entities.bounds(query)
        step, fact = ragged_arange(start, torch.where(itself, 1, stop - start))
        row = row[step]
        neighbor = torch.where(itself[step], entity[row], self.known.entities.values[fact])
        return row, relation[step], neighbor

    def degree(self, entity: Int[Tensor, "A"]) -> Int[Tensor, "A"]:
        """Number of neighbors along all relations."""
        start, stop = self.known.anchor_bounds(entity)
        return stop - start + 1

    def _facts(
        self, entity: Int[Tensor, "A"], relation: Int[Tensor, "A"]
    ) -> tuple[Int[Tensor, "A"], Int[Tensor, "A"]]:
        """The first fact along each relation and their number; any one fact for the identity."""
        ones = torch.ones(len(entity), device=entity.device)
        queries = Queries(entity, relation.clamp(max=self.identity - 1), entity, ones)
        start, stop = self.known.bounds(queries)
        return start, torch.where(relation == self.identity, 1, stop - start)


class RelationIndex(PairIndex):
    """Relations that lead from one entity to another; relation 2R leads from each to itself."""

    def __init__(self, graph: TrainGraph):
        anchor, relation, entity = graph.known.facts()
        everyone = torch.arange(graph.num_entities, device=anchor.device)
        identity = torch.full_like(everyone, 2 * graph.num_relations)
        super().__init__(
            torch.cat([anchor, everyone]),
            torch.cat([relation, identity]),
            torch.cat([entity, everyone]),
            graph.num_entities,
        )


def chunks_of(size: Int[Tensor, "A"], limit: int) -> Iterator[slice]:
    """Consecutive rows whose sizes sum to about `limit`, at least one row each."""
    chunk = (size.cumsum(0) - size) // limit
    stops = chunk.unique_consecutive(return_counts=True)[1].cumsum(0).tolist()
    return (slice(start, stop) for start, stop in zip([0, *stops], stops))


def _sample_anchors(
    graph: TrainGraph, anchors_per_relation: int, seed: int
) -> tuple[Int[Tensor, "A"], Int[Tensor, "A"]]:
    """Some entities that each relation leads from, as (entity, relation)."""
    queries = graph.known.queries()
    shuffled = torch.randperm(len(queries), generator=torch.Generator().manual_seed(seed))
    queries = queries[shuffled.to(queries.anchor.device)]
    relation, order = queries.relation.sort(stable=True)
    chosen = queries[order[_rank_within(relation) < anchors_per_relation]]
    return chosen.anchor, chosen.relation


Counts = tuple[Tensor, Tensor]  # distinct keys, and how often each occurs


def _count_groundings(
    index: NeighborIndex,
    relations: RelationIndex,
    anchor: Int[Tensor, "A"],
    first: Int[Tensor, "A"],
) -> tuple[Counts, Counts]:
    """Groundings from these anchors: counts by body, and by body and head."""
    num_entities, slots = index.num_entities, index.identity + 1
    row, middle = index.neighbors(anchor, first)
    step, second, end = index.all_neighbors(middle)
    row, middle = row[step], middle[step]
    distinct = (middle != anchor[row]) & (end != anchor[row])
    distinct &= (second == index.identity) | (end != middle)
    row, second, end = row[distinct], second[distinct], end[distinct]
    pair = ((row * slots + second) * num_entities + end).unique()
    row, second, end = (
        pair // num_entities // slots,
        pair // num_entities % slots,
        pair % num_entities,
    )
    body = first[row] * slots + second
    known, head = relations.between(anchor[row], end)
    trivial = (second[known] == index.identity) & (head == first[row[known]])
    implied = (body[known] * index.identity + head)[~trivial]
    return body.unique(return_counts=True), implied.unique(return_counts=True)


def _merge_counts(parts: list[Counts]) -> Counts:
    """Sum of the counts of equal keys."""
    keys, index = torch.cat([key for key, _ in parts]).unique(return_inverse=True)
    counts = torch.cat([count for _, count in parts])
    return keys, torch.zeros_like(keys).index_add(0, index, counts)


def _to_rules(identity: int, bodies: Counts, heads: Counts, unseen_negatives: float) -> Rules:
    """One rule for each body and head that were counted, with confidences in double precision."""
    key, support = heads
    path = key // identity
    body = bodies[1][torch.searchsorted(bodies[0], path)]
    return Rules(
        head=key % identity,
        first=path // (identity + 1),
        second=path % (identity + 1),
        support=support,
        body=body,
        confidence=support.double() / (body + unseen_negatives),
    )


def _rank_within(group: Int[Tensor, "A"]) -> Int[Tensor, "A"]:
    """Position of each row among those of its group, where groups are sorted."""
    return torch.arange(len(group), device=group.device) - torch.searchsorted(group, group)
