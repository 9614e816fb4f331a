"""Blocks of negatives: the density of all together, and the same learning as from own lists."""

import math

import pytest
import torch
from samplers.worlds import draw, no_scores, rng

from sparring.batch import Feedback, Queries
from sparring.corruption import CorruptBoth
from sparring.generators import NSGenerator
from sparring.groups import ungroup
from sparring.losses import NCE, BCELoss, MarginRankingLoss, NSSALoss, SampledSoftmax
from sparring.models import ComplEx, TransE
from sparring.samplers import Blocks, MaskKnown, Mixture, Popularity, Uniform
from sparring.testing import tiny_graph, tiny_queries
from sparring.testing.samplers import chi_square
from sparring.training import TrainingStep

GRAPH = tiny_graph()
N = GRAPH.num_entities
QUERIES = tiny_queries(GRAPH)
EVERYONE = torch.arange(N).unsqueeze(0)


def parts(own=2, shared=5):
    return [Popularity(GRAPH, k=own), Uniform(GRAPH, k=shared, groups=1)]


def unknown():
    return ~GRAPH.known.contains(QUERIES, EVERYONE)


def test_a_shared_list_is_not_copied_per_query():
    drawn = draw(Blocks(GRAPH, parts=parts()), QUERIES)
    assert [tuple(block.shape) for block in drawn.blocks] == [(len(QUERIES), 2), (1, 5)]
    assert drawn.mask.shape == drawn.log_q.shape == (len(QUERIES), 7)
    assert torch.equal(drawn.ids[:, 2:], drawn.blocks[1].expand(len(QUERIES), -1))


def test_the_density_is_that_of_all_draws_together():
    drawn = draw(Blocks(GRAPH, parts=parts(2, 5)), QUERIES)
    popularity = Popularity(GRAPH, k=1).log_prob(QUERIES, drawn.ids).exp()
    expected = ((2 * popularity + 5 / N) / 7).log()
    torch.testing.assert_close(drawn.log_q[drawn.mask], expected[drawn.mask])
    answer = Popularity(GRAPH, k=1).answer_log_prob(QUERIES).exp()
    torch.testing.assert_close(drawn.answer_log_q, ((2 * answer + 5 / N) / 7).log())


def test_known_facts_count_in_no_block():
    drawn = draw(Blocks(GRAPH, parts=parts(20, 50)), QUERIES)
    known = GRAPH.known.contains(QUERIES, drawn.ids)
    assert known[:, :20].any() and known[:, 20:].any()
    assert torch.equal(drawn.mask, ~known)


@pytest.mark.slow
def test_an_entity_of_two_blocks_counts_twice_as_its_density_says():
    sampler, source = Blocks(GRAPH, parts=parts(2, 5)), rng()
    counts, rounds = torch.zeros(len(QUERIES), N), 3000
    twice = 0
    for _ in range(rounds):
        drawn = sampler.sample(QUERIES, no_scores, source)
        ids = ungroup(drawn.ids, len(QUERIES))
        counts.scatter_add_(1, ids, drawn.mask.float())
        twice += int((drawn.mask[:, :1] & (ids[:, :1] == ids[:, 2:]) & drawn.mask[:, 2:]).sum())
    expected = rounds * sampler.k * sampler.log_prob(QUERIES, EVERYONE).exp()
    assert twice > 0
    assert min(chi_square(*pair) for pair in zip(counts, expected)) > 1e-6


def test_a_corrected_loss_expects_the_full_softmax():
    """The mean of many lists, which are so long that a logarithm of a mean is hardly biased."""
    rows = QUERIES[:6]
    table = torch.randn(6, N, generator=rng(3))
    score = lambda ids: table.gather(1, ungroup(ids, 6))
    sampler, source = Blocks(GRAPH, parts=parts(40, 400)), rng(4)
    loss = SampledSoftmax(correction="negatives")
    right = table.gather(1, rows.answer.unsqueeze(1)).squeeze(1)
    values = []
    for _ in range(200):
        drawn = sampler.sample(rows, score, source)
        values.append(loss(right, drawn.per_candidate(score), drawn, rows.weight))
    wrong = GRAPH.known.contains(rows, EVERYONE)
    total = table.masked_fill(wrong, -torch.inf).exp().sum(1) + right.exp()
    exact = (total.log() - right).mean()
    assert torch.stack(values).mean() == pytest.approx(exact.item(), abs=0.01)


