import json

import pytest
from experiments_report.fake import fake_comparison

from sparring.experiments.report.records import variants


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
    offer = read(comparison)[0].offers["own"]
    assert offer.withheld_counted == pytest.approx(0.0042)  # of 0.0040, 0.0042 and 0.0044


def test_a_share_that_one_seed_lacks_is_not_known(comparison):
    path = comparison.runs["Uniform"][0].folder / "audit.json"
    found = json.loads(path.read_text())
    found["overall"]["percentile"] = None
    path.write_text(json.dumps(found))
    assert read(comparison)[0].offers["own"].percentile is None


def test_an_audit_without_a_baseline_has_no_uniform_draws(comparison):
    for run in comparison.runs["Uniform"]:
        found = json.loads((run.folder / "audit.json").read_text())
        (run.folder / "audit.json").write_text(json.dumps({**found, "baseline": None}))
    assert set(read(comparison)[0].offers) == {"own"}
