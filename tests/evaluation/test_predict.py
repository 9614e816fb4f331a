"""Predicting by name, and with the help of a generator."""

import csv
import dataclasses
import io
import json
import math
import sys

import polars as pl
import pytest
import torch
from evaluation.fixtures import FEW, Table, graph_of, random_graph
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from sparring.corruption import tail_and_head_queries
from sparring.data.vocabulary import UnknownNameError
from sparring.evaluation.display import holds_text
from sparring.evaluation.ensemble import Ensemble, ProposalDistribution, as_proposal
from sparring.evaluation.predict import predict
from sparring.evaluation.prediction import Answer, Prediction
from sparring.evaluation.queries import PredictionQuery
from sparring.extras import MissingExtraError
from sparring.generators import NSGenerator
from sparring.models import DistMult
from sparring.printing import CONTROL, cell
from sparring.samplers import Uniform

ENTITIES = ["fr", "paris", "lyon", "de", "berlin", "bonn"]
LABELS = ["France", "Paris", "Lyon", "Germany", "Berlin", "Berlin"]
GRAPH = graph_of(
    [(0, 0, 1)],
    [(3, 0, 4)],
    [(0, 1, 2)],
    entities=ENTITIES,
    relations=["capital", "has"],
    labels=LABELS,
)
RISING = Table.of_entities(GRAPH, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0])
CAPITAL = PredictionQuery("fr", "capital", None)


def answers(*queries, model=RISING, graph=GRAPH, exclude_anchor=False, **options):
    return predict(model, graph, list(queries), exclude_anchor=exclude_anchor, **options).answers


def names(*queries, **options):
    return [answer.name for answer in answers(*queries, **options)]


def test_the_best_come_first():
    assert names(CAPITAL, k=3) == ["bonn", "berlin", "de"]


def test_an_answer_says_all_about_itself():
    (found,) = answers(PredictionQuery("de", "capital", None), k=1)
    assert found == Answer(0, "de", "capital", "?", 1, "bonn", "Berlin", 5.0, False)


def test_heads_are_asked_for_through_the_inverse_relation():
    scores = torch.zeros(6, 4, 6)
    scores[1, 2, 3] = 9.0  # (?, capital, paris) is relation 0 + R of paris
    (found,) = answers(PredictionQuery(None, "capital", "paris"), model=Table(scores), k=1)
    assert (found.head, found.relation, found.tail, found.name) == ("?", "capital", "paris", "de")


def test_queries_of_both_sides_may_be_mixed():
    found = answers(
        CAPITAL, PredictionQuery(None, "has", "lyon"), PredictionQuery("de", "has", None), k=2
    )
    assert [(one.query, one.head, one.rank) for one in found] == [
        (0, "fr", 1),
        (0, "fr", 2),
        (1, "?", 1),
        (1, "?", 2),
        (2, "de", 1),
        (2, "de", 2),
    ]


def test_facts_of_all_splits_are_removed():
    assert "paris" not in names(CAPITAL, k=6)
    assert "berlin" not in names(PredictionQuery("de", "capital", None), k=6)
    assert "lyon" not in names(PredictionQuery("fr", "has", None), k=6)


def test_facts_are_removed_for_heads_too():
    assert "fr" not in names(PredictionQuery(None, "has", "lyon"), k=6)


def test_only_facts_of_the_chosen_splits_are_removed():
    assert "berlin" in names(PredictionQuery("de", "capital", None), k=6, remove=["train", "test"])
    assert "paris" not in names(CAPITAL, k=6, remove=["train", "test"])


def test_facts_that_stay_are_marked_as_known():
    found = answers(CAPITAL, k=6, remove=())
    assert [one.name for one in found if one.known] == ["paris"]


def test_ranks_skip_what_is_removed():
    assert [one.rank for one in answers(CAPITAL, k=6)] == [1, 2, 3, 4, 5]


def test_fewer_answers_than_asked_for_where_fewer_entities_are_left():
    assert len(answers(CAPITAL, k=100)) == 5


def test_a_query_that_everything_answers_has_no_other_answers():
    full = graph_of([(0, 0, e) for e in range(6)])
    assert answers(PredictionQuery("e0", "r0", None), model=Table.random(full), graph=full) == ()


