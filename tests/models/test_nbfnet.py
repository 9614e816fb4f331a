"""NBFNet against Bellman-Ford as loops over facts."""

import pytest
import torch
from training.runs import assert_resumes, trainer_of

from sparring.corruption import CorruptBoth, tail_and_head_queries
from sparring.data.graph import TrainGraph
from sparring.experiments.config import PARTS
from sparring.generators import NSGenerator
from sparring.losses import SampledSoftmax
from sparring.models import NBFNet, nbfnet
from sparring.registry import build
from sparring.samplers import AllEntities
from sparring.testing import tiny_graph
from sparring.training import TrainingStep

GRAPH = tiny_graph()
RELATIONS = GRAPH.num_relations
QUERIES = tail_and_head_queries(GRAPH.triples[:4], RELATIONS)
ALL_ENTITIES = torch.arange(GRAPH.num_entities).unsqueeze(0)


def made(graph=GRAPH, **options):
    torch.manual_seed(0)
    return NBFNet(graph, **{"dim": 5, "layers": 3, **options})


def scores(model, queries=QUERIES):
    return model(queries)(ALL_ENTITIES)


def by_hand(model, anchor, relation, triples):
    """Every entity's score for one query."""
    facts = [(h, r, t) for h, r, t in triples] + [(t, r + RELATIONS, h) for h, r, t in triples]
    query = model.query.weight[relation]
    start = [query if e == anchor else torch.zeros(model.dim) for e in range(GRAPH.num_entities)]
    state = start
    for layer in model.layers:
        relations = layer.relation(query).view(-1, model.dim)
        aggregated = list(start)
        for neighbor, r, target in facts:
            aggregated[target] = aggregated[target] + state[neighbor] * relations[r]
        state = [
            old + layer.norm(layer.update(torch.cat([old, new]))).relu()
            for old, new in zip(state, aggregated)
        ]
    return torch.cat([model.readout(torch.cat([end, query])) for end in state])


def rows_by_hand(model, triples):
    queries = zip(QUERIES.anchor.tolist(), QUERIES.relation.tolist())
    return torch.stack([by_hand(model, a, r, triples) for a, r in queries])


def test_scores_are_those_of_paths_through_the_whole_graph():
    model = made().eval()
    want = rows_by_hand(model, GRAPH.triples.tolist())
    torch.testing.assert_close(scores(model), want, rtol=1e-4, atol=1e-5)


def test_while_training_no_path_uses_the_facts_of_the_batch():
    model = made().train()
    want = rows_by_hand(model, GRAPH.triples[4:].tolist())
    torch.testing.assert_close(scores(model), want, rtol=1e-4, atol=1e-5)


def test_scoring_in_chunks_gives_the_same_scores(monkeypatch):
    model = made().eval()
    whole = scores(model)
    monkeypatch.setattr(nbfnet, "MAX_MESSAGE_ELEMENTS", 1)
    torch.testing.assert_close(scores(model), whole)


def test_scores_depend_on_positions_in_the_graph_only():
    """Other names for the same graph give the same scores, by the new names."""
    model = made().eval()
    new = torch.randperm(GRAPH.num_entities, generator=torch.Generator().manual_seed(0))
    triples = GRAPH.triples.clone()
    triples[:, [0, 2]] = new[triples[:, [0, 2]]]
    other = made(TrainGraph(triples, GRAPH.num_entities, RELATIONS)).eval()
    renamed = tail_and_head_queries(triples[:4], RELATIONS)
    torch.testing.assert_close(scores(other, renamed)[:, new], scores(model), rtol=1e-4, atol=1e-5)


def test_paths_are_no_longer_than_there_are_layers():
    """On a chain, far from its end, what is out of reach has one score; the rest has others."""
    chain = torch.stack([torch.arange(15), torch.zeros(15).long(), torch.arange(15) + 1], 1)
    model = made(TrainGraph(chain, 16, 1), layers=3).eval()
    query = tail_and_head_queries(chain[:1], 1)[:1]
    got = model(query)(torch.arange(16).unsqueeze(0))[0]
    assert torch.equal(got[4:12], got[8].expand(8))
    assert (got[:4] != got[8]).all()


@pytest.mark.parametrize("sampler", [AllEntities, lambda graph: NSGenerator(graph, k=4)])
def test_it_learns_what_a_rule_says(sampler):
    """Grandparents are parents of parents; the rest of them is then predicted."""
    parent = torch.stack([torch.arange(20), torch.zeros(20).long(), torch.arange(20) + 1], 1)
    grand = torch.stack([torch.arange(19), torch.ones(19).long(), torch.arange(19) + 2], 1)
    train, test = torch.cat([parent, grand[::2]]), grand[1::2]
    graph = TrainGraph(train, 21, 2)
    model = made(graph, dim=8)
    step = TrainingStep(model, sampler(graph), SampledSoftmax(), CorruptBoth(graph))
    optimizer = torch.optim.Adam(step.trainable_parameters(), 0.01)
    rng = torch.Generator().manual_seed(0)
    for _ in range(60):
        order = torch.randperm(len(grand[::2]), generator=rng)
        step(grand[::2][order[:5]], optimizer, rng)
    model.eval()
    queries = tail_and_head_queries(test, 2)
    best = model(queries)(torch.arange(21).unsqueeze(0)).argmax(1)
    assert (best == queries.answer).double().mean() > 0.9


def test_a_stopped_run_goes_on_bit_for_bit(tmp_path):
    def fit(folder, init=0):
        torch.manual_seed(init)
        model = NBFNet(GRAPH, dim=4, layers=2)
        sampler = NSGenerator(GRAPH, k=4, dim=8)
        return trainer_of(
            folder,
            init=init,
            step=TrainingStep(model, sampler, SampledSoftmax(), CorruptBoth(GRAPH)),
        )

    assert_resumes(fit, tmp_path)


def test_the_options_are_validated():
    with pytest.raises(
        ValueError, match=r"NBFNet needs at least one dimension, .* got dim=0, layers=3"
    ):
        made(dim=0)
    spec = {"name": "nbfnet", "dim": 4, "layers": 1}
    assert len(build(spec, PARTS["model"][0], "model", graph=GRAPH).layers) == 1
