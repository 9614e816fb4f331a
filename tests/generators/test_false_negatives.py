"""Estimates of missing facts on graphs whose every true fact is known."""

import pytest
import torch

from sparring.batch import Queries
from sparring.corruption import CorruptBoth, tail_and_head_queries
from sparring.data.index import TripleIndex
from sparring.generators import FalseNegativePolicy, NSGenerator
from sparring.generators.false_negatives import CandidateFeatures, FalseNegativeClassifier
from sparring.losses import SampledSoftmax
from sparring.models import ComplEx
from sparring.testing import tiny_graph
from sparring.testing.synthetic import synthetic_world
from sparring.training import OPTIMIZERS, TrainingStep

WITHHELD = 0.2


def trained(steps, **options):
    """A generator in the last of so many steps, with the truth it cannot know."""
    world = synthetic_world(100, withheld=WITHHELD)
    graph = world.graph.training.hold_out(0.1)
    missing = 1 - len(world.graph.train) / len(world.truth)
    torch.manual_seed(0)
    policy = FalseNegativePolicy(missing_rate=missing, **options)
    sampler = NSGenerator(graph, k=16, codes=64, false_negatives=policy)
    model = ComplEx(graph, dim=32, init=0.1)
    step = TrainingStep(model, sampler, SampledSoftmax(correction="both"), CorruptBoth(graph))
    optimizer = OPTIMIZERS["adagrad"](step.trainable_parameters(), lr=0.1)
    rng = torch.Generator().manual_seed(0)
    for _ in range(steps):
        rows = torch.randint(len(graph.triples), (128,), generator=rng)
        step(graph.triples[rows], optimizer, rng)
    queries = tail_and_head_queries(graph.triples, graph.num_relations)
    with torch.no_grad():
        drawn = sampler.sample(queries, model(queries), rng)
    true = TripleIndex(world.truth, graph.num_entities, graph.num_relations)
    return drawn, true.contains(queries, drawn.ids)


@pytest.mark.slow
@pytest.mark.parametrize("most", [1.0, 0.1])
def test_estimates_are_calibrated(most):
    """Also for draws that do not count because they are above `max_p_false_negative`."""
    drawn, true = trained(500, max_p_false_negative=most)
    asked = drawn.p_false_negative > 0
    p, true = drawn.p_false_negative[asked], true[asked].float()
    tenth = (p * 10).long().clamp(max=9)
    size = torch.bincount(tenth, minlength=10).clamp(min=1)
    apart = torch.bincount(tenth, p - true, minlength=10).abs()
    assert 0.03 < true.mean() < 0.6  # a hard sampler finds what is missing
    assert apart.sum() / len(true) < 0.05
    wrong, base = ((p - true) ** 2).mean(), true.mean() * (1 - true.mean())
    assert wrong < 0.5 * base
    assert size.gt(100).sum() >= 5  # and estimates differ


@pytest.mark.slow
def test_a_constant_estimate_settles_at_the_share_of_truth():
    """A tenth of what looks alike is held out; half of the true facts are."""
    graph = tiny_graph().hold_out(0.2)
    estimate = FalseNegativeClassifier(graph, missing_rate=0.5)
    held_share = estimate.label_frequency
    held_out = torch.rand(20_000, 1, generator=torch.Generator().manual_seed(0)) < 0.1
    candidates = CandidateFeatures(
        torch.zeros(20_000, 1, 8), held_out, torch.ones_like(held_out), torch.zeros_like(held_out)
    )
    optimizer = torch.optim.Adam(estimate.parameters(), 0.05)
    for _ in range(500):
        optimizer.zero_grad()
        estimate.loss(candidates).backward()
        optimizer.step()
    want = held_out.float().mean().item() / held_share
    assert estimate(candidates).mean().item() == pytest.approx(want, abs=0.01)


