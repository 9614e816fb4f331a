"""The adapter, without any host library."""

import copy
from dataclasses import replace

import pytest
import torch
from evaluation.fixtures import Table, random_graph
from torch.utils.data import DataLoader

from sparring.corruption import Bernoulli, CorruptBoth
from sparring.evaluation.ranking import evaluate
from sparring.generators import FalseNegativePolicy, NSGenerator
from sparring.integrations.adapter import Adapter, ExternalModel
from sparring.losses import SampledSoftmax
from sparring.samplers import DynamicNegatives, NSCaching, Uniform, UniformFiltered
from sparring.testing import tiny_graph

GRAPH = tiny_graph()


def bound(make_sampler, **options):
    adapter = Adapter(make_sampler, **options)
    adapter.bind(GRAPH)
    return adapter


def generating(k=4):
    """An adapter of a generator, with a model that scores any triple."""
    adapter = bound(lambda graph: NSGenerator(graph, k=k, dim=8))
    adapter.score_triples = lambda triples, head: (triples * torch.tensor([3, 1, 5])).sum(1).cos()
    return adapter


def step(adapter, triples=GRAPH.triples[:8]):
    """What a host does with a batch."""
    corrupted, mask = adapter.draw(triples)
    negative = (corrupted.sum(2) % 7).float().requires_grad_()
    adapter.record_scores(torch.zeros(len(triples)), negative * mask)
    (negative * mask).mean().backward()
    return corrupted


def test_one_end_of_each_triple_is_replaced_and_never_the_relation():
    adapter = bound(lambda graph: UniformFiltered(graph, k=5))
    corrupted, mask = adapter.draw(GRAPH.triples)
    changed = corrupted != GRAPH.triples.unsqueeze(1)
    assert not changed[..., 1].any()
    assert not (changed[..., 0] & changed[..., 2]).any()
    assert (changed[..., 0] | changed[..., 2])[mask].all()


def test_shared_candidate_lists_are_expanded():
    adapter = bound(lambda graph: Uniform(graph, k=5, groups=1))
    assert adapter.draw(GRAPH.triples)[0].shape == (len(GRAPH.triples), 5, 3)


def test_the_corruption_can_be_chosen():
    adapter = bound(lambda graph: Uniform(graph, k=5), corruption=Bernoulli)
    assert isinstance(adapter.corruption, Bernoulli)


def test_the_seed_decides_and_the_hosts_own_random_numbers_stay_the_same():
    before = torch.get_rng_state()
    one, two = (step(generating()) for _ in range(2))
    assert torch.equal(one, two)
    assert torch.equal(before, torch.get_rng_state())


def test_a_generator_learns_when_the_next_batch_is_drawn():
    adapter = generating()
    step(adapter)
    before = [p.detach().clone() for p in adapter.sampler.parameters()]
    step(adapter)
    assert any(not torch.equal(a, b) for a, b in zip(before, adapter.sampler.parameters()))
    assert adapter.metrics["generator_loss"].isfinite()


def test_a_batch_may_be_scored_in_parts():
    whole, parts = generating(), generating()
    step(whole)
    corrupted, mask = parts.draw(GRAPH.triples[:8])
    for rows in (slice(0, 3), slice(3, 8)):
        negative = (corrupted[rows].sum(2) % 7).float()
        parts.record_scores(torch.zeros(len(negative)), negative * mask[rows])
    assert whole.flush()["generator_loss"] == parts.flush()["generator_loss"]


def test_gradients_reach_the_sampler():
    observed = []

    class Observing(Uniform):
        def observe(self, feedback):
            observed.append(feedback)
            return {}

    adapter = bound(lambda graph: Observing(graph, k=4))
    _, mask = adapter.draw(GRAPH.triples[:8])
    negative = torch.ones(8, 4, requires_grad=True)
    scores = 2 * negative
    adapter.record_scores(torch.arange(8.0), scores)
    (3 * scores * mask).sum().backward()
    adapter.flush()
    assert torch.equal(observed[0].gradient, 3.0 * mask)
    assert torch.equal(observed[0].positive, torch.arange(8.0))
    assert not observed[0].negative.requires_grad


