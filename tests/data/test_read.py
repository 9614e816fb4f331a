"""Folders and files become graphs; a check reports all their problems."""

import gzip
import re

import polars as pl
import pytest
import torch

from sparring.data.diagnostics import Example, GraphError
from sparring.data.read import check_folder, read_graph, read_triples
from sparring.data.split import SplitRule


def named(graph, triples):
    return [
        (graph.entities[head], graph.relations[relation], graph.entities[tail])
        for head, relation, tail in triples.tolist()
    ]


def test_rows_become_triples_in_their_order(folder):
    graph = read_graph(folder(train="b\tr\tc\na\tr\tb\n"))
    assert named(graph, graph.train) == [("b", "r", "c"), ("a", "r", "b")]


def test_each_split_comes_from_its_own_file(folder):
    graph = read_graph(folder(valid="a\tr\tc\n", test="b\ts\ta\n"))
    assert named(graph, graph.valid) == [("a", "r", "c")]
    assert named(graph, graph.test) == [("b", "s", "a")]


def test_names_are_numbered_in_the_order_of_their_code_points(folder):
    graph = read_graph(folder(train="é\tz\tb\nB\ty\té\n", valid="b\ty\tB\n", test="b\ty\tB\n"))
    assert tuple(graph.entities) == ("B", "b", "é")
    assert tuple(graph.relations) == ("y", "z")


def test_the_order_of_rows_does_not_change_ids(folder, tmp_path):
    first = tuple(read_graph(folder(train="c\tr\ta\nb\ts\ta\na\tr\tb\n")).entities)
    second = tuple(read_graph(folder(train="a\tr\tb\nb\ts\ta\nc\tr\ta\n")).entities)
    assert first == second == ("a", "b", "c")


def test_nothing_is_noted_about_a_graph_in_order(folder, caplog):
    assert read_graph(folder()).notes == {}
    assert not caplog.records


def test_a_graph_is_named_after_its_folder(folder):
    path = folder()
    assert read_graph(path).name == path.name


def test_a_graph_is_named_after_its_file(folder):
    path = folder(facts__v1__tsv="a\tr\tb\nb\tr\ta\n") / "facts.v1.tsv"
    assert read_graph(path, split=SplitRule(valid=0.0, test=0.0)).name == "facts"


def test_a_name_can_be_given(folder):
    assert read_graph(folder(), name="toy").name == "toy"


def test_names_that_look_like_values_are_names(folder):
    names = ("-1", "1", "1.0", "NA", "NULL", "None", "nan", "null", "true")
    text = "".join(f"{name}\tNULL\tnan\n" for name in names)
    graph = read_graph(folder(train=text, valid="1\tNULL\tNA\n", test="1\tNULL\tNA\n"))
    assert tuple(graph.entities) == names
    assert tuple(graph.relations) == ("NULL",)


def test_blanks_at_the_ends_belong_to_a_name(folder):
    graph = read_graph(folder(train=" a\tr\ta \na\tr\ta \n", valid="a\tr\ta\n", test="a\tr\ta\n"))
    assert tuple(graph.entities) == (" a", "a", "a ")


def test_quotes_mean_nothing_in_tab_separated_text(folder):
    text = '"a\tr\t"b"\n"a\tr\t"\n'
    graph = read_graph(folder(train=text, valid='"a\tr\t"\n', test='"a\tr\t"\n'))
    assert tuple(graph.entities) == ('"', '"a', '"b"')


def test_quotes_around_a_name_belong_to_it_in_tab_separated_text(folder):
    text = '"a"\tr\tb\n'
    graph = read_graph(folder(train=text, valid=text, test=text))
    assert tuple(graph.entities) == ('"a"', "b")


def test_a_hash_sign_starts_a_name_like_any_other(folder):
    graph = read_graph(folder(train="#a\tr\tb\n", valid="b\tr\t#a\n", test="b\tr\t#a\n"))
    assert "#a" in tuple(graph.entities)


@pytest.mark.parametrize("suffix", [".tsv", ".txt", ".tsv.gz", ".tsv.zst", ".txt.gz"])
def test_tab_separated_text_is_read_from_any_of_its_files(folder, suffix):
    graph = read_graph(folder(suffix))
    assert named(graph, graph.train) == [("a", "r", "b"), ("b", "r", "c"), ("c", "s", "a")]


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".csv.zst"])
def test_comma_separated_text_is_read_from_any_of_its_files(folder, suffix):
    rows = {"train": "a,r,b\nb,r,c\n", "valid": "a,r,c\n", "test": "b,r,a\n"}
    graph = read_graph(folder(suffix, **rows))
    assert named(graph, graph.train) == [("a", "r", "b"), ("b", "r", "c")]


def test_files_of_several_kinds_may_be_mixed(folder):
    graph = read_graph(folder(valid=None, valid__csv="a,r,c\n"))
    assert named(graph, graph.valid) == [("a", "r", "c")]