def test_no_queries_have_no_answers():
    assert answers() == ()


def test_an_answer_that_can_never_be_is_still_an_answer():
    model = Table.of_entities(GRAPH, [-math.inf] * 6)
    assert names(CAPITAL, model=model, k=6) == ["fr", "lyon", "de", "berlin", "bonn"]


@pytest.mark.slow
@FEW
@given(st.integers(0, 10_000), st.integers(1, 14), st.integers(1, 30), st.integers(1, 9))
def test_answers_are_those_of_a_sorted_list(seed, k, max_scores, batch_size):
    graph = random_graph(seed=seed)
    model = Table.random(graph, levels=4, seed=seed)
    heads, relations, tails = graph.test.unbind(1)
    queries = [
        *(PredictionQuery(f"e{h}", f"r{r}", None) for h, r in zip(heads, relations)),
        *(PredictionQuery(None, f"r{r}", f"e{t}") for r, t in zip(relations, tails)),
    ]
    found = answers(
        *queries,
        model=model,
        graph=graph,
        k=k,
        max_scores=max_scores,
        batch_size=batch_size,
        remove=["train"],
    )
    facts = {tuple(t) for t in graph.train.tolist()}
    wanted = []
    for place, (head, relation, tail) in enumerate(graph.test.tolist() * 2):
        by_tail = place < len(graph.test)
        row = model.scores[head, relation] if by_tail else model.scores[tail, relation + 3]
        left = [
            (-score, entity)
            for entity, score in enumerate(row.tolist())
            if ((head, relation, entity) if by_tail else (entity, relation, tail)) not in facts
        ]
        wanted += [(place, f"e{entity}", -score) for score, entity in sorted(left)[:k]]
    assert [(one.query, one.name, one.score) for one in found] == wanted


FLOATS = st.floats(width=32, allow_nan=False)


@FEW
@given(st.lists(FLOATS, min_size=6, max_size=6))
def test_any_scores_are_put_in_order_and_given_back(scores):
    found = answers(
        PredictionQuery("bonn", "has", None), model=Table.of_entities(GRAPH, scores), k=6
    )
    order = sorted(range(6), key=lambda entity: (-scores[entity], entity))
    assert [one.name for one in found] == [ENTITIES[entity] for entity in order]
    assert [one.score for one in found] == [scores[entity] for entity in order]


def test_the_two_zeros_are_one():
    model = Table.of_entities(GRAPH, [0.0, -0.0, 0.0, -0.0, 0.0, -0.0])
    assert names(PredictionQuery("bonn", "has", None), model=model, k=6) == ENTITIES


@pytest.mark.parametrize("max_scores", [1, 5, 6, 13, 100])
def test_scores_held_at_once_stay_below_the_bound(max_scores):
    model = Table.random(GRAPH)
    answers(
        CAPITAL, PredictionQuery("de", "has", None), CAPITAL, model=model, max_scores=max_scores
    )
    assert max(rows * width for rows, width in model.blocks) <= max_scores


def test_labels_are_understood_where_only_one_entity_has_them():
    assert answers(PredictionQuery("France", "capital", None), k=2) == answers(CAPITAL, k=2)


def test_an_unknown_entity_is_named_with_its_neighbours():
    with pytest.raises(UnknownNameError, match="unknown entity 'parsi'; did you mean 'paris'"):
        answers(PredictionQuery(None, "capital", "parsi"))


def test_an_unknown_relation_is_named_with_its_neighbours():
    with pytest.raises(
        UnknownNameError, match="unknown relation 'capitol'; did you mean 'capital'"
    ):
        answers(PredictionQuery("fr", "capitol", None))


def test_a_label_of_several_entities_does_not_decide():
    with pytest.raises(UnknownNameError, match="2 entity names have the label 'Berlin'"):
        answers(PredictionQuery("Berlin", "capital", None))


