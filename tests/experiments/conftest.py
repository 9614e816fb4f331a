import copy
import json
import shutil
import warnings

import pytest
import torch
from typer.testing import CliRunner

from sparring.experiments.cli import app
from sparring.experiments.config import check_config
from sparring.experiments.graphs import GraphSource, load_graph
from sparring.experiments.run import run
from sparring.experiments.run_folder import Run
from sparring.registry import warn_renamed

ENTITIES = 24


def facts(step: int, relation: str) -> list[str]:
    """From each entity to the one that is so many steps further on a circle."""
    return [f"e{i}\t{relation}\te{(i + step) % ENTITIES}" for i in range(ENTITIES)]


@pytest.fixture(scope="session")
def circle(tmp_path_factory):
    """A folder with the splits of 72 facts about 24 entities on a circle."""
    folder = tmp_path_factory.mktemp("graph") / "circle"
    folder.mkdir()
    rows = facts(1, "next") + facts(5, "fifth") + facts(7, "seventh")
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(1)).tolist()
    rows = [rows[i] for i in order]
    for split, part in (("train", rows[:52]), ("valid", rows[52:62]), ("test", rows[62:])):
        (folder / f"{split}.tsv").write_text("\n".join(part) + "\n")
    labels = [f"e{i}\tEntity number {i}" for i in range(ENTITIES)]
    (folder / "labels.tsv").write_text("\n".join(labels) + "\n")
    return folder


@pytest.fixture(scope="session")
def small(circle):
    """The small experiment as nested tables; not to be changed."""
    return {
        "seed": 3,
        "graph": {"path": str(circle)},
        "model": {"name": "distmult", "dim": 8},
        "sampler": {"name": "uniform", "k": 4},
        "loss": {"name": "nssa", "margin": 0.0, "adversarial_temperature": 0.0},
        "optimizer": {"name": "adam", "lr": 0.01},
        "train": {"epochs": 6, "batch_size": 16, "validate_every": 2, "log_every": 1},
        "evaluate": {"bootstrap": 20},
    }


@pytest.fixture
def former_names_are_errors():
    """Former names of parts and options are errors, however often they were warned of before."""
    warn_renamed.cache_clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)
        yield


@pytest.fixture
def tables(small):
    """The small experiment as nested tables."""
    return copy.deepcopy(small)


@pytest.fixture
def write(tmp_path):
    """Write nested tables as a TOML file."""

    def write(tables, name="small.toml"):
        path = tmp_path / name
        path.write_text("\n".join(toml(tables)) + "\n")
        return path

    return write


@pytest.fixture
def config(tables):
    """The small experiment, checked."""
    return check_config(tables)


@pytest.fixture(scope="session")
def graph(circle):
    """The graph of the small experiment."""
    return load_graph(GraphSource(path=str(circle)))


@pytest.fixture
def other_graph(circle, tmp_path):
    """The same graph with one more fact to train on."""
    folder = shutil.copytree(circle, tmp_path / "circle")
    train = folder / "train.tsv"
    train.write_text(train.read_text() + "e0\tnext\te9\n")
    return load_graph(GraphSource(path=str(folder)))


@pytest.fixture(scope="session")
def trained_once(small, tmp_path_factory):
    """The folder of the small experiment, run; not to be changed."""
    folder = tmp_path_factory.mktemp("runs") / "small"
    run(check_config(small), folder)
    return folder


@pytest.fixture
def finished(trained_once, tmp_path):
    """The small experiment, run, in a folder of the test's own."""
    return Run(shutil.copytree(trained_once, tmp_path / "finished"))


def toml(tables: dict) -> list[str]:
    """Inline tables throughout: JSON with another sign between key and value."""
    return [f"{json.dumps(key)} = {inline(value)}" for key, value in tables.items()]


def inline(value) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {inline(v)}" for key, v in value.items()) + "}"
    return json.dumps(value)


@pytest.fixture
def command(tmp_path, monkeypatch):
    """Call `sparring` with these words in a folder of the test's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")

    def call(*words):
        return CliRunner().invoke(app, [str(word) for word in words])

    return call
