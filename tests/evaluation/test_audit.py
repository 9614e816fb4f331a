"""What an audit says of samplers that are known."""

import json
import math

import polars as pl
import pytest
import torch
from evaluation.fixtures import (
    FACTS_OF_EACH_KIND as GRAPH,
)
from evaluation.fixtures import (
    Says,
    Table,
    audited,
    graph_of,
    random_graph,
    seeded,
    triples_of,
)

from sparring.evaluation.audit import audit
from sparring.samplers import AllEntities, KvsAll, MaskKnown, Uniform
from sparring.samplers.base import Capabilities, NegativeSampler

ASKED = triples_of((0, 0, 1))


def tails(sampler, graph=GRAPH, **options):
    """Statistics of tail queries."""
    (found,) = [stats for stats in audited(sampler, graph, **options).sides if stats.name == "tail"]
    return found


def test_the_answer_is_seen_as_drawn_but_does_not_count():
    found = tails(Says([1, 5]))
    assert (found.answer_drawn, found.answer_counted) == (0.5, 0)


def test_a_sampler_that_counts_the_answer_is_found_out():
    class Careless(Says):
        def sample(self, queries, score, rng):
            drawn = super().sample(queries, score, rng)
            drawn.mask.fill_(True)
            return drawn

    assert tails(Careless([1, 5])).answer_counted == 0.5


def test_training_facts_are_known_apart_from_the_answer():
    found = tails(Says([1, 2, 5, 0]))
    assert (found.known_drawn, found.known_counted) == (1 / 4, 1 / 3)


def test_facts_of_validation_and_test_are_withheld():
    found = tails(Says([3, 4, 5, 0, 2]))
    assert (found.withheld_drawn, found.withheld_counted) == (2 / 5, 2 / 5)


def test_extra_facts_are_withheld_too():
    assert tails(Says([5, 0]), extra_true=triples_of((0, 0, 5))).withheld_drawn == 0.5


def test_extra_facts_hold_for_head_queries():
    found = audited(Says([5, 3]), extra_true=triples_of((5, 0, 1)))
    assert [side.withheld_drawn for side in found.sides] == [0.5, 0.5]  # (0, 0, 3); (5, 0, 1)


def test_a_training_fact_is_not_withheld_even_if_listed_as_extra():
    found = tails(Says([2, 5]), extra_true=triples_of((0, 0, 2)))
    assert (found.known_drawn, found.withheld_drawn) == (0.5, 0)


def test_an_answer_that_is_withheld_is_only_the_answer():
    found = tails(Says([3, 5]), triples=triples_of((0, 0, 3)))
    assert (found.answer_drawn, found.withheld_drawn) == (0.5, 0)


def test_masked_candidates_are_drawn_but_do_not_count():
    found = tails(Says([2, 3, 5, 0], mask=[False, False, True, True]))
    assert (found.draws, found.counted) == (40, 20)
    assert (found.known_drawn, found.withheld_drawn) == (0.25, 0.25)
    assert (found.known_counted, found.withheld_counted) == (0, 0)


def test_hiding_known_facts_hides_them_from_the_count_only():
    found = tails(MaskKnown(GRAPH.training, inner=AllEntities(GRAPH.training)))
    assert (found.known_drawn, found.known_counted) == (1 / 6, 0)


def test_weight_on_withheld_facts_is_what_the_loss_will_see():
    found = tails(Says([3, 5], weight=[0.25, 0.75]))
    assert (found.withheld_counted, found.withheld_weight) == (0.5, 0.25)


def test_shares_of_nothing_are_none():
    found = tails(Says([5], mask=[False]), model=Table.random(GRAPH))
    assert found.counted == 0
    assert [found.withheld_counted, found.withheld_weight, found.percentile, found.entropy] == [
        None
    ] * 4