def test_an_unknown_name_is_found_where_it_stands():
    lines = [
        PredictionQuery("fr", "capital", None, "asked.tsv, line 1"),
        PredictionQuery("Germany", "has", None, "asked.tsv, line 2"),
        PredictionQuery(None, "has", "rome", "asked.tsv, line 3"),
        PredictionQuery(None, "has", "turin", "asked.tsv, line 4"),
    ]
    with pytest.raises(UnknownNameError, match=r"asked\.tsv, line 3: unknown entity 'rome'"):
        answers(*lines)


def test_nan_is_an_error_not_an_answer():
    model = Table.of_entities(GRAPH, [0.0, 1.0, 2.0, 3.0, 4.0, math.nan])
    with pytest.raises(FloatingPointError, match="1 of 1 queries have NaN scores"):
        answers(CAPITAL, model=model, max_scores=2)


def test_no_answers_cannot_be_asked_for():
    with pytest.raises(ValueError, match="k must be at least 1; got 0"):
        answers(CAPITAL, k=0)


def test_an_unknown_split_cannot_be_removed():
    with pytest.raises(ValueError, match="unknown split 'dev'; remove any of train, valid, test"):
        answers(CAPITAL, remove=["dev"])


def test_the_bounds_are_checked():
    with pytest.raises(ValueError, match="batch_size must be at least 1; got 0"):
        answers(CAPITAL, batch_size=0)


def test_the_mode_of_the_model_is_restored():
    model = Table.random(GRAPH).train()
    answers(CAPITAL, model=model)
    assert model.training


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


def prediction_of(*texts, score=1.5):
    return Prediction(
        tuple(Answer(0, text, text, "?", 1, text, text, score, True) for text in texts)
    )


@FEW
@given(st.lists(TEXTS, min_size=1, max_size=3))
def test_names_survive_csv(texts):
    rows = list(csv.DictReader(io.StringIO(prediction_of(*texts).csv(), newline="")))
    assert [row["name"] for row in rows] == [cell(text) for text in texts]
    assert [row["label"] for row in rows] == [cell(text) for text in texts]


@FEW
@given(st.lists(TEXTS, min_size=1, max_size=3))
def test_names_survive_json(texts):
    rows = json.loads(prediction_of(*texts).json())
    assert [row["name"] for row in rows] == texts


def test_csv_has_one_column_per_field():
    header, row = prediction_of("a").csv().splitlines()
    assert (
        header
        == '"query","head","relation","tail","rank","name","label","score","known","probability"'
    )
    assert row == '0,"a","a","?",1,"a","a",1.5,True,""'


def test_json_has_one_object_per_answer():
    (row,) = json.loads(prediction_of("a").json())
    assert row == {
        "query": 0,
        "head": "a",
        "relation": "a",
        "tail": "?",
        "rank": 1,
        "name": "a",
        "label": "a",
        "score": 1.5,
        "known": True,
        "probability": None,
    }


def test_an_infinite_score_is_null_in_json():
    (row,) = json.loads(prediction_of("a", score=-math.inf).json())
    assert row["score"] is None


def test_the_table_has_one_column_per_field():
    table = prediction_of("null", "7").to_polars()
    assert table["name"].to_list() == ["null", "7"]
    assert table["score"].to_list() == [1.5, 1.5]
    assert table.columns == list(vars(prediction_of("a").answers[0]))


def test_an_empty_table_still_has_its_columns():
    assert prediction_of().to_polars().columns == prediction_of("a").to_polars().columns


def test_numbers_and_percentages_are_flush_right():
    columns = {"name": ["a", "b"], "n": [1, 2], "share": ["5%", "12.5%"], "version": ["1.0", "2"]}
    found = [holds_text(column) for column in pl.DataFrame(columns)]
    assert found == [True, False, False, True]


def test_brackets_of_names_show_in_a_terminal():
    console = Console(width=200, file=io.StringIO())
    console.print(prediction_of("[bold]x[/bold] :smile:").rich())
    assert console.file.getvalue().count("[bold]x[/bold] :smile:") == 3  # head, tail and answer


GUIDED = random_graph(seed=1)
NUM_ENTITIES = len(GUIDED.entities)


def model_and_generator(**options):
    torch.manual_seed(0)
    generator = NSGenerator(GUIDED.training, k=4, dim=8, codes=8, **options)
    torch.nn.init.normal_(generator.student.entity.weight)
    generator.index.initialize(generator.student.vectors, generator.student.bias)
    return DistMult(GUIDED.training, dim=8), generator


