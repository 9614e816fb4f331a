"""Columns of head, relation and tail: by name, by position, and from headers of other tools."""

import csv
import io
import re
from itertools import permutations

import polars as pl
import pytest
from data.reading import as_csv, few, named, names, read_back, rows_of
from hypothesis import given
from hypothesis import strategies as st

from sparring.data.columns import role_of
from sparring.data.diagnostics import GraphError
from sparring.data.frames import graph_from_frames
from sparring.data.options import ReadOptions
from sparring.data.read import check_folder, read_graph
from sparring.data.split import SplitRule

HEADERS = [
    ("head", "relation", "tail"),
    ("Subject", "Predicate", "Object"),
    ("source", "type", "target"),
    ("from", "relationship", "to"),
    ("_start", "_type", "_end"),
    (":START_ID", ":TYPE", ":END_ID"),
    ("personId:START_ID(Person)", ":TYPE", ":END_ID(City)"),
    ("head_id", "relation label", "tail-entity"),
    ("src", "edge", "dst"),
]
FACTS = [("a", "r", "b"), ("b", "s", "c")]
orders = st.permutations(range(3))


def refused(message, content, name="facts.csv", **options):
    with pytest.raises(GraphError, match=re.escape(message)):
        read_back(name, content.encode(), **options)


@pytest.mark.parametrize("order", [*permutations(range(3))])
@pytest.mark.parametrize("header", HEADERS)
def test_known_headers_are_recognized_in_any_order(header, order):
    rows = [[row[at] for at in order] for row in [header, *FACTS]]
    assert read_back("facts.csv", as_csv(rows)) == FACTS


@pytest.mark.slow
@given(
    rows_of(names), orders, st.sampled_from(HEADERS), st.sampled_from(",;|\t"), st.integers(1, 40)
)
@few
def test_permuted_columns_are_read_by_their_header(rows, order, header, separator, block):
    permuted = [[row[at] for at in order] for row in [header, *rows]]
    content = as_csv(permuted, delimiter=separator)
    assert read_back("facts.csv", content, block, separator=separator) == rows


@pytest.mark.slow
@given(rows_of(names), orders, st.booleans())
@few
def test_permuted_columns_are_read_by_position(rows, order, quoting):
    permuted = [[*(row[at] for at in order), "more"] for row in rows]
    columns = [order.index(at) + 1 for at in range(3)]
    style = csv.QUOTE_ALL if quoting else csv.QUOTE_MINIMAL
    content = as_csv(permuted, quoting=style)
    assert read_back("facts.csv", content, columns=columns, header=False) == rows


def test_columns_by_name_leave_the_others_out():
    content = b"id,source,kind,target\n1,a,r,b\n2,b,s,c\n"
    assert read_back("facts.csv", content, columns=["source", "kind", "target"]) == FACTS


def test_rows_of_another_length_are_refused_where_columns_are_chosen():
    refused("line 3: not 4 fields", "i,s,k,t\n1,a,r,b\n2,b,s,c,\n", columns=["s", "k", "t"])


def test_a_column_that_is_not_there():
    refused("line 1: no column 'x': ['s', 'k', 't']", "s,k,t\na,r,b\n", columns=["s", "k", "x"])
    refused("no column 4: ['a', 'r', 'b']", "a,r,b\n", columns=[1, 2, 4])


def test_a_column_that_is_there_twice():
    refused("more than one column 's'", "s,k,s\na,r,b\n", columns=["s", "k", "t"])


@pytest.mark.parametrize(
    "first", ["source,kind,target", "from,to,weight", "o,p,s", "type,from,to,label", "T,h,R"]
)
def test_a_first_line_that_may_be_a_header_is_asked_about(first):
    message = f"facts.csv, line 1: perhaps a header, perhaps a fact: {first.split(',')}; if it is a"
    refused(message, f"{first}\na,r,b\n")
    refused("--no-header", f"{first}\na,r,b\n")


def test_the_answer_may_be_that_it_is_a_fact():
    fact = ("from", "kind", "to")
    assert read_back("facts.csv", as_csv([fact]), header=False) == [fact]


def test_a_header_without_known_names_needs_columns():
    refused("a header with unknown names", "a,b,c\nd,e,f\n", header=True)
    content = b"a,b,c\nd,e,f\n"
    assert read_back("facts.csv", content, header=True, columns=[1, 3, 2]) == [("d", "f", "e")]


def test_one_known_name_makes_no_header():
    rows = [("source", "r", "b"), ("label", "type", "x")]
    assert read_back("facts.csv", as_csv(rows)) == rows


def test_further_columns_are_refused_or_ignored():
    content = "head,relation,tail,weight\na,r,b,1\nb,s,c,\n"
    refused("more columns than head, relation, tail", content)
    assert read_back("facts.csv", content.encode(), extra_columns="ignore") == FACTS


