"""A package of somebody else adds parts: installed for real, found through its entry point."""

import json
import os
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

pytestmark = pytest.mark.slow
CODE = '''
import torch
from sparring.batch import Negatives
from sparring.integrations import register_host
from sparring.losses.base import Loss, adversarial_weights, to_float32, weighted_mean
from sparring.models.base import KGEModel
from sparring.models.scorers import DotScorer
from sparring.embedding import EmbeddingTable
from sparring.registry import register
from sparring.samplers.base import NO_DENSITY, NegativeSampler


@register("cyclic", example={"k": 5})
class Cyclic(NegativeSampler):
    """The k entities after the answer, in order of their ids."""

    capabilities = NO_DENSITY

    def __init__(self, graph, *, k: int):
        super().__init__(k)
        self.num_entities = graph.num_entities

    def sample(self, queries, score, rng):
        step = torch.arange(1, self.k + 1, device=queries.answer.device)
        return Negatives.from_ids(queries, (queries.answer.unsqueeze(1) + step) % self.num_entities)


@register("squared")
class Squared(Loss):
    """Squares of how far answers are below 1 and negatives above 0."""

    def forward(self, positive, negative, negatives, weight):
        positive, negative = to_float32(positive), to_float32(negative)
        share = adversarial_weights(negative, negatives, 0.0)
        rows = (1 - positive).relu() ** 2 + (share * negative.relu() ** 2).sum(1)
        return weighted_mean(rows, weight)


@register("bag", example={"dim": 8})
class Bag(KGEModel):
    """Inner product of anchor plus relation with the candidate."""

    def __init__(self, graph, *, dim: int = 100):
        super().__init__()
        self.entity = EmbeddingTable(graph.num_entities, dim)
        self.relation = EmbeddingTable(2 * graph.num_relations, dim)

    def forward(self, queries):
        return DotScorer(self.entity(queries.anchor) + self.relation(queries.relation), self.entity)


register_host("cyclic_library", "cyclic_plugin.host")
'''
CONFIG = """
[graph]
name = "atlas"
[model]
name = "bag"
dim = 8
[sampler]
name = "cyclic"
k = 4
[loss]
name = "squared"
[train]
epochs = 1
"""


def wheel(folder: Path, code: str) -> Path:
    """A wheel of the plugin: one module, and an entry point that names it."""
    path = folder / "cyclic_plugin-1.0-py3-none-any.whl"
    metadata = "cyclic_plugin-1.0.dist-info"
    files = {
        "cyclic_plugin/__init__.py": code,
        f"{metadata}/METADATA": "Metadata-Version: 2.1\nName: cyclic-plugin\nVersion: 1.0\n",
        f"{metadata}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{metadata}/entry_points.txt": "[sparring]\ncyclic = cyclic_plugin\n",
    }
    files[f"{metadata}/RECORD"] = "".join(f"{name},,\n" for name in files)
    with ZipFile(path, "w") as packed:
        for name, text in files.items():
            packed.writestr(name, text)
    return path


def installed(folder: Path, code: str) -> Path:
    """A folder of packages in which pip has installed the plugin."""
    site = folder / "site"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"]
    subprocess.run([*pip, "--target", str(site), str(wheel(folder, code))], check=True)
    return site


@pytest.fixture
def run(tmp_path):
    """Run Python with the plugin installed; returns what it prints on both streams."""

    def call(*words, code=CODE):
        site = installed(tmp_path, code)
        paths = [str(site), os.environ.get("PYTHONPATH", "")]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
        done = subprocess.run(
            [sys.executable, *words], env=environment, cwd=tmp_path, capture_output=True, text=True
        )
        return done.returncode, done.stdout, done.stderr

    return call


def test_parts_of_a_plugin_are_listed_under_its_name(run):
    code, out, err = run("-m", "sparring", "list", "--json")
    assert code == 0, err
    found = json.loads(out)
    named = {(kind, part["name"]) for kind in found for part in found[kind]}
    assert {("samplers", "cyclic"), ("losses", "squared"), ("models", "bag")} <= named
    assert {p["group"] for p in found["samplers"] if p["name"] == "cyclic"} == {"cyclic_plugin"}


def test_an_experiment_may_name_parts_of_a_plugin(run, tmp_path):
    (tmp_path / "plugged.toml").write_text(CONFIG)
    code, _, err = run("-m", "sparring", "run", "plugged.toml", "--quiet")
    assert code == 0, err
    result = json.loads((tmp_path / "runs" / "plugged" / "result.json").read_text())
    assert (result["sampler"], result["loss"], result["model"]) == ("cyclic", "squared", "bag")


def test_parts_of_a_plugin_go_through_the_contracts(run):
    code = """
from sparring.integrations import HOSTS
from sparring.losses import LOSSES
from sparring.models import MODELS
from sparring.registry import load_plugins
from sparring.samplers import SAMPLERS
from sparring.testing import check_loss, check_model, check_sampler

load_plugins()
check_sampler(lambda graph: SAMPLERS.example("cyclic", graph=graph))
check_loss(LOSSES.example("squared"))
check_model(lambda graph: MODELS.example("bag", graph=graph))
print(HOSTS["cyclic_library"])
"""
    status, out, err = run("-c", code)
    assert status == 0, err
    assert out.strip() == "cyclic_plugin.host"


def test_a_plugin_that_cannot_be_imported_is_named_and_left_out(run):
    status, out, err = run("-m", "sparring", "list", "samplers", code="import no_such_module")
    assert status == 0
    assert "uniform" in out
    assert "the plugin 'cyclic' of cyclic-plugin is left out: No module named" in err
