"""Studies with equal budgets: variants keep the contract, settings are fair, rows are kept."""

import json
import sys
from pathlib import Path

import polars as pl
import pytest
import torch

from sparring.data.graph import KnowledgeGraph
from sparring.testing import check_density, check_sampler

SCRIPTS = Path(__file__).parents[2] / "research" / "scripts"


@pytest.fixture(scope="module")
def budgets():
    """The script, as a module."""
    sys.path.insert(0, str(SCRIPTS))
    try:
        import equal_budgets
    finally:
        sys.path.remove(str(SCRIPTS))
    return equal_budgets


VARIANTS = ("AveragedGenerator", "PairwiseGenerator", "SquaredGenerator")


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_is_a_sampler_whose_draws_follow_its_density(budgets, name):
    kind = getattr(budgets.generator_variants, name)
    make = lambda graph: kind(graph, k=4, dim=8)
    torch.manual_seed(0)  # of the first weights
    check_sampler(make)
    check_density(make)


@pytest.mark.slow
def test_all_methods_of_a_model_meet_the_same_rates_and_penalties(budgets, tmp_path, monkeypatch):
    monkeypatch.setitem(budgets.GRAPHS, "atlas", (0.6, 50))
    graph = budgets.sparring.load_graph("atlas")
    met = []
    for method in ("uniform", "generator, grouped"):
        cell = {"graph": "atlas", "model": "complex", "method": method}
        rows = budgets.tuned(graph, cell, 3, tmp_path / method)
        settings = [json.loads(row["settings"]) for row in rows]
        met.append([[one[path] for path in ("optimizer.lr", "model.n3")] for one in settings])
        best = [row for row in rows if row["best"]]
        assert len(best) == 1
        assert best[0]["valid_mrr"] == max(row["valid_mrr"] for row in rows)
        assert 0 < best[0]["mrr_without_reverse"] <= 1
    assert met[0] == met[1]
    assert len({rate for rate, _ in met[0]}) == 3


def ring(size: int) -> KnowledgeGraph:
    from sparring import load_graph

    names = [f"e{number}" for number in range(size)]
    return load_graph([(a, "next", b) for a, b in zip(names, names[1:] + names[:1])], name="ring")


def test_a_piece_has_the_wanted_size_and_hangs_together(budgets):
    piece = budgets.piece(ring(300), 100, "ring/100")
    assert len(piece.entities) == 100
    triples = torch.cat([piece.train, piece.valid, piece.test])
    assert len(triples) == 99  # an arc of the ring
    whole = budgets.piece(ring(300), 300, "ring/300")
    assert len(whole.train) + len(whole.valid) + len(whole.test) == 300


def test_rows_of_a_cell_take_the_place_of_its_earlier_ones(budgets, tmp_path, monkeypatch):
    monkeypatch.setattr(budgets, "RESULT", tmp_path / "trials.parquet")
    monkeypatch.setattr(budgets, "STUDIES", tmp_path)
    one = {"graph": "g", "model": "m", "method": "a"}
    budgets.keep([{**one, "mrr": 0.1}, {**one, "mrr": 0.2}])
    budgets.keep([{**one, "method": "b", "mrr": 0.3, "more": 1}])
    budgets.keep([{**one, "mrr": 0.4}])
    rows = pl.read_parquet(tmp_path / "trials.parquet")
    assert sorted(rows.select("method", "mrr").rows()) == [("a", 0.4), ("b", 0.3)]
    assert len(budgets.kept_rows(one)) == 1


@pytest.mark.parametrize(
    ("only", "count"),
    [(["fb15k-237:complex:uniform"], 1), (["fb15k-237::uniform"], 5), ([":transe:blocks"], 13)],
)
def test_only_names_cells(budgets, only, count):
    assert len(list(budgets.cells(only))) == count
