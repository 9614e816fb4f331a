"""Text, compressed files and RDF: what is read, and how errors are reported."""

import csv
import gzip
import io
import re
import sys
import tempfile
from pathlib import Path
from unittest.mock import patch

import polars as pl
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sparring.data.columns import TRIPLE, role_of
from sparring.data.diagnostics import GraphError
from sparring.data.read import read_graph
from sparring.data.split import SplitRule


def refused(path, message, **options):
    with pytest.raises(GraphError, match=re.escape(message)):
        read_graph(path, **options)


def test_too_few_fields(folder):
    message = (
        "train.tsv, line 2: not 3 fields: ['b', 'r']; "
        "give head and relation and tail in separate fields"
    )
    refused(folder(train="a\tr\tb\nb\tr\n"), message)


def test_too_many_fields(folder):
    refused(folder(train="a\tr\tb\nb\tr\tc\td\n"), "line 2: not 3 fields: ['b', 'r', 'c', 'd']")


def test_the_wrong_number_of_fields_in_every_line(folder):
    refused(folder(train="a b c\nb c d\n"), "train.tsv, line 1: not 3 fields: ['a b c']")


def test_too_few_fields_in_comma_separated_text(folder):
    refused(folder(".csv", train="a,r,b\nb,r\n"), "train.csv, line 2: not 3 fields: ['b', 'r']")


def test_too_few_fields_after_a_quoted_line_break(folder):
    refused(folder(".csv", train='"a\n",r,b\nb,r\n'), "train.csv, line 3: not 3 fields")


@pytest.mark.parametrize("column", ["head", "relation", "tail"])
def test_an_empty_field(folder, column):
    row = {"head": "a", "relation": "r", "tail": "b", column: ""}
    text = "c\ts\ta\n" + "\t".join(row.values()) + "\n"
    message = f"train.tsv, line 2: empty {column}: {list(row.values())}; name it, or delete"
    refused(folder(train=text), message)


def test_an_empty_field_before_a_line_end_of_windows(folder):
    refused(folder(train="a\tr\tb\r\nb\tr\t\r\n"), "train.tsv, line 2: empty tail")


def test_an_empty_quoted_field(folder):
    refused(folder(".csv", train='a,"",b\n'), "train.csv, line 1: empty relation: ['a', '', 'b']")


@pytest.mark.parametrize("suffix, text", [(".tsv", "a\tr\tb\n\n"), (".csv", "a,r,b\n\n")])
def test_a_blank_line(folder, suffix, text):
    refused(folder(suffix, train=text), f"train{suffix}, line 2: blank line; delete it")


def test_a_blank_line_among_quotes(folder):
    refused(folder(".csv", train='"a",r,b\n\nc,r,d\n'), "train.csv, line 2: blank line; delete it")


def test_an_encoding_other_than_utf_8(folder):
    text = "a\tr\tb\ncafé\tr\tb\n".encode("latin-1")
    message = (
        "train.tsv, line 2: not UTF-8: b'caf\\xe9\\tr\\tb\\n'; save the file in the encoding UTF-8"
    )
    refused(folder(train=text), message)


def test_an_encoding_other_than_utf_8_in_quoted_text(folder):
    text = '"a",r,b\n"café",r,b\n'.encode("latin-1")
    refused(folder(".csv", train=text), "train.csv, line 2: not UTF-8")


def test_an_open_quote(folder):
    message = "train.csv, line 2: bad quoting (unexpected end of data); double each quote"
    refused(folder(".csv", train='"a",r,b\n"b,r,c\nd,r,e\n'), message)


def test_a_quote_that_is_not_doubled(folder):
    refused(folder(".csv", train='a,r,b\n"b"c,r,c\n'), "line 2: bad quoting (',' expected after")


def test_a_defect_beyond_the_first_block_has_the_right_line(folder, monkeypatch):
    monkeypatch.setattr("sparring.data.formats.BLOCK", 8)
    text = "".join(f"a\tr\tb{n}\n" for n in range(20)) + "a\tr\n"
    refused(folder(train=text), "train.tsv, line 21: not 3 fields")


@pytest.mark.parametrize("suffix, pack", [(".gz", gzip.compress), (".zst", zstandard.compress)])
def test_a_packed_file_that_was_cut(folder, suffix, pack):
    whole = pack("".join(f"a\tr\tb{n}\n" for n in range(1000)).encode())
    path = folder(train=None)
    (path / f"train.tsv{suffix}").write_bytes(whole[:-9])
    message = (
        f"train.tsv{suffix}: broken compression: "
        "'the file ends in the middle of its compressed data'; download the file again"
    )
    refused(path, message)


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_a_file_that_is_not_packed_as_its_name_says(folder, suffix):
    path = folder(train=None)
    (path / f"train.tsv{suffix}").write_bytes(b"a\tr\tb\n")
    refused(path, f"train.tsv{suffix}: broken compression")


def test_a_packed_file_with_a_wrong_checksum(folder):
    whole = bytearray(gzip.compress(b"a\tr\tb\n"))
    whole[-5] ^= 1
    path = folder(train=None)
    (path / "train.tsv.gz").write_bytes(whole)
    refused(path, "train.tsv.gz: broken compression")


