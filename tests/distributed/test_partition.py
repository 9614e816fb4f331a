"""Graphs in parts on disk hold the facts of the same graph in memory."""

import polars as pl
import pytest
import torch
from distributed.ranks import on_ranks, small_graph

from sparring.data.diagnostics import GraphError
from sparring.distributed.partition import Partition, partition
from sparring.evaluation.ranking import evaluate
from sparring.experiments.config import check_config
from sparring.experiments.run_folder import Run
from sparring.experiments.sharded import run_experiment
from sparring.registry import ConfigError

duckdb = pytest.importorskip("duckdb")
SPLITS = ("train", "valid", "test")


def named(graph, split):
    """Triples of a split by name."""
    names, kinds = list(graph.entities), list(graph.relations)
    return [(names[h], kinds[r], names[t]) for h, r, t in getattr(graph, split).tolist()]


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("source") / "small"
    folder.mkdir()
    graph = small_graph()
    for split in ("train", "valid"):
        lines = ["\t".join(row) for row in named(graph, split)]
        (folder / f"{split}.tsv").write_text("\n".join([*lines, lines[0]]) + "\n")
    pl.DataFrame(named(graph, "test"), ("head", "relation", "tail"), orient="row").write_parquet(
        folder / "test.parquet"
    )
    return folder


def own_facts(folder):
    facts = Partition.open(folder).facts()
    anchor, relation, _ = facts.queries.long().unbind(1)
    assert set(facts.layout.worker_of_query(anchor, relation).tolist()) <= set(facts.layout.own)
    assert facts.queries.dtype == torch.int32
    return facts.queries.long(), facts.sizes, facts.degree.clone()


def test_parts_hold_each_query_of_the_graph_once(tmp_path, source):
    made = partition(source, tmp_path / "parts", workers=4, memory="200MB")
    graph = small_graph()
    assert (made.num_entities, made.num_relations) == (len(graph.entities), len(graph.relations))
    names = pl.read_parquet(made.folder / "entities.parquet")["name"].to_list()
    kinds = pl.read_parquet(made.folder / "relations.parquet")["name"].to_list()
    parts = on_ranks(2, own_facts, made.folder)
    triple = lambda a, r, e: (a, r, e) if r < len(kinds) else (e, r - len(kinds), a)
    triples = [triple(*row) for queries, *_ in parts for row in queries.tolist()]
    found = [(names[h], kinds[r], names[t]) for h, r, t in triples]
    assert sorted(found) == sorted(2 * named(graph, "train"))
    for split in SPLITS[1:]:
        rows = [(names[h], kinds[r], names[t]) for h, r, t in made.triples(split).tolist()]
        assert sorted(rows) == sorted(named(graph, split))
    degree = dict(zip(names, parts[0][2].tolist()))
    assert degree == dict(zip(graph.entities, graph.training.degree.tolist()))
    assert sum(made.sizes) == len(found)
    assert not (made.folder / "work").exists()


def test_a_single_file_is_split_by_a_hash_of_its_triples(tmp_path):
    lines = [f"{i},likes,{(i * 7) % 501}" for i in range(2000)]
    (tmp_path / "facts.csv").write_text("\n".join(lines) + "\n")
    made = partition(tmp_path / "facts.csv", tmp_path / "parts", workers=3, valid=0.1, test=0.2)
    sizes = [len(made.triples(split)) for split in SPLITS[1:]]
    assert sum(made.sizes) / 2 + sum(sizes) == 2000
    assert 150 < sizes[0] < 250
    assert 320 < sizes[1] < 480


def test_what_cannot_be_partitioned_is_refused(tmp_path, source):
    with pytest.raises(GraphError, match="there is no file"):
        partition(tmp_path / "nothing.tsv", tmp_path / "parts")
    with pytest.raises(GraphError, match="no file of training triples"):
        partition(tmp_path, tmp_path / "parts")
    with pytest.raises(GraphError, match="exists already"):
        partition(source, tmp_path)
    (tmp_path / "two.tsv").write_text("a\tb\n")
    with pytest.raises(GraphError, match=r"two\.tsv"):
        partition(tmp_path / "two.tsv", tmp_path / "parts")
    with pytest.raises(GraphError, match="61 entities are too few for 64"):
        partition(source, tmp_path / "parts", workers=64)
    assert not (tmp_path / "parts").exists()
    with pytest.raises(GraphError, match="holds no partitioned graph"):
        Partition.open(tmp_path)


def test_an_experiment_trains_on_parts(tmp_path, source):
    made = partition(source, tmp_path / "parts", workers=4)
    tables = {
        "graph": {"path": str(made.folder)},
        "model": {"name": "distmult", "dim": 8},
        "sampler": {"name": "uniform-filtered", "k": 4},
        "loss": {"name": "nssa"},
        "train": {"epochs": 2, "batch_size": 32, "validate_every": 1},
    }
    with pytest.raises(ConfigError, match="has parts of 4 virtual workers, not of 2"):
        wrong = {**tables, "distributed": {"virtual_workers": 2}}
        run_experiment(check_config(wrong), tmp_path / "wrong")
    config = check_config({**tables, "distributed": {"virtual_workers": 4}})
    result = run_experiment(config, tmp_path / "run")
    assert result["model"] == "distmult"
    run = Run(tmp_path / "run")
    graph = run.graph()
    assert sorted(named(graph, "train")) == sorted(named(small_graph(), "train"))
    ranks = evaluate(run.load_step(config, graph).model, graph.test, graph.known)
    assert ranks.mrr() == pytest.approx(result["mrr"], abs=1e-9)
    finished = run_experiment(config, tmp_path / "run", resume=True)
    assert finished["mrr"] == result["mrr"]
