"""Diagnostics as sentences, collected and counted."""

import pytest

from sparring.data.diagnostics import CollectDiagnostics, Diagnostic, Example, GraphError
from sparring.data.read import read_graph


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
