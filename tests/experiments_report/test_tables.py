import pytest
from experiments_report.fake import RELATIONS, fake_comparison

from sparring.experiments.report.page import (
    Scale,
    audit_rows,
    examples,
    facts,
    origin,
    relation_rows,
    result_rows,
)
from sparring.experiments.report.records import variants

LABELS = {f"P{i}": label for i, label in enumerate(RELATIONS)}


@pytest.fixture(scope="module")
def comparison(tmp_path_factory):
    return fake_comparison(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def found(comparison):
    return variants(comparison, comparison.numbers())


@pytest.fixture(scope="module")
def rows(found):
    return result_rows(found, Scale(found))


def test_the_best_value_of_each_column_is_marked(rows):
    assert [len(row["best"]) for row in rows] == [0, 0, 0, 4]


def test_equal_variants_are_equally_good(tmp_path):
    comparison = fake_comparison(tmp_path, labels=("one", "two"), gain=(0.2,))
    found = variants(comparison, comparison.numbers())
    assert [len(row["best"]) for row in result_rows(found, Scale(found))] == [4, 4]


def test_a_difference_is_coloured_where_its_interval_excludes_zero(rows):
    assert [row["direction"] for row in rows] == [None, "even", "up", "up"]


def test_a_clear_loss_is_coloured_too(tmp_path):
    comparison = fake_comparison(tmp_path, labels=("one", "two"), gain=(0.4, 0.0))
    found = variants(comparison, comparison.numbers())
    assert result_rows(found, Scale(found))[1]["direction"] == "down"


def test_best_epochs_are_a_range_over_seeds(rows):
    assert rows[0]["best_epoch"] == "55\N{EN DASH}60"


def test_the_price_is_told_in_candidates_scores_and_seconds(rows):
    assert [rows[2][name] for name in ("k", "scored", "cpu")] == ["16", "64", "121"]


def test_strips_share_one_scale(found, rows):
    scale = Scale(found)
    ends = [end for row in rows for end in row["whisker"]]
    assert (min(ends), max(ends)) == (scale(scale.low), scale(scale.high)) == (8, 120)


def test_a_scale_of_one_value_puts_it_in_the_middle(tmp_path):
    comparison = fake_comparison(tmp_path, labels=("one",), seeds=(0,), extras=())
    found = variants(comparison, comparison.numbers())
    assert Scale(found)(found[0].mean("mrr")) == 64


def test_the_relation_table_begins_with_the_most_frequent(found):
    queries = [int(row["queries"]) for row in relation_rows(found, LABELS)]
    assert queries == sorted(queries, reverse=True)


def test_the_relation_table_has_all_queries(found):
    assert sum(int(row["queries"]) for row in relation_rows(found, LABELS)) == 400


def test_the_best_variant_of_a_relation_is_marked(found):
    for row in relation_rows(found, LABELS):
        best = max(cell["text"] for cell in row["cells"])
        assert all(cell["text"] == best for cell in row["cells"] if cell["best"])


def test_uniform_draws_are_audited_once(found):
    labels = [row["label"] for row in audit_rows(found)]
    assert labels == [*(variant.label for variant in found), "Uniform draws, to compare"]


def test_an_unknown_share_is_a_dash(found):
    unknown = found[0].offers["own"]._replace(percentile=None)
    found[0].offers["own"], before = unknown, found[0].offers["own"]
    try:
        assert audit_rows(found)[0]["cells"][1] == "\N{EN DASH}"
    finally:
        found[0].offers["own"] = before


def test_facts_name_seeds_and_runs(comparison, found):
    seeds = facts(found, comparison.graph, comparison.numbers())[3]
    assert (seeds["value"], seeds["detail"]) == ("3", "0, 1, 2; 12 runs in all")


def test_runs_of_different_commits_are_told_apart(found):
    results = [{**found[0].results[0], "commit": commit} for commit in ("aaa", "bbb", "aaa", None)]
    assert dict(origin(results))["Commit"] == "aaa, bbb, unknown"


def test_each_query_is_shown_once_with_all_variants(found):
    shown = examples(found)
    assert [len(example["draws"]) for example in shown] == [4] * 4


def test_both_sides_are_asked(found):
    assert [example["asked"] for example in examples(found)] == ["tail", "head", "tail", "head"]


def test_withheld_and_known_facts_are_marked(found):
    sparring = examples(found)[0]["draws"][3]
    kinds = {chip["kind"] for chip in sparring["chips"]}
    assert kinds == {"withheld", "known hidden", ""}


def test_a_draw_is_summed_up(found):
    assert examples(found)[0]["draws"][3]["told"] == "32 drawn, 1 withheld, 1 known"


def test_candidates_drawn_twice_are_shown_once_with_their_number(tmp_path):
    comparison = fake_comparison(tmp_path, labels=("one",), seeds=(0,))
    (variant,) = variants(comparison, comparison.numbers())
    one = variant.negatives[0]["candidates"][0]
    variant.negatives[0]["candidates"] = [one, one, {**one, "score": -1.0}]
    chips = examples([variant])[0]["draws"][0]["chips"]
    assert [(chip["times"], chip["said"]) for chip in chips] == [
        (2, "nothing known; score 5.00"),
        (1, "nothing known; score \N{MINUS SIGN}1.00"),
    ]
