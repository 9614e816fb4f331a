import base64
import hashlib
import re
from importlib.resources import files
from pathlib import Path

import pytest
from experiments.report.fake import HOSTILE, PLACES, RELATIONS, fake_comparison

from sparring.experiments.compare import read_comparison
from sparring.experiments.report.page import (
    Scale,
    audit_rows,
    command,
    examples,
    facts,
    origin,
    relation_rows,
    result_rows,
)
from sparring.experiments.report.records import variants

SECTIONS = ("results", "curves", "audit", "groups", "relations", "negatives", "origin")


LABELS = {f"P{i}": label for i, label in enumerate(RELATIONS)}


CSS = files("sparring.experiments.report").joinpath("page.css").read_text()
LIGHT, DARK = re.findall(r":root[^{]*\{(.*?)\}", CSS, re.DOTALL)[:2]


def test_every_section_is_there(usual):
    assert set(SECTIONS) <= set(usual.text)


def test_nothing_is_left_out_where_all_records_are_there(usual):
    assert "absent" not in " ".join(usual.attribute("class")).split()


def test_no_element_refers_to_anything_outside(usual):
    names = ("src", "href", "srcset", "action", "data", "poster", "xlink:href")
    assert [usual.attribute(name) for name in names] == [[]] * len(names)


def test_no_style_loads_anything(usual):
    style = re.search(r"<style>(.*?)</style>", usual.html, re.DOTALL)[1]
    assert "url(" not in style and "@import" not in style


def test_the_content_policy_allows_nothing_but_the_scripts_of_the_page(usual):
    (policy,) = (text for text in usual.attribute("content") if "default-src" in text)
    *code, last = [*usual.scripts[:1], *usual.scripts[2:]]  # the second holds the figures
    digests = [hashlib.sha256(text.encode()).digest() for text in (*code, last)]
    hashes = " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
    assert policy.startswith("default-src 'none';")
    assert policy.endswith(f"script-src {hashes}")


def test_the_plotting_library_is_inside_once(usual):
    assert usual.html.count("Licensed under the MIT license\n*/") == 1


def test_names_never_become_elements(hostile, usual):
    kinds = lambda page: {tag for tag, _ in page.elements}
    assert kinds(hostile) == kinds(usual)


def test_names_never_become_scripts(hostile, usual):
    assert len(hostile.scripts) == len(usual.scripts)


@pytest.mark.parametrize("section", ["results", "relations", "negatives"])
def test_names_are_shown_letter_by_letter(hostile, section):
    assert all(name in hostile.text[section] for name in HOSTILE)


def test_names_in_figures_are_no_markup_for_the_plotting_library(hostile):
    (view,) = hostile.figures()["relations"]
    said = [
        *view["figure"]["layout"]["yaxis"]["ticktext"],
        *(text for trace in view["figure"]["data"] for text in trace.get("customdata", ())),
    ]
    tags = {tag for text in said for tag in re.findall(r"<[^>]*>", text)}
    assert tags == {"<b>", "</b>", "<br>"}


def test_equal_comparisons_give_equal_pages(page_of):
    one, two = (page_of() for _ in range(2))
    assert one.html == two.html


@pytest.mark.parametrize(
    "missing, section, sentence",
    [
        ("breakdown", "groups", "No breakdown by kind of query is stored with these runs."),
        ("breakdown", "relations", "No breakdown by relation is stored with these runs."),
        ("audit", "audit", "No audit is stored with these runs"),
        ("negatives", "negatives", "No examples of negatives are stored with these runs."),
    ],
)
def test_a_missing_record_leaves_a_sentence(page_of, missing, section, sentence):
    extras = {"breakdown", "audit", "negatives"} - {missing}
    page = page_of(extras=tuple(extras))
    assert sentence in page.text[section]


def test_without_validations_there_is_a_sentence_in_place_of_curves(page_of):
    page = page_of(validations=0)
    assert "there was no validation during training" in page.text["curves"]


def test_without_a_breakdown_the_figures_are_those_that_remain(page_of):
    page = page_of(extras=("audit",))
    assert set(page.figures()) == {"curves", "audit"}


def test_a_single_variant_is_compared_with_nothing(page_of):
    page = page_of(labels=("Uniform",))
    assert "MRR vs." not in page.text["results"]


def test_a_single_seed_claims_nothing_of_other_seeds(page_of):
    page = page_of(seeds=(7,))
    assert "and other seeds" not in page.text["results"]


@pytest.mark.parametrize("seeds", [(0,), (0, 1, 2)])
def test_no_number_is_missing_from_the_text(page_of, seeds):
    page = page_of(seeds=seeds)
    written = " ".join(text for section, text in page.text.items() if section != "origin")
    assert not re.search(r"\b(None|nan|inf|undefined)\b", written)


