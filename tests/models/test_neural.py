"""ConvE and TuckER, which normalize over the batch, against the papers' formulas."""

import math

import pytest
import torch
from torch import nn

from sparring.corruption import CorruptBoth, tail_and_head_queries
from sparring.experiments.config import PARTS
from sparring.losses import BCELoss, SampledSoftmax
from sparring.models import ConvE, TuckER
from sparring.registry import build
from sparring.samplers import AllEntities, KvsAll, Uniform
from sparring.testing import check_model, tiny_graph, tiny_queries
from sparring.training import TrainingStep

GRAPH = tiny_graph()
QUERIES = tail_and_head_queries(GRAPH.triples[:7], GRAPH.num_relations)
ALL_ENTITIES = torch.arange(GRAPH.num_entities).unsqueeze(0)
MAKERS = {
    "conve": lambda **options: ConvE(GRAPH, dim=6, height=2, filters=4, kernel_size=2, **options),
    "tucker": lambda **options: TuckER(GRAPH, dim=4, relation_dim=3, **options),
}


def made(name, **options):
    """A model in general position: what batch normalization has seen is no standard normal."""
    torch.manual_seed(0)
    model = MAKERS[name](init=1.0, **options).double()
    for part in model.modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            for tensor in (part.running_mean, *part.parameters()):
                nn.init.normal_(tensor)
            nn.init.uniform_(part.running_var, 0.5, 2.0)
    if name == "conve":
        nn.init.normal_(model.bias.weight)
    return model.eval()


def normalize(norm, index, value):
    """What batch normalization makes of one number outside training."""
    spread = math.sqrt(norm.running_var[index].item() + norm.eps)
    centered = (value - norm.running_mean[index].item()) / spread
    scale, shift = (t[index].item() for t in norm.parameters()) if norm.affine else (1.0, 0.0)
    return scale * centered + shift


def tucker(model, anchor, relation, candidate):
    anchor = [normalize(model.input_norm, i, x) for i, x in enumerate(anchor)]
    core, width = model.core.tolist(), range(model.dim)
    query = [
        sum(r * anchor[i] * core[k][i][j] for k, r in enumerate(relation) for i in width)
        for j in width
    ]
    return sum(normalize(model.query_norm, j, x) * candidate[j] for j, x in enumerate(query))


def conve(model, anchor, relation, candidate):
    decoder = model.decoder
    down, across = 2 * decoder.height, model.dim // decoder.height
    flat = [normalize(decoder.input_layers[0], 0, x) for x in [*anchor, *relation]]
    image = [flat[i * across : (i + 1) * across] for i in range(down)]
    conv, norm = decoder.conv_layers[0].weight.tolist(), decoder.conv_layers[1]
    features = []
    for f, (kernel,) in enumerate(conv):
        for i in range(down - len(kernel) + 1):
            for j in range(across - len(kernel) + 1):
                seen = sum(
                    weight * image[i + a][j + b]
                    for a, row in enumerate(kernel)
                    for b, weight in enumerate(row)
                )
                features.append(max(0.0, normalize(norm, f, seen)))
    query = [sum(w * x for w, x in zip(row, features)) for row in decoder.linear.weight.tolist()]
    query = [max(0.0, normalize(decoder.output_layers[1], j, x)) for j, x in enumerate(query)]
    return sum(a * b for a, b in zip(query, candidate))


FORMULAS = {"conve": conve, "tucker": tucker}


@pytest.mark.parametrize("name", FORMULAS)
def test_scores_are_those_of_the_formula(name):
    model, formula = made(name), FORMULAS[name]
    entity, relation = model.entity.weight.tolist(), model.relation.weight.tolist()
    bias = model.bias.weight.squeeze(1).tolist() if name == "conve" else [0.0] * len(entity)
    want = [
        [formula(model, entity[a], relation[r], vector) + b for vector, b in zip(entity, bias)]
        for a, r in zip(QUERIES.anchor.tolist(), QUERIES.relation.tolist())
    ]
    torch.testing.assert_close(model(QUERIES)(ALL_ENTITIES), torch.tensor(want, dtype=torch.double))


