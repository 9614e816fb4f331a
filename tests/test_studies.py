"""Studies of one graph in one line."""

import pytest
import rings

import sparring


def test_tune_gives_a_run_and_goes_on(tmp_path):
    given = {"folder": tmp_path / "study", "progress": False, "epochs": 1}
    model = {"name": "distmult", "dim": 8}
    first = sparring.tune(rings.facts(), ["uniform"], model=model, trials=1, **given)
    assert sparring.load(first.best).config.parts["sampler"]["name"] == "uniform"
    second = sparring.tune(rings.facts(), ["uniform"], model=model, trials=2, **given)
    assert len(second.trials) == 2
    assert second.trials["valid_mrr"][0] == first.trials["valid_mrr"][0]


@pytest.mark.slow
def test_compare_trains_every_method_under_every_seed(tmp_path):
    given = {"folder": tmp_path / "compared", "progress": False, "epochs": 1, "seeds": (0, 1)}
    model = {"name": "distmult", "dim": 8}
    found = sparring.compare(rings.facts(), ["uniform", "generator"], model=model, **given)
    numbers = found.numbers()
    assert numbers["baseline"] == "uniform" and numbers["seeds"] == [0, 1]
    run = sparring.load(tmp_path / "compared" / "generator" / "seed-1")
    assert run.metrics["test"]["mrr"] == numbers["variants"]["generator"]["mrr"]["each"][1]
    again = sparring.compare(rings.facts(), ["uniform", "generator"], model=model, **given)
    assert again.numbers() == numbers
