"""The generator on small graphs whose best distribution is known."""

import math
from dataclasses import dataclass, replace

import pytest
import torch
from generator_cases import feedback, same_query, scored_queries, small_graph

from sparring.batch import Feedback, Negatives
from sparring.data.graph import TrainGraph
from sparring.generators import FalseNegativePolicy, NSGenerator, UpdateSchedule
from sparring.generators.ns_generator import num_groups
from sparring.groups import ungroup
from sparring.models.scorers import PrecomputedScorer
from sparring.registry import build, warn_renamed
from sparring.samplers.base import SAMPLERS
from sparring.testing import table_scorer, tiny_graph, tiny_queries

N = 20


def every_step(**options):
    """An update on the whole batch in every step."""
    return UpdateSchedule(update_every=1, update_fraction=1.0, **options)


def trained(graph, queries, table, steps, *, copies=8, **options):
    """A generator that has learned from fixed scores, at a learning rate that falls to 0."""
    torch.manual_seed(0)
    generator = NSGenerator(graph, **{"k": 8, "lr": 0.05, "schedule": every_step(), **options})
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
    log_prob = generator.log_density(generator.distribution(queries), everyone)
    log_prob = log_prob.masked_fill(right, -torch.inf).log_softmax(1)
    return (best.exp() * (best - log_prob).nan_to_num(0.0)).sum(1)


def false_negatives_of(queries, p_false):
    """What a wrapper does that knows how likely each entity is a missing fact."""

    def tell(drawn):
        known = p_false.gather(1, ungroup(drawn.ids, len(queries)))
        return replace(drawn, p_false_negative=known * drawn.mask)

    return tell


@pytest.mark.slow
def test_it_comes_to_draw_less_of_what_may_be_missing():
    """q in proportion to (1 - p_false) exp(score), property (g) of the ideal loss."""
    graph, queries, table = scored_queries()
    p_false = torch.rand(table.shape, generator=torch.Generator().manual_seed(5)) * 0.9
    torch.manual_seed(0)
    generator = NSGenerator(
        graph, k=32, dim=32, codes=8 * N, uniform_mix=0.0, answer_loss_weight=0.0, lr=0.05,
        schedule=every_step(num_uniform=0, assign_per_step=N),
    )  # fmt: skip
    scorer, rng = table_scorer(table.repeat(8, 1)), torch.Generator().manual_seed(1)
    many = queries[torch.arange(len(queries)).repeat(8)]
    tell = false_negatives_of(many, p_false.repeat(8, 1))
    for step in range(1500):
        generator.optimizer.param_groups[0]["lr"] = 0.05 * (1 - step / 1500)
        drawn = tell(generator.sample(many, scorer, rng))
        negative, right = scorer(drawn.ids), scorer(many.answer.unsqueeze(1)).squeeze(1)
        generator.observe(Feedback(many, drawn, right, negative, torch.zeros_like(negative)))
    assert distance(generator, queries, table + (1 - p_false).log()).max() < 0.01


@pytest.mark.slow
@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_it_comes_to_draw_the_softmax_of_the_scores(temperature):
    graph, queries, table = scored_queries()
    options = {"dim": 32, "codes": 8 * N, "uniform_mix": 0.0, "answer_loss_weight": 0.0}
    options |= {"schedule": every_step(assign_per_step=N), "temperature": temperature}
    generator = trained(graph, queries, table, 1500, **options)
    assert distance(generator, queries, table, temperature).max() < 0.01


@pytest.mark.slow
def test_it_does_not_collapse_in_ten_thousand_steps():
    graph, queries, table = scored_queries(queries=2)
    options = {"codes": 8 * N, "dim": 16, "schedule": every_step(assign_per_step=N)}
    generator = trained(graph, queries, 3 * table, 10_000, copies=2, **options)
    everyone = torch.arange(N).unsqueeze(0)
    log_prob = generator.log_density(generator.distribution(queries), everyone)
    assert distance(generator, queries, 3 * table).max() < 0.1  # its uniform draws are part of it
    assert (log_prob.exp() >= 0.99 * generator.uniform_mix / N).all()
    assert (-(log_prob.exp() * log_prob).sum(1)).min() > 0.5


