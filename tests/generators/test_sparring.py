"""The generator against worlds whose best distribution is known."""

import math
from dataclasses import dataclass, replace

import pytest
import torch
from generator_cases import heard, same_query, small_graph

from sparring.batch import Feedback, Negatives, Queries, ungroup
from sparring.data.graph import TrainGraph
from sparring.generators import NSGenerator
from sparring.generators.student import Proposal
from sparring.models.scorers import PrecomputedScorer
from sparring.testing import table_scorer, tiny_graph, tiny_queries

N = 20


def world(queries=6, entities=N, seed=0):
    """Some queries of one anchor each, and scores of all entities for them."""
    rng = torch.Generator().manual_seed(seed)
    triples = torch.tensor([[0, 0, entities - 1]])
    anchor = torch.arange(queries)
    zero = torch.zeros(queries, dtype=torch.long)
    asked = Queries(anchor, zero, zero + entities - 1, torch.ones(queries))
    return TrainGraph(triples, entities, 1), asked, torch.randn(queries, entities, generator=rng)


def trained(graph, queries, table, steps, *, copies=8, **options):
    """A generator that has listened to fixed scores, at a rate that falls to nothing."""
    torch.manual_seed(0)
    generator = NSGenerator(graph, **{"k": 8, "every": 1, "learn_from": 1.0, "lr": 0.05, **options})
    many = queries[torch.arange(len(queries)).repeat(copies)]
    scorer = table_scorer(table.repeat(copies, 1))
    rng = torch.Generator().manual_seed(1)
    for step in range(steps):
        generator.optimizer.param_groups[0]["lr"] = 0.05 * (1 - step / steps)
        drawn = generator.sample(many, scorer, rng)
        negative = scorer(drawn.ids)
        right = scorer(many.answer.unsqueeze(1)).squeeze(1)
        generator.observe(Feedback(many, drawn, right, negative, torch.zeros_like(negative)))
    return generator


def distance(generator, queries, table, temperature=1.0):
    """KL of the best distribution over what may be drawn to the generator's, per query."""
    everyone = torch.arange(table.shape[1]).unsqueeze(0)
    right = generator.known.contains(queries, everyone)
    right |= everyone == queries.answer.unsqueeze(1)
    best = (table / temperature).masked_fill(right, -torch.inf).log_softmax(1)
    stated = generator.density(generator.shares(queries), everyone)
    stated = stated.masked_fill(right, -torch.inf).log_softmax(1)
    return (best.exp() * (best - stated).nan_to_num(0.0)).sum(1)


def doubting(queries, doubt):
    """What a wrapper does that knows how likely each entity is a missing fact."""

    def tell(drawn):
        known = doubt.gather(1, ungroup(drawn.ids, len(queries)))
        return replace(drawn, p_false_negative=known * drawn.mask)

    return tell


def test_it_comes_to_draw_less_of_what_may_be_missing():
    """q in proportion to (1 - doubt) exp(score), property (g) of the ideal loss."""
    graph, queries, table = world()
    doubt = torch.rand(table.shape, generator=torch.Generator().manual_seed(5)) * 0.9
    torch.manual_seed(0)
    generator = NSGenerator(
        graph, k=32, dim=32, codes=8 * N, floor=0.0, visits=N, likelihood=0.0, others=0,
        every=1, learn_from=1.0, lr=0.05,
    )  # fmt: skip
    scorer, rng = table_scorer(table.repeat(8, 1)), torch.Generator().manual_seed(1)
    many = queries[torch.arange(len(queries)).repeat(8)]
    tell = doubting(many, doubt.repeat(8, 1))
    for step in range(1500):
        generator.optimizer.param_groups[0]["lr"] = 0.05 * (1 - step / 1500)
        drawn = tell(generator.sample(many, scorer, rng))
        negative, right = scorer(drawn.ids), scorer(many.answer.unsqueeze(1)).squeeze(1)
        generator.observe(Feedback(many, drawn, right, negative, torch.zeros_like(negative)))
    assert distance(generator, queries, table + (1 - doubt).log()).max() < 0.01


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_it_comes_to_draw_the_softmax_of_the_scores(temperature):
    graph, queries, table = world()
    options = {"dim": 32, "codes": 8 * N, "floor": 0.0, "visits": N, "likelihood": 0.0}
    generator = trained(graph, queries, table, 1500, temperature=temperature, **options)
    assert distance(generator, queries, table, temperature).max() < 0.01


def test_it_does_not_collapse_in_ten_thousand_steps():
    graph, queries, table = world(queries=2)
    generator = trained(graph, queries, 3 * table, 10_000, copies=2, codes=8 * N, visits=N, dim=16)
    everyone = torch.arange(N).unsqueeze(0)
    stated = generator.density(generator.shares(queries), everyone)
    assert distance(generator, queries, 3 * table).max() < 0.1  # its floor is part of it
    assert (stated.exp() >= 0.99 * generator.floor / N).all()
    assert (-(stated.exp() * stated).sum(1)).min() > 0.5