def test_known_facts_and_answers_teach_nothing():
    estimate = FalseNegativeClassifier(tiny_graph().hold_out(0.2), missing_rate=0.5)
    held_out = torch.tensor([[True], [False], [True], [False]])
    candidates = CandidateFeatures(
        torch.zeros(4, 1, 8), held_out, ~held_out, torch.zeros_like(held_out)
    )
    only = estimate.loss(candidates)
    assert only.item() == pytest.approx(
        -torch.log(1 - estimate.label_frequency * estimate(candidates)[0]).item()
    )


def test_held_out_facts_are_recognised():
    graph = tiny_graph().hold_out(0.2)
    queries = tail_and_head_queries(graph.held_out, graph.num_relations)
    estimate = FalseNegativeClassifier(graph, missing_rate=0.1)
    everyone = torch.arange(graph.num_entities).unsqueeze(0)
    log_q = torch.zeros(len(queries), graph.num_entities)
    seen = estimate.featurize(queries, everyone, log_q, log_q[:, 0])
    assert seen.held_out.gather(1, queries.answer.unsqueeze(1)).all()
    assert seen.held_out.sum() < seen.held_out.numel() / 2
    assert not seen.unknown.gather(1, queries.answer.unsqueeze(1)).any()
    assert not (seen.unknown & graph.known.contains(queries, everyone)).any()
    assert seen.unknown.any()


def test_features_tell_what_they_should():
    graph = tiny_graph().hold_out(0.2)
    estimate = FalseNegativeClassifier(graph, missing_rate=0.1)
    head, relation, tail = graph.triples[0]
    one = torch.ones(1)
    asked = Queries(head.view(1), relation.view(1), tail.view(1), one)
    zero = torch.zeros(1)
    seen = estimate.featurize(asked, tail.view(1, 1), zero.view(1, 1), zero).features[0, 0]
    as_tail = (graph.triples[:, 1] == relation) & (graph.triples[:, 2] == tail)
    of_head = (graph.triples[:, 1] == relation) & (graph.triples[:, 0] == head)
    of_all = graph.triples[graph.triples[:, 1] == relation][:, 0]
    assert seen[2].item() == pytest.approx(as_tail.sum().float().log1p().item() / 2)
    assert seen[3].item() == pytest.approx(graph.degree[tail].log1p().item() / 4)
    assert seen[4] == 1  # linked
    assert seen[5] == float(head == tail)
    assert seen[6].item() == pytest.approx(of_head.sum().float().log1p().item() / 4)
    mean = len(of_all) / len(of_all.unique())
    assert seen[7].item() == pytest.approx(torch.tensor(mean).log1p().item() / 4)


def test_draws_weigh_by_the_chance_that_they_are_wrong():
    drawn, _ = trained(3)
    torch.testing.assert_close(drawn.weight, 1 - drawn.p_false_negative)
    assert (drawn.p_false_negative[~drawn.mask] == 0).all()
    drawn, _ = trained(3, weight_negatives=False)
    assert (drawn.weight == 1).all()
    assert (drawn.p_false_negative[drawn.mask] > 0).all()


def test_what_is_probably_a_fact_does_not_count():
    drawn, _ = trained(3, max_p_false_negative=0.02)
    likely = drawn.p_false_negative > 0.02
    assert likely.any() and drawn.mask.any()
    assert not (likely & drawn.mask).any()


def test_without_facts_held_out_nothing_can_be_calibrated():
    with pytest.raises(ValueError, match=r"set graph\.hold_out, such as 0\.02"):
        NSGenerator(tiny_graph(), k=4, false_negatives=FalseNegativePolicy(missing_rate=0.1))


@pytest.mark.parametrize("missing", [-0.1, 1.0])
def test_a_rate_that_is_none_is_refused(missing):
    with pytest.raises(ValueError, match="missing_rate is above 0 and below 1"):
        FalseNegativeClassifier(tiny_graph().hold_out(0.2), missing_rate=missing)