def gradient_of(generator, queries, scorer, rng):
    drawn = generator.sample(queries, scorer, rng)
    negative = scorer(drawn.ids)
    seen = Feedback(queries, drawn, negative[:, 0], negative, torch.zeros_like(negative))
    return torch.autograd.grad(
        generator._distillation_loss(seen), generator.student.relation.weight
    )[0]


def test_it_has_nothing_to_learn_once_it_knows_the_scores():
    graph, queries, table = scored_queries()
    generator = NSGenerator(
        graph, k=64, dim=8, answer_loss_weight=0.0, schedule=every_step(num_uniform=0)
    )
    with torch.no_grad():
        generator.student.entity.weight[N - 1, -1] = -50.0  # the answer, which never counts
    generator.index.initialize(generator.student.vectors, generator.student.bias)
    rng = torch.Generator().manual_seed(0)
    known = lambda ids: generator.student(queries)(ids).detach()
    assert gradient_of(generator, queries, known, rng).abs().max() < 1e-5
    assert gradient_of(generator, queries, table_scorer(table), rng).abs().max() > 1e-3


@pytest.mark.slow
def test_known_answers_never_count_and_are_drawn_less_and_less():
    graph = tiny_graph()
    queries = tiny_queries(graph)
    table = torch.zeros(len(queries), graph.num_entities)
    options = {"codes": 88, "dim": 16, "uniform_mix": 0.0}
    options |= {"copies": 1, "schedule": every_step(assign_per_step=11)}
    fresh, learned = (trained(graph, queries, table, steps, **options) for steps in (0, 800))
    everyone = torch.arange(graph.num_entities).unsqueeze(0)
    known = graph.known.contains(queries, everyone)
    density = lambda one: one.log_density(one.distribution(queries), everyone).exp()
    share = lambda one: (density(one) * known).sum(1).mean()
    assert share(learned) < 0.6 * share(fresh)
    drawn = learned.sample(queries, table_scorer(table), torch.Generator().manual_seed(0))
    taken = known.gather(1, drawn.ids)
    assert taken.any() and not drawn.mask[taken].any()


@pytest.mark.slow
def test_a_few_uniform_entities_teach_it_what_it_does_not_draw():
    graph, queries, table = scored_queries()
    far = {}
    for number in (0, 64):
        generator = trained(
            graph, queries, 3 * table, 300, k=2, uniform_mix=0.0, codes=8 * N,
            schedule=every_step(num_uniform=number, assign_per_step=N),
        )  # fmt: skip
        far[number] = distance(generator, queries, 3 * table).mean()
    assert far[64] < 0.5 * far[0]


def test_it_learns_from_its_share_of_the_queries_in_turn():
    graph, queries, table = scored_queries()
    generator = NSGenerator(
        graph, k=4, schedule=UpdateSchedule(update_every=1, update_fraction=1 / 3)
    )
    for step in range(3):
        before = generator.student.entity.weight.detach().clone()
        drawn = generator.sample(queries, table_scorer(table), torch.Generator().manual_seed(0))
        generator.optimizer = torch.optim.SGD(generator.student.parameters(), 1.0)
        negative = table_scorer(table)(drawn.ids)
        generator.observe(Feedback(queries, drawn, negative[:, 0], negative, 0 * negative))
        anchors = (before != generator.student.entity.weight)[: len(queries), 0]
        listened = torch.zeros(len(queries), dtype=torch.bool)
        listened[step::3] = True
        assert anchors[listened].all()


