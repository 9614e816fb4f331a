"""Tables of names and ids, from Parquet and text."""

import re

import polars as pl
import pytest

from sparring.data.diagnostics import GraphError
from sparring.data.read import read_graph, read_triples
from sparring.data.split import SplitRule

COLUMNS = ("head", "relation", "tail")
NAMED = [("a", "r", "b"), ("b", "s", "a")]
NUMBERED = [(0, 0, 1), (1, 1, 2)]


@pytest.fixture
def parquet(tmp_path):
    """Writes train, valid and test with the same rows, and further tables by name."""

    def write(rows, columns=COLUMNS, dtype=None, **tables):
        frame = pl.DataFrame(rows, schema=columns, orient="row")
        for split in ("train", "valid", "test"):
            (frame.cast(dtype) if dtype else frame).write_parquet(tmp_path / f"{split}.parquet")
        for stem, table in tables.items():
            if isinstance(table, str):
                (tmp_path / f"{stem}.tsv").write_text(table)
            else:
                pl.DataFrame(table).write_parquet(tmp_path / f"{stem}.parquet")
        return tmp_path

    return write


def numbered(parquet, rows=NUMBERED, **tables):
    return parquet(rows, **{"entities": "x\ny\nz\n", "relations": "0\tr\n1\ts\n", **tables})


def refused(path, message):
    with pytest.raises(GraphError, match=message):
        read_graph(path)


@pytest.mark.parametrize("dtype", [pl.String, pl.Categorical, pl.Enum(["a", "b", "r", "s"])])
def test_names_are_read_as_from_text(parquet, dtype):
    graph = read_graph(parquet(NAMED, dtype=dtype))
    assert tuple(graph.entities) == ("a", "b") and tuple(graph.relations) == ("r", "s")
    assert graph.train.tolist() == [[0, 0, 1], [1, 1, 0]]


def test_columns_may_be_named_as_in_rdf(parquet):
    graph = read_graph(parquet(NAMED, ("subject", "predicate", "object")))
    assert graph.train.tolist() == [[0, 0, 1], [1, 1, 0]]


@pytest.mark.parametrize("dtype", [pl.Int8, pl.UInt32, pl.Int64])
def test_ids_stay_as_they_are(parquet, dtype):
    graph = read_graph(numbered(parquet, [(0, 0, 2), (2, 1, 0)], dtype=dtype))
    assert graph.train.tolist() == [[0, 0, 2], [2, 1, 0]]


def test_text_of_names_alone_gives_ids_by_place(parquet):
    assert tuple(read_graph(numbered(parquet)).entities) == ("x", "y", "z")


def test_text_of_ids_and_names_may_be_in_any_order(parquet):
    graph = read_graph(numbered(parquet, entities="2\tz\n0\tx\n1\ty\n"))
    assert tuple(graph.entities) == ("x", "y", "z")


def test_listed_names_that_no_triple_uses_stay_in_the_vocabulary(parquet):
    graph = read_graph(numbered(parquet, entities="x\ny\nz\nunused\n"))
    assert len(graph.entities) == 4


def test_dropping_leaves_listed_names_that_no_triple_uses(parquet):
    path = numbered(parquet, entities="x\ny\nz\nonly in test\nunused\n")
    rows = [(0, 0, 1), (0, 0, 3)]
    pl.DataFrame(rows, schema=COLUMNS, orient="row").write_parquet(path / "test.parquet")
    graph = read_graph(path, unseen="drop")
    assert tuple(graph.entities) == ("x", "y", "z", "unused")
    assert graph.test.tolist() == [[0, 0, 1]]


def test_a_parquet_list_may_give_ids(parquet):
    graph = read_graph(numbered(parquet, entities={"id": [2, 1, 0], "name": ["z", "y", "x"]}))
    assert tuple(graph.entities) == ("x", "y", "z")


def test_a_parquet_list_may_give_kinds_and_keys(parquet):
    table = {"kind": ["town", "town", "river"], "key": ["Bonn", "Ulm", "Ulm"]}
    graph = read_graph(numbered(parquet, entities=table))
    assert tuple(graph.entities) == ("town:Bonn", "town:Ulm", "river:Ulm")
    assert graph.types == ("river", "town")
    assert graph.entity_type.tolist() == [[0, 1], [1, 1], [2, 0]]


def test_kinds_stay_with_their_entities_when_others_are_dropped(parquet):
    table = {"kind": ["town", "sea", "river"], "key": ["Bonn", "Aral", "Ulm"]}
    path = numbered(parquet, [(0, 0, 2)], entities=table)
    pl.DataFrame([(0, 0, 1)], schema=COLUMNS, orient="row").write_parquet(path / "test.parquet")
    graph = read_graph(path, unseen="drop")
    assert tuple(graph.entities) == ("town:Bonn", "river:Ulm")
    assert graph.entity_type.tolist() == [[0, 1], [1, 0]]


def test_further_triples_of_ids_are_taken_as_they_are(parquet):
    path = numbered(parquet)
    extra = pl.DataFrame([(2, 1, 0), (3, 0, 0), (0, 2, 0), (-1, 0, 0)], COLUMNS, orient="row")
    extra.write_parquet(path / "extra.parquet")
    assert read_triples(read_graph(path), path / "extra.parquet").tolist() == [[2, 1, 0]]


