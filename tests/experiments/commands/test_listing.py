import json

import pytest

from sparring.experiments.commands.listing import families, parts


@pytest.mark.parametrize("family", families())
def test_every_part_says_in_a_sentence_what_it_is(family):
    assert all(part.summary for part in parts(family))


def test_options_come_with_types_and_defaults():
    softmax = next(part for part in parts("losses") if part.name == "sampled-softmax")
    assert softmax.options["temperature"] == "float = 1.0"


def test_what_the_library_supplies_is_no_option():
    every = [part for family in families() for part in parts(family)]
    assert not any({"graph", "params"} & set(part.options) for part in every)


def test_parts_are_listed_with_options(command):
    shown = command("list", "losses").stdout
    assert "softmax" in shown and "temperature: float = 1.0" in shown


def test_without_a_kind_each_part_is_one_line(command):
    shown = command("list").stdout.splitlines()
    (row,) = [row for row in shown if row.split()[:1] == ["complex"]]
    assert "anchor" in row and max(map(len, shown)) <= 80
    assert not any("temperature: float" in row for row in shown)


def test_parts_are_listed_as_json(command):
    result = json.loads(command("list", "--json").stdout)
    assert {part["name"] for part in result["corruptions"]} >= {"both", "bernoulli", "either"}


def test_only_one_family_is_listed_where_asked(command):
    assert set(json.loads(command("list", "samplers", "--json").stdout)) == {"samplers"}


def test_an_unknown_family_is_misuse(command):
    result = command("list", "sampler")
    assert (
        result.exit_code == 2 and "there is no 'sampler'; did you mean 'samplers'?" in result.stderr
    )
