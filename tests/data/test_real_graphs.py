"""Public data sets, against counts that were made without this library."""

import gzip
import os
import re
from functools import cache
from pathlib import Path

import pytest

from sparring.data.read import check_folder, read_graph, read_triples
from sparring.data.statistics import describe

DATA = Path(os.environ.get("SPARRING_DATA") or Path(__file__).parents[3] / "shared" / "data")
TABLE = DATA / "README.md"
LARGE = {"ncbi-taxonomy", "debian-kg", "human-bio"}


def rows_of(section: str) -> dict[str, list[str]]:
    """The cells of a table of the data sets' description, by the name of the data set."""
    if not TABLE.is_file():
        return {}
    text = TABLE.read_text().partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    cells = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("| `")]
    return {row[0].strip(" `"): [cell.strip() for cell in row[1:]] for row in cells}


SETS = {name: row for name, row in rows_of("Table").items() if (DATA / name).is_dir()}
DEFECTS = {name: row[0] for name, row in rows_of("Known defects").items() if name in SETS}
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not SETS, reason=f"no data sets in {DATA}"),
]


@cache
def graph_of(name):
    return read_graph(DATA / name)


@cache
def summary_of(name):
    return describe(graph_of(name))


def numbers(text):
    return [int(number.replace(",", "")) for number in re.findall(r"[\d,]+", text)]


@pytest.mark.parametrize("name", SETS)
def test_sizes_are_as_counted(name):
    graph, (entities, relations, splits, *_) = graph_of(name), SETS[name]
    dropped = graph.notes.get("duplicate triples in train", 0)
    sizes = [len(graph.train) + dropped, len(graph.valid), len(graph.test)]
    assert [len(graph.entities), len(graph.relations)] == numbers(entities) + numbers(relations)
    assert sizes == numbers(splits)


@pytest.mark.parametrize("name", DEFECTS)
def test_known_defects_are_noted(name):
    notes, text = graph_of(name).notes, DEFECTS[name]
    patterns = {
        r"duplicate lines in train/valid/test: (\d+)/(\d+)/(\d+)": [
            f"duplicate triples in {split}" for split in ("train", "valid", "test")
        ],
        r"train&valid / train&test / valid&test: (\d+) / (\d+) / (\d+)": [
            "triples of valid also in train",
            "triples of test also in train",
            "triples of test also in valid",
        ],
        r"entities unseen in train: (\d+) in valid .*?, (\d+) in test": [
            f"entities of {split} unseen in train" for split in ("valid", "test")
        ],
        r"relations unseen in train: (\d+) in valid, (\d+) in test": [
            f"relations of {split} unseen in train" for split in ("valid", "test")
        ],
    }
    for pattern, keys in patterns.items():
        found = re.search(pattern, text)
        wanted = [int(number) for number in found.groups()] if found else [0] * len(keys)
        assert [notes.get(key, 0) for key in keys] == wanted


@pytest.mark.parametrize("name", [name for name in SETS if name not in LARGE])
def test_relations_are_described_as_counted(name):
    relation = {each.name: each for each in summary_of(name).relation}
    with gzip.open(DATA / name / "relation_stats.tsv.gz", "rt", encoding="utf8") as lines:
        next(lines)
        for line in lines:
            key, triples, heads, tails, per_head, per_tail, kind, mirrored = line.split("\t")
            found = relation[key]
            assert found.triples["train"] == int(triples)
            assert (found.heads, found.tails) == (int(heads), int(tails))
            assert found.tails_per_head == pytest.approx(float(per_head), abs=1e-3)
            assert found.heads_per_tail == pytest.approx(float(per_tail), abs=1e-3)
            assert found.cardinality == kind
            assert found.symmetric == pytest.approx(float(mirrored), abs=1e-4)


@pytest.mark.parametrize("name", [name for name in DEFECTS if name not in LARGE])
@pytest.mark.parametrize(
    "leak, words",
    [
        ("inverse_leak", "linked the other way round in train"),
        ("parallel_leak", "linked by another relation in train"),
    ],
)
def test_leaks_are_as_counted(name, leak, words):
    share = getattr(summary_of(name), leak)
    counted = re.search(rf"([\d.]+) % of test pairs are {words}", DEFECTS[name])
    if counted is None:  # only leaks of 2 % and more are listed
        assert share < 0.02
    else:
        assert share == pytest.approx(float(counted[1]) / 100, abs=0.0006)


@pytest.mark.parametrize("name", [name for name in SETS if name not in LARGE])
def test_nothing_keeps_a_public_graph_from_being_read(name):
    assert not [found for found in check_folder(DATA / name) if found.severity == "error"]


@pytest.mark.parametrize(
    "name, file, label, rows",
    [
        ("codex-s", "test_negatives.tsv.gz", None, 1828),
        ("codex-m", "valid_negatives.tsv.gz", None, 10310),
        ("human-bio", "curated_negatives.tsv.gz", None, 693),
        ("fb13", "test_negatives.tsv.gz", None, 23733),
        ("wn11", "test_negatives.tsv.gz", None, 10544 - 36),
        ("wiki27k", "open_world_test.tsv.gz", "-1", 997),
    ],
)
def test_further_triples_are_read(name, file, label, rows):
    if name not in SETS:
        pytest.skip(f"no {name} in {DATA}")
    assert len(read_triples(graph_of(name), DATA / name / file, label=label)) == rows


def test_labels_of_freebase_can_be_read():
    if "fb15k-237" not in SETS:
        pytest.skip(f"no fb15k-237 in {DATA}")
    entities = graph_of("fb15k-237").entities
    assert entities.label(entities.id("/m/017dcd")) != "/m/017dcd"


def test_types_of_freebase_are_as_counted():
    if "fb15k-237" not in SETS:
        pytest.skip(f"no fb15k-237 in {DATA}")
    graph = graph_of("fb15k-237")
    assert len(graph.types) == 107
    assert len(graph.entity_type[:, 0].unique()) == 13_781