def queries():
    return tail_and_head_queries(GUIDED.test, len(GUIDED.relations))


def everyone():
    return torch.arange(NUM_ENTITIES).unsqueeze(0)


@pytest.mark.parametrize("shared", [True, False])
def test_scores_are_sums(shared):
    model, generator = model_and_generator(share_negatives=shared)
    got = Ensemble(model, generator, weight=0.3)(queries())(everyone())
    own = model_and_generator()[1]
    log_q = own.log_density(own.distribution(queries()), everyone())
    torch.testing.assert_close(got, model(queries())(everyone()) + 0.3 * log_q)


def test_known_answers_keep_a_finite_score():
    model, generator = model_and_generator()
    known = tail_and_head_queries(GUIDED.train, len(GUIDED.relations))
    score = Ensemble(model, generator, weight=1.0)(known)
    assert score(known.answer.unsqueeze(1)).isfinite().all()


@pytest.mark.parametrize("m", [1, 5, NUM_ENTITIES - 1, NUM_ENTITIES, NUM_ENTITIES + 5])
def test_topk_are_the_most_probable(m):
    generator = model_and_generator()[1]
    log_q = generator.log_density(generator.distribution(queries()), everyone())
    best = log_q.topk(min(m, NUM_ENTITIES), dim=1).values
    found = generator.topk(queries(), m)
    assert (found.sort(1).values.diff(dim=1) > 0).all()  # all distinct
    got = log_q.gather(1, found).sort(1, descending=True).values
    torch.testing.assert_close(got, best)


def named_queries():
    head, relation, _ = GUIDED.test.unbind(1)
    name, called = list(GUIDED.entities), list(GUIDED.relations)
    return [
        PredictionQuery(name[h], called[r], None) for h, r in zip(head.tolist(), relation.tolist())
    ]


def test_retrieving_everyone_changes_no_answer():
    model, generator = model_and_generator()
    whole = predict(model, GUIDED, named_queries(), k=7).answers
    found = predict(
        model, GUIDED, named_queries(), k=7, proposal=generator, retrieve=NUM_ENTITIES
    ).answers
    assert [one.name for one in found] == [one.name for one in whole]
    assert [one.score for one in found] == pytest.approx([one.score for one in whole], abs=1e-5)


def test_few_candidates_are_those_of_the_proposal():
    model, generator = model_and_generator()
    found = predict(
        model,
        GUIDED,
        named_queries()[:1],
        k=NUM_ENTITIES,
        proposal=generator,
        retrieve=6,
        remove=(),
        exclude_anchor=False,
    )
    asked = tail_and_head_queries(GUIDED.test[:1], len(GUIDED.relations))[:1]
    allowed = [list(GUIDED.entities)[one] for one in generator.topk(asked, 6)[0].tolist()]
    assert sorted(one.name for one in found.answers) == sorted(allowed)
    scores = [one.score for one in found.answers]
    assert scores == sorted(scores, reverse=True)


def test_known_facts_are_no_answers_among_few_either():
    model, generator = model_and_generator()
    found = predict(
        model, GUIDED, named_queries(), k=NUM_ENTITIES, proposal=generator, retrieve=NUM_ENTITIES
    )
    assert found.answers and not any(one.known for one in found.answers)


def test_retrieving_needs_a_proposal():
    with pytest.raises(ValueError, match="a proposal is needed to score only some entities"):
        predict(model_and_generator()[0], GUIDED, named_queries(), retrieve=5)


def test_not_every_sampler_is_a_proposal():
    assert isinstance(as_proposal(model_and_generator()[1]), ProposalDistribution)
    with pytest.raises(ValueError, match="Uniform knows no probabilities of entities"):
        as_proposal(Uniform(GUIDED.training, k=3))


def test_a_query_leaves_out_its_own_entity():
    assert "fr" not in names(CAPITAL, exclude_anchor=True, k=6)
    assert "fr" in names(CAPITAL, exclude_anchor=False, k=6)