def gradient_of(generator, queries, scorer, rng):
    drawn = generator.sample(queries, scorer, rng)
    negative = scorer(drawn.ids)
    seen = Feedback(queries, drawn, negative[:, 0], negative, torch.zeros_like(negative))
    return torch.autograd.grad(generator._apart(seen), generator.proposal.relation.weight)[0]


def test_it_has_nothing_to_learn_once_it_knows_the_scores():
    graph, queries, table = world()
    generator = NSGenerator(graph, k=64, dim=8, others=0, every=1, learn_from=1.0, likelihood=0.0)
    with torch.no_grad():
        generator.proposal.entity.weight[N - 1, -1] = -50.0  # the answer, which never counts
    generator.codes.restart(generator.proposal.vectors, generator.proposal.bias)
    rng = torch.Generator().manual_seed(0)
    known = lambda ids: generator.proposal(queries)(ids).detach()
    assert gradient_of(generator, queries, known, rng).abs().max() < 1e-5
    assert gradient_of(generator, queries, table_scorer(table), rng).abs().max() > 1e-3


def test_known_answers_never_count_and_are_drawn_less_and_less():
    graph = tiny_graph()
    queries = tiny_queries(graph)
    table = torch.zeros(len(queries), graph.num_entities)
    fresh, learned = (
        trained(graph, queries, table, steps, copies=1, codes=88, visits=11, dim=16, floor=0.0)
        for steps in (0, 800)
    )
    everyone = torch.arange(graph.num_entities).unsqueeze(0)
    known = graph.known.contains(queries, everyone)
    share = lambda one: (one.density(one.shares(queries), everyone).exp() * known).sum(1).mean()
    assert share(learned) < 0.6 * share(fresh)
    drawn = learned.sample(queries, table_scorer(table), torch.Generator().manual_seed(0))
    taken = known.gather(1, drawn.ids)
    assert taken.any() and not drawn.mask[taken].any()


def test_a_few_uniform_others_teach_it_what_it_does_not_draw():
    graph, queries, table = world()
    far = {}
    for others in (0, 64):
        generator = trained(
            graph, queries, 3 * table, 300, k=2, others=others, floor=0.0, codes=8 * N, visits=N
        )
        far[others] = distance(generator, queries, 3 * table).mean()
    assert far[64] < 0.5 * far[0]


def test_it_learns_from_its_share_of_the_queries_in_turn():
    graph, queries, table = world()
    generator = NSGenerator(graph, k=4, every=1, learn_from=1 / 3)
    for step in range(3):
        before = generator.proposal.entity.weight.detach().clone()
        drawn = generator.sample(queries, table_scorer(table), torch.Generator().manual_seed(0))
        generator.optimizer = torch.optim.SGD(generator.proposal.parameters(), 1.0)
        negative = table_scorer(table)(drawn.ids)
        generator.observe(Feedback(queries, drawn, negative[:, 0], negative, 0 * negative))
        anchors = (before != generator.proposal.entity.weight)[: len(queries), 0]
        listened = torch.zeros(len(queries), dtype=torch.bool)
        listened[step::3] = True
        assert anchors[listened].all()


def test_others_are_scored_for_the_queries_of_the_lesson():
    graph, queries, table = world()
    generator = NSGenerator(graph, k=4, others=6, every=1, learn_from=1 / 3)
    asked = []

    @dataclass(frozen=True, eq=False)
    class Counting(PrecomputedScorer):
        def __call__(self, ids):
            asked.append(len(self.table) * ids.shape[1])
            return super().__call__(ids)

        def __getitem__(self, rows):
            return Counting(self.table[rows])

    for _ in range(3):
        drawn = generator.sample(queries, Counting(table), torch.Generator().manual_seed(0))
        negative = table_scorer(table)(drawn.ids)
        generator.observe(Feedback(queries, drawn, negative[:, 0], negative, 0 * negative))
    assert sum(asked) == len(queries) * 6
    assert generator.capabilities.num_extra_scores == 2


def test_between_lessons_it_neither_asks_nor_learns():
    graph, queries, table = world()
    generator = NSGenerator(graph, k=4, every=3, others=10, learn_from=0.5)
    assert generator.capabilities.num_extra_scores == 2
    asked, learned = [], []

    def score(ids):
        asked[-1] = True
        return table_scorer(table)(ids)

    for _ in range(6):
        asked.append(False)
        before = generator.proposal.entity.weight.detach().clone()
        drawn = generator.sample(queries, score, torch.Generator().manual_seed(0))
        negative = table_scorer(table)(drawn.ids)
        told = generator.observe(Feedback(queries, drawn, negative[:, 0], negative, 0 * negative))
        assert told["generator_loss"] > 0  # that of the last lesson
        learned.append(not torch.equal(before, generator.proposal.entity.weight))
    assert asked == learned == [True, False, False, True, False, False]


def test_the_sharpness_follows_the_difficulty():
    graph, queries, table = world()
    for difficulty, harder in ((0.9, True), (0.01, False)):
        generator = NSGenerator(graph, k=4, every=1, difficulty=difficulty)
        for _ in range(5):
            drawn = generator.sample(queries, table_scorer(table), torch.Generator().manual_seed(0))
            negative = torch.zeros(drawn.mask.shape)
            negative[:, 0] = 1.0  # a quarter scores above the answer
            generator.observe(
                Feedback(queries, drawn, 0.5 + 0 * negative[:, 0], negative, negative)
            )
        assert (generator.sharpness > 1) == harder


