import pytest
import torch

from sparring.data.diagnostics import GraphError
from sparring.data.graph import CARDINALITIES, TrainGraph, cardinality
from sparring.testing.synthetic import CIRCLE, RELATIONS, TYPES, synthetic_world

WORLD = synthetic_world(100, seed=1)


def facts(relation):
    triples = WORLD.truth[WORLD.truth[:, 1] == RELATIONS.index(relation)]
    return {(head, tail) for head, _, tail in triples.tolist()}


def everything():
    return torch.cat([WORLD.graph.train, WORLD.graph.valid, WORLD.graph.test, WORLD.hidden])


def test_splits_and_hidden_facts_are_the_truth():
    assert torch.equal(everything().unique(dim=0), WORLD.truth)
    assert len(everything()) == len(WORLD.truth)


def test_the_shares_are_those_of_all_true_facts():
    total = len(WORLD.truth)
    assert len(WORLD.hidden) == round(0.2 * total)
    assert abs(len(WORLD.graph.valid) - 0.05 * total) <= 1
    assert abs(len(WORLD.graph.test) - 0.05 * total) <= 1


def test_nothing_is_hidden_if_nothing_is_withheld():
    assert len(synthetic_world(50, withheld=0.0).hidden) == 0


def test_every_entity_and_relation_is_in_train():
    train = WORLD.graph.train
    assert len(train[:, [0, 2]].unique()) == len(WORLD.graph.entities)
    assert len(train[:, 1].unique()) == len(RELATIONS)


def test_the_same_seed_makes_the_same_world():
    again = synthetic_world(100, seed=1)
    assert again.graph.content_hash == WORLD.graph.content_hash
    assert torch.equal(again.truth, WORLD.truth)


def test_another_seed_makes_another_truth():
    assert not torch.equal(synthetic_world(100, seed=2).truth, WORLD.truth)


def test_names_can_be_read():
    assert WORLD.graph.entities[0] == "city_0000"
    assert "person_0099" in tuple(WORLD.graph.entities)


def test_relations_link_the_types_they_should():
    ends = {
        "capital_of": ("city", "country"),
        "citizen_of": ("person", "country"),
        "city_in": ("city", "country"),
        "employs": ("company", "person"),
        "has_city": ("country", "city"),
        "knows": ("person", "person"),
        "likes": ("person", "product"),
        "lives_in": ("person", "city"),
        "manages": ("person", "person"),
        "works_for": ("person", "company"),
    }
    kind = {entity: TYPES[kind] for entity, kind in WORLD.graph.entity_type.tolist()}
    for relation, (head, tail) in ends.items():
        assert {(kind[h], kind[t]) for h, t in facts(relation)} == {(head, tail)}


def test_names_tell_types():
    for entity, kind in WORLD.graph.entity_type.tolist():
        assert WORLD.graph.entities[entity].startswith(TYPES[kind])


@pytest.mark.parametrize("one, other", [("city_in", "has_city"), ("works_for", "employs")])
def test_inverses_are_inverse(one, other):
    assert facts(one) == {(tail, head) for head, tail in facts(other)}


def test_knowing_is_symmetric_and_of_others():
    assert facts("knows") == {(tail, head) for head, tail in facts("knows")}
    assert all(head != tail for head, tail in facts("knows"))


def test_circles_are_of_one_size():
    knows = facts("knows")
    friends = [sum(head == person for head, _ in knows) for person in {h for h, _ in knows}]
    assert max(friends) == CIRCLE - 1


def test_citizenship_follows_from_home():
    country = dict(facts("city_in"))
    assert facts("citizen_of") == {(who, country[city]) for who, city in facts("lives_in")}


def test_a_capital_lies_in_its_country():
    assert facts("capital_of") <= facts("city_in")
    assert len(facts("capital_of")) == len({country for _, country in facts("city_in")})


def test_managers_work_for_the_same_company():
    company = dict(facts("works_for"))
    assert all(company[manager] == company[report] for manager, report in facts("manages"))


def test_everyone_but_the_head_of_a_company_has_one_manager():
    reports = [report for _, report in facts("manages")]
    companies = {company for _, company in facts("works_for")}
    assert len(reports) == len(set(reports)) == len(facts("works_for")) - len(companies)


def test_friends_like_the_same():
    likes = {}
    for person, product in facts("likes"):
        likes.setdefault(person, set()).add(product)
    assert all(likes[one] == likes[other] for one, other in facts("knows"))


def test_relations_have_the_cardinalities_they_are_named_for():
    graph = TrainGraph(WORLD.truth, len(WORLD.graph.entities), len(RELATIONS))
    kind = dict(zip(RELATIONS, (CARDINALITIES[kind] for kind in cardinality(graph))))
    assert kind == {
        "capital_of": "1-1",
        "citizen_of": "N-1",
        "city_in": "N-1",
        "employs": "1-N",
        "has_city": "1-N",
        "knows": "N-N",
        "likes": "N-N",
        "lives_in": "N-1",
        "manages": "1-N",
        "works_for": "N-1",
    }


def test_a_handful_of_people_is_no_world():
    with pytest.raises(ValueError, match="a synthetic world needs at least 20 people"):
        synthetic_world(19)


def test_withholding_nearly_everything_is_refused():
    with pytest.raises(
        GraphError, match="can be held out without leaving an entity or relation unseen"
    ):
        synthetic_world(20, withheld=0.95)
