import pytest
import rings
from starlette.testclient import TestClient

import sparring
from sparring.serve.app import create_app
from sparring.serve.labels import LabelIndex
from sparring.serve.reviews import Reviews
from sparring.serve.safety import Access
from sparring.serve.served import ServedModel
from sparring.serve.workspace import Workspace, label_rows

SETTINGS = {
    "model": {"name": "complex", "dim": 32},
    "optimizer": {"name": "adam", "lr": 0.05},
    "sampler": {"name": "uniform", "k": 8},
    "batch_size": 32,
    "validate_every": 5,
    "progress": False,
}


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory):
    """A run on rings whose facts are missing here and there, with a calibration."""
    folder = tmp_path_factory.mktemp("serve") / "rings"
    graph = sparring.load_graph(rings.facts(), split=(0.1, 0.1), name="rings")
    sparring.fit(graph, epochs=20, folder=folder, **SETTINGS).calibrate()
    return folder


@pytest.fixture(scope="session")
def served(run_folder):
    predictor = sparring.load(run_folder)
    return ServedModel(
        name="rings",
        identity="of rings",
        graph=predictor.graph,
        model=predictor.model,
        sampler=predictor.sampler,
        calibration=predictor.run.calibration(),
        metrics=predictor.metrics,
        rows=predictor.run.breakdown().rows,
        about={"Model": {"name": "<b>complex</b>"}},
        run_audit=lambda: {"hardness": ("50.0%", "49.9%")},
    )


@pytest.fixture
def workspace(served, tmp_path):
    labels = LabelIndex(tmp_path / "labels.db")
    labels.build("rings", label_rows(served))
    workspace = Workspace(served, Reviews(tmp_path / "reviews.db"), labels)
    yield workspace
    workspace.close()


@pytest.fixture
def client(workspace):
    with TestClient(create_app(workspace, Access(rate=0.0)), base_url="http://127.0.0.1") as client:
        yield client


@pytest.fixture
def missing(served):
    """A triple that is no fact, by name."""
    return next(triple for triple in triples_of(served, "next") if not served.known([triple])[0])


def triples_of(served, relation):
    names = list(served.graph.entities)
    return [(head, relation, tail) for head in names for tail in names if head != tail]