def with_the_same_draws(cls, wrap=lambda sampler: sampler, **options):
    return wrap(cls(GRAPH, parts=parts(3, 6), **options))


LOSSES = {
    "softmax-both": SampledSoftmax(correction="both"),
    "softmax-negatives": SampledSoftmax(correction="negatives"),
    "nce": NCE(),
    "nssa": NSSALoss(margin=3.0, adversarial_temperature=1.0),
    "margin": MarginRankingLoss(),
    "bce": BCELoss(),
}


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("model", [ComplEx, TransE])
def test_a_step_learns_the_same_as_from_own_lists(model, loss):
    learned = []
    for sampler in (
        Blocks(GRAPH, parts=parts(3, 6)),
        MaskKnown(GRAPH, inner=Mixture(GRAPH, parts=parts(3, 6))),
    ):
        torch.manual_seed(0)
        step = TrainingStep(model(GRAPH, dim=8), sampler, LOSSES[loss], CorruptBoth(GRAPH))
        optimizer = torch.optim.SGD(step.model.parameters(), 0.5)
        step(GRAPH.triples, optimizer, rng(5))
        learned.append(step.model.entity.weight.detach())
    torch.testing.assert_close(*learned, rtol=1e-4, atol=1e-5)


def test_each_part_hears_of_its_own_block():
    class Listening(Uniform):
        def observe(self, feedback):
            self.heard = feedback
            return {"mean": feedback.negative.mean()}

    own, shared = Listening(GRAPH, k=2), Listening(GRAPH, k=3, groups=1)
    sampler = Blocks(GRAPH, parts=[own, shared])
    drawn = draw(sampler, QUERIES)
    negative = torch.arange(5.0).expand(len(QUERIES), 5)
    metrics = sampler.observe(Feedback(QUERIES, drawn, negative[:, 0], negative, negative))
    assert torch.equal(own.heard.negatives.ids, drawn.blocks[0])
    assert torch.equal(shared.heard.negatives.ids, drawn.blocks[1])
    assert {name: value.item() for name, value in metrics.items()} == {"0.mean": 0.5, "1.mean": 3.0}


def test_a_generator_learns_from_its_block():
    generator = NSGenerator(GRAPH, k=3, dim=8)
    sampler = Blocks(GRAPH, parts=[generator, Uniform(GRAPH, k=4, groups=1)])
    step = TrainingStep(ComplEx(GRAPH, dim=8), sampler, SampledSoftmax(), CorruptBoth(GRAPH))
    before = generator.student.entity.weight.clone()
    metrics = step(GRAPH.triples, torch.optim.SGD(step.model.parameters(), 0.1), rng())
    assert "0.hardness" in metrics
    assert not torch.equal(before, generator.student.entity.weight)


def test_the_density_of_an_answer_includes_a_generator_that_never_draws_it():
    generator = NSGenerator(GRAPH, k=3, dim=8)
    sampler = Blocks(GRAPH, parts=[generator, Uniform(GRAPH, k=4, groups=1)])
    own = generator.answer_log_prob(QUERIES).exp()
    torch.testing.assert_close(
        sampler.answer_log_prob(QUERIES), ((3 * own + 4 / N) / 7).log(), rtol=1e-4, atol=1e-4
    )


def test_own_and_shared_scores_are_counted():
    blocks = Blocks(GRAPH, parts=[NSGenerator(GRAPH, k=3, dim=8), Uniform(GRAPH, k=4, groups=1)])
    assert (blocks.k, blocks.capabilities.num_shared) == (7, 4)
    assert Mixture(GRAPH, parts=parts()).capabilities.num_shared == 0
    assert MaskKnown(GRAPH, inner=Uniform(GRAPH, k=4, groups=2)).capabilities.num_shared == 4


def test_queries_are_arranged_as_the_parts_need():
    grouped = NSGenerator(GRAPH, k=3, dim=8, group_size=4)
    for parts_of in ([grouped, Uniform(GRAPH, k=2)], [Uniform(GRAPH, k=2), grouped]):
        arranged = MaskKnown(GRAPH, inner=Blocks(GRAPH, parts=parts_of)).arrange(QUERIES)
        assert torch.equal(arranged.relation, QUERIES.relation.sort().values)
        rows = lambda queries: sorted(zip(queries.anchor.tolist(), queries.answer.tolist()))
        assert rows(arranged) == rows(QUERIES)
    assert isinstance(arranged, Queries) and math.isclose(arranged.weight.sum(), len(QUERIES))
