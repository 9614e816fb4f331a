import json

import pytest
from experiments.report.fake import fake_comparison

from sparring.evaluation.breakdown import Difference
from sparring.experiments.report.records import (
    DASH,
    Group,
    Metric,
    Variant,
    between,
    count,
    duration,
    headline,
    percent,
    score,
    signed,
    span,
    variants,
)


def read(comparison):
    return variants(comparison, comparison.numbers())


@pytest.fixture
def comparison(tmp_path):
    return fake_comparison(tmp_path, labels=("Uniform", "Bernoulli"))


def test_variants_stand_in_the_order_of_the_plan(comparison):
    assert [variant.label for variant in read(comparison)] == ["Uniform", "Bernoulli"]


def test_only_the_baseline_has_no_difference(comparison):
    assert [variant.difference is None for variant in read(comparison)] == [True, False]


def test_the_mrr_is_the_mean_over_seeds(comparison):
    each = [run.result()["mrr"] for run in comparison.runs["Uniform"]]
    assert read(comparison)[0].mrr.value == pytest.approx(sum(each) / 3)


def test_the_interval_is_the_mean_of_those_of_the_seeds(comparison):
    lows = []
    for run in comparison.runs["Uniform"]:
        overall, *_ = json.loads((run.folder / "breakdown.json").read_text())["rows"]
        lows.append(overall["mrr_low"])
    assert read(comparison)[0].mrr.ends[0] == pytest.approx(sum(lows) / 3)


def test_without_a_breakdown_the_mrr_has_no_interval(tmp_path):
    variant, *_ = read(fake_comparison(tmp_path, extras=()))
    assert variant.mrr == (variant.mean("mrr"), None)


def test_a_group_without_an_interval_in_one_seed_has_none(comparison):
    path = comparison.runs["Uniform"][1].folder / "breakdown.json"
    found = json.loads(path.read_text())
    found["rows"][0]["mrr_low"] = None
    path.write_text(json.dumps(found))
    assert read(comparison)[0].mrr.ends is None


def test_curves_end_where_the_first_seed_stops(comparison):
    log = comparison.runs["Uniform"][2].folder / "log.jsonl"
    log.write_text("".join(log.read_text().splitlines(keepends=True)[:-4]))  # of 12 validations
    assert [len(variant.curve) for variant in read(comparison)] == [8, 12]


def test_curves_have_the_mean_processor_time_of_the_seeds(comparison):
    last = read(comparison)[0].curve[-1]
    assert last.cpu_seconds == pytest.approx(41)  # of 40, 41 and 42


def test_offers_are_means_over_seeds(comparison):
    stats = read(comparison)[0].samples["own"]
    assert stats.withheld_counted == pytest.approx(0.0042)  # of 0.0040, 0.0042 and 0.0044


def test_a_share_that_one_seed_lacks_is_not_known(comparison):
    path = comparison.runs["Uniform"][0].folder / "audit.json"
    found = json.loads(path.read_text())
    found["overall"]["percentile"] = None
    path.write_text(json.dumps(found))
    assert read(comparison)[0].samples["own"].percentile is None


def test_an_audit_without_a_baseline_has_no_uniform_draws(comparison):
    for run in comparison.runs["Uniform"]:
        found = json.loads((run.folder / "audit.json").read_text())
        (run.folder / "audit.json").write_text(json.dumps({**found, "baseline": None}))
    assert set(read(comparison)[0].samples) == {"own"}


def spaced(text):
    return text.replace("\N{NARROW NO-BREAK SPACE}", " ")


@pytest.mark.parametrize(
    "value, text", [(0.3456, "0.346"), (1.0, "1.000"), (-0.02, "\N{MINUS SIGN}0.020")]
)
def test_scores(value, text):
    assert score(value) == text


@pytest.mark.parametrize(
    "value, text",
    [(0.0214, "+0.021"), (-0.0214, "\N{MINUS SIGN}0.021"), (0.0004, "0.000"), (-0.0004, "0.000")],
)
def test_differences(value, text):
    assert signed(value) == text


def test_intervals():
    assert between(-0.003, 0.0101) == "\N{MINUS SIGN}0.003 to +0.010"


@pytest.mark.parametrize("value, text", [(7, "7"), (12345.4, "12 345"), (1e6, "1 000 000")])
def test_counts(value, text):
    assert spaced(count(value)) == text


@pytest.mark.parametrize(
    "share, text",
    [(0.5, "50 %"), (0.0123, "1.2 %"), (0.00123, "0.12 %"), (0.000123, "0.012 %"), (0.0, "0 %")],
)
def test_shares(share, text):
    assert spaced(percent(share)) == text


@pytest.mark.parametrize(
    "seconds, text",
    [
        (3.14, "3.1 s"),
        (42.4, "42 s"),
        (59.7, "1 min"),
        (600, "10 min"),
        (3590, "1 h 0 min"),
        (4320, "1 h 12 min"),
    ],
)
def test_durations(seconds, text):
    assert spaced(duration(seconds)) == text


@pytest.mark.parametrize("values, text", [([5, 5], "5"), ([12, 8, 10], "8\N{EN DASH}12")])
def test_spans(values, text):
    assert span(values) == text