def test_no_such_folder(tmp_path):
    (tmp_path / "near").mkdir()
    message = f"far: no such file or folder; correct the path; {tmp_path} holds near"
    refused(tmp_path / "far", message)


def test_no_such_folder_in_no_such_folder(tmp_path):
    refused(tmp_path / "further" / "far", "no such file or folder; correct the path; ")


def test_a_kind_of_file_that_is_not_known(folder):
    message = "train.xlsx: unknown kind of file; give .tsv, .txt (tabs), .csv, .jsonl or RDF"
    refused(folder(".xlsx") / "train.xlsx", message, split=SplitRule())


def test_packed_parquet_is_not_known(folder):
    path = folder(train__parquet__gz="") / "train.parquet.gz"
    refused(path, "unknown kind of file", split=SplitRule())


def test_a_missing_split(folder):
    message = (
        "no file valid; expected train, valid and test, each as .tsv, .txt (tabs), .csv, "
        ".jsonl or RDF (.nt, .nq, .ttl, .trig, .n3, .rdf, .jsonld), plain, .gz or .zst; .parquet; "
        "or a database (.db, .sqlite, .duckdb); found test.tsv, train.tsv"
    )
    refused(folder(valid=None), message)


def test_an_empty_folder(tmp_path):
    refused(tmp_path, "no file train; expected train, valid and test")


def test_a_file_of_another_stem_is_not_taken(folder):
    refused(folder(valid=None, valid_negatives="a\tr\tb\n"), "no file valid")


def test_a_file_with_more_to_its_name_is_not_taken(folder):
    refused(folder(valid=None, valid__old__tsv="a\tr\tb\n"), "no file valid")


def test_two_files_for_one_split(folder):
    message = "train.csv and train.tsv all hold train; keep the one that is to be read"
    refused(folder(train__csv="a,r,b\n"), message)


def test_a_packed_file_beside_the_plain_one(folder):
    refused(folder(train__tsv__gz="a\tr\tb\n"), "train.tsv and train.tsv.gz all hold train")


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


characters = st.characters(exclude_categories=["Cs"])
anything = st.text(characters, min_size=1, max_size=8)
awkward = st.sampled_from(
    ["nan", "NULL", '"', '""', "'", ",", " ", "#", "\\", "\ufeff", "\0", "1e5"]
)
names = awkward | anything
tabless = names.map(lambda name: name.replace("\t", " ").replace("\n", " ").replace("\r", " "))


def rows_of(name):
    return st.lists(st.tuples(name, name, name), min_size=1, max_size=12, unique=True).filter(
        lambda rows: not all(map(role_of, rows[0])) and not rows[0][0].startswith("\ufeff")
    )


def as_tsv(rows):
    return "".join("\t".join(row) + "\n" for row in rows).encode()


def as_csv(rows, **options):
    text = io.StringIO(newline="")
    csv.writer(text, **options).writerows(rows)
    return text.getvalue().encode()


def read_back(name, content, block=1 << 22):
    with tempfile.TemporaryDirectory() as folder, patch("sparring.data.formats.BLOCK", block):
        path = Path(folder, name)
        path.write_bytes(content)
        graph = read_graph(path, split=SplitRule(valid=0.0, test=0.0))
    entities, relations = tuple(graph.entities), tuple(graph.relations)
    return [(entities[h], relations[r], entities[t]) for h, r, t in graph.train.tolist()]


few = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])


@given(rows_of(tabless), st.integers(1, 30))
@few
def test_tab_separated_text(rows, block):
    assert read_back("facts.tsv", as_tsv(rows), block) == rows


@given(rows_of(tabless))
@few
def test_packed_text(rows):
    assert read_back("facts.tsv.gz", gzip.compress(as_tsv(rows))) == rows
    assert read_back("facts.tsv.zst", zstandard.compress(as_tsv(rows))) == rows


@given(rows_of(names), st.integers(1, 30))
@few
def test_comma_separated_text(rows, block):
    assert read_back("facts.csv", as_csv(rows), block) == rows


@given(rows_of(names))
@few
def test_comma_separated_text_with_every_field_quoted(rows):
    written = as_csv(rows, quoting=csv.QUOTE_ALL, lineterminator="\n")
    assert read_back("facts.csv", written) == rows


@given(rows_of(names))
@few
def test_parquet(rows):
    stream = io.BytesIO()
    pl.DataFrame(rows, schema=TRIPLE, orient="row").write_parquet(stream)
    assert read_back("facts.parquet", stream.getvalue()) == rows


def test_without_zstandard_the_error_says_what_to_install(folder, monkeypatch):
    path = folder(".tsv.zst")
    monkeypatch.setitem(sys.modules, "zstandard", None)
    message = r'train.tsv.zst: reading it needs zstandard; run pip install .*\[benchmarks\]", or'
    with pytest.raises(GraphError, match=message):
        read_graph(path)


def test_other_files_are_read_without_optional_packages(folder, monkeypatch):
    for module in ("pyoxigraph", "zstandard"):
        monkeypatch.setitem(sys.modules, module, None)
    assert len(read_graph(folder(".tsv.gz")).train) == 3
