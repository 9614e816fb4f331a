import pytest
import torch

from sparring.corruption import tail_and_head_queries
from sparring.experiments.assembly import assemble
from sparring.experiments.audit_run import MARKS, audit_sampler, example_negatives, marks
from sparring.experiments.config import check_config


def negatives_of(tables, graph, **parts):
    config = check_config({**tables, **parts})
    step, _ = assemble(config, graph)
    return example_negatives(step, graph, config, candidates=30)


@pytest.fixture
def everything(tables, graph):
    return negatives_of(tables, graph, sampler={"name": "all-entities"})


def test_all_samplers_are_asked_the_same(tables, graph, everything):
    other = negatives_of(tables, graph, seed=8)
    asked = ("anchor", "relation", "answer", "asked")
    assert [[q[name] for name in asked] for q in everything] == [
        [q[name] for name in asked] for q in other
    ]


def test_tails_and_heads_are_asked_for_in_turn(everything):
    assert [query["asked"] for query in everything] == ["tail", "head"] * 3


def test_queries_are_told_by_label(everything):
    assert all(query["anchor"].startswith("Entity number") for query in everything)


def test_the_questions_are_those_of_the_test_split(graph, everything):
    facts = {
        (graph.entities.label(h), graph.relations.label(r), graph.entities.label(t))
        for h, r, t in graph.test.tolist()
    }
    for query in everything:
        ends = (query["anchor"], query["answer"])
        head, tail = ends if query["asked"] == "tail" else ends[::-1]
        assert (head, query["relation"], tail) in facts


def test_the_most_plausible_come_first(everything):
    for query in everything:
        scores = [candidate["score"] for candidate in query["candidates"]]
        assert scores == sorted(scores, reverse=True)


def test_the_answer_is_marked_and_does_not_count(everything):
    for query in everything:
        marked = [c for c in query["candidates"] if c["mark"] == "answer"]
        assert [(c["entity"], c["counts"]) for c in marked] == [(query["answer"], False)]


def test_no_more_candidates_are_shown_than_drawn(tables, graph):
    assert all(len(query["candidates"]) == 4 for query in negatives_of(tables, graph))


def test_training_facts_withheld_facts_and_answers_are_told_apart(graph):
    head, relation, tail = graph.train[0].tolist()
    queries = tail_and_head_queries(graph.train[:1], len(graph.relations))[torch.tensor([0])]
    stranger = next(e for e in range(24) if e != tail)
    extra = torch.tensor([[head, relation, stranger]])
    ids = torch.tensor([[tail, stranger]])
    assert [MARKS[m] for m in marks(queries, ids, graph)[0]] == ["answer", ""]
    assert [MARKS[m] for m in marks(queries, ids, graph, extra)[0]] == ["answer", "withheld"]


def test_facts_of_training_are_known_and_those_of_validation_withheld(graph):
    relation = graph.relations.id("next")
    row = {int(h): int(t) for h, r, t in graph.train.tolist() if r == relation}
    held = {int(h): int(t) for h, r, t in graph.valid.tolist() if r == relation}
    known, withheld = next(iter(row.items())), next(iter(held.items()))
    triples = torch.tensor([[known[0], relation, 0], [withheld[0], relation, 0]])
    queries = tail_and_head_queries(triples, len(graph.relations))[torch.tensor([0, 1])]
    ids = torch.tensor([[known[1]], [withheld[1]]])
    assert [MARKS[m] for m in marks(queries, ids, graph)[:, 0]] == ["known", "withheld"]


def test_the_audit_draws_batches_that_the_sampler_can_fill(tables, graph):
    config = check_config({**tables, "sampler": {"name": "in-batch", "k": 20}})
    step, _ = assemble(config, graph)
    assert audit_sampler(step, graph, config, model=step.model).k == 20