def test_scores_of_another_batch_are_refused():
    adapter = generating()
    adapter.draw(GRAPH.triples[:8])
    adapter.record_scores(torch.zeros(5), torch.zeros(5, 4))
    with pytest.raises(RuntimeError, match="8 triples were drawn, but scores of 5 came back"):
        adapter.flush()


def test_nothing_is_learned_from_a_batch_without_scores():
    adapter = generating()
    adapter.draw(GRAPH.triples[:8])
    adapter.draw(GRAPH.triples[:8])
    assert adapter.metrics == {}


def test_scores_are_of_the_triples_that_candidates_would_make():
    adapter = bound(lambda graph: DynamicNegatives(graph, inner=Uniform(graph, k=40), k=1))
    adapter.score_triples = lambda triples, head: -(triples[:, [0, 2]] - 7).abs().sum(1).float()
    triples = torch.tensor([[7, 0, 3]]).repeat(20, 1)
    corrupted, _ = adapter.draw(triples)
    tails = corrupted[corrupted[:, 0, 2] != 3]
    assert len(tails) and (tails[..., 2] == 7).all()


def test_the_model_knows_which_end_was_asked_for():
    adapter = bound(
        lambda graph: DynamicNegatives(graph, inner=Uniform(graph, k=6), k=2),
        corruption=CorruptBoth,
    )
    calls = []
    adapter.score_triples = lambda triples, head: (
        calls.append((triples, head)) or triples[:, 0].float()
    )
    adapter.draw_queries(GRAPH.triples)
    ((triples, head),) = calls
    triples, head = triples.unflatten(0, (-1, 6)), head.unflatten(0, (-1, 6))
    both = GRAPH.triples.repeat(2, 1).unsqueeze(1)
    assert (triples[..., 0] == both[..., 0])[~head].all()
    assert (triples[..., 2] == both[..., 2])[head].all()
    assert head.sum() == head.numel() / 2


def test_both_sides_are_refused_where_there_is_room_for_one():
    adapter = bound(lambda graph: Uniform(graph, k=2), corruption=CorruptBoth)
    with pytest.raises(
        ValueError, match="CorruptBoth replaces both ends of a triple, and this library"
    ):
        adapter.draw(GRAPH.triples)


@pytest.mark.parametrize("make", [DynamicNegatives, NSCaching])
def test_samplers_that_need_scores_say_so(make):
    inner = {"inner": None} if make is DynamicNegatives else {}
    adapter = bound(lambda graph: make(graph, k=2, **{name: Uniform(graph, k=4) for name in inner}))
    with pytest.raises(RuntimeError, match="needs the scores of the model, which it cannot"):
        adapter.draw(GRAPH.triples)


def test_a_graph_is_bound_before_drawing():
    with pytest.raises(RuntimeError, match="call bind before draw"):
        Adapter(lambda graph: Uniform(graph, k=2)).draw(GRAPH.triples)


class Drawing(torch.utils.data.Dataset):
    def __init__(self, adapter):
        self.adapter = adapter

    def __len__(self):
        return 2

    def __getitem__(self, item):
        return self.adapter.draw(GRAPH.triples)[0]


def test_worker_processes_are_refused():
    loader = DataLoader(Drawing(bound(lambda graph: Uniform(graph, k=2))), num_workers=1)
    with pytest.raises(RuntimeError, match=r"in a worker process.*\n.*\n|set num_workers=0"):
        next(iter(loader))


@pytest.mark.slow
def test_the_same_graph_keeps_its_sampler_and_another_gets_its_own():
    adapter = generating()
    first = adapter.sampler
    assert adapter.bind(tiny_graph()) is first
    assert adapter.bind(tiny_graph(size=20)) is not first


def test_reset_starts_over():
    adapter = generating()
    first = step(adapter)
    step(adapter)
    adapter.reset()
    adapter.bind(GRAPH)
    assert torch.equal(step(adapter), first)