def test_quotes_in_comma_separated_text_follow_the_rfc(folder):
    text = '"a, b",r,"say ""hi"""\n"two\nlines",r,plain\n'
    rows = {"train": text, "valid": 'plain,r,"a, b"\n', "test": 'plain,r,"a, b"\n'}
    graph = read_graph(folder(".csv", **rows))
    assert named(graph, graph.train) == [("a, b", "r", 'say "hi"'), ("two\nlines", "r", "plain")]


def test_rows_before_and_after_the_first_quote_are_all_read(folder, monkeypatch):
    monkeypatch.setattr("sparring.data.formats.BLOCK", 1)
    rows = {"train": 'a,r,b\nb,r,c\n"c",r,a\nc,r,b\n', "valid": "a,r,c\n", "test": "a,r,c\n"}
    graph = read_graph(folder(".csv", **rows))
    assert [head for head, _, _ in named(graph, graph.train)] == ["a", "b", "c", "c"]


def test_line_ends_of_windows_are_no_part_of_names(folder):
    graph = read_graph(folder(train="a\tr\tb\r\nb\tr\ta\r\n", valid="a\tr\ta\r\n"))
    assert tuple(graph.entities) == ("a", "b")


def test_the_last_line_needs_no_end(folder):
    graph = read_graph(folder(train="a\tr\tb\nb\ts\tc"))
    assert named(graph, graph.train)[-1] == ("b", "s", "c")


def test_a_byte_order_mark_is_no_part_of_the_first_name(folder):
    graph = read_graph(folder(train="\ufeffa\tr\tb\nc\ts\ta\n"))
    assert tuple(graph.entities) == ("a", "b", "c")


def test_a_byte_order_mark_further_on_is_part_of_a_name(folder, monkeypatch):
    monkeypatch.setattr("sparring.data.formats.BLOCK", 1)
    graph = read_graph(folder(train="a\tr\tb\n\ufeffa\ts\tc\n"))
    assert "\ufeffa" in tuple(graph.entities)


@pytest.mark.parametrize("header", ["head\trelation\ttail", "subject\tpredicate\tobject"])
def test_a_header_line_is_left_out_and_noted(folder, header):
    graph = read_graph(folder(train=f"{header}\na\tr\tb\nb\ts\tc\n"))
    assert named(graph, graph.train) == [("a", "r", "b"), ("b", "s", "c")]
    assert graph.notes == {"header line": 1}


def test_a_header_may_be_written_with_capitals(folder):
    graph = read_graph(folder(train="Head\tRelation\tTail\na\tr\tb\nb\ts\tc\n"))
    assert named(graph, graph.train) == [("a", "r", "b"), ("b", "s", "c")]


def test_a_header_further_down_is_a_fact(folder):
    graph = read_graph(folder(train="a\tr\tb\nb\ts\tc\nhead\trelation\ttail\n"))
    assert len(graph.train) == 3


def test_a_header_at_the_start_of_a_later_block_is_a_fact(folder, monkeypatch):
    monkeypatch.setattr("sparring.data.formats.BLOCK", 1)
    graph = read_graph(folder(train="a\tr\tb\nhead\trelation\ttail\nb\ts\tc\n"))
    assert len(graph.train) == 3


@pytest.mark.parametrize("block", [1, 7, 40])
@pytest.mark.parametrize("suffix", [".tsv", ".tsv.gz", ".tsv.zst"])
def test_the_size_of_blocks_does_not_matter(folder, monkeypatch, block, suffix):
    monkeypatch.setattr("sparring.data.formats.BLOCK", block)
    rows = [(f"entity {n}", f"r{n % 3}", f"entity {n * 7 % 20}") for n in range(20)]
    graph = read_graph(
        folder(
            suffix,
            train="".join("\t".join(row) + "\n" for row in rows),
            valid="entity 1\tr0\tentity 2\n",
            test="entity 1\tr0\tentity 2\n",
        )
    )
    assert named(graph, graph.train) == rows


def test_a_packed_file_may_have_several_members(folder):
    path = folder()
    parts = [gzip.compress(b"a\tr\tb\n"), gzip.compress(b"b\ts\tc\n")]
    (path / "train.tsv").unlink()
    (path / "train.tsv.gz").write_bytes(b"".join(parts))
    assert len(read_graph(path).train) == 2


def test_one_file_is_split_by_a_rule(folder):
    facts = [(f"e{n}", "r", f"e{m}") for n in range(10) for m in range(10)]
    path = folder(facts__tsv="".join("\t".join(fact) + "\n" for fact in facts)) / "facts.tsv"
    graph = read_graph(path, split=SplitRule(valid=0.1, test=0.2))
    assert [len(graph.train), len(graph.valid), len(graph.test)] == [70, 10, 20]
    everything = torch.cat([graph.train, graph.valid, graph.test])
    assert sorted(named(graph, everything)) == sorted(facts)