def test_every_share_agrees_with_a_plain_loop():
    graph = random_graph(entities=10, size=120)
    sets = [{tuple(t) for t in split.tolist()} for split in (graph.train, graph.valid, graph.test)]
    counts = {"answer": 0, "known": 0, "withheld": 0}
    for head, relation, tail in graph.train.tolist():
        for entity in range(10):
            for triple, answer in (
                ((head, relation, entity), tail),
                ((entity, relation, tail), head),
            ):
                if entity == answer:
                    counts["answer"] += 1
                elif triple in sets[0]:
                    counts["known"] += 1
                elif triple in sets[1] | sets[2]:
                    counts["withheld"] += 1
    draws = 20 * len(graph.train)
    found = audited(
        AllEntities(graph.training), graph, triples=None, draws=draws, batch_size=len(graph.train)
    ).overall
    assert found.draws == draws
    assert {name: getattr(found, f"{name}_drawn") for name in counts} == {
        name: count / draws for name, count in counts.items()
    }


def test_uniform_draws_are_of_medium_hardness_under_any_model():
    graph = random_graph(entities=50, size=300)
    found = audited(
        Uniform(graph.training, k=8),
        graph,
        triples=None,
        draws=20_000,
        batch_size=256,
        model=Table.random(graph),
    )
    assert found.overall.percentile == pytest.approx(0.5, abs=0.01)  # 5 standard deviations


def test_equal_scores_are_of_medium_hardness():
    model = Table.of_entities(GRAPH, [0.0] * 6)
    found = tails(Says([5, 0]), model=model)
    assert (found.percentile, found.above) == (0.5, 0)


@pytest.mark.parametrize("entity, percentile", [(0, 0.5 / 6), (2, 2.5 / 6), (5, 5.5 / 6)])
def test_the_percentile_of_a_candidate_by_hand(entity, percentile):
    model = Table.of_entities(GRAPH, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0])
    assert tails(Says([entity]), model=model).percentile == pytest.approx(percentile)


def test_tied_entities_count_half_to_a_percentile():
    model = Table.of_entities(GRAPH, [0.0, 9.0, 9.0, 9.0, 9.0, 9.0])
    assert tails(Says([5]), model=model).percentile == pytest.approx((1 + 5 / 2) / 6)


def test_the_share_above_the_answer_is_of_what_counts():
    model = Table.of_entities(GRAPH, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0])  # the answer has 1
    found = tails(Says([0, 2, 3, 1, 5], mask=[True, True, True, True, False]), model=model)
    assert found.above == pytest.approx(2 / 3)


def test_a_sample_of_entities_stands_for_all_without_bias():
    model = Table.of_entities(GRAPH, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0])
    found = tails(Says([4]), model=model, reference=3, batch_size=1, draws=200)
    assert found.percentile == pytest.approx(4.5 / 6, abs=0.1)  # 5 standard deviations


def test_without_a_model_hardness_is_unknown():
    assert (tails(Says([5])).percentile, tails(Says([5])).above) == (None, None)


def test_repeats_within_a_list_are_counted_out():
    assert tails(Says([5, 0, 5, 5])).distinct == 0.5


def test_masked_repeats_are_no_matter():
    assert tails(Says([5, 0, 5, 5], mask=[True, True, False, False])).distinct == 1


def test_coverage_is_of_all_entities():
    assert tails(Says([5, 0, 5, 1])).coverage == 2 / 6  # e1 is the answer


def test_a_sampler_with_one_idea_has_no_entropy():
    assert tails(Says([5])).entropy == 0


def test_the_entropy_of_all_entities_by_hand():
    # e0 and e1 are the answer of one of the two queries, so each counts half as often
    found = audited(AllEntities(GRAPH.training), draws=50_000, batch_size=256).overall
    assert found.entropy == pytest.approx(4 * 0.2 * math.log(5) + 2 * 0.1 * math.log(10))


def test_entropy_is_never_above_that_of_all_entities():
    graph = random_graph(entities=40, size=100)
    found = audited(Uniform(graph.training, k=4), graph, triples=None, draws=8)
    assert found.overall.entropy <= math.log(40)


