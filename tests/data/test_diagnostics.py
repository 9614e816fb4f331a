"""Diagnostics as sentences, collected and counted."""

import re

import pytest

from sparring.data.diagnostics import CollectDiagnostics, Diagnostic, Example, GraphError
from sparring.data.options import ReadOptions
from sparring.data.read import check_folder, read_graph


@pytest.mark.parametrize("examples", [(), (Example("line 1", "'a'"),)])
def test_a_finding_counted_twice_is_one_finding(examples):
    collect = CollectDiagnostics()
    for _ in range(2):
        collect(Diagnostic("train.tsv", "odd", "nothing", examples, 3))
    (found,) = collect.diagnostics
    assert found.count == 6 and found.examples == examples * 2


def test_a_finding_reads_as_a_sentence():
    finding = Diagnostic("train.tsv", "odd", "mend it", (Example("line 1", "'a'"),))
    assert str(finding) == "train.tsv, line 1: odd: 'a'; mend it"


def test_a_finding_about_a_whole_file_reads_as_a_sentence():
    assert str(Diagnostic("train.tsv", "odd", "mend it")) == "train.tsv: odd; mend it"


def test_a_finding_with_many_places_shows_that_there_are_more():
    finding = Diagnostic("train.tsv", "odd", "mend it", (Example("line 1"), Example("line 2")), 3)
    assert str(finding) == "train.tsv: odd, 3 in all (line 1; line 2; ...); mend it"


def test_a_finding_that_shows_all_its_places_ends_there():
    finding = Diagnostic("train.tsv", "odd", "mend it", (Example("line 1"), Example("line 2")), 2)
    assert str(finding) == "train.tsv: odd, 2 in all (line 1; line 2); mend it"


def test_a_long_value_is_cut(folder):
    with pytest.raises(GraphError) as caught:
        read_graph(folder(train=f"{'a' * 1000}\tr\n"))
    assert len(str(caught.value)) < 300


BAD = b"a\tr\tb\nb\tr\n\nb\ts\tc\ncaf\xe9\tr\ta\nc\t\ta\nc\tr\n"


def test_rows_with_defects_are_dropped_counted_and_listed(folder, tmp_path, monkeypatch):
    path = folder(train=BAD)
    monkeypatch.chdir(tmp_path)
    graph = read_graph(path, options=ReadOptions(on_defect="drop"))
    assert len(graph.train) == 2
    assert graph.notes == {
        "dropped: not 3 fields": 2,
        "dropped: blank line": 1,
        "dropped: not UTF-8": 1,
        "dropped: empty relation": 1,
    }
    listed = (tmp_path / f"{path.name}.dropped.tsv").read_text().splitlines()
    train = path / "train.tsv"
    assert listed == [
        "file\tplace\treason\trow",
        f"{train}\tline 2\tnot 3 fields\tb\\tr",
        f"{train}\tline 3\tblank line\t",
        f"{train}\tline 5\tnot UTF-8\tcaf\\xe9\\tr\\ta",
        f"{train}\tline 6\tempty relation\tc\\t\\ta",
        f"{train}\tline 7\tnot 3 fields\tc\\tr",
    ]


def test_nothing_is_written_where_nothing_is_dropped(folder, tmp_path):
    options = ReadOptions(on_defect="drop", dropped_file=str(tmp_path / "dropped"))
    assert read_graph(folder(), options=options).notes == {}
    assert not (tmp_path / "dropped").exists()


def test_a_check_shows_what_would_be_dropped(folder, tmp_path, monkeypatch):
    path = folder(train=BAD)
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.iterdir())
    found = check_folder(path, ReadOptions(on_defect="drop"))
    assert {each.severity for each in found} == {"warning"} and len(found) == 4
    assert set(tmp_path.iterdir()) == before


def test_an_open_quote_that_may_hide_rows_is_not_dropped(folder):
    path = folder(".csv", train='a,r,b\n"b,r,c\nc,r,d\n')
    with pytest.raises(GraphError, match=re.escape("line 2: bad quoting")):
        read_graph(path, options=ReadOptions(on_defect="drop"))


def test_a_quote_that_is_not_doubled_is_dropped_alone(folder, tmp_path):
    rows = {"train": 'a,r,b\n"b"x,r,c\nc,r,d\n', "valid": "a,r,d\n", "test": "a,r,c\n"}
    options = ReadOptions(on_defect="drop", dropped_file=str(tmp_path / "dropped"))
    assert len(read_graph(folder(".csv", **rows), options=options).train) == 2
