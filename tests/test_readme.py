"""What the README shows works as shown."""

import re
import tomllib
from pathlib import Path

import pytest

README = (Path(__file__).parents[1] / "README.md").read_text()


def shown(language: str) -> list[str]:
    """All blocks in a language."""
    found = re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)
    assert found, f"README shows no {language}"
    return found


def run(code: str) -> None:
    exec(compile(code, "README.md", "exec"), {})


@pytest.mark.slow
def test_a_fit_predicts_and_is_saved(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    run(shown("python")[0].replace("epochs=5", "epochs=1, progress=False"))
    mrr, _, table = capsys.readouterr().out.partition("\n")
    assert 0 < float(mrr) < 1
    assert "rank" in table
    assert (tmp_path / "atlas-model" / "config.json").exists()


@pytest.mark.slow
def test_the_training_loop_trains(capsys):
    run(shown("python")[1].replace("range(5)", "range(1)"))
    assert 0 < float(capsys.readouterr().out) < 1


def test_the_configuration_can_be_run():
    from sparring.experiments.config import check_config

    assert check_config(tomllib.loads(shown("toml")[0])).parts["model"]["name"] == "complex"


def test_every_file_the_readme_links_to_exists():
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert links
    for link in links:
        assert (Path(__file__).parents[1] / link).exists(), link