def test_a_restored_state_continues():
    adapter = generating()
    for _ in range(3):
        step(adapter)
    state = copy.deepcopy(adapter.state_dict())
    wanted = [step(adapter) for _ in range(3)]
    restored = generating()
    restored.load_state_dict(state)
    assert all(map(torch.equal, wanted, (step(restored) for _ in range(3))))


def test_a_state_waits_for_its_graph():
    adapter = generating()
    step(adapter)
    state = copy.deepcopy(adapter.state_dict())
    wanted = step(adapter)
    restored = Adapter(adapter.make_sampler)
    restored.score_triples = adapter.score_triples
    restored.load_state_dict(state)
    assert restored.state_dict() is state
    restored.bind(GRAPH)
    assert torch.equal(step(restored), wanted)


def test_our_loss_gets_the_densities_of_each_part():
    loss = SampledSoftmax(correction="negatives")
    adapter = bound(lambda graph: Uniform(graph, k=4), loss=loss)
    corrupted, _ = adapter.draw(GRAPH.triples[:8])
    queries, drawn = adapter.last_draw
    positive, negative = torch.zeros(8), (corrupted.sum(2) % 7).float()
    whole = loss(positive, negative, drawn, queries.weight)
    parts = [
        adapter.compute_loss(positive[rows], negative[rows], rows.start)
        for rows in (slice(0, 3), slice(3, 8))
    ]
    torch.testing.assert_close((3 * parts[0] + 5 * parts[1]) / 8, whole)


def test_a_loss_that_needs_a_density_refuses_a_sampler_without():
    make = lambda graph: NSCaching(graph, k=2)
    with pytest.raises(ValueError, match="density of its negatives, which NSCaching does not know"):
        bound(make, loss=SampledSoftmax(correction="negatives"))


def test_the_hosts_model_is_ranked_as_one_of_ours():
    graph = random_graph()
    table = Table.random(graph)
    adapter = Adapter(lambda graph: Uniform(graph, k=2))
    adapter.bind(graph.training)

    def look_up(triples, head):
        anchor = torch.where(head, triples[:, 2], triples[:, 0])
        answer = torch.where(head, triples[:, 0], triples[:, 2])
        return table.scores[anchor, triples[:, 1] + len(graph.relations) * head, answer]

    adapter.score_triples = look_up
    ours, trestoreds = (
        evaluate(m, graph.test, graph.known) for m in (table, ExternalModel(adapter))
    )
    assert torch.equal(ours.rank, trestoreds.rank)


def test_false_negatives_are_estimated_from_facts_held_out_of_the_host():
    kept = GRAPH.hold_out(0.2)
    policy = FalseNegativePolicy(missing_rate=0.2)
    make = lambda graph: NSGenerator(
        replace(graph, held_out=kept.held_out), k=4, dim=8, false_negatives=policy
    )
    adapter = Adapter(make)
    adapter.bind(replace(kept, held_out=None))  # as a host builds it from the facts it has
    adapter.score_triples = generating().score_triples
    for _ in range(40):
        step(adapter, kept.triples)
    adapter.draw(kept.triples)
    drawn = adapter.last_draw[1]
    probability = drawn.p_false_negative[drawn.mask]
    assert probability.max() > 0 and (drawn.weight[drawn.mask] == 1 - probability).all()


def test_the_representation_is_short():
    adapter = Adapter(lambda graph: Uniform(graph, k=2), seed=3)
    assert repr(adapter) == "Adapter(no sampler yet, seed=3)"
    adapter.bind(GRAPH)
    assert repr(adapter) == "Adapter(Uniform, k=2, seed=3)"


def test_a_state_of_format_1_loads_under_current_names():
    adapter = generating()
    step(adapter)
    state = copy.deepcopy(adapter.state_dict())
    del state["format"]
    former = {"inverse_temperature": "sharpness", "last_loss": "lesson"}
    state["sampler"] = {former.get(name, name): value for name, value in state["sampler"].items()}
    expected = step(adapter)
    restored = generating()
    restored.load_state_dict(state)
    assert torch.equal(step(restored), expected)
