"""What surrounds an entity: its facts, its neighborhood, and the entities nearest to it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from sparring.data.graph import KnowledgeGraph
from sparring.models.base import KGEModel
from sparring.samplers.base import entity_vectors


@dataclass(frozen=True)
class Named:
    """An entity, or another thing with a name, and the label it is shown by."""

    name: str
    label: str


@dataclass(frozen=True)
class FactGroup:
    """Facts of one entity with one relation in one direction.

    Attributes:
        relation: of the facts.
        inverse: whether the entity is their tail.
        entities: their other ends, those with most facts first; not all, where there are many.
        number: of all facts of the group.
    """

    relation: Named
    inverse: bool
    entities: tuple[Named, ...]
    number: int


@dataclass(frozen=True)
class Node:
    """An entity of a drawing.

    Attributes:
        x, y: place, on the unit circle.
        angle: of the label, in degrees, so that it can be read.
        end: whether the label ends at the node, rather than starts there.
        group: number of its relation among those that are drawn.
    """

    entity: Named
    x: float
    y: float
    angle: float
    end: bool
    group: int


@dataclass(frozen=True)
class Drawing:
    """Neighbors of an entity around a circle, by relation, and the links among them.

    Attributes:
        nodes: the neighbors; the entity itself is in the middle.
        links: pairs of nodes, by position, that some fact joins.
        relations: number and relation of each group, and whether the entity is the tail.
    """

    nodes: tuple[Node, ...]
    links: tuple[tuple[int, int], ...]
    relations: tuple[tuple[int, Named, bool], ...]


def facts_of_entity(graph: KnowledgeGraph, entity: int, *, shown: int = 12) -> list[FactGroup]:
    """The facts of an entity in all splits, by relation and direction.

    Those as head come first, and small groups before large ones.

    Args:
        shown: entities per group, at most.
    """
    num_relations = len(graph.relations)
    groups = []
    for relation, ids in _neighbors(graph, entity).items():
        best = ids[_most_used(graph, ids)[:shown]].tolist()
        name = _relation(graph, relation % num_relations)
        entities = tuple(_entity(graph, each) for each in best)
        groups.append(FactGroup(name, relation >= num_relations, entities, len(ids)))
    return sorted(groups, key=lambda group: (group.inverse, group.number, group.relation.label))


def draw_neighborhood(
    graph: KnowledgeGraph, entity: int, *, most: int = 28, relations: int = 8
) -> Drawing:
    """A drawing of the neighbors of an entity: of each relation in turn, until there are enough.

    Args:
        most: neighbors, at most.
        relations: relations in one direction each, at most; the ones with most facts.
    """
    around = _neighbors(graph, entity)
    groups = sorted(around.items(), key=lambda pair: (-len(pair[1]), pair[0]))[:relations]
    waiting = {
        number: iter(ids[_most_used(graph, ids)].tolist()) for number, (_, ids) in enumerate(groups)
    }
    chosen: dict[int, int] = {}
    while waiting and len(chosen) < most:
        for number, ids in list(waiting.items()):
            found = next((each for each in ids if each != entity and each not in chosen), None)
            if found is None:
                del waiting[number]
            elif len(chosen) < most:
                chosen[found] = number
    ids = sorted(chosen, key=lambda each: chosen[each])
    nodes = tuple(
        _node(graph, each, chosen[each], place, len(ids)) for place, each in enumerate(ids)
    )
    used = set(chosen.values())
    names = tuple(
        (
            number,
            _relation(graph, relation % len(graph.relations)),
            relation >= len(graph.relations),
        )
        for number, (relation, _) in enumerate(groups)
        if number in used
    )
    return Drawing(nodes, _links(graph, ids), names)


def nearest_entities(
    graph: KnowledgeGraph, model: KGEModel, entity: int, count: int = 8
) -> list[tuple[Named, float]]:
    """The entities with the most similar vectors, and the cosine; empty without vectors."""
    try:
        vectors = entity_vectors(model)
    except ValueError:
        return []
    similarity = torch.cosine_similarity(vectors, vectors[entity].unsqueeze(0)).float()
    similarity[entity] = -torch.inf
    best = similarity.topk(min(count, len(similarity) - 1))
    return [(_entity(graph, id), value) for value, id in zip(*map(Tensor.tolist, best))]


def types_of(graph: KnowledgeGraph, entity: int) -> list[str]:
    """The types of an entity."""
    if graph.entity_type is None:
        return []
    owner, kind = graph.entity_type.unbind(1)
    return [graph.types[each] for each in kind[owner == entity].tolist()]


def _neighbors(graph: KnowledgeGraph, entity: int) -> dict[int, Int[Tensor, "n"]]:
    """Neighbors of an entity by relation in [0, 2R)."""
    known = graph.known
    first, beyond = (int(end) for end in known.anchor_rows(torch.tensor([entity])))
    rows = torch.arange(first, beyond)
    relation = known.queries(rows).relation
    item, ids = known.entities.gather_rows(rows)
    return {int(each): ids[item == place] for place, each in enumerate(relation.tolist())}


def _most_used(graph: KnowledgeGraph, ids: Int[Tensor, "n"]) -> Int[Tensor, "n"]:
    """The order of entities by their number of training facts, the largest first."""
    return graph.training.degree[ids].argsort(descending=True, stable=True)


def _links(graph: KnowledgeGraph, ids: Sequence[int]) -> tuple[tuple[int, int], ...]:
    place = {each: number for number, each in enumerate(ids)}
    wanted = torch.tensor(list(ids), dtype=torch.long)
    links = set()
    for each in ids:
        found = torch.cat([NOBODY, *_neighbors(graph, each).values()])
        for other in found[torch.isin(found, wanted)].unique().tolist():
            links.add((min(place[each], place[other]), max(place[each], place[other])))
    return tuple(sorted(link for link in links if link[0] != link[1]))


NOBODY = torch.empty(0, dtype=torch.long)


def _node(graph: KnowledgeGraph, entity: int, group: int, place: int, number: int) -> Node:
    turn = 360 * (place + 0.5) / number - 90
    x, y = math.cos(math.radians(turn)), math.sin(math.radians(turn))
    end = 90 < turn < 270
    return Node(
        _entity(graph, entity), round(x, 4), round(y, 4), round(turn - 180 * end, 2), end, group
    )


def _entity(graph: KnowledgeGraph, entity: int) -> Named:
    return Named(graph.entities[entity], graph.entities.label(entity))


def _relation(graph: KnowledgeGraph, relation: int) -> Named:
    return Named(graph.relations[relation], graph.relations.label(relation))
