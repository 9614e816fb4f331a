import pytest

from sparring.data.diagnostics import GraphError
from sparring.experiments.graphs import GraphSource, load_graph


def test_a_folder_is_read_with_its_own_splits(circle):
    graph = load_graph(GraphSource(path=str(circle)))
    assert [len(graph.train), len(graph.valid), len(graph.test)] == [52, 10, 10]


def test_a_single_file_is_split_as_asked(circle):
    graph = load_graph(GraphSource(path=str(circle / "train.tsv"), valid=0.1, test=0.2))
    assert [len(graph.train), len(graph.valid), len(graph.test)] == [37, 5, 10]


def test_the_split_of_a_file_depends_on_its_seed(circle):
    path = str(circle / "train.tsv")
    one, other = (load_graph(GraphSource(path=path, split_seed=seed)) for seed in (0, 1))
    assert one.content_hash != other.content_hash


def test_atlas_comes_with_the_package():
    assert len(load_graph(GraphSource(name="atlas")).train) > 0


def test_a_graph_must_be_named():
    with pytest.raises(ValueError, match="no graph is given"):
        GraphSource()


def test_what_is_odd_about_files_is_one_line(tmp_path, caplog):
    rows = ["a\tr\tb", "b\tr\tc", "c\tr\ta", "a\tr\tb"]
    (tmp_path / "train.tsv").write_text("\n".join(rows) + "\n")
    for split in ("valid", "test"):
        (tmp_path / f"{split}.tsv").write_text("b\tr\tc\n")
    graph = load_graph(GraphSource(path=str(tmp_path)))
    assert graph.notes["duplicate triples in train"] == 1
    assert caplog.messages == [
        f"{tmp_path}: duplicate triples in train (1), triples of valid also in train (1), triples "
        "of test also in train (1), triples of test also in valid (1); "
        f"see `sparring data check {tmp_path}`"
    ]


def test_a_known_graph_that_cannot_be_used_is_not_said_to_be_missing(monkeypatch):
    def changed(name):
        raise GraphError("train.txt: this is not the file of wn18rr")

    monkeypatch.setattr("sparring.experiments.graphs.load_benchmark", changed)
    with pytest.raises(GraphError, match="this is not the file of wn18rr"):
        load_graph(GraphSource(name="wn18rr"))