def test_uniform_entities_are_scored_for_the_queries_of_the_update():
    graph, queries, table = scored_queries()
    generator = NSGenerator(
        graph,
        k=4,
        schedule=UpdateSchedule(num_uniform=6, update_every=1, update_fraction=1 / 3),
    )
    asked = []

    @dataclass(frozen=True, eq=False)
    class Counting(PrecomputedScorer):
        def __call__(self, ids):
            asked.append(len(self.scores) * ids.shape[1])
            return super().__call__(ids)

        def __getitem__(self, rows):
            return Counting(self.scores[rows])

    for _ in range(3):
        drawn = generator.sample(queries, Counting(table), torch.Generator().manual_seed(0))
        negative = table_scorer(table)(drawn.ids)
        generator.observe(Feedback(queries, drawn, negative[:, 0], negative, 0 * negative))
    assert sum(asked) == len(queries) * 6
    assert generator.capabilities.num_extra_scores == 2


def test_between_updates_it_neither_asks_nor_learns():
    graph, queries, table = scored_queries()
    generator = NSGenerator(
        graph,
        k=4,
        schedule=UpdateSchedule(update_every=3, num_uniform=10, update_fraction=0.5),
    )
    assert generator.capabilities.num_extra_scores == 2
    asked, learned = [], []

    def score(ids):
        asked[-1] = True
        return table_scorer(table)(ids)

    for _ in range(6):
        asked.append(False)
        before = generator.student.entity.weight.detach().clone()
        drawn = generator.sample(queries, score, torch.Generator().manual_seed(0))
        negative = table_scorer(table)(drawn.ids)
        metrics = generator.observe(
            Feedback(queries, drawn, negative[:, 0], negative, 0 * negative)
        )
        assert metrics["generator_loss"] > 0  # that of the last update
        learned.append(not torch.equal(before, generator.student.entity.weight))
    assert asked == learned == [True, False, False, True, False, False]


def test_the_inverse_temperature_follows_the_target_hardness():
    graph, queries, table = scored_queries()
    for hardness, harder in ((0.9, True), (0.01, False)):
        generator = NSGenerator(
            graph, k=4, schedule=UpdateSchedule(update_every=1), target_hardness=hardness
        )
        for _ in range(5):
            drawn = generator.sample(queries, table_scorer(table), torch.Generator().manual_seed(0))
            negative = torch.zeros(drawn.mask.shape)
            negative[:, 0] = 1.0  # a quarter scores above the answer
            generator.observe(
                Feedback(queries, drawn, 0.5 + 0 * negative[:, 0], negative, negative)
            )
        assert (generator.inverse_temperature > 1) == harder


def test_feedback_on_other_queries_than_the_last_draw_is_understood():
    graph, queries, table = scored_queries()
    generator = NSGenerator(graph, k=4)
    generator.sample(queries, table_scorer(table), torch.Generator().manual_seed(0))
    some = queries[:4]
    drawn = Negatives.from_ids(some, torch.arange(4).unsqueeze(0))
    negative = table[:4][:, :4]
    metrics = generator.observe(Feedback(some, drawn, negative[:, 0], negative, 0 * negative))
    assert metrics["generator_loss"].isfinite()


def test_without_a_candidate_that_counts_there_is_nothing_to_learn():
    graph = small_graph(entities=2)
    queries = same_query(4, answer=1)
    generator = NSGenerator(
        graph, k=3, answer_loss_weight=0.0, schedule=UpdateSchedule(num_uniform=0)
    )
    drawn = Negatives.from_ids(queries, torch.ones(4, 3, dtype=torch.long))
    metrics = generator.observe(feedback(queries, drawn, torch.zeros(2)))
    assert metrics["generator_loss"] == 0
    assert torch.equal(metrics["hardness"], torch.zeros(()))


