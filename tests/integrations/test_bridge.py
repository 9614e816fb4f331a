"""What every host relies on, without any."""

import copy
from dataclasses import replace

import pytest
import torch
from evaluation.worlds import Table, random_graph
from torch.utils.data import DataLoader

from sparring.corruption import Bernoulli, CorruptBoth
from sparring.evaluation.ranking import evaluate
from sparring.generators import NSGenerator
from sparring.integrations.adapter import Adapter, HostModel
from sparring.losses import SampledSoftmax
from sparring.samplers import DynamicNegatives, NSCaching, Uniform, UniformFiltered
from sparring.testing import tiny_graph

GRAPH = tiny_graph()


def entered(make, **options):
    bridge = Adapter(make, **options)
    bridge.enter(GRAPH)
    return bridge


def learned(k=4):
    """A bridge to a generator, with the model's opinion of any triple."""
    bridge = entered(lambda graph: NSGenerator(graph, k=k, dim=8))
    bridge.judge = lambda triples, head: (triples * torch.tensor([3, 1, 5])).sum(1).cos()
    return bridge


def step(bridge, triples=GRAPH.triples[:8]):
    """What a host does with a batch."""
    corrupted, mask = bridge.draw(triples)
    negative = (corrupted.sum(2) % 7).float().requires_grad_()
    bridge.hear(torch.zeros(len(triples)), negative * mask)
    (negative * mask).mean().backward()
    return corrupted


def test_one_end_of_each_triple_is_replaced_and_never_the_relation():
    bridge = entered(lambda graph: UniformFiltered(graph, k=5))
    corrupted, mask = bridge.draw(GRAPH.triples)
    changed = corrupted != GRAPH.triples.unsqueeze(1)
    assert not changed[..., 1].any()
    assert not (changed[..., 0] & changed[..., 2]).any()
    assert (changed[..., 0] | changed[..., 2])[mask].all()


def test_shared_lists_are_spelled_out():
    bridge = entered(lambda graph: Uniform(graph, k=5, groups=1))
    assert bridge.draw(GRAPH.triples)[0].shape == (len(GRAPH.triples), 5, 3)


def test_sides_can_be_chosen():
    bridge = entered(lambda graph: Uniform(graph, k=5), corruption=Bernoulli)
    assert isinstance(bridge.corruption, Bernoulli)


def test_the_seed_decides_and_the_hosts_own_random_numbers_stay_the_same():
    before = torch.get_rng_state()
    one, two = (step(learned()) for _ in range(2))
    assert torch.equal(one, two)
    assert torch.equal(before, torch.get_rng_state())


def test_a_generator_learns_when_the_next_batch_is_drawn():
    bridge = learned()
    step(bridge)
    before = [p.detach().clone() for p in bridge.sampler.parameters()]
    step(bridge)
    assert any(not torch.equal(a, b) for a, b in zip(before, bridge.sampler.parameters()))
    assert bridge.told["generator_loss"].isfinite()


def test_a_batch_may_be_scored_in_parts():
    whole, parts = learned(), learned()
    step(whole)
    corrupted, mask = parts.draw(GRAPH.triples[:8])
    for rows in (slice(0, 3), slice(3, 8)):
        negative = (corrupted[rows].sum(2) % 7).float()
        parts.hear(torch.zeros(len(negative)), negative * mask[rows])
    assert whole.digest()["generator_loss"] == parts.digest()["generator_loss"]


def test_gradients_reach_the_sampler():
    heard = []

    class Listening(Uniform):
        def observe(self, feedback):
            heard.append(feedback)
            return {}

    bridge = entered(lambda graph: Listening(graph, k=4))
    _, mask = bridge.draw(GRAPH.triples[:8])
    negative = torch.ones(8, 4, requires_grad=True)
    scores = 2 * negative
    bridge.hear(torch.arange(8.0), scores)
    (3 * scores * mask).sum().backward()
    bridge.digest()
    assert torch.equal(heard[0].gradient, 3.0 * mask)
    assert torch.equal(heard[0].positive, torch.arange(8.0))
    assert not heard[0].negative.requires_grad


def test_scores_of_another_batch_are_refused():
    bridge = learned()
    bridge.draw(GRAPH.triples[:8])
    bridge.hear(torch.zeros(5), torch.zeros(5, 4))
    with pytest.raises(RuntimeError, match="the scores of 5 triples came back for 8 drawn ones"):
        bridge.digest()


def test_a_batch_that_is_not_scored_teaches_nothing():
    bridge = learned()
    bridge.draw(GRAPH.triples[:8])
    bridge.draw(GRAPH.triples[:8])
    assert bridge.told == {}


def test_scores_are_of_the_triples_that_candidates_would_make():
    bridge = entered(lambda graph: DynamicNegatives(graph, inner=Uniform(graph, k=40), k=1))
    bridge.judge = lambda triples, head: -(triples[:, [0, 2]] - 7).abs().sum(1).float()
    triples = torch.tensor([[7, 0, 3]]).repeat(20, 1)
    corrupted, _ = bridge.draw(triples)
    tails = corrupted[corrupted[:, 0, 2] != 3]
    assert len(tails) and (tails[..., 2] == 7).all()


def test_the_model_is_told_which_end_was_asked_for():
    bridge = entered(
        lambda graph: DynamicNegatives(graph, inner=Uniform(graph, k=6), k=2),
        corruption=CorruptBoth,
    )
    told = []
    bridge.judge = lambda triples, head: told.append((triples, head)) or triples[:, 0].float()
    bridge.draw_all(GRAPH.triples)
    ((triples, head),) = told
    triples, head = triples.unflatten(0, (-1, 6)), head.unflatten(0, (-1, 6))
    both = GRAPH.triples.repeat(2, 1).unsqueeze(1)
    assert (triples[..., 0] == both[..., 0])[~head].all()
    assert (triples[..., 2] == both[..., 2])[head].all()
    assert head.sum() == head.numel() / 2


