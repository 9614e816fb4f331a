import json
from dataclasses import replace

import pytest
from experiments.report.fake import RELATIONS, fake_comparison

from sparring.experiments.report.figures import (
    FREQUENT,
    MARKS,
    Axis,
    band,
    by_group,
    by_relation,
    color,
    learning_curves,
    outline,
    shortened,
    size,
    symbol,
)
from sparring.experiments.report.hardness import hardness
from sparring.experiments.report.records import variants

LABELS = {f"P{i}": label for i, label in enumerate(RELATIONS)}


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    comparison = fake_comparison(tmp_path_factory.mktemp("runs"))
    return variants(comparison, comparison.numbers())


def of_variant(view, place):
    return [
        trace for trace in view.figure["data"] if (trace.get("meta") or {}).get("variant") == place
    ]


def test_curves_are_drawn_against_epochs_and_against_processor_time(found):
    epochs, seconds = (view.figure["data"][1]["x"] for view in learning_curves(found))
    assert epochs[-1] == 60 and seconds[-1] == pytest.approx(41)


def test_a_curve_is_the_mean_over_seeds(found):
    _, line = of_variant(learning_curves(found)[0], 2)
    assert line["y"] == pytest.approx([sum(point.mrr) / 3 for point in found[2].curve])


def test_a_band_reaches_from_the_lowest_seed_to_the_highest(found):
    band, _ = of_variant(learning_curves(found)[0], 2)
    low, high = band["y"][:12], band["y"][12:][::-1]
    assert low == [min(point.mrr) for point in found[2].curve]
    assert high == [max(point.mrr) for point in found[2].curve]


def test_the_groupings_of_a_breakdown_are_views(found):
    assert [view.tab for view in by_group(found)] == ["Cardinality", "Side", "Degree", "Reverse"]


def test_each_group_is_named_with_its_number_of_queries(found):
    assert by_group(found)[1].figure["layout"]["xaxis"]["ticktext"] == [
        "tail<br>200",
        "head<br>200",
    ]


def test_an_interval_reaches_from_its_low_end_to_its_high_end(found):
    (dots,) = of_variant(by_group(found)[1], 0)
    tail = next(group for group in found[0].groups if (group.title, group.name) == ("side", "tail"))
    ends = (
        dots["y"][0] - dots["error_y"]["arrayminus"][0],
        dots["y"][0] + dots["error_y"]["array"][0],
    )
    assert ends == pytest.approx(tail.mrr.ends)


def test_variants_stand_beside_each_other(found):
    firsts = [of_variant(by_group(found)[0], place)[0]["x"][0] for place in range(4)]
    assert firsts == pytest.approx([-0.24, -0.08, 0.08, 0.24])


def test_at_most_some_relations_are_drawn(found):
    (view,) = by_relation(found, LABELS)
    relations = {group.name for group in found[0].groups if group.title == "relation"}
    assert len(view.figure["layout"]["yaxis"]["ticktext"]) == min(FREQUENT, len(relations))


def test_the_best_answered_relation_is_on_top(found):
    (view,) = by_relation(found, LABELS)
    rows = zip(*(of_variant(view, place)[0]["x"] for place in range(4)))
    means = [sum(row) / 4 for row in rows]
    assert means == sorted(means)


def test_a_long_label_is_cut_beside_the_figure_but_not_when_pointed_at(found):
    (view,) = by_relation(found, LABELS)
    long = "has the anthem in the language spoken in"
    assert "has the anthem in the langu…" in view.figure["layout"]["yaxis"]["ticktext"]
    assert any(long in said for said in of_variant(view, 0)[0]["customdata"])


def test_a_label_of_28_letters_is_not_cut():
    assert [len(shortened("x" * length)) for length in (27, 28, 29)] == [27, 28, 28]


def test_hardness_has_one_point_per_variant(found):
    (view,) = hardness(found)
    points = [of_variant(view, place)[0] for place in range(4)]
    assert [point["x"] for point in points] == [[v.samples["own"].withheld_counted] for v in found]
    assert [point["y"] for point in points] == [[v.samples["own"].percentile] for v in found]


def test_rates_are_on_a_logarithmic_axis(found):
    (view,) = hardness(found)
    assert view.figure["layout"]["xaxis"]["type"] == "log"


def test_a_rate_of_zero_needs_a_linear_axis(found):
    nothing = found[0].samples["own"]._replace(withheld_counted=0.0)
    (view,) = hardness([replace(found[0], samples={"own": nothing}), *found[1:]])
    assert "type" not in view.figure["layout"]["xaxis"]


def test_a_variant_of_unknown_hardness_has_no_point(found):
    unknown = found[0].samples["own"]._replace(percentile=None)
    (view,) = hardness([replace(found[0], samples={"own": unknown}), *found[1:]])
    assert not of_variant(view, 0)


def test_without_any_audit_there_is_no_figure_of_hardness(found):
    assert hardness([replace(variant, samples={}) for variant in found]) == []


def test_an_axis_leaves_room_at_both_ends():
    assert Axis([0.0, 1.0]).layout()["range"] == pytest.approx([-0.14, 1.14])


def test_an_axis_of_one_value_has_some_width():
    assert Axis([0.5]).layout()["range"] == pytest.approx([0.48, 0.52])


def test_places_on_an_axis_run_from_0_to_1():
    axis = Axis([0.001, 0.1], logarithmic=True)
    assert [axis(value) for value in (0.001, 0.01, 0.1)] == pytest.approx(
        [0.109, 0.5, 0.891], abs=1e-3
    )


@pytest.mark.parametrize("figure", [learning_curves, by_group, hardness])
def test_figures_are_json(found, figure):
    views = [view.figure for view in figure(found)]
    assert json.loads(json.dumps(views, allow_nan=False)) == views


def test_color_and_mark_together_tell_56_variants_apart():
    assert len({(color(place), symbol(place)) for place in range(56)}) == 56


def test_a_band_has_the_color_of_its_variant():
    assert [band(9), color(9)] == ["var(--v1-band)", "var(--v1)"]


@pytest.mark.parametrize("place", range(len(MARKS)))
def test_the_page_draws_the_mark_that_the_figures_have(place):
    assert (symbol(place), outline(place)) == MARKS[place]


def test_triangles_are_drawn_larger_to_look_equally_large():
    assert [size(place, 10) for place in (0, 3)] == [10.0, 13.0]
