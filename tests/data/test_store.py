"""A graph in a folder of its own: everything comes back, and damage is noticed."""

import json
from dataclasses import replace

import polars as pl
import pytest
import torch

from sparring.data import store
from sparring.data.diagnostics import GraphError
from sparring.data.graph import SPLITS, KnowledgeGraph
from sparring.data.vocabulary import Vocabulary

NAMES = ["", " blank", "NULL", "nan", "1", "tab\tand\nline", "<b>&amp;</b>", "ü€𝄞", "a" * 5000]


@pytest.fixture
def graph():
    triples = torch.tensor([[0, 0, 1], [2, 1, 3], [4, 0, 5], [6, 1, 7], [8, 0, 0], [1, 1, 1]])
    return KnowledgeGraph(
        "small",
        Vocabulary(NAMES, [f"label {name}" for name in NAMES]),
        Vocabulary(["likes", "has\0part"], kind="relation"),
        triples[:4],
        triples[4:5],
        triples[5:],
        types=("person", "", "place"),
        entity_type=torch.tensor([[0, 2], [3, 0]]),
        notes={"duplicate triples in train": 3},
        hold_out=0.25,
    )


def test_everything_comes_back(graph, tmp_path):
    store.save(graph, tmp_path)
    back = store.load(tmp_path)
    for vocabulary in ("entities", "relations"):
        before, after = getattr(graph, vocabulary), getattr(back, vocabulary)
        assert after.names.equals(before.names) and after.labels.equals(before.labels)
        assert after.kind == before.kind
    for ids in (*SPLITS, "entity_type"):
        assert getattr(back, ids).dtype == torch.int64
        assert torch.equal(getattr(back, ids), getattr(graph, ids))
    assert (back.name, back.types, back.hold_out) == (graph.name, graph.types, graph.hold_out)
    assert back.notes == graph.notes
    assert back.content_hash == graph.content_hash


@pytest.mark.parametrize(
    "change",
    [
        lambda graph: {
            "entities": Vocabulary(graph.entities.names, graph.entities.labels.reverse())
        },
        lambda graph: {"types": tuple(reversed(graph.types))},
        lambda graph: {"entity_type": graph.entity_type[1:]},
        lambda graph: {"entity_type": None},
    ],
)
def test_the_hash_covers_labels_and_types(graph, change):
    other = replace(graph, **change(graph))
    assert other.content_hash != graph.content_hash
    assert other.hash(1) == graph.hash(1)
    assert replace(graph).content_hash == graph.content_hash


def test_a_graph_without_types_or_labels_comes_back(graph, tmp_path):
    bare = replace(graph, entities=Vocabulary(NAMES), types=(), entity_type=None)
    store.save(bare, tmp_path)
    back = store.load(tmp_path)
    assert back.entity_type is None and back.types == ()
    assert back.entities.labels.equals(back.entities.names)


def test_an_empty_split_comes_back(graph, tmp_path):
    store.save(replace(graph, test=graph.test[:0]), tmp_path)
    assert store.load(tmp_path).test.shape == (0, 3)


def test_another_graph_takes_the_place_of_the_first(graph, tmp_path):
    store.save(graph, tmp_path)
    store.save(replace(graph, name="other", test=graph.test.flip(0)[:0]), tmp_path)
    assert store.load(tmp_path).name == "other"
    assert len(list(tmp_path.iterdir())) == 5


def test_a_crash_leaves_the_old_graph(graph, tmp_path, monkeypatch):
    store.save(graph, tmp_path)
    write = store.write_atomically

    def crash_at_the_index(path, content):
        if path.name == store.INDEX:
            raise KeyboardInterrupt
        write(path, content)

    monkeypatch.setattr(store, "write_atomically", crash_at_the_index)
    with pytest.raises(KeyboardInterrupt):
        store.save(replace(graph, name="other", test=graph.test[:0]), tmp_path)
    assert torch.equal(store.load(tmp_path).test, graph.test)


@pytest.mark.parametrize("stem", ["entities", "relations", "types", "triples"])
def test_a_changed_file_is_named(graph, tmp_path, stem):
    store.save(graph, tmp_path)
    (path,) = tmp_path.glob(f"{stem}.*")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(GraphError, match=f"{path.name} was altered or is damaged"):
        store.load(tmp_path)


def test_a_changed_label_is_noticed(graph, tmp_path):
    store.save(graph, tmp_path)
    (path,) = tmp_path.glob("entities.*")
    table = pl.read_parquet(path)
    table.with_columns(label=pl.col("label").str.to_uppercase()).write_parquet(path)
    with pytest.raises(GraphError, match=path.name):
        store.load(tmp_path)


def test_a_changed_index_is_noticed(graph, tmp_path):
    store.save(graph, tmp_path)
    path = tmp_path / store.INDEX
    path.write_text(path.read_text().replace('"hold_out": 0.25', '"hold_out": 0.5'))
    with pytest.raises(GraphError, match=r"index\.json was altered"):
        store.load(tmp_path)
    path.write_text("{")
    with pytest.raises(GraphError, match=r"index\.json is damaged"):
        store.load(tmp_path)


def test_a_missing_file_is_named(graph, tmp_path):
    store.save(graph, tmp_path)
    (path,) = tmp_path.glob("triples.*")
    path.unlink()
    with pytest.raises(GraphError, match=f"{path.name}, which is missing"):
        store.load(tmp_path)


def test_a_later_format_is_refused(graph, tmp_path):
    store.save(graph, tmp_path)
    path = tmp_path / store.INDEX
    body = json.loads(path.read_text())
    body.pop("digest")
    body["format"] = store.FORMAT + 1
    path.write_text(json.dumps({**body, "digest": store.json_digest(body)}))
    with pytest.raises(GraphError, match="reads formats up to"):
        store.load(tmp_path)


def test_a_folder_without_a_graph(tmp_path):
    assert not store.exists(tmp_path)
    with pytest.raises(GraphError, match="holds no stored graph"):
        store.load(tmp_path)