def test_further_fields_without_a_header_are_refused_or_ignored():
    refused("line 1: not 3 fields", "a,r,b,1\nb,s,c,2\n")
    assert read_back("facts.csv", b"a,r,b,1\nb,s,c\n", extra_columns="ignore") == FACTS


def parquet(columns):
    stream = io.BytesIO()
    pl.DataFrame(columns).write_parquet(stream)
    return stream.getvalue()


def test_columns_of_parquet_have_any_order():
    permuted = {"to": ["b", "c"], "from": ["a", "b"], "type": ["r", "s"]}
    assert read_back("facts.parquet", parquet(permuted)) == FACTS


def test_columns_of_parquet_may_be_chosen():
    content = parquet({"n": [1, 2], "x": ["a", "b"], "y": ["r", "s"], "z": ["b", "c"]})
    assert read_back("facts.parquet", content, columns=["x", "y", "z"]) == FACTS


def test_columns_of_json_lines_have_any_order():
    content = (
        b'{"tail": "b", "head": "a", "relation": "r"}\n{"tail": "c", "head": "b", "relation": "s"}'
    )
    assert read_back("facts.jsonl", content) == FACTS


def test_columns_of_a_frame_have_any_order():
    frame = pl.DataFrame({"to": ["b", "c"], "from": ["a", "b"], "type": ["r", "s"]})
    graph = graph_from_frames({"train": frame}, split=SplitRule(valid=0.0, test=0.0))
    assert named(graph) == FACTS


def test_names_of_other_things_have_no_role():
    assert not any(map(role_of, ["source_type", "rdf:type", "e1", "weight", "", "http://x/to"]))


@pytest.mark.parametrize(
    "options",
    [
        {"columns": ["a", "b"]},
        {"columns": [0, 1, 2]},
        {"columns": [1, 1, 2]},
        {"columns": ["a", "b", "c"], "header": False},
        {"separator": ";;"},
        {"separator": '"'},
    ],
)
def test_options_that_make_no_sense(options):
    with pytest.raises(ValueError, match=r"columns|separator"):
        ReadOptions(**options)


def problems(tmp_path, rows, **options):
    path = tmp_path / "facts.csv"
    path.write_bytes(as_csv(rows))
    found = check_folder(path, ReadOptions(**options))
    return {each.problem: str(each) for each in found}


MANY = [(f"e{n % 40}", f"r{n % 3}", f"e{n * 7 % 41}") for n in range(300)]
PERMUTED = [(h, t, r) for h, r, t in MANY]


def test_permuted_columns_without_a_header_are_a_warning(tmp_path):
    assert "many relations" not in problems(tmp_path, MANY)
    found = problems(tmp_path, PERMUTED)["many relations"]
    assert "the tail has only 3 names" in found and "columns = [1, 3, 2]" in found
    assert "many relations" not in problems(tmp_path, PERMUTED, columns=[1, 3, 2])


def test_more_relations_than_a_tenth_of_the_facts_are_a_warning(tmp_path):
    rows = [(f"e{n}", f"r{n % 20}", f"e{n + 1}") for n in range(190)]
    assert "20 in 190 facts" in problems(tmp_path, rows)["many relations"]
    assert "many relations" not in problems(tmp_path, [*rows, *((b, r, a) for a, r, b in rows)])


def test_a_first_line_whose_names_occur_nowhere_else_is_a_warning(tmp_path):
    problem = "a first line that may be a header"
    header = ("drug", "effect", "disease")
    assert "['drug', 'effect', 'disease']" in problems(tmp_path, [header, *MANY])[problem]
    assert problem not in problems(tmp_path, [header, *MANY], header=False)
    assert problem not in problems(tmp_path, [header, *MANY], columns=list(header))
    assert problem not in problems(tmp_path, MANY)


def test_splits_may_have_headers_of_their_own(folder):
    rows = {"train": "to,from,type\nb,a,r\n", "valid": "a,r,b\n", "test": "head,tail,type\na,b,r"}
    graph = read_graph(folder(".csv", **rows))
    assert graph.train.tolist() == graph.valid.tolist() == graph.test.tolist() == [[0, 0, 1]]


def test_a_header_after_rows_that_are_dropped_is_found(tmp_path):
    content = b"\n\nhead,tail,relation\na,b,r\nb,c,s\n"
    options = {"on_defect": "drop", "dropped_file": str(tmp_path / "dropped")}
    assert read_back("facts.csv", content, **options) == FACTS
    refused("line 1: blank line", content.decode())


def test_a_file_without_rows_has_no_columns_to_miss():
    refused("facts.csv: no triples", "", columns=["a", "b", "c"])
