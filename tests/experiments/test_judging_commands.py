import csv
import io
import json

import pytest

from sparring.experiments import run


def asked(command, *words):
    told = command(*words)
    assert told.exit_code == 0, told.stderr
    return json.loads(told.stdout)


def test_evaluating_again_gives_the_same_result(command, finished):
    told = asked(command, "evaluate", finished.folder, "--json")
    assert told["mrr"] == finished.result()["mrr"]


def test_another_split_can_be_ranked(command, finished):
    told = asked(command, "evaluate", finished.folder, "--json", "--split", "valid")
    assert told["mrr"] == pytest.approx(finished.result()["valid_mrr"])


def test_ranks_can_be_made_in_16_bits(command, finished, monkeypatch):
    """Of which the ranks of so small a graph need not tell."""
    asked_for, plain = [], run.evaluate

    def watched(*given, precision, **options):
        asked_for.append(precision)
        return plain(*given, precision=precision, **options)

    monkeypatch.setattr(run, "evaluate", watched)
    for words in ([], ["--set", "evaluate.precision=bfloat16"]):
        asked(command, "evaluate", finished.folder, "--json", *words)
    assert asked_for == ["float32", "bfloat16"]


def test_a_split_that_is_not_ranked_is_misuse(command, finished):
    told = command("evaluate", finished.folder, "--split", "train")
    words = " ".join(told.stderr.replace("│", " ").split())  # the box breaks lines anywhere
    assert told.exit_code == 2 and "'train' is not one of 'test', 'valid'" in words


def test_ranks_are_shown_by_group(command, finished):
    shown = command("evaluate", finished.folder).stdout
    assert all(word in shown for word in ("95% interval", "tail", "1-1", "degree 4-15", "seventh"))


def test_relations_left_out_are_counted(command, finished):
    shown = command("evaluate", finished.folder, "--relations", 1).stdout
    assert "and 2 relations with fewer queries" in shown


def test_the_audit_of_a_run_judges_hardness(command, finished):
    told = asked(command, "audit", finished.folder, "--json")
    assert told["trained"] and told["overall"]["percentile"] is not None


def test_the_audit_of_a_file_judges_no_hardness(command, write, tables):
    told = asked(command, "audit", write(tables), "--json")
    assert not told["trained"] and told["overall"]["percentile"] is None


def test_the_audit_of_a_sampler_that_asks_for_scores_needs_no_run(command, write, tables):
    spec = {"name": "hardest-of", "k": 2, "inner": tables["sampler"]}
    told = asked(command, "audit", write({**tables, "sampler": spec}), "--json")
    assert told["overall"]["percentile"] is not None


def test_further_truths_count_as_withheld(command, write, tables, tmp_path):
    extra = tmp_path / "extra.tsv"
    extra.write_text("".join(f"e{i}\tnext\te{j}\n" for i in range(24) for j in range(24)))
    path = write(tables)
    told = asked(command, "audit", path, "--json", "--extra", extra)
    before = asked(command, "audit", path, "--json")
    assert told["overall"]["withheld_counted"] > before["overall"]["withheld_counted"] + 0.1


def test_an_audit_is_shown_beside_the_uniform_sampler(command, finished):
    shown = command("audit", finished.folder).stdout
    assert all(word in shown for word in ("beside Uniform", "withheld facts", "seventh", "Brier"))


def test_a_question_is_answered_by_name(command, finished):
    told = asked(
        command,
        *("predict", finished.folder, "--head", "e3", "--relation", "next"),
        *("--format", "json", "-k", 4),
    )
    assert [answer["rank"] for answer in told] == [1, 2, 3, 4]


def test_a_question_is_answered_by_label(command, finished):
    words = ["--relation", "next", "--format", "json"]
    by_name = asked(command, "predict", finished.folder, "--tail", "e3", *words)
    by_label = asked(command, "predict", finished.folder, "--tail", "Entity number 3", *words)
    assert [a["entity"] for a in by_name] == [a["entity"] for a in by_label]


def test_known_facts_are_left_out(command, finished):
    words = ["predict", finished.folder, "--head", "e3", "--relation", "next", "-k", 30]
    told = asked(command, *words, "--format", "json")
    assert "e4" not in {answer["entity"] for answer in told}


def test_known_facts_can_be_kept(command, finished):
    words = ["predict", finished.folder, "--head", "e3", "--relation", "next", "-k", 30]
    told = asked(command, *words, "--format", "json", "--keep-known")
    assert {answer["entity"] for answer in told if answer["known"]} == {"e4"}


def test_many_questions_are_answered_from_a_file(command, finished, tmp_path):
    path = tmp_path / "questions.tsv"
    path.write_text("e3\tnext\t?\n?\tfifth\te4\n")
    told = command("predict", finished.folder, "--queries", path, "--format", "csv", "-k", 2)
    rows = list(csv.DictReader(io.StringIO(told.stdout)))
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
    told = command("predict", finished.folder, *words)
    assert told.exit_code == 2 and "give --relation and one of --head" in told.stderr


def test_a_file_and_a_question_are_misuse(command, finished, tmp_path):
    told = command("predict", finished.folder, "--head", "e3", "--queries", tmp_path / "file")
    assert told.exit_code == 2 and "give --queries, or --relation" in told.stderr


@pytest.fixture
def guided(command, write, tables, tmp_path):
    """The folder of a run with a generator."""
    spec = {"name": "generator", "k": 4, "dim": 8, "codes": 8}
    told = command("run", write({**tables, "sampler": spec}), "--folder", tmp_path / "guided", "-q")
    assert told.exit_code == 0, told.stderr
    return tmp_path / "guided"


def test_a_generator_has_a_say_in_the_ranks(command, guided):
    alone = asked(command, "evaluate", guided, "--json")
    helped = asked(command, "evaluate", guided, "--json", "--guide", 5.0)
    assert helped["mrr"] != alone["mrr"]


def test_a_generator_retrieves_the_candidates(command, guided):
    words = ("predict", guided, "--head", "e3", "--relation", "next", "--format", "json")
    told = asked(command, *words, "-k", 20, "--retrieve", 3, "--keep-known", "--guide", 0.5)
    assert len(told) == 3


def test_a_sampler_without_probabilities_cannot_guide(command, finished):
    told = command("evaluate", finished.folder, "--guide", 0.5)
    assert told.exit_code != 0 and "knows no probabilities of entities" in told.stderr


def test_a_sampler_without_probabilities_cannot_retrieve(command, finished):
    words = ("--head", "e3", "--relation", "next", "--retrieve", 3)
    told = command("predict", finished.folder, *words)
    assert told.exit_code != 0 and "knows no probabilities of entities" in told.stderr
