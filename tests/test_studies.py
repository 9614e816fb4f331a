"""Studies of one graph in one line."""

import re
from pathlib import Path

import pytest
import rings

import sparring

DOCS = Path(__file__).parents[1] / "docs"


def test_tune_gives_a_run_and_goes_on(tmp_path):
    given = {"folder": tmp_path / "study", "progress": False, "epochs": 1}
    model = {"name": "distmult", "dim": 8}
    first = sparring.tune(rings.facts(), ["uniform"], model=model, trials=1, **given)
    assert sparring.load(first.best).config.parts["sampler"]["name"] == "uniform"
    second = sparring.tune(rings.facts(), ["uniform"], model=model, trials=2, **given)
    assert len(second.trials) == 2
    assert second.trials["valid_mrr"][0] == first.trials["valid_mrr"][0]


@pytest.mark.slow
def test_the_page_on_tuning(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / "howto" / "tuning.md").read_text(), re.DOTALL)
    assert len(blocks) == 2
    names = {}
    for code in blocks:
        quick = re.sub(r"minutes=2|trials=3", "trials=1, epochs=1, progress=False", code)
        assert quick != code
        exec(compile(quick, "tuning.md", "exec"), names)
    assert (tmp_path / "atlas-tuned" / "report.html").exists()
