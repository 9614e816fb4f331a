"""Queries by name, and files of them."""

import io

import pytest

from sparring.evaluation.queries import PredictionQuery, read_queries


def test_a_query_for_both_ends_is_none():
    with pytest.raises(ValueError, match="query asks for head and tail; ask for one"):
        PredictionQuery(None, "capital", None)


def test_a_query_for_neither_end_is_none():
    with pytest.raises(ValueError, match="query asks for nothing; ask for one of head"):
        PredictionQuery("fr", "capital", "paris")


def file_of(tmp_path, content):
    path = tmp_path / "asked.tsv"
    path.write_bytes(content)
    return path


def test_a_file_holds_one_query_per_line(tmp_path):
    path = file_of(tmp_path, b"fr\tcapital\t?\n\n?\thas\tlyon")
    first, second = read_queries(path)
    assert (first.head, first.relation, first.tail) == ("fr", "capital", None)
    assert (second.head, second.relation, second.tail) == (None, "has", "lyon")
    assert second.source == f"{path}, line 3"


def test_windows_line_ends_and_byte_order_marks_are_no_part_of_names(tmp_path):
    (found,) = read_queries(file_of(tmp_path, b"\xef\xbb\xbffr\tcapital\t?\r\n"))
    assert (found.head, found.tail) == ("fr", None)


def test_names_of_a_file_are_kept_as_they_are(tmp_path):
    odd = ' a "b" \u2028 c\u0085'
    (found,) = read_queries(file_of(tmp_path, f"{odd}\tnull\t?\n".encode()))
    assert (found.head, found.relation) == (odd, "null")


@pytest.mark.parametrize(
    "line, message",
    [
        (b"fr\tcapital", r"line 2 has 2 fields: \['fr', 'capital'\]; give head, relation and tail"),
        (b"a\tb\tc\td", "line 2 has 4 fields"),
        (b"?\tcapital\t?", "line 2 asks for head and tail"),
        (b"fr\tcapital\tparis", "line 2 asks for nothing"),
        (b"\xff\tcapital\t?", "line 2 is not UTF-8: invalid start byte; save the file as UTF-8"),
    ],
)
def test_a_broken_line_is_named(tmp_path, line, message):
    with pytest.raises(ValueError, match=message):
        read_queries(file_of(tmp_path, b"fr\tcapital\t?\n" + line))


def test_a_file_without_queries_is_an_error(tmp_path):
    with pytest.raises(ValueError, match=r"asked\.tsv holds no queries; give lines such as"):
        read_queries(file_of(tmp_path, b"\n\n"))


def test_a_query_for_the_relation_has_both_ends(tmp_path):
    (found,) = read_queries(file_of(tmp_path, b"fr\t?\tparis"))
    assert (found.head, found.relation, found.tail) == ("fr", None, "paris")


def test_a_query_for_one_end_and_the_relation_is_none():
    with pytest.raises(ValueError, match="query asks for relation and tail"):
        PredictionQuery("fr")


def parts(path):
    return [(one.head, one.relation, one.tail) for one in read_queries(path)]


def test_columns_of_a_csv_file_are_named_by_its_header(tmp_path):
    path = tmp_path / "asked.csv"
    path.write_text('relation,head,note,tail\ncapital,"a, b",x,?\n,fr,,paris\n')
    assert parts(path) == [("a, b", "capital", None), ("fr", None, "paris")]


def test_a_csv_file_may_lack_the_column_to_predict(tmp_path):
    path = tmp_path / "asked.csv"
    path.write_text("head,relation\nfr,capital\n")
    assert parts(path) == [("fr", "capital", None)]


def test_a_csv_file_needs_a_header(tmp_path):
    path = tmp_path / "asked.csv"
    path.write_text("fr,capital,?\n")
    with pytest.raises(ValueError, match="its first line must name head, relation and tail"):
        read_queries(path)


def test_a_line_of_a_csv_file_is_named(tmp_path):
    path = tmp_path / "asked.csv"
    path.write_text("head,relation,tail\nfr,capital,?\nfr,capital,paris\n")
    with pytest.raises(ValueError, match=r"asked\.csv, line 3 asks for nothing"):
        read_queries(path)


def test_json_lines_hold_an_object_each(tmp_path):
    path = tmp_path / "asked.jsonl"
    path.write_text(
        '{"head": "fr", "relation": "capital"}\n\n{"head": "fr", "tail": "x", "relation": "?"}'
    )
    assert parts(path) == [("fr", "capital", None), ("fr", None, "x")]


@pytest.mark.parametrize(
    "line, message",
    [
        ('{"head": 3, "relation": "r"}', "line 1 is no object with head, relation and tail as str"),
        ("[1]", "line 1 is no object"),
        ("{", "line 1 is not JSON"),
    ],
)
def test_a_broken_line_of_json_is_named(tmp_path, line, message):
    path = tmp_path / "asked.jsonl"
    path.write_text(line)
    with pytest.raises(ValueError, match=message):
        read_queries(path)


def test_queries_come_from_standard_input(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"fr\tcapital\t?\n")))
    assert parts("-") == [("fr", "capital", None)]