def test_bands_tell_which_entities_a_sampler_prefers():
    graph = graph_of([(0, 0, 1), (0, 0, 2), (0, 0, 3), (0, 0, 4)], entities=7)
    found = audited(Says([0, 5, 5, 6]), graph, triples=triples_of((0, 0, 1)), batch_size=1)
    bands = {band.name: band for band in found.bands}
    assert list(bands) == ["0", "1-3", "4-15"]
    assert (bands["0"].entities, bands["0"].coverage) == (2, 1)
    assert (bands["1-3"].entities, bands["1-3"].coverage, bands["1-3"].share) == (4, 0, 0)
    assert bands["0"].share == pytest.approx(6 / 7)  # e0 counts in one of the two queries
    assert bands["4-15"].share == pytest.approx(1 / 7)


def test_the_baseline_is_uniform_with_as_many_candidates():
    found = audited(Says([5, 0, 3]), draws=30_000, batch_size=256)
    base = found.baseline
    assert (found.sampler, base.sampler) == ("Says", "Uniform")
    assert (found.k, base.k) == (3, 3)
    assert base.overall.queries == found.overall.queries
    # e3 and e4 are withheld from half of the queries
    assert base.overall.withheld_drawn == pytest.approx(2 / 6 / 2, abs=0.02)


def test_a_baseline_has_no_baseline():
    assert audited(Says([5])).baseline.baseline is None


def test_statistics_cover_each_relation_with_queries():
    graph = random_graph(entities=10, relations=4, size=200)
    kept = graph.train[graph.train[:, 1] < 3]
    found = audited(Uniform(graph.training, k=2), graph, triples=kept, draws=4000, batch_size=100)
    assert [stats.name for stats in found.relations] == ["r0", "r1", "r2"]
    assert sum(stats.draws for stats in found.relations) == found.overall.draws


def test_sides_share_the_queries():
    found = audited(Says([5, 0]))
    assert [(side.name, side.queries) for side in found.sides] == [("tail", 10), ("head", 10)]


def test_draws_are_rounded_up_to_whole_batches():
    sampler = Says([5, 0, 3])
    found = audited(sampler, draws=37, batch_size=2)
    assert found.overall.draws == 48
    assert sampler.batches == [4, 4, 4, 4]


def test_batches_stay_full_where_there_are_few_triples():
    sampler = Says([5])
    audited(sampler, batch_size=8, draws=1)
    assert sampler.batches == [16]


def test_every_triple_is_asked_for_equally_often():
    graph = graph_of([(i, i, i + 1) for i in range(5)], relations=5)
    found = audited(Says([5]), graph, triples=graph.train, batch_size=1, draws=100)
    assert [stats.queries for stats in found.relations] == [20] * 5


@pytest.mark.parametrize("max_scores", [12, 40, 100, 10**6])
def test_scores_held_at_once_stay_below_the_bound(max_scores):
    model = Table.random(GRAPH)
    audited(Says([5, 0, 3]), model=model, max_scores=max_scores, batch_size=16)
    assert max(rows * width for rows, width in model.blocks) <= max_scores


def test_the_model_encodes_each_batch_once():
    model = Table.random(GRAPH)
    audited(Says([5]), model=model, batch_size=2, draws=40)
    assert model.encoded == [4] * 10


class Remembers(NegativeSampler):
    """Changes with every draw."""

    def __init__(self):
        super().__init__(1)
        self.register_buffer("drawn", torch.zeros(1, dtype=torch.long))

    def sample(self, queries, score, rng):
        self.drawn += 1
        return Uniform(GRAPH.training, k=1).sample(queries, score, rng)


def test_what_a_sampler_remembers_stays_as_it_was():
    sampler = Remembers()
    audited(sampler)
    assert sampler.drawn == 0


def test_what_a_sampler_remembers_survives_an_error():
    sampler = Remembers()
    with pytest.raises(FloatingPointError):
        audited(sampler, model=Table.of_entities(GRAPH, [0.0, 0, 0, 0, 0, math.nan]), reference=1)
    assert sampler.drawn == 0


def test_the_same_seed_gives_the_same_audit():
    sampler, model = Uniform(GRAPH.training, k=3), Table.random(GRAPH)
    assert audited(sampler, model=model) == audited(sampler, model=model)


