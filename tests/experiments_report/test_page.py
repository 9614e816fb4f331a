import base64
import hashlib
import re
from importlib.resources import files
from pathlib import Path

import pytest
from experiments_report.fake import HOSTILE, PLACES, RELATIONS

from sparring.experiments.compare import read_comparison
from sparring.experiments.report.page import command

SECTIONS = ("results", "curves", "audit", "groups", "relations", "negatives", "origin")


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
        ("audit", "audit", "No audit of the negatives is stored with these runs"),
        ("negatives", "negatives", "No examples of negatives are stored with these runs."),
    ],
)
def test_a_missing_record_leaves_a_sentence(page_of, missing, section, sentence):
    extras = {"breakdown", "audit", "negatives"} - {missing}
    page = page_of(extras=tuple(extras))
    assert sentence in page.text[section]


def test_without_validations_there_is_a_sentence_in_place_of_curves(page_of):
    page = page_of(validations=0)
    assert "nothing was validated while training" in page.text["curves"]


def test_without_a_breakdown_the_figures_are_those_that_remain(page_of):
    page = page_of(extras=("audit",))
    assert set(page.figures()) == {"curves", "audit"}


def test_a_single_variant_is_compared_with_nothing(page_of):
    page = page_of(labels=("Uniform",))
    assert "MRR against" not in page.text["results"]


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