def test_a_fact_that_occurs_twice_is_in_one_split_only(folder):
    facts = [f"e{n}\tr\te{m}\n" for n in range(5) for m in range(5)] * 2
    path = folder(facts__tsv="".join(facts)) / "facts.tsv"
    graph = read_graph(path, split=SplitRule(valid=0.2, test=0.2))
    assert [len(graph.train), len(graph.valid), len(graph.test)] == [15, 5, 5]
    assert graph.notes == {"duplicate triples in train": 25}


def test_labels_lie_next_to_the_triples(folder):
    graph = read_graph(folder(labels="b\tBerlin\tcapital\tof Germany\n", relation_labels="r\tis\n"))
    assert [graph.entities.label(id) for id in range(3)] == ["a", "Berlin", "c"]
    assert [graph.relations.label(id) for id in range(2)] == ["is", "s"]


def test_the_first_label_of_a_name_counts(folder):
    graph = read_graph(folder(labels="b\tBerlin\nb\tBonn\n"))
    assert graph.entities.label(1) == "Berlin"


def test_labels_of_unknown_names_are_counted(folder):
    graph = read_graph(folder(labels="x\tBerlin\ny\tBonn\na\tAachen\n"))
    assert graph.notes == {"rows of labels about unknown names": 2}


def test_a_file_of_labels_may_be_empty(folder):
    assert read_graph(folder(labels="")).entities.label(0) == "a"


def test_types_are_pairs_of_ids(folder):
    graph = read_graph(folder(entity_types="c\ttown\na\tcity\nc\tcity\nx\tcity\n"))
    assert graph.types == ("city", "town")
    assert graph.entity_type.tolist() == [[0, 0], [2, 0], [2, 1]]
    assert graph.notes == {"rows of entity_types about unknown names": 1}


def test_a_type_given_twice_counts_once(folder):
    graph = read_graph(folder(entity_types="c\ttown\nc\ttown\n"))
    assert graph.entity_type.tolist() == [[2, 0]]


def test_without_types_there_are_none(folder):
    graph = read_graph(folder())
    assert graph.types == () and graph.entity_type is None


def test_further_triples_get_the_ids_of_the_graph(folder):
    path = folder(extra_true="c\tr\ta\nb\ts\tb\n")
    graph = read_graph(path)
    triples = read_triples(graph, path / "extra_true.tsv")
    assert named(graph, triples) == [("c", "r", "a"), ("b", "s", "b")]


def test_further_triples_with_unknown_names_are_left_out_and_counted(folder, caplog):
    path = folder(extra_true="c\tr\tx\nx\ty\tz\nb\tq\tb\nb\ts\tb\n")
    graph = read_graph(path, name="toy")
    caplog.clear()
    assert len(read_triples(graph, path / "extra_true.tsv")) == 1
    assert caplog.messages == [
        f"{path / 'extra_true.tsv'}: 3 rows with names unknown to toy left out"
    ]


def test_further_triples_may_be_none(folder):
    path = folder(extra_true="")
    triples = read_triples(read_graph(path), path / "extra_true.tsv")
    assert triples.shape == (0, 3) and triples.dtype == torch.long


def test_of_labelled_triples_those_with_one_label_are_read(folder):
    path = folder(open_world="c\tr\ta\t1\nb\ts\tb\t-1\na\tr\ta\t1\n")
    graph = read_graph(path)
    assert len(read_triples(graph, path / "open_world.tsv", label="1")) == 2
    assert len(read_triples(graph, path / "open_world.tsv", label="-1")) == 1


def test_a_file_of_labelled_triples_needs_a_label(folder):
    path = folder(open_world="c\tr\ta\t1\n")
    with pytest.raises(GraphError, match=r"open_world.tsv, line 1: not 3 fields"):
        read_triples(read_graph(path), path / "open_world.tsv")


def refused(path, message, **options):
    with pytest.raises(GraphError, match=re.escape(message)):
        read_graph(path, **options)


def test_one_file_without_a_rule(folder):
    message = "train.tsv: one file, and no rule that splits it; pass split=SplitRule(valid=0.05"
    refused(folder() / "train.tsv", message)


def test_a_folder_with_a_rule(folder):
    refused(folder(), "a folder has splits of its own; leave split out", split=SplitRule())


def test_too_few_fields_in_labels(folder):
    refused(folder(labels="a\n"), "labels.tsv, line 1: not 2 or more fields: ['a']; give name and")


def test_an_empty_label(folder):
    refused(folder(labels="a\t\tmore\n"), "labels.tsv, line 1: empty label: ['a', '', 'more']")


def test_an_empty_type(folder):
    refused(folder(entity_types="a\t\n"), "entity_types.tsv, line 1: empty type")


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
    assert [problem for _, problem in found] == ["no file train", "not 3 fields"]


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
