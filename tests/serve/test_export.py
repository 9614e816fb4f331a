import json

import pyoxigraph
import pytest

import sparring
from sparring.serve.export import export
from sparring.serve.reviews import Reviews, Triple

ODD = Triple("http://example.org/a b", "has\tpart", 'say "x"\n')
PLAIN = Triple("http://example.org/a", "urn:r", "ab")


@pytest.fixture
def reviewed(tmp_path):
    reviews = Reviews(tmp_path / "reviews.db")
    reviews.record([(ODD, "accept"), (PLAIN, "reject")], "ann", probabilities=[0.25, None])
    yield reviews.reviewed()
    reviews.close()


def test_json_lines_lose_nothing(reviewed):
    rows = [json.loads(line) for line in export(reviewed, "jsonl")]
    assert rows == [each.to_dict() for each in reviewed]


def test_every_line_of_tsv_has_its_columns(reviewed):
    lines = [line.removesuffix("\n").split("\t") for line in export(reviewed, "tsv")]
    assert lines[0] == ["head", "relation", "tail", "verdict", "accepts", "rejects", "unsure"]
    assert lines[1][:3] == ["http://example.org/a", "urn:r", "ab"] and lines[1][3] == "rejected"
    assert lines[2][1] == "has\\x09part"


def test_tsv_can_be_read_as_a_graph(reviewed, tmp_path):
    (tmp_path / "reviewed.tsv").write_text("".join(export(reviewed, "tsv")))
    columns = ["head", "relation", "tail"]
    graph = sparring.load_graph(
        tmp_path / "reviewed.tsv", columns=columns, extra_columns="ignore", split=(0.0, 0.0)
    )
    assert "ab" in graph.entities


def test_n_triples_are_valid(reviewed):
    text = "".join(export(reviewed, "nt"))
    found = list(pyoxigraph.parse(text, format=pyoxigraph.RdfFormat.N_TRIPLES))
    assert len(found) == 2
    assert (
        found[0].subject.value == "http://example.org/a"
        and found[0].object.value == "urn:sparring:ab"
    )
    assert found[1].subject.value == "urn:sparring:http%3A%2F%2Fexample.org%2Fa%20b"