def test_gradients_are_sparse_where_entities_are_many():
    triples = torch.tensor([[0, 0, 60_000]])
    graph = TrainGraph(triples, 60_001, 1)
    queries = same_query(4, answer=60_000)
    generator = NSGenerator(
        graph, k=3, dim=4, codes=8, schedule=UpdateSchedule(assign_per_step=60_001)
    )
    scorer = lambda ids: torch.zeros(4, ids.shape[1])
    drawn = generator.sample(queries, scorer, torch.Generator().manual_seed(0))
    before = generator.student.entity.weight.detach().clone()
    negative = ungroup(drawn.ids, 4).float()
    generator.observe(Feedback(queries, drawn, negative[:, 0], negative, 0 * negative))
    assert generator.student.entity.weight.grad.is_sparse
    assert 0 < (before != generator.student.entity.weight).any(1).sum() < 100


@pytest.mark.parametrize(
    "options, match",
    [
        (
            {"k": 1, "schedule": UpdateSchedule(num_uniform=0)},
            "2 of them; got k=1 and num_uniform=0",
        ),
        ({"uniform_mix": 1.0}, "uniform_mix=1.0"),
        ({"target_hardness": 1.5}, "target_hardness=1.5"),
        ({"temperature": 0.0}, "temperature and inverse_temperature are above 0"),
        ({"inverse_temperature": -1.0}, "inverse_temperature=-1.0"),
        ({"dim": 3}, "dim must be even; got 3"),
    ],
)
def test_numbers_that_mean_nothing_are_refused(options, match):
    with pytest.raises(ValueError, match=match):
        NSGenerator(tiny_graph(), **{"k": 4, **options})


@pytest.mark.parametrize(
    "group, options, match",
    [
        (UpdateSchedule, {"num_uniform": -1}, "num_uniform=-1"),
        (UpdateSchedule, {"update_every": 0}, "at least 1, .*; got update_every=0"),
        (UpdateSchedule, {"assign_per_step": 0}, "assign_per_step=0"),
        (UpdateSchedule, {"update_fraction": 0.0}, "at most 1; got update_fraction=0.0"),
        (FalseNegativePolicy, {"max_p_false_negative": 0.0}, "got max_p_false_negative=0.0"),
        (FalseNegativePolicy, {"missing_rate": 1.0}, "got missing_rate=1.0"),
    ],
)
def test_groups_of_options_that_mean_nothing_are_refused(group, options, match):
    with pytest.raises(ValueError, match=match):
        group(**options)


FORMER = {
    "shared": ("share_negatives", True),
    "floor": ("uniform_mix", 0.3),
    "sharpness": ("inverse_temperature", 1.5),
    "difficulty": ("target_hardness", 0.2),
    "likelihood": ("answer_loss_weight", 0.2),
    "others": ("schedule.num_uniform", 5),
    "every": ("schedule.update_every", 3),
    "learn_from": ("schedule.update_fraction", 0.25),
    "visits": ("schedule.assign_per_step", 37),
    "missing": ("false_negatives.missing_rate", 0.2),
    "weigh": ("false_negatives.weight_negatives", False),
    "tolerate": ("false_negatives.max_p_false_negative", 0.05),
    "avoid": ("false_negatives.penalize_target", False),
}


def configured(name, **options):
    """A generator from the table of an experiment, and what makes it up."""
    torch.manual_seed(0)
    graph = tiny_graph().hold_out(0.2)
    made = build({"name": name, "k": 4, "dim": 8, **options}, SAMPLERS, "sampler", graph=graph)
    plain = {
        name: value
        for name, value in vars(made).items()
        if isinstance(value, int | float | UpdateSchedule | FalseNegativePolicy)
    }
    return plain | {"capabilities": made.capabilities}, made.state_dict()