def test_both_sides_are_refused_where_there_is_room_for_one():
    bridge = entered(lambda graph: Uniform(graph, k=2), corruption=CorruptBoth)
    with pytest.raises(
        ValueError, match="CorruptBoth replaces both ends of a triple, and this lib"
    ):
        bridge.draw(GRAPH.triples)


@pytest.mark.parametrize("make", [DynamicNegatives, NSCaching])
def test_samplers_that_need_scores_say_so(make):
    inner = {"inner": None} if make is DynamicNegatives else {}
    bridge = entered(
        lambda graph: make(graph, k=2, **{name: Uniform(graph, k=4) for name in inner})
    )
    with pytest.raises(RuntimeError, match="asks for the main model's scores, which it cannot"):
        bridge.draw(GRAPH.triples)


def test_a_bridge_enters_before_it_draws():
    with pytest.raises(RuntimeError, match="must enter a graph before it can draw"):
        Adapter(lambda graph: Uniform(graph, k=2)).draw(GRAPH.triples)


class Drawing(torch.utils.data.Dataset):
    def __init__(self, bridge):
        self.bridge = bridge

    def __len__(self):
        return 2

    def __getitem__(self, item):
        return self.bridge.draw(GRAPH.triples)[0]


def test_worker_processes_are_refused():
    loader = DataLoader(Drawing(entered(lambda graph: Uniform(graph, k=2))), num_workers=1)
    with pytest.raises(RuntimeError, match=r"in a worker process.*\n.*\n|set num_workers=0"):
        next(iter(loader))


def test_the_same_graph_keeps_its_sampler_and_another_gets_its_own():
    bridge = learned()
    first = bridge.sampler
    assert bridge.enter(tiny_graph()) is first
    assert bridge.enter(tiny_graph(size=20)) is not first


def test_to_forget_is_to_start_anew():
    bridge = learned()
    first = step(bridge)
    step(bridge)
    bridge.forget()
    bridge.enter(GRAPH)
    assert torch.equal(step(bridge), first)


def test_the_state_goes_on_where_it_was():
    bridge = learned()
    for _ in range(3):
        step(bridge)
    state = copy.deepcopy(bridge.state_dict())
    wanted = [step(bridge) for _ in range(3)]
    heir = learned()
    heir.load_state_dict(state)
    assert all(map(torch.equal, wanted, (step(heir) for _ in range(3))))


def test_a_state_waits_for_its_graph():
    bridge = learned()
    step(bridge)
    state = copy.deepcopy(bridge.state_dict())
    wanted = step(bridge)
    heir = Adapter(bridge.make)
    heir.judge = bridge.judge
    heir.load_state_dict(state)
    assert heir.state_dict() is state
    heir.enter(GRAPH)
    assert torch.equal(step(heir), wanted)


def test_a_loss_of_ours_sees_densities_of_the_part_it_is_given():
    loss = SampledSoftmax(correction="negatives")
    bridge = entered(lambda graph: Uniform(graph, k=4), loss=loss)
    corrupted, _ = bridge.draw(GRAPH.triples[:8])
    queries, drawn = bridge.last
    positive, negative = torch.zeros(8), (corrupted.sum(2) % 7).float()
    whole = loss(positive, negative, drawn, queries.weight)
    parts = [
        bridge.own_loss(positive[rows], negative[rows], rows.start)
        for rows in (slice(0, 3), slice(3, 8))
    ]
    torch.testing.assert_close((3 * parts[0] + 5 * parts[1]) / 8, whole)


def test_a_loss_that_needs_a_density_refuses_a_sampler_without():
    make = lambda graph: NSCaching(graph, k=2)
    with pytest.raises(ValueError, match="density of its negatives, which NSCaching does not know"):
        entered(make, loss=SampledSoftmax(correction="negatives"))


def test_the_hosts_model_is_ranked_as_one_of_ours():
    graph = random_graph()
    table = Table.random(graph)
    bridge = Adapter(lambda graph: Uniform(graph, k=2))
    bridge.enter(graph.training)

    def look_up(triples, head):
        anchor = torch.where(head, triples[:, 2], triples[:, 0])
        answer = torch.where(head, triples[:, 0], triples[:, 2])
        return table.scores[anchor, triples[:, 1] + len(graph.relations) * head, answer]

    bridge.judge = look_up
    ours, theirs = (evaluate(m, graph.test, graph.known) for m in (table, HostModel(bridge)))
    assert torch.equal(ours.rank, theirs.rank)


def test_what_may_be_missing_is_told_by_facts_that_the_host_is_not_given():
    kept = GRAPH.hold_out(0.2)
    make = lambda graph: NSGenerator(
        replace(graph, held_out=kept.held_out), k=4, dim=8, missing=0.2
    )
    bridge = Adapter(make)
    bridge.enter(replace(kept, held_out=None))  # as a host makes it, of what it is given
    bridge.judge = learned().judge
    for _ in range(40):
        step(bridge, kept.triples)
    bridge.draw(kept.triples)
    drawn = bridge.last[1]
    doubted = drawn.p_false_negative[drawn.mask]
    assert doubted.max() > 0 and (drawn.weight[drawn.mask] == 1 - doubted).all()


def test_a_bridge_is_short_in_records():
    bridge = Adapter(lambda graph: Uniform(graph, k=2), seed=3)
    assert repr(bridge) == "Bridge(no sampler yet, seed=3)"
    bridge.enter(GRAPH)
    assert repr(bridge) == "Bridge(Uniform, k=2, seed=3)"
