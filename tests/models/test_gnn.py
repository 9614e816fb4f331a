"""R-GCN and CompGCN: which facts they may see, and how often they encode."""

import sys

import pytest
import torch
from evaluation.fixtures import random_graph
from training.runs import assert_resumes, trainer_of

from sparring.corruption import CorruptBoth, tail_and_head_queries
from sparring.data.graph import TrainGraph
from sparring.evaluation.predict import PredictionQuery, predict
from sparring.evaluation.ranking import evaluate
from sparring.experiments.config import PARTS
from sparring.extras import MissingExtraError
from sparring.generators import NSGenerator
from sparring.losses import SampledSoftmax
from sparring.models import (
    RGCN,
    CompGCN,
    ComplExDecoder,
    ConvEDecoder,
    DistMultDecoder,
    GNNModel,
    TransEDecoder,
)
from sparring.registry import ConfigError, build
from sparring.samplers import AllEntities, Uniform
from sparring.testing import check_model, tiny_graph
from sparring.training import TrainingStep

WHY = "the extra graph is not installed"
geometric = pytest.importorskip("torch_geometric", reason=WHY)

GRAPH = tiny_graph()
RELATIONS = GRAPH.num_relations
QUERIES = tail_and_head_queries(GRAPH.triples[:6], RELATIONS)
ALL_ENTITIES = torch.arange(GRAPH.num_entities).unsqueeze(0)
STILL = {"dropout": 0.0}
MAKERS = {
    "compgcn": lambda graph=GRAPH, **options: CompGCN(
        graph, **{"dim": 6, "output_dropout": 0.0, **options}
    ),
    "rgcn": lambda graph=GRAPH, **options: RGCN(graph, **{"dim": 6, **options}),
}


def made(name, graph=GRAPH, **options):
    torch.manual_seed(0)
    return MAKERS[name](graph, **options)


def scores(model, queries=QUERIES):
    return model(queries)(ALL_ENTITIES)


def count_encodings(model):
    """Counts how often the graph is encoded."""
    plain, times = model.encode, []
    model.encode = lambda weight: (times.append(1), plain(weight))[1]
    return times


@pytest.mark.parametrize("composition", ["corr", "mult", "sub"])
def test_every_composition_keeps_the_contract(composition):
    torch.manual_seed(0)
    check_model(lambda graph: made("compgcn", graph, composition=composition, layers=2))


DECODERS = {
    "complex": ComplExDecoder,
    "conve": lambda: ConvEDecoder(dim=6, height=2, filters=4, kernel_size=2),
    "distmult": DistMultDecoder,
    "transe-1": lambda: TransEDecoder(norm=1),
    "transe-2": TransEDecoder,
}


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("name", MAKERS)
def test_every_decoder_keeps_the_contract(name, decoder):
    check_model(lambda graph: made(name, graph, decoder=DECODERS[decoder]()))


@pytest.mark.parametrize("name", MAKERS)
def test_a_step_does_not_use_the_facts_of_its_queries(name):
    """Training scores are those on a graph that has never had the facts of the batch."""
    model = made(name, **STILL).train()
    rest = TrainGraph(GRAPH.triples[6:], GRAPH.num_entities, RELATIONS)
    other = made(name, rest, **STILL).train()
    torch.testing.assert_close(scores(model), scores(other))
    assert not torch.allclose(
        scores(model), scores(model, tail_and_head_queries(GRAPH.triples[9:15], 3))
    )


@pytest.mark.parametrize("name", MAKERS)
def test_an_evaluation_uses_the_whole_training_graph(name):
    model = made(name)
    model.train()(QUERIES)
    model.eval()
    rest = TrainGraph(GRAPH.triples[6:], GRAPH.num_entities, RELATIONS)
    other = made(name, rest).eval()
    other.load_state_dict(model.state_dict())
    assert not torch.allclose(scores(model), scores(other))


@pytest.mark.parametrize("name", MAKERS)
def test_it_encodes_once_a_step(name):
    model = made(name)
    times = count_encodings(model)
    step = TrainingStep(model, NSGenerator(GRAPH, k=4, dim=8), SampledSoftmax(), CorruptBoth(GRAPH))
    step(GRAPH.triples[:6], torch.optim.SGD(step.trainable_parameters(), 0.1), torch.Generator())
    assert len(times) == 1


@pytest.mark.parametrize("name", MAKERS)
def test_it_encodes_once_an_evaluation(name):
    model = made(name).train()
    times = count_encodings(model)
    first = evaluate(model, GRAPH.triples, GRAPH.known, batch_size=16)
    assert len(times) == 1
    assert model.training
    again = evaluate(model, GRAPH.triples, GRAPH.known, batch_size=1000)
    assert len(times) == 2
    assert torch.equal(first.rank, again.rank)