def test_one_file_of_ids_is_split_by_a_rule(parquet):
    path = numbered(parquet, NUMBERED * 3) / "train.parquet"
    assert len(read_graph(path, split=SplitRule(valid=0.0, test=0.0)).train) == 2


def test_a_null_is_an_empty_field(parquet):
    refused(parquet([("a", "r", "b"), ("a", None, "b")]), r"parquet, row 2: empty relation")


def test_an_empty_string_is_an_empty_field(parquet):
    refused(parquet([("a", "r", "b"), ("", "r", "b")]), r"row 2: empty head: \['', 'r', 'b'\]")


def test_an_id_that_is_null(parquet):
    refused(numbered(parquet, [(0, 0, 1), (0, 0, None)]), r"row 2: empty tail")


@pytest.mark.parametrize("row", [(3, 0, 0), (0, 2, 0), (0, 0, 3), (-1, 0, 0)])
def test_an_id_without_a_name(parquet, row):
    message = (
        rf"train.parquet, row 3: ids outside the 3 entities and 2 relations: \[{row[0]}, "
        r".*\]; complete the files entities and relations, or delete the rows"
    )
    refused(numbered(parquet, [*NUMBERED, row]), message)


def test_ids_without_a_list_of_entities(parquet):
    message = "triples hold ids, but no file entities names them; put a file entities.tsv with"
    refused(parquet(NUMBERED), message)


def test_ids_without_a_list_of_relations(parquet):
    refused(parquet(NUMBERED, entities="x\ny\nz\n"), "but no file relations names them")


def test_ids_beside_names(parquet):
    path = numbered(parquet)
    (path / "test.parquet").unlink()
    (path / "test.tsv").write_text("x\tr\ty\n")
    message = "train.parquet, valid.parquet hold ids, but test.tsv hold names; write all of them"
    refused(path, message)


def test_a_listed_id_that_is_no_number(parquet):
    message = r"relations.tsv, line 1: an id that is not a number: 'id'; give whole numbers from 0"
    refused(numbered(parquet, relations="id\tname\n0\tr\n1\ts\n"), message)


@pytest.mark.parametrize(
    "relations, message",
    [
        ("0\tr\n0\ts\n", r"2 in all \(line 1: \[0, 'r'\]; line 2: .*number distinct names 0, 1"),
        ("0\tr\n2\ts\n", r"line 2: an id beyond the number of names: \[2, 's'\]"),
        ("0\tr\n-1\ts\n", r"line 2: an id beyond the number of names: \[-1, 's'\]"),
        ("0\tr\n1\tr\n", r"a name that occurs twice, 2 in all \(line 1"),
    ],
)
def test_a_list_out_of_order(parquet, relations, message):
    refused(numbered(parquet, relations=relations), message)


def test_a_listed_name_that_is_null(parquet):
    table = {"name": ["x", None, "z"]}
    refused(numbered(parquet, entities=table), r"entities.parquet, row 2: a name that is empty")


def test_a_list_without_names(parquet):
    message = "entities.parquet: unfit columns: title; give a column name, or the columns kind and"
    refused(numbered(parquet, entities={"title": ["x", "y", "z"]}), message)


def test_columns_of_other_names(parquet):
    message = (
        r"unfit columns: h \(String\), r \(String\), t \(String\); give the columns head, "
        "relation, tail, all of strings or all of integer ids"
    )
    refused(parquet(NAMED, ("h", "r", "t")), message)


def test_columns_of_mixed_types(parquet):
    refused(parquet([("a", 0, "b")]), r"unfit columns: head \(String\), relation \(Int64\)")


def test_columns_of_numbers_with_fractions(parquet):
    refused(parquet([(0.5, 0.5, 0.5)]), r"unfit columns: head \(Float64\)")


def test_a_file_that_is_no_parquet(parquet):
    path = parquet(NAMED)
    (path / "train.parquet").write_bytes(b"a\tr\tb\n")
    refused(path, "train.parquet: no readable Parquet file: .*; write it again")


def test_labels_may_be_parquet(parquet):
    table = {"entity": ["b"], "label": ["Berlin"], "more": [1.5]}
    graph = read_graph(parquet(NAMED, labels=table))
    assert graph.entities.label(1) == "Berlin"


def test_labels_that_are_numbers(parquet):
    table = {"entity": ["b"], "label": [1]}
    refused(parquet(NAMED, labels=table), r"labels.parquet: unfit columns: .*all of strings")


def text_refused(path, message, **options):
    with pytest.raises(GraphError, match=re.escape(message)):
        read_graph(path, **options)


@pytest.mark.parametrize("split", ["train", "valid", "test"])
@pytest.mark.parametrize("text", ["", "head\trelation\ttail\n"])
def test_a_split_without_triples(folder, split, text):
    text_refused(folder(**{split: text}), f"{split}.tsv: no triples; fill the file")


def test_a_packed_split_of_no_bytes_has_no_triples(folder):
    path = folder(train=None)
    (path / "train.tsv.gz").write_bytes(b"")
    text_refused(path, "train.tsv.gz: no triples")