@pytest.mark.parametrize("name", MAKERS)
def test_an_inverse_relation_has_its_own_vector(name):
    model = made(name)
    before = model(QUERIES)(ALL_ENTITIES)
    changed = int(QUERIES.relation[-1])
    with torch.no_grad():
        model.relation.weight[changed] += 0.5
    moved = (model(QUERIES)(ALL_ENTITIES) - before).abs().amax(1) > 1e-9
    assert changed >= GRAPH.num_relations
    assert torch.equal(moved, QUERIES.relation == changed)


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize(
    "options", [{"l2": 0.1, "n3": 0.1}, {"sparse": True}], ids=["l2", "sparse"]
)
def test_every_option_keeps_the_contract(name, options):
    torch.manual_seed(0)
    check_model(lambda graph: MAKERS[name](**options))


DROPOUTS = {
    "conve": ("input_dropout", "feature_dropout", "dropout"),
    "tucker": ("input_dropout", "matrix_dropout", "dropout"),
}


@pytest.mark.parametrize(
    "name, where", [(name, where) for name, names in DROPOUTS.items() for where in names]
)
def test_each_dropout_is_for_training(name, where):
    rates = dict.fromkeys(DROPOUTS[name], 0.0)
    scores = lambda model: model(QUERIES)(ALL_ENTITIES)
    still, shaken = made(name, **rates), made(name, **{**rates, where: 0.5})
    assert torch.equal(scores(still), scores(shaken))
    still.train(), shaken.train()
    assert torch.equal(scores(still), scores(still))
    assert not torch.equal(scores(shaken), scores(shaken))


@pytest.mark.parametrize("name", MAKERS)
def test_a_single_query_cannot_be_normalized(name):
    model = made(name)
    assert model(QUERIES[:1])(ALL_ENTITIES).shape == (1, GRAPH.num_entities)
    with pytest.raises(ValueError, match=r"at least 2 queries; got 1; raise train\.batch_size"):
        model.train()(QUERIES[:1])


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize(
    "sampler, loss",
    [(AllEntities, SampledSoftmax()), (KvsAll, BCELoss())],
    ids=["1vsAll", "KvsAll"],
)
def test_it_learns_a_small_graph_from_all_entities(name, sampler, loss):
    torch.manual_seed(0)
    model = MAKERS[name](**dict.fromkeys(DROPOUTS[name], 0.0))
    step = TrainingStep(model, sampler(GRAPH), loss, CorruptBoth(GRAPH))
    optimizer = torch.optim.Adam(step.trainable_parameters(), 0.03)
    rng = torch.Generator().manual_seed(0)
    losses = [step(GRAPH.triples, optimizer, rng)["loss"].item() for _ in range(60)]
    assert losses[-1] < 0.6 * losses[0]


@pytest.mark.parametrize("name", MAKERS)
def test_a_step_encodes_a_batch_once(name):
    """Scoring again, for samplers or by the answer, must not move what normalization has seen."""
    model = MAKERS[name]()
    step = TrainingStep(model, Uniform(GRAPH, k=3), SampledSoftmax(), CorruptBoth(GRAPH))
    step(GRAPH.triples, torch.optim.SGD(step.trainable_parameters(), 0.1), torch.Generator())
    counts = {int(value) for key, value in model.state_dict().items() if key.endswith("tracked")}
    assert counts == {1}


def test_relation_vectors_are_as_wide_as_asked_for():
    assert TuckER(GRAPH, dim=4).core.shape == (4, 4, 4)
    assert TuckER(GRAPH, dim=4, relation_dim=3).core.shape == (3, 4, 4)
    with pytest.raises(ValueError, match="relation_dim must not be negative; got -1"):
        TuckER(GRAPH, dim=4, relation_dim=-1)


@pytest.mark.parametrize("name", MAKERS)
def test_it_is_built_from_a_config(name):
    model = build({"name": name, "dim": 40}, PARTS["model"][0], "model", graph=GRAPH)
    queries = tiny_queries(GRAPH)
    assert model(queries)(ALL_ENTITIES).shape == (len(queries), GRAPH.num_entities)
