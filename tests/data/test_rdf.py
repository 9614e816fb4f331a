"""N-Triples and Turtle, with literals left out."""

import sys

import pytest

from sparring.data.diagnostics import GraphError
from sparring.data.read import read_graph
from sparring.data.split import SplitRule

pytest.importorskip("pyoxigraph", reason="the extra rdf is not installed")

NT = "<http://x/a> <http://x/r> <http://x/b> .\n<http://x/b> <http://x/r> _:c .\n"
TTL = "@prefix x: <http://x/> .\nx:a x:r x:b .\n"


def rdf(folder, suffix=".nt", **files):
    text = NT if suffix.startswith(".nt") else TTL
    return folder(suffix, **{"train": text, "valid": text, "test": text, **files})


def test_iris_and_blank_nodes_become_names(folder):
    graph = read_graph(rdf(folder))
    assert tuple(graph.entities) == ("_:c", "http://x/a", "http://x/b")
    assert tuple(graph.relations) == ("http://x/r",)
    assert graph.train.tolist() == [[1, 0, 2], [2, 0, 0]]


@pytest.mark.parametrize("suffix", [".ttl", ".ttl.gz", ".ttl.zst"])
def test_turtle_is_read_with_its_prefixes(folder, suffix):
    assert tuple(read_graph(rdf(folder, suffix)).entities) == ("http://x/a", "http://x/b")


def test_packed_statements_that_span_blocks_are_read(folder, monkeypatch):
    monkeypatch.setattr("sparring.data.formats.BLOCK", 1)
    many = "".join(f"<http://x/{n}> <http://x/r> <http://x/{n + 1}> .\n" for n in range(500))
    assert len(read_graph(rdf(folder, ".nt.gz", train=many)).train) == 500


def test_literals_are_left_out_and_counted(folder):
    text = f'{NT}<http://x/a> <http://x/name> "A" .\n<http://x/a> <http://x/age> "4" .\n'
    graph = read_graph(rdf(folder, train=text))
    assert len(graph.train) == 2 and len(graph.relations) == 1
    assert graph.notes["statements about literals"] == 2


def test_labels_may_be_literals(folder):
    text = '<http://x/a> <http://www.w3.org/2000/01/rdf-schema#label> "Aachen"@de .\n'
    graph = read_graph(rdf(folder, labels=text))
    assert graph.entities.label(graph.entities.id("http://x/a")) == "Aachen"


def test_one_file_is_split_by_a_rule(folder):
    path = rdf(folder) / "train.nt"
    assert len(read_graph(path, split=SplitRule(valid=0.0, test=0.0)).train) == 2


def test_a_broken_statement_is_named_by_its_line(folder):
    with pytest.raises(GraphError, match=r"train.nt, line 3: broken statement: .*; correct the"):
        read_graph(rdf(folder, train=f"{NT}<http://x/a> <http://x/r .\n"))


def test_a_packed_file_that_was_cut(folder):
    path = rdf(folder, ".nt.gz")
    whole = (path / "train.nt.gz").read_bytes()
    (path / "train.nt.gz").write_bytes(whole[:-9])
    with pytest.raises(GraphError, match=r"train.nt.gz: broken compression"):
        read_graph(path)


def test_without_pyoxigraph_the_error_says_what_to_install(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyoxigraph", None)
    message = r"train.nt: reading RDF needs pyoxigraph; run pip install 'sparring\[rdf\]', or"
    with pytest.raises(GraphError, match=message):
        read_graph(rdf(folder))
