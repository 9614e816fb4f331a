"""A check collects everything instead of stopping at the first defect."""

import polars as pl
import pytest

from sparring.data.diagnostics import CollectDiagnostics, Diagnostic, Example
from sparring.data.read import check_folder


def problems(path):
    return {(found.file.rpartition("/")[2], found.problem): found for found in check_folder(path)}


def test_a_folder_in_order_has_no_findings(folder):
    assert check_folder(folder()) == []


def test_defects_of_all_files_are_found(folder):
    found = problems(
        folder(train="a\tr\tb\nb\tr\n\nb\ts\tc\n", valid="a\t\tb\na\tr\tb\n", test=b"\xff\tr\tb\n")
    )
    assert set(found) >= {
        ("train.tsv", "not 3 fields"),
        ("train.tsv", "blank line"),
        ("valid.tsv", "empty relation"),
        ("valid.tsv", "triples of valid also in train"),
        ("test.tsv", "not UTF-8"),
    }


def test_defects_after_the_first_in_quoted_text_are_found(folder):
    found = problems(folder(".csv", train='"a"x,r,b\n"b",r\na,r,b\n', valid="a,r,b\n"))
    assert ("train.csv", "not 3 fields") in found
    assert found["train.csv", "not 3 fields"].examples == (Example("line 2", "['b', 'r']"),)


def test_a_problem_is_counted_and_shown_a_few_times(folder):
    found = problems(folder(train="a\tr\tb\n" + "a\tr\n" * 12))["train.tsv", "not 3 fields"]
    assert found.count == 12
    assert [example.place for example in found.examples] == [f"line {n}" for n in range(2, 7)]


def test_all_missing_files_are_found(folder):
    found = problems(folder(valid=None, test=None))
    assert [problem for _, problem in found] == ["no file valid", "no file test"]


def test_without_train_the_other_files_are_still_read(folder):
    found = problems(folder(train=None, valid="a\tr\n"))
    assert [problem for _, problem in found] == ["no file train", "not 3 fields", "no triples"]


def test_a_folder_without_any_file_is_a_finding(tmp_path):
    assert [problem for _, problem in problems(tmp_path)] == [
        "no file train",
        "no file valid",
        "no file test",
    ]


def test_a_missing_folder_is_a_finding(tmp_path):
    (found,) = check_folder(tmp_path / "far")
    assert found.problem == "no such file or folder" and found.severity == "error"


def test_what_is_odd_but_bearable_is_a_warning(folder):
    found = check_folder(folder(train="a\tr\tb\na\tr\tb\nb\ts\tc\n"))
    assert [finding.severity for finding in found] == ["warning"]


def test_what_needs_no_action_is_a_note(folder):
    found = check_folder(folder(train="head\trelation\ttail\na\tr\tb\nb\ts\tc\n", labels="x\ty\n"))
    assert [finding.severity for finding in found] == ["note", "note"]


def test_names_that_differ_in_blanks_only_are_a_warning(folder):
    path = folder(train="a\tr\tb\na \tr\tb\nb\ts\tc\nc\ts \t d\n")
    found = [finding for finding in check_folder(path) if "blanks" in finding.problem]
    assert [(finding.problem.split()[0], finding.examples) for finding in found] == [
        ("entities", (Example(value="'a '"),)),
        ("relations", (Example(value="'s '"),)),
    ]
    assert {finding.severity for finding in found} == {"warning"}


def test_one_file_of_facts_can_be_checked(folder):
    (found,) = check_folder(folder(train="a\tr\tb\na\tr\n") / "train.tsv")
    assert found.problem == "not 3 fields"


def test_two_files_for_one_split_do_not_end_the_check(folder):
    found = problems(folder(train__csv="a,r,b\n", valid="a\tr\n"))
    assert [problem for _, problem in found][:2] == [
        "train.csv and train.tsv all hold train",
        "not 3 fields",
    ]


def test_what_keeps_ids_from_having_names_is_a_finding(folder):
    path = folder(train=None)
    frame = pl.DataFrame({"head": [0], "relation": [0], "tail": [0]})
    frame.write_parquet(path / "train.parquet")
    assert [found.problem for found in check_folder(path)] == [
        "train.parquet hold ids, but valid.tsv, test.tsv hold names"
    ]


@pytest.mark.parametrize("examples", [(), (Example("line 1", "'a'"),)])
def test_a_finding_counted_twice_is_one_finding(examples):
    collect = CollectDiagnostics()
    for _ in range(2):
        collect(Diagnostic("train.tsv", "odd", "nothing", examples, 3))
    (found,) = collect.findings
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