def test_a_relation_with_a_loop_keeps_the_query_s_own_entity():
    graph = graph_of([(0, 0, 0), (1, 1, 2)])
    model = Table.random(graph)
    kept = lambda *triple: names(
        PredictionQuery(*triple), model=model, graph=graph, exclude_anchor=True, k=6
    )
    assert "e3" in kept("e3", "r0", None) and "e3" in kept(None, "r0", "e3")
    assert "e3" not in kept("e3", "r1", None) and "e3" not in kept(None, "r1", "e3")


def test_a_loop_of_the_test_split_changes_nothing():
    graph = graph_of([(0, 0, 1)], test=[(2, 0, 2)])
    query = PredictionQuery("e3", "r0", None)
    assert "e3" not in names(
        query, model=Table.random(graph), graph=graph, exclude_anchor=True, k=6
    )


def test_what_is_left_out_is_said():
    assert predict(RISING, GRAPH, [CAPITAL]).caption() == (
        "Left out: known facts, the query's own entity."
    )
    shown = predict(RISING, GRAPH, [CAPITAL], remove=(), exclude_anchor=False)
    assert shown.caption() == ""


TYPED = dataclasses.replace(
    GRAPH,
    types=("city", "country"),
    entity_type=torch.tensor([[0, 1], [1, 0], [2, 0], [3, 1], [4, 0], [5, 0], [3, 0]]),
)


def test_answers_can_be_of_some_types_only():
    assert names(CAPITAL, graph=TYPED, types=["country"], k=6) == ["de", "fr"]
    assert names(CAPITAL, graph=TYPED, types=["country", "city"], k=6) == names(CAPITAL, k=6)


def test_an_unknown_type_is_named_with_its_neighbours():
    with pytest.raises(UnknownNameError, match="unknown type 'citi'; did you mean 'city'"):
        answers(CAPITAL, graph=TYPED, types=["citi"])


def test_a_graph_without_types_has_none_to_choose():
    with pytest.raises(ValueError, match="world has no entity types"):
        answers(CAPITAL, types=["city"])


def test_relations_between_two_entities_are_ranked_by_the_mean_of_both_ends():
    scores = torch.zeros(6, 4, 6)
    scores[0, 1, 4], scores[4, 3, 0] = 1.0, 4.0  # (fr, has, berlin) from either end
    scores[0, 0, 4], scores[4, 2, 0] = 3.0, 1.0  # (fr, capital, berlin)
    first, second = answers(PredictionQuery("fr", None, "berlin"), model=Table(scores))
    assert first == Answer(0, "fr", "?", "berlin", 1, "has", "has", 2.5, False)
    assert second == Answer(0, "fr", "?", "berlin", 2, "capital", "capital", 2.0, False)


def test_known_relations_are_left_out():
    query = PredictionQuery("fr", None, "paris")
    model = Table.random(GRAPH)
    assert names(query, model=model) == ["has"]
    kept = answers(query, model=model, remove=())
    assert {one.name: one.known for one in kept} == {"has": False, "capital": True}


def test_queries_for_relations_and_entities_may_be_mixed():
    found = answers(CAPITAL, PredictionQuery("fr", None, "berlin"), CAPITAL, k=1)
    assert [(one.query, one.tail) for one in found] == [(0, "?"), (1, "berlin"), (2, "?")]


def test_a_notebook_shows_names_and_no_markup():
    page = prediction_of("<b>x</b>\x1b")._repr_html_()
    assert "<b>" not in page and "&lt;b&gt;x&lt;/b&gt;\\x1b" in page


@FEW
@given(TEXTS)
def test_no_control_character_reaches_terminals_and_files(text):
    found = prediction_of(text + "\x1b[2J\u202e\x9b")
    console = Console(width=200, file=io.StringIO())
    console.print(found.rich())
    for shown in (console.file.getvalue(), found.csv(), found.json()):
        assert not CONTROL.search(shown.replace("\n", "").replace("\r", ""))


def test_pandas_gets_the_same_table():
    pytest.importorskip("pandas")
    found = prediction_of("a", "b")
    assert found.to_pandas().to_dict("list") == found.to_polars().to_dict(as_series=False)


def test_without_pandas_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingExtraError, match="needs the package pandas"):
        prediction_of("a").to_pandas()
