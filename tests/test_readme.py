"""What the README shows works as shown."""

import re
import tomllib
from pathlib import Path

README = (Path(__file__).parents[1] / "README.md").read_text()


def shown(language: str) -> str:
    """The first block in a language."""
    found = re.search(rf"```{language}\n(.*?)```", README, re.DOTALL)
    assert found, f"README shows no {language}"
    return found[1]


def test_the_python_example_trains_and_predicts(capsys):
    code = shown("python").replace("range(5)", "range(1)")
    exec(compile(code, "README.md", "exec"), {})
    mrr, _, table = capsys.readouterr().out.partition("\n")
    assert 0 < float(mrr) < 1
    assert table.startswith("shape: (5, 10)")


def test_the_configuration_can_be_run():
    from sparring.experiments.config import check_config

    assert check_config(tomllib.loads(shown("toml"))).parts["model"]["name"] == "complex"


def test_every_file_the_readme_links_to_exists():
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert links
    for link in links:
        assert (Path(__file__).parents[1] / link).exists(), link