def test_every_place_for_a_figure_has_its_figure(usual):
    assert set(usual.attribute("data-figure")) == set(usual.figures())


def test_the_opening_names_the_graph_and_its_size(usual):
    assert "30 entities, 20 relations, 376 training facts" in usual.text[""]


def test_the_opening_adds_up_the_processor_time(usual):
    assert "20\N{NARROW NO-BREAK SPACE}min" in usual.text[""]  # 3 * (40 + 80 + 120 + 160) s


def test_relations_go_by_their_labels(usual):
    assert RELATIONS[0] in usual.text["relations"] and "P0" not in usual.text["relations"]


def test_examples_go_by_the_labels_of_entities(usual):
    shown = usual.text["negatives"]
    assert any(place in shown for place in PLACES)


def test_examples_beyond_three_are_folded_away(usual):
    assert "1 more query" in usual.text["negatives"]


def test_the_end_tells_how_to_run_it_again(usual):
    assert "sparring compare atlas-samplers.toml" in usual.text["origin"]


def test_the_packaged_comparison_runs_again_without_a_file():
    packaged = Path(str(files("sparring.experiments"))) / "atlas.toml"
    assert command(read_comparison(packaged)) == "sparring compare"


def test_a_changed_comparison_of_the_same_name_needs_its_file():
    packaged = Path(str(files("sparring.experiments"))) / "atlas.toml"
    changed = read_comparison(packaged, ["train.epochs=1"])
    assert command(changed) == "sparring compare atlas.toml"


def test_the_end_holds_each_configuration(usual):
    assert usual.text["origin"].count('"model"') == 4


def test_the_end_tells_commit_versions_and_processor(usual):
    for part in ("0123456789ab", "sparring 0.1.0, torch 2.13.0", "A processor of the year"):
        assert part in usual.text["origin"]


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


def test_a_difference_is_colored_where_its_interval_excludes_zero(rows):
    assert [row["direction"] for row in rows] == [None, "even", "up", "up"]


def test_a_clear_loss_is_colored_too(tmp_path):
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
    assert labels == [*(variant.label for variant in found), "Uniform draws, for comparison"]


def test_an_unknown_share_is_a_dash(found):
    unknown = found[0].samples["own"]._replace(percentile=None)
    found[0].samples["own"], before = unknown, found[0].samples["own"]
    try:
        assert audit_rows(found)[0]["cells"][1] == "\N{EN DASH}"
    finally:
        found[0].samples["own"] = before


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
    assert examples(found)[0]["draws"][3]["counts"] == "32 drawn, 1 withheld, 1 known"


def test_candidates_drawn_twice_are_shown_once_with_their_number(tmp_path):
    comparison = fake_comparison(tmp_path, labels=("one",), seeds=(0,))
    (variant,) = variants(comparison, comparison.numbers())
    one = variant.negatives[0]["candidates"][0]
    variant.negatives[0]["candidates"] = [one, one, {**one, "score": -1.0}]
    chips = examples([variant])[0]["draws"][0]["chips"]
    assert [(chip["times"], chip["title"]) for chip in chips] == [
        (2, "not a known fact; score 5.00"),
        (1, "not a known fact; score \N{MINUS SIGN}1.00"),
    ]


def variables(block):
    return dict(re.findall(r"(--[\w-]+):\s*([^;]+);", block))


def colors(block):
    return {name: value for name, value in variables(block).items() if value.startswith("#")}


def luminance(color):
    channels = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear))


def contrast(one, other):
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_both_themes_have_the_same_colors():
    assert set(colors(LIGHT)) == set(colors(DARK))


def test_every_color_of_a_figure_is_a_color_of_the_page(usual):
    used = set(re.findall(r"var\((--[\w-]+)\)", str(usual.figures())))
    assert used <= set(variables(LIGHT))


@pytest.mark.parametrize("block", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize("ground", ["--card", "--page", "--sunk"])
@pytest.mark.parametrize("text", ["--ink", "--soft", "--faint"])
def test_text_can_be_read(block, ground, text):
    found = colors(block)
    assert contrast(found[text], found[ground]) >= 4.5  # WCAG 2.2, level AA


@pytest.mark.parametrize("block", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize("text", ["--good", "--bad", "--accent"])
def test_colored_text_can_be_read(block, text):
    found = colors(block)
    assert contrast(found[text], found["--card"]) >= 4.5


@pytest.mark.parametrize("block", [LIGHT, DARK], ids=["light", "dark"])
def test_withheld_facts_can_be_read(block):
    found = colors(block)
    assert contrast(found["--withheld"], found["--withheld-fill"]) >= 4.5


@pytest.mark.parametrize("block", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize("variant", range(8))
def test_marks_stand_out(block, variant):
    found = colors(block)
    assert contrast(found[f"--v{variant}"], found["--card"]) >= 3  # the same, for graphics
