"""RDF: statements become triples; labels, types and literals."""

import sys

import pytest
from data.reading import named

from sparring.data.diagnostics import GraphError
from sparring.data.options import ReadOptions
from sparring.data.read import read_graph
from sparring.data.split import SplitRule

rdf_reader = pytest.importorskip("pyoxigraph", reason="RDF is read by pyoxigraph")

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


def test_rdf_a_packed_file_that_was_cut(folder):
    path = rdf(folder, ".nt.gz")
    whole = (path / "train.nt.gz").read_bytes()
    (path / "train.nt.gz").write_bytes(whole[:-9])
    with pytest.raises(GraphError, match=r"train.nt.gz: broken compression"):
        read_graph(path)


def test_without_pyoxigraph_the_error_says_what_to_install(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyoxigraph", None)
    message = r"train.nt: reading it needs pyoxigraph; run pip install .*\[rdf\]\", or"
    with pytest.raises(GraphError, match=message):
        read_graph(rdf(folder))


ALL = SplitRule(valid=0.0, test=0.0)
CITY = """
@prefix x: <http://x/> .
@prefix rdfs: <http://www.w3.org/2000/01/rdf-schema#> .
@prefix skos: <http://www.w3.org/2004/02/skos/core#> .
x:a a x:City ; x:in x:b ; rdfs:label "Aachen"@de, "Aken"@en ; x:people 240000, 250000, 5.5 .
x:b a x:Country ; skos:prefLabel "Allemagne"@fr, "Germany", "Germany"@en ; x:has [ x:in x:a ] .
x:in rdfs:label "lies in" .
"""
FORMATS = {
    "nt": "N_TRIPLES",
    "nq": "N_QUADS",
    "ttl": "TURTLE",
    "trig": "TRIG",
    "n3": "N3",
    "rdf": "RDF_XML",
    "jsonld": "JSON_LD",
}


def city(folder, suffix="ttl", **options):
    """The graph above, in another format."""
    quads = rdf_reader.parse(CITY.encode(), format=rdf_reader.RdfFormat.TURTLE)
    chosen = getattr(rdf_reader.RdfFormat, FORMATS[suffix])
    statements = quads if chosen.supports_datasets else (quad.triple for quad in quads)
    content = CITY.encode() if suffix == "ttl" else rdf_reader.serialize(statements, format=chosen)
    path = folder(**{f"city__{suffix}": content}) / f"city.{suffix}"
    return read_graph(path, split=ALL, options=ReadOptions(**options))


@pytest.mark.parametrize("suffix", FORMATS)
def test_all_formats_say_the_same(folder, suffix):
    graph = city(folder, suffix)
    facts = [(h, r, t) for h, r, t in named(graph) if not (h + t).count("_:")]
    assert sorted((h[9:], r.rpartition("/")[2], t[9:]) for h, r, t in facts) == [
        ("a", "22-rdf-syntax-ns#type", "City"),
        ("a", "in", "b"),
        ("b", "22-rdf-syntax-ns#type", "Country"),
    ]
    assert len(graph.train) == 5


@pytest.mark.parametrize("suffix", FORMATS)
def test_blank_nodes_have_the_same_names_at_every_read(folder, suffix):
    first, second = (city(folder, "ttl") for _ in range(2))
    assert tuple(first.entities) == tuple(second.entities)
    assert named(first) == named(second)


def test_blank_nodes_without_a_name_are_numbered_within_their_file(folder):
    text = "@prefix x: <http://x/> .\nx:a x:r [ x:r [ x:r _:own ] ] .\n"
    entities = tuple(read_graph(rdf(folder, ".ttl", train=text)).entities)
    assert {"_:train[1]", "_:train[2]", "_:own"} <= set(entities)


def test_labels_without_language_or_in_english_are_preferred(folder):
    graph = city(folder)
    label = lambda name: graph.entities.label(graph.entities.id(name))
    assert label("http://x/a") == "Aken" and label("http://x/b") == "Germany"
    assert "lies in" in list(graph.relations.labels)


def test_a_file_of_labels_comes_before_those_of_rdf(folder):
    folder(labels="http://x/a\tAix\n")
    graph = city(folder)
    assert graph.entities.label(graph.entities.id("http://x/a")) == "Aix"


@pytest.mark.parametrize("type_facts, facts", [(True, 5), (False, 3)])
def test_types_are_entity_types_and_facts_if_wanted(folder, type_facts, facts):
    graph = city(folder, type_facts=type_facts)
    pairs = [(graph.entities[e], graph.types[t]) for e, t in graph.entity_type.tolist()]
    assert pairs == [("http://x/a", "http://x/City"), ("http://x/b", "http://x/Country")]
    assert len(graph.train) == facts


def test_types_that_are_facts_of_test_are_no_entity_types(folder):
    kind = "<http://www.w3.org/1999/02/22-rdf-syntax-ns#type>"
    train = f"{NT}<http://x/a> {kind} <http://x/b> .\n"
    graph = read_graph(rdf(folder, train=train, test=f"<http://x/b> {kind} <http://x/b> .\n"))
    assert [graph.entities[entity] for entity, _ in graph.entity_type.tolist()] == ["http://x/a"]


def test_literals_are_counted_by_their_type(folder, caplog):
    caplog.set_level("INFO")
    assert city(folder).notes == {"statements about literals": 3}
    assert "2 of integer: statement" in caplog.text
