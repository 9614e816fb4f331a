"""What the README shows works as shown."""

import os
import re
import subprocess
import sys
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
    run(shown("python")[0])
    mrr, _, table = capsys.readouterr().out.partition("\n")
    assert 0 < float(mrr) < 1
    assert "rank" in table
    assert (tmp_path / "atlas-model" / "config.json").exists()


@pytest.mark.slow
def test_the_commands_give_answers(tmp_path):
    commands = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euc", shown("sh")[1]],
        cwd=tmp_path,
        env={**os.environ, "PATH": commands},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "best epoch" in done.stdout and "rank" in done.stdout


@pytest.mark.slow
def test_the_adapter_is_built():
    run(shown("python")[1])


def test_every_file_the_readme_links_to_exists():
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert links
    for link in links:
        assert (Path(__file__).parents[1] / link).exists(), link
