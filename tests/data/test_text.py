"""Text: what is a row, and how every line that is none is reported."""

import csv
import re

import pytest
from data.reading import as_csv, as_tsv, few, names, read_back, rows_of, tabless
from hypothesis import assume, given
from hypothesis import strategies as st

from sparring.data.diagnostics import GraphError
from sparring.data.read import read_graph


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


@given(rows_of(tabless), st.integers(1, 30))
@few
def test_tab_separated_text(rows, block):
    assert read_back("facts.tsv", as_tsv(rows), block) == rows


@given(rows_of(names), st.integers(1, 30))
@few
def test_comma_separated_text(rows, block):
    assert read_back("facts.csv", as_csv(rows), block) == rows


@given(rows_of(names))
@few
def test_comma_separated_text_with_every_field_quoted(rows):
    written = as_csv(rows, quoting=csv.QUOTE_ALL, lineterminator="\n")
    assert read_back("facts.csv", written) == rows


@pytest.mark.parametrize("row", ["a\r\tr\tb", "a\tr\r\tb", "a\tr\tb\r"])
def test_a_carriage_return_at_the_end_of_a_field_is_refused(folder, row):
    message = "train.tsv, line 2: carriage return at the end of a field"
    refused(folder(train=f"a\tr\tb\n{row}\nc\ts\ta\n"), message)


def test_a_line_end_of_windows_among_others_is_refused(folder):
    refused(folder(train="a\tr\tb\nb\tr\tc\r\n"), "line 2: carriage return at the end of a field")


def test_another_line_end_after_those_of_windows_is_refused(folder):
    refused(folder(train="a\tr\tb\r\nb\tr\tc\n"), "line 2: another line end than in the first row")


@pytest.mark.parametrize("end", ["\r\r\n", "\r"])
@pytest.mark.parametrize("suffix, tab", [(".tsv", "\t"), (".csv", ",")])
def test_a_carriage_return_before_a_line_end_of_windows_is_refused(folder, end, suffix, tab):
    text = f"a{tab}r{tab}b\r\nb{tab}r{tab}c{end}"
    rows = {"train": text, "valid": f"a{tab}r{tab}c\n", "test": f"a{tab}r{tab}c\n"}
    refused(folder(suffix, **rows), "line 2: carriage return at the end of a field")


@pytest.mark.parametrize("row", ["a\r,r,b", '"a",r,b\r'])
def test_a_carriage_return_outside_quotes_is_refused(folder, row):
    refused(folder(".csv", train=f'"x",r,b\n{row}\n'), "line 2: carriage return at the end of a")


def test_a_carriage_return_in_quotes_is_kept():
    rows = [("a\r", "r", "b"), ("b", "r\r", "a\r\n")]
    content = as_csv(rows, quoting=csv.QUOTE_ALL, lineterminator="\n")
    assert read_back("facts.csv", content) == rows
    assert read_back("facts.csv", as_csv(rows)) == rows


returns = tabless.flatmap(lambda name: st.sampled_from([name, name + "\r", f"a\r{name}"]))


@given(rows_of(returns), st.sampled_from(["\n", "\r\n"]), st.integers(1, 30))
@few
def test_a_carriage_return_is_kept_or_refused(rows, end, block):
    assume(end != "\n" or not all(row[2].endswith("\r") for row in rows))  # as a line end
    content = as_tsv(rows).replace(b"\n", end.encode())
    try:
        assert read_back("facts.tsv", content, block) == rows
    except GraphError as error:
        assert "carriage return" in str(error)


@given(rows_of(names), st.sampled_from(";|\t: x"), st.sampled_from([".csv", ".txt", ".tsv"]))
@few
def test_any_separator_with_quotes(rows, separator, suffix):
    content = as_csv(rows, delimiter=separator)
    assert read_back(f"facts{suffix}", content, separator=separator, quoting=True) == rows


def test_quotes_mean_nothing_where_they_are_switched_off():
    assert read_back("facts.csv", b'"a,r,b"\n', quoting=False) == [('"a', "r", 'b"')]


def test_another_separator_is_suggested(folder):
    message = """if ';' separates fields, set separator (--separator ";")"""
    refused(folder(train="a;r;b\n"), message)
