import csv
import io

import pytest


def test_a_question_is_answered_by_name(answer, finished):
    result = answer(
        *("predict", finished.folder, "--head", "e3", "--relation", "next"),
        *("--format", "json", "-k", 4),
    )
    assert [answer["rank"] for answer in result] == [1, 2, 3, 4]


def test_a_question_is_answered_by_label(answer, finished):
    words = ["--relation", "next", "--format", "json"]
    by_name = answer("predict", finished.folder, "--tail", "e3", *words)
    by_label = answer("predict", finished.folder, "--tail", "Entity number 3", *words)
    assert [a["name"] for a in by_name] == [a["name"] for a in by_label]


def test_known_facts_are_left_out(answer, finished):
    words = ["predict", finished.folder, "--head", "e3", "--relation", "next", "-k", 30]
    result = answer(*words, "--format", "json")
    assert "e4" not in {answer["name"] for answer in result}


def test_known_facts_can_be_kept(answer, finished):
    words = ["predict", finished.folder, "--head", "e3", "--relation", "next", "-k", 30]
    result = answer(*words, "--format", "json", "--keep-known")
    assert {answer["name"] for answer in result if answer["known"]} == {"e4"}


def test_many_questions_are_answered_from_a_file(command, finished, tmp_path):
    path = tmp_path / "questions.tsv"
    path.write_text("e3\tnext\t?\n?\tfifth\te4\n")
    result = command("predict", finished.folder, "--queries", path, "--format", "csv", "-k", 2)
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert [row["query"] for row in rows] == ["0", "0", "1", "1"]


def test_answers_are_shown_as_a_table(command, finished):
    shown = command("predict", finished.folder, "--head", "e3", "--relation", "next").stdout
    assert all(word in shown for word in ("rank", "score", "Entity number"))


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("--head", "e3"),
        ("--relation", "next"),
        ("--head", "e3", "--relation", "next", "--tail", "e4"),
    ],
)
def test_half_a_question_is_misuse(command, finished, words):
    result = command("predict", finished.folder, *words)
    assert result.exit_code == 2 and "give two of --head, --relation" in result.stderr


def test_a_file_and_a_question_are_misuse(command, finished, tmp_path):
    result = command("predict", finished.folder, "--head", "e3", "--queries", tmp_path / "file")
    assert result.exit_code == 2 and "give --queries, or two of" in result.stderr


def test_a_generator_retrieves_the_candidates(answer, guided):
    words = ("predict", guided, "--head", "e3", "--relation", "next", "--format", "json")
    result = answer(*words, "-k", 20, "--retrieve", 3, "--keep-known", "--guide", 0.5)
    assert len(result) == 3


def test_a_sampler_without_probabilities_cannot_retrieve(command, finished):
    words = ("--head", "e3", "--relation", "next", "--retrieve", 3)
    result = command("predict", finished.folder, *words)
    assert result.exit_code != 0 and "knows no probabilities of entities" in result.stderr


def test_relations_are_predicted(answer, finished):
    found = answer("predict", finished.folder, "--head", "e3", "--tail", "e4", "--format", "json")
    assert {one["name"] for one in found} == {"fifth", "seventh"}  # "next" is known


def test_the_query_s_own_entity_is_left_out(command, answer, finished):
    words = ["predict", finished.folder, "--head", "e3", "--relation", "next", "-k", 30]
    words += ["--format", "json"]
    assert "e3" not in {one["name"] for one in answer(*words)}
    assert "e3" in {one["name"] for one in answer(*words, "--keep-known")}
    assert "--keep-known shows them" in command(*words).stderr


def test_a_graph_without_types_cannot_restrict_answers(command, finished):
    words = ("--head", "e3", "--relation", "next", "--type", "city")
    result = command("predict", finished.folder, *words)
    assert result.exit_code == 1 and "has no entity types" in result.stderr
