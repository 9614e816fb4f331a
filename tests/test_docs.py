"""The documentation is in step with the code, and every block of code in it runs as printed."""

import os
import re
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest

import sparring.generators  # noqa: F401  (registers its parts)
from sparring.experiments.compare import check_comparison
from sparring.experiments.config import check_config
from sparring.losses import LOSSES
from sparring.samplers import ESTIMATORS, SAMPLERS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
BUILT = ("_build", "_generated", "gallery", "api")
PAGES = sorted(
    path for path in DOCS.rglob("*.md") if not set(path.relative_to(DOCS).parts) & set(BUILT)
)
BLOCK = re.compile(
    r"(<!-- not run: [^\n]+ -->\n)?^```(python|sh|toml)\n(?!# examples/)(.*?)^```", re.DOTALL | re.M
)
HOSTS = {"pykeen": "pykeen", "pyg": "torch_geometric", "torchkge": "torchkge", "libkge": "kge"}


def name_of(page: Path) -> str:
    return str(page.relative_to(DOCS).with_suffix(""))


@pytest.mark.parametrize(("registry", "folder"), [(SAMPLERS, "samplers"), (LOSSES, "losses")])
def test_every_written_page_is_of_a_part(registry, folder):
    pages = {path.stem: path.read_text() for path in (DOCS / "reference" / folder).glob("*.md")}
    assert sorted(set(pages) - set(registry)) == []
    assert [name for name, text in pages.items() if f"```{{part}} {name}\n" not in text] == []


def test_every_estimator_is_shown_in_a_configuration():
    text = (DOCS / "reference" / "samplers" / "false-negative-weighting.md").read_text()
    assert [name for name in ESTIMATORS if f'name = "{name}"' not in text] == []


@pytest.mark.slow
def test_tables_are_those_of_the_committed_results():
    command = [sys.executable, str(ROOT / "research" / "scripts" / "tables.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.py")), ids=lambda p: p.stem)
def test_an_example_is_shown_as_it_is(path):
    host = path.stem.partition("_")[0]
    assert path.read_text() in (DOCS / "howto" / f"{host}.md").read_text()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_to_pages(page):
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    links = re.findall(r"\]\(([^):#]+)(?:#[^)]*)?\)", text)
    built = [link for link in links if not set(Path(link).parts) & set(BUILT)]
    assert [link for link in built if not (page.parent / link).exists()] == []


def blocks(page: Path) -> list[tuple[str, str]]:
    """Language and text of each block that is to run."""
    return [(kind, code) for skip, kind, code in BLOCK.findall(page.read_text()) if not skip]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)], ids=name_of)
def test_code_runs_as_printed(page, tmp_path, monkeypatch):
    host = HOSTS.get(page.stem)
    if host and not find_spec(host):
        pytest.skip(f"needs {host}; see make test-hosts")
    monkeypatch.chdir(tmp_path)
    names: dict = {"__name__": "__main__"}
    for kind, code in blocks(page):
        {"python": run_python, "sh": run_shell, "toml": run_toml}[kind](code, names)


def run_python(code: str, names: dict) -> None:
    exec(compile(code, "block", "exec"), names)


def run_shell(code: str, names: dict) -> None:
    del names
    commands = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euc", code],
        env={**os.environ, "PATH": commands},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{code}\n{done.stdout}\n{done.stderr}"


def run_toml(code: str, names: dict) -> None:
    """An experiment, tables of one, or a comparison."""
    del names
    tables = {"graph": {"name": "atlas"}, "model": {"name": "complex"}}
    tables |= {"sampler": {"name": "uniform", "k": 8}, "loss": {"name": "sampled-softmax"}}
    tables |= tomllib.loads(code)
    if "compare" in tables:
        check_comparison("page", tables)
    else:
        check_config(tables)