def test_the_global_random_state_is_left_alone():
    before = torch.get_rng_state()
    audited(Uniform(GRAPH.training, k=3), model=Table.random(GRAPH))
    assert torch.equal(before, torch.get_rng_state())


def test_lists_over_all_entities_can_be_audited():
    found = audited(KvsAll(GRAPH.training), model=Table.random(GRAPH)).overall
    assert (found.known_counted, found.distinct) == (0, 1)


def test_an_audit_survives_json():
    found = audited(Says([5, 3]), model=Table.random(GRAPH))
    stored = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert stored["overall"]["withheld_counted"] == found.overall.withheld_counted
    assert stored["baseline"]["overall"]["draws"] == found.overall.draws


def test_the_table_has_sampler_and_baseline():
    found = audited(Says([5, 3]))
    table = found.table()
    assert table["group"].to_list() == ["overall", "side", "side", "relation"] * 2
    assert table["baseline"].to_list() == [False] * 4 + [True] * 4
    assert table["withheld_drawn"][0] == found.overall.withheld_drawn


class Asks(Says):
    """Asks for scores, and may say so."""

    def __init__(self, *, needs_scores):
        super().__init__([5])
        self.capabilities = Capabilities(needs_scores=needs_scores)

    def sample(self, queries, score, rng):
        score(self.ids.unsqueeze(0))
        return super().sample(queries, score, rng)


@pytest.mark.parametrize("announced", [True, False])
def test_a_sampler_that_needs_scores_needs_a_model(announced):
    message = "Asks needs the scores of a model; give the audit a model"
    with pytest.raises(ValueError, match=message):
        audited(Asks(needs_scores=announced))


def test_a_missing_model_is_noticed_before_the_first_draw():
    sampler = Asks(needs_scores=True)
    with pytest.raises(ValueError, match="give the audit a model"):
        audited(sampler)
    assert sampler.batches == []


def test_a_sampler_that_needs_scores_gets_them_from_the_model():
    assert audited(Asks(needs_scores=True), model=Table.random(GRAPH)).overall.draws == 40


@pytest.mark.parametrize("seed", range(4))  # of which some compare or draw no other entity
@pytest.mark.parametrize(
    "broken, reference", [(1, 1), (5, 1), (2, 6)], ids=["answer", "candidate", "reference"]
)
def test_nan_is_an_error_not_a_hard_negative(broken, reference, seed):
    model = Table.of_entities(GRAPH, [math.nan if e == broken else 0.0 for e in range(6)])
    options = {"reference": reference, "draws": 1, "batch_size": 1}
    with pytest.raises(FloatingPointError, match="queries have NaN scores"):
        audit(Says([5]), GRAPH, rng=seeded(seed), triples=ASKED, model=model, **options)


@pytest.mark.parametrize("option", ["draws", "batch_size", "reference", "max_scores"])
def test_numbers_start_at_one(option):
    with pytest.raises(ValueError, match=f"{option} must be at least 1; got 0"):
        audited(Says([5]), **{option: 0})


def test_no_triples_are_an_error():
    with pytest.raises(ValueError, match="there are no triples to draw for"):
        audited(Says([5]), triples=triples_of())


@pytest.mark.parametrize("row", [(0, 0, 6), (0, 2, 1), (-1, 0, 1)])
@pytest.mark.parametrize("name", ["triples", "extra_true"])
def test_triples_outside_the_vocabulary_are_refused(name, row):
    with pytest.raises(
        ValueError, match=rf"row 1 of {name} is \[.*\], outside the vocabulary of 6"
    ):
        audited(Says([5]), **{name: triples_of((0, 0, 1), row)})


def test_an_audit_prints_as_a_table_against_uniform_draws(monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    found = audited(Says([5, 3]))
    shown = found.shown()
    assert shown.columns[:3] == ["share", "all", "all, uniform"]
    coverage = shown.row(by_predicate=pl.col("share") == "entities reached", named=True)
    assert coverage["all"] == f"{found.overall.coverage:.1%}"
    assert "entities reached" in str(found) and "vs. uniform" in str(found)