@pytest.mark.parametrize("former", FORMER)
def test_every_former_option_makes_the_same_generator(former):
    warn_renamed.cache_clear()
    new, value = FORMER[former]
    group, _, option = new.rpartition(".")
    with pytest.warns(FutureWarning, match=f"'{former}' is now named '{new}'"):
        old_options, old_state = configured("sparring", **{former: value})
    table = {group: {option: value}} if group else {option: value}
    options, state = configured("generator", **table)
    assert options == old_options
    assert options != configured("generator")[0] or former == "sharpness"
    assert state.keys() == old_state.keys()
    for name in state.keys() - {"_extra_state", "index._extra_state"}:
        assert torch.equal(state[name], old_state[name]), name


def test_no_importance_weight_exceeds_what_uniform_draws_allow():
    graph, queries, _table = scored_queries()
    generator = NSGenerator(graph, k=4, uniform_mix=0.2, inverse_temperature=50.0)
    everyone = torch.arange(N).unsqueeze(0)
    assert (
        generator.log_density(generator.distribution(queries), everyone) >= math.log(0.2 / N) - 1e-5
    ).all()


@pytest.mark.parametrize("many", [5, 50_000])
def test_what_its_optimizer_remembers_moves_along(many, monkeypatch):
    monkeypatch.setattr("sparring.generators.ns_generator.MANY_ENTITIES", many)
    graph, queries, table = scored_queries()
    generator = trained(graph, queries, table, 2).double()
    states = generator.optimizer.state.values()
    assert states
    for state in states:
        kept = [one for name, one in state.items() if name != "step"]
        assert kept and all(one.dtype == torch.double for one in kept)


@pytest.mark.parametrize(
    "batch, size, groups",
    [(24, 8, 3), (24, 7, 3), (2048, 64, 32), (7, 3, 1), (6, 100, 1), (6, 1, 6)],
)
def test_groups_are_equal_in_size(batch, size, groups):
    assert num_groups(batch, size) == groups


def test_queries_of_one_relation_stand_together_in_groups():
    graph = tiny_graph()
    queries = tiny_queries(graph)
    grouped = NSGenerator(graph, k=6, dim=8, group_size=8)
    arranged = grouped.arrange(queries)
    assert torch.equal(arranged.relation, queries.relation.sort().values)
    drawn = grouped.sample(arranged, table_scorer(torch.zeros(24, 11)), torch.Generator())
    assert drawn.ids.shape == (3, 6)
    assert NSGenerator(graph, k=6, dim=8).arrange(queries) is queries


@pytest.mark.slow
def test_a_generator_of_groups_learns_each_query_by_itself():
    graph, queries, table = scored_queries()
    generator = trained(graph, queries, table, 400, k=40, group_size=8)
    assert len(generator.distribution(queries).weight) == 1
    generator.group_size = 0  # the distance is of each query's own distribution
    assert distance(generator, queries, table).max() < 0.1


def test_an_update_reads_a_part_of_a_long_list():
    graph = tiny_graph()
    assert NSGenerator(graph, k=256, dim=8, group_size=8).num_draws == 32
    assert NSGenerator(graph, k=256, dim=8).num_draws == 256
    few = UpdateSchedule(num_draws=5)
    assert NSGenerator(graph, k=256, dim=8, group_size=8, schedule=few).num_draws == 5


@pytest.mark.parametrize(
    "options", [{"group_size": -1}, {"group_size": 8, "share_negatives": True}]
)
def test_groups_and_one_list_exclude_each_other(options):
    with pytest.raises(ValueError, match="groups have lists of their own"):
        NSGenerator(tiny_graph(), k=6, dim=8, **options)


def test_densities_of_a_step_are_those_of_its_draw():
    graph = tiny_graph()
    queries = tiny_queries(graph)
    generator = NSGenerator(graph, k=6, dim=8)
    drawn = generator.sample(queries, table_scorer(torch.zeros(24, 11)), torch.Generator())
    assert torch.equal(generator.log_prob(queries, drawn.ids), drawn.log_q)
    generator.observe(feedback(queries, drawn, torch.randn(11)))
    assert not torch.equal(generator.log_prob(queries, drawn.ids), drawn.log_q)
