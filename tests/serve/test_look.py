import torch

import sparring
from sparring.models.rules import RuleModel
from sparring.serve.look import draw_neighborhood, facts_of_entity, nearest_entities, types_of

FACTS = [
    *(("hub", "has", f"part{i:02}") for i in range(30)),
    ("hub", "is", "thing"),
    ("part01", "touches", "part02"),
    ("part03", "touches", "hub"),
    ("hub", "knows", "hub"),
    ("thing", "of", "hub"),
]


def test_facts_by_relation_and_direction():
    graph = sparring.load_graph({"train": FACTS[:-1], "test": FACTS[-1:]})
    groups = facts_of_entity(graph, graph.entities.id("hub"), shown=5)
    shape = [
        (group.relation.name, group.inverse, group.number, len(group.entities)) for group in groups
    ]
    assert shape == [
        ("is", False, 1, 1),
        ("knows", False, 1, 1),
        ("has", False, 30, 5),
        ("knows", True, 1, 1),
        ("of", True, 1, 1),
        ("touches", True, 1, 1),
    ]
    assert {each.name for each in groups[2].entities} > {"part01", "part02", "part03"}


def test_a_drawing_has_some_of_each_relation():
    graph = sparring.load_graph({"train": FACTS})
    drawing = draw_neighborhood(graph, graph.entities.id("hub"), most=10)
    names = [node.entity.name for node in drawing.nodes]
    assert len(names) == len(set(names)) == 10 and "hub" not in names and "thing" in names
    groups = {number for number, *_ in drawing.relations}
    assert {node.group for node in drawing.nodes} == groups
    linked = {frozenset((names[a], names[b])) for a, b in drawing.links}
    assert linked == {frozenset(("part01", "part02"))}
    assert all(abs(node.x**2 + node.y**2 - 1) < 1e-3 for node in drawing.nodes)
    assert all(-90 <= node.angle <= 90 for node in drawing.nodes)  # text that can be read


def test_an_entity_that_has_no_other():
    graph = sparring.load_graph({"train": [("a", "r", "a"), ("b", "r", "c")]})
    assert draw_neighborhood(graph, graph.entities.id("a")).nodes == ()


def test_nearest_entities_are_those_of_the_vectors(served):
    graph, vectors = served.graph, served.model.entity.weight
    similarity = torch.cosine_similarity(vectors, vectors[3:4]).detach()
    found = nearest_entities(graph, served.model, 3, count=4)
    order = [each for each in similarity.argsort(descending=True).tolist() if each != 3][:4]
    assert [each.name for each, _ in found] == [graph.entities[each] for each in order]


def test_a_model_without_vectors(served):
    assert nearest_entities(served.graph, RuleModel(served.graph.training), 3) == []


def test_types():
    graph = sparring.load_graph("atlas")
    assert types_of(graph, graph.entities.id("Iceland")) == ["territory"]