@pytest.mark.parametrize("name", MAKERS)
def test_the_cached_encoding_is_dropped_when_parameters_change(name):
    model = made(name).eval()
    with torch.no_grad():
        before = scores(model)
        model.entity.weight[3] += 1.0
        moved = scores(model)
        assert not torch.allclose(before, moved)
        other = made(name, init=0.7)
        model.load_state_dict(other.state_dict())
        torch.testing.assert_close(scores(model), scores(other.eval()))


@pytest.mark.parametrize("name", MAKERS)
def test_gradients_reach_the_encoder_outside_training_too(name):
    model = made(name).eval()
    for _ in range(2):  # nothing is kept that a first pass has used up
        scores(model).sum().backward()
    assert model.entity.weight.grad.any()


@pytest.mark.parametrize("name", MAKERS)
def test_edge_dropout_removes_facts_while_training(name):
    model = made(name, edge_dropout=0.5, **STILL)
    assert not torch.equal(scores(model.train()), scores(model))
    assert torch.equal(scores(model.eval()), scores(model))
    with pytest.raises(ValueError, match=r"edge_dropout must be in \[0, 1\); got 1\.0"):
        made(name, edge_dropout=1.0)


@pytest.mark.parametrize("name", MAKERS)
def test_it_learns_a_small_graph(name):
    step = TrainingStep(made(name), AllEntities(GRAPH), SampledSoftmax(), CorruptBoth(GRAPH))
    optimizer = torch.optim.Adam(step.trainable_parameters(), 0.03)
    batches = GRAPH.triples.split(10)
    rng = torch.Generator()
    losses = [step(some, optimizer, rng)["loss"].item() for _ in range(40) for some in batches]
    assert sum(losses[-4:]) < 0.9 * sum(losses[:4])


@pytest.mark.parametrize("name", MAKERS)
def test_a_stopped_run_goes_on_bit_for_bit(tmp_path, name):
    def fit(folder, init=0):
        torch.manual_seed(init)
        model = MAKERS[name](edge_dropout=0.2)
        step = TrainingStep(model, Uniform(GRAPH, k=4), SampledSoftmax(), CorruptBoth(GRAPH))
        return trainer_of(folder, init=init, step=step)

    assert_resumes(fit, tmp_path)


@pytest.mark.parametrize("name", MAKERS)
def test_it_predicts_answers(name):
    graph = random_graph()
    model = made(name, graph.training)
    answers = predict(
        model, graph, [PredictionQuery("e1", "r0", None), PredictionQuery(None, "r1", "e2")], k=3
    )
    assert len(answers.answers) == 6


def test_an_experiment_names_its_decoder():
    spec = {"name": "rgcn", "dim": 6, "decoder": {"name": "transe", "norm": 1}}
    model = build(spec, PARTS["model"][0], "model", graph=GRAPH)
    assert isinstance(model.decoder, TransEDecoder)
    with pytest.raises(ConfigError, match="ComplExDecoder cannot score vectors of 5 numbers"):
        build(
            {"name": "rgcn", "dim": 5, "decoder": {"name": "complex"}},
            PARTS["model"][0],
            "model",
            graph=GRAPH,
        )


def test_a_network_needs_layers():
    with pytest.raises(ValueError, match=r"R-GCN needs .* 1 to 100 layers; got bases=2, layers=0"):
        RGCN(GRAPH, dim=4, layers=0)
    with pytest.raises(ValueError, match="CompGCN needs 1 to 100 layers; got layers=0"):
        CompGCN(GRAPH, dim=4, layers=0)


@pytest.mark.parametrize("name", MAKERS)
def test_without_pytorch_geometric_the_error_says_what_to_install(monkeypatch, name):
    monkeypatch.delitem(sys.modules, "sparring.models.convolutions", raising=False)
    for module in ("torch_geometric", "torch_geometric.nn"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=r"needs the package torch_geometric.*\[graph\]"):
        made(name)


def test_a_custom_encoder_needs_only_encode():
    class SumEncoder(GNNModel):
        """Entities are sums over their neighbors."""

        def __init__(self, graph):
            super().__init__(graph, dim=4, decoder=None, init=None, edge_dropout=0.0)

        def encode(self, weight):
            neighbors = self.adjacency.sum_neighbors(self.entity.weight, weight)
            summed = torch.zeros_like(self.entity.weight).index_add(
                0, self.adjacency.target, neighbors
            )
            return self.entity.weight + summed, self.relation.weight

    torch.manual_seed(0)
    check_model(SumEncoder)