def variant(label, mrr, *, seeds=3, cpu_seconds=100.0, interval=None, scored=64):
    numbers = {
        "mrr": {"mean": mrr},
        "cpu_seconds": {"mean": cpu_seconds},
        "scored_per_query": scored,
    }
    groups = [Group("overall", "all", 400, Metric(mrr, interval))] if interval else []
    return Variant(0, label, numbers, [{}] * seeds, [], groups, {}, [])


def gaps(half_width):
    def gap(one, other):
        middle = one.mean("mrr") - other.mean("mrr")
        return Difference(middle, middle - half_width, middle + half_width)

    return gap


def headline_of(*variants, half_width=0.01):
    title, lede = headline(variants, "atlas", gaps(half_width))
    return title, lede.replace("\N{NO-BREAK SPACE}", " ")


def test_a_clear_winner_is_named_with_its_lead():
    title, _ = headline_of(variant("uniform", 0.300), variant("hard", 0.321))
    assert title == "Hard beats uniform by 0.021 MRR on atlas"


def test_a_clear_winner_has_a_budget_an_interval_and_a_price():
    _, lede = headline_of(variant("uniform", 0.300), variant("hard", 0.321, cpu_seconds=250.0))
    assert lede == (
        "0.321 vs. 0.300 for its strongest rival at an equal budget of 64 scores per query; "
        "the 95 % interval of the lead is 0.011 to 0.031. It takes 2.5 times the CPU time of "
        "uniform."
    )


def test_an_equal_price_is_called_equal():
    hard = variant("hard", 0.4, cpu_seconds=104.0)
    _, lede = headline_of(variant("uniform", 0.3), hard)
    assert lede.endswith("It takes as much CPU time as uniform.")


def test_a_price_nobody_measured_is_not_mentioned():
    _, lede = headline_of(variant("uniform", 0.3, cpu_seconds=0.0), variant("hard", 0.4))
    assert "CPU" not in lede


def test_the_rival_is_the_strongest_with_as_many_scores_not_the_baseline():
    title, lede = headline_of(
        variant("uniform", 0.30, scored=16),
        variant("more", 0.38, scored=66),
        variant("middling", 0.35, scored=66),
        variant("best", 0.40, scored=66),
    )
    assert title == "Best beats more by 0.020 MRR on atlas"
    assert "It is 0.100 ahead of uniform with 16 scores per query." in lede


def test_a_rival_with_more_scores_is_a_rival_too():
    _, lede = headline_of(variant("uniform", 0.3, scored=200), variant("hard", 0.4, scored=64))
    assert "its strongest rival with more scores per query (200 vs. 64)" in lede


def test_a_few_scores_more_or_less_are_the_same_budget():
    title, lede = headline_of(variant("uniform", 0.3, scored=16), variant("hard", 0.4, scored=18))
    assert title == "Hard beats uniform by 0.100 MRR on atlas"
    assert "with about as many scores per query (16 vs. 18)" in lede


def test_a_winner_without_a_rival_of_its_budget_beats_nobody():
    title, lede = headline_of(variant("uniform", 0.3, scored=16), variant("hard", 0.4, scored=64))
    assert title == "Hard is best on atlas, with more scores than any other"
    assert "how it compares at an equal budget is unknown. It is 0.100 ahead of uniform" in lede


def test_a_strong_variant_with_fewer_scores_is_named():
    _, lede = headline_of(
        variant("uniform", 0.30), variant("best", 0.40), variant("lean", 0.395, scored=18)
    )
    assert "It is 0.005 ahead of lean with 18 scores per query, which may be chance." in lede


def test_each_other_budget_has_a_leader():
    _, lede = headline_of(
        variant("uniform", 0.30, scored=16),
        variant("typed", 0.32, scored=16),
        variant("lean", 0.35, scored=18),
        variant("more", 0.38),
        variant("best", 0.40),
    )
    assert f"At 16{DASH}18 scores per query, lean (0.350) is 0.030 ahead of typed." in lede


def test_where_the_interval_of_the_lead_includes_zero_nobody_wins():
    title, lede = headline_of(variant("uniform", 0.300), variant("hard", 0.305), half_width=0.02)
    assert title == "No clear winner on atlas"
    assert lede.startswith(
        "Hard is 0.005 MRR ahead of uniform, its strongest rival at an equal budget of 64 scores "
        "per query, but that may be chance: the 95 % interval, "
        "\N{MINUS SIGN}0.015 to +0.025, includes zero."
    )


def test_a_baseline_may_win():
    title, _ = headline_of(variant("uniform", 0.3), variant("hard", 0.25))
    assert title == "Uniform beats hard by 0.050 MRR on atlas"


def test_a_single_seed_is_called_so():
    _, lede = headline_of(variant("uniform", 0.3, seeds=1), variant("hard", 0.4, seeds=1))
    assert lede.endswith("With a single seed, the variation between trainings is unknown.")


def test_a_variant_alone_is_not_called_a_winner():
    title, lede = headline_of(variant("uniform", 0.3, interval=(0.28, 0.32)))
    assert title == "Uniform reaches an MRR of 0.300 on atlas"
    assert lede == (
        "There is nothing to compare it with: this comparison has one variant. "
        "The 95 % interval of the MRR is 0.280 to 0.320."
    )