def test_feedback_on_other_queries_than_the_last_draw_is_understood():
    graph, queries, table = world()
    generator = NSGenerator(graph, k=4)
    generator.sample(queries, table_scorer(table), torch.Generator().manual_seed(0))
    some = queries[:4]
    drawn = Negatives.from_ids(some, torch.arange(4).unsqueeze(0))
    negative = table[:4][:, :4]
    told = generator.observe(Feedback(some, drawn, negative[:, 0], negative, 0 * negative))
    assert told["generator_loss"].isfinite()


def test_without_a_candidate_that_counts_there_is_nothing_to_learn():
    graph = small_graph(entities=2)
    queries = same_query(4, answer=1)
    generator = NSGenerator(graph, k=3, others=0, likelihood=0.0)
    drawn = Negatives.from_ids(queries, torch.ones(4, 3, dtype=torch.long))
    told = generator.observe(heard(queries, drawn, torch.zeros(2)))
    assert told["generator_loss"] == 0
    assert torch.equal(told["difficulty"], torch.zeros(()))


def test_gradients_are_sparse_where_entities_are_many():
    triples = torch.tensor([[0, 0, 60_000]])
    graph = TrainGraph(triples, 60_001, 1)
    queries = same_query(4, answer=60_000)
    generator = NSGenerator(graph, k=3, dim=4, codes=8, visits=60_001)
    scorer = lambda ids: torch.zeros(4, ids.shape[1])
    drawn = generator.sample(queries, scorer, torch.Generator().manual_seed(0))
    before = generator.proposal.entity.weight.detach().clone()
    negative = ungroup(drawn.ids, 4).float()
    generator.observe(Feedback(queries, drawn, negative[:, 0], negative, 0 * negative))
    assert generator.proposal.entity.weight.grad.is_sparse
    assert 0 < (before != generator.proposal.entity.weight).any(1).sum() < 100


@pytest.mark.parametrize(
    "options, match",
    [
        ({"k": 1, "others": 0}, "at least 2 of them; got k=1 and others=0"),
        ({"others": -1}, "got k=4 and others=-1"),
        ({"floor": 1.0}, "floor=1.0"),
        ({"difficulty": 1.5}, "difficulty=1.5"),
        ({"tolerate": 0.0}, "above 0 and at most 1; got tolerate=0.0"),
        ({"every": 0}, "at least a step from the next; got every=0"),
        ({"learn_from": 0.0}, "learn_from=0.0"),
        ({"temperature": 0.0}, "temperature and sharpness must be above 0"),
        ({"sharpness": -1.0}, "sharpness=-1.0"),
        ({"dim": 3}, "dim must be even; got 3"),
    ],
)
def test_numbers_that_mean_nothing_are_refused(options, match):
    with pytest.raises(ValueError, match=match):
        NSGenerator(tiny_graph(), **{"k": 4, **options})


def test_a_fresh_proposal_is_nearly_indifferent():
    torch.manual_seed(0)
    graph, queries, _ = world(entities=500)
    logits = Proposal(graph, dim=32, sparse=False)(queries)(torch.arange(500).unsqueeze(0))
    assert 0.02 < logits.std() < 0.3


def test_a_proposal_multiplies_and_shifts_by_hand():
    graph, queries, _ = world(queries=1)
    proposal = Proposal(graph, dim=2, sparse=False)
    with torch.no_grad():
        proposal.entity.weight[0] = torch.tensor([1.0, 2.0, 9.0])
        proposal.entity.weight[1] = torch.tensor([5.0, 7.0, 0.5])
        proposal.relation.weight[0] = torch.tensor([3.0, 4.0, 10.0, 20.0])
    # (1 + 2i)(3 + 4i) = -5 + 10i, shifted to 5 + 30i
    torch.testing.assert_close(proposal.context(queries), torch.tensor([[5.0, 30.0]]))
    got = proposal(queries)(torch.tensor([[1]]))
    assert got.item() == pytest.approx(5 * 5 + 30 * 7 + 0.5)


def test_no_weight_exceeds_what_the_floor_allows():
    graph, queries, _table = world()
    generator = NSGenerator(graph, k=4, floor=0.2, sharpness=50.0)
    everyone = torch.arange(N).unsqueeze(0)
    assert (
        generator.density(generator.shares(queries), everyone) >= math.log(0.2 / N) - 1e-5
    ).all()


@pytest.mark.parametrize("many", [5, 50_000])
def test_what_its_optimizer_remembers_moves_along(many, monkeypatch):
    monkeypatch.setattr("sparring.generators.ns_generator.MANY", many)
    graph, queries, table = world()
    generator = trained(graph, queries, table, 2).double()
    states = generator.optimizer.state.values()
    assert states
    for state in states:
        kept = [one for name, one in state.items() if name != "step"]
        assert kept and all(one.dtype == torch.double for one in kept)
