"""The recipe fits size and time, and warns of graphs that are hard to choose by."""

from dataclasses import replace

import pytest
import torch

from sparring.data.graph import KnowledgeGraph
from sparring.data.vocabulary import Vocabulary
from sparring.experiments.config import check_config
from sparring.experiments.fit import plan
from sparring.experiments.recipe import STILL_RISING, choose_recipe, still_rising
from sparring.registry import ConfigError


def graph_of(facts, entities=1000, relations=4, valid=300):
    rng = torch.Generator().manual_seed(0)
    draw = lambda size: torch.stack(
        [torch.randint(high, (size,), generator=rng) for high in (entities, relations, entities)], 1
    )
    names = (
        Vocabulary([f"{kind}{i}" for i in range(size)])
        for kind, size in (("e", entities), ("r", relations))
    )
    return KnowledgeGraph("drawn", *names, draw(facts), draw(valid), draw(10))


@pytest.mark.parametrize("facts", [1, 60, 5_000, 100_000])
@pytest.mark.parametrize("minutes", [0.0, 0.1, 60.0])
def test_settings_are_valid_at_every_size(facts, minutes):
    recipe = choose_recipe(graph_of(facts), minutes)
    config = check_config({"graph": {"name": "atlas"}, **recipe.tables})
    assert config.train.epochs >= 1 and config.train.validate_every <= config.train.epochs
    assert set(recipe.reasons) == set(recipe.tables)


def test_more_time_gives_more_epochs_and_then_width():
    found = [choose_recipe(graph_of(100_000), minutes).tables for minutes in (0.1, 0.38, 60.0)]
    width = [tables["model"]["dim"] for tables in found]
    cost = [tables["model"]["dim"] * tables["train"]["epochs"] for tables in found]
    assert width == sorted(width) and width[0] < width[-1]
    assert cost == sorted(cost) and cost[0] < cost[-1]


@pytest.mark.parametrize(("entities", "k"), [(2, 4), (14, 4), (104, 8), (250, 16), (5_000, 32)])
def test_few_entities_give_few_negatives(entities, k):
    assert choose_recipe(graph_of(5_000, entities)).tables["sampler"]["k"] == k


def test_facts_that_other_relations_repeat_are_not_penalized():
    graph = graph_of(5_000)
    repeats = graph.valid.clone()
    repeats[:, 1] = (repeats[:, 1] + 1) % 4
    for share, repeated in ((0.0, False), (0.2, False), (0.5, True)):
        more = repeats[: round(share * len(repeats))]
        recipe = choose_recipe(replace(graph, train=torch.cat([graph.train, more])))
        assert (recipe.tables["model"]["n3"] < 0.001) == repeated
        assert ("repeat others" in recipe.reasons["model"]) == repeated


def test_few_validation_facts_are_warned_of():
    assert choose_recipe(graph_of(500)).warnings == ()
    (warning,) = choose_recipe(graph_of(500, valid=50)).warnings
    assert "50 validation facts" in warning and "hold out 200 or more" in warning
    (warning,) = choose_recipe(graph_of(500, valid=0)).warnings
    assert "no validation facts" in warning


def test_relations_that_occur_once_are_warned_of():
    (warning,) = choose_recipe(graph_of(400, relations=5000)).warnings
    assert "occur once" in warning


def test_epochs_by_an_override_are_validated_as_often_as_by_an_argument():
    graph = graph_of(5_000)
    given = plan(graph, {}, train={"epochs": 10}).tables
    assert plan(graph, {}, train={}, overrides=["train.epochs=10"]).tables == given
    assert given["train"]["validate_every"] == 1
    with pytest.raises(ConfigError, match=r"train\.epochs"):
        plan(graph, {}, train={}, overrides=["train.epochs=many"])


@pytest.mark.parametrize(
    ("mrr", "rises"),
    [
        ([0.1, 0.2, 0.2 + 2 * STILL_RISING], True),
        ([0.1, 0.2, 0.2 + STILL_RISING / 2], False),
        ([0.1, 0.3, 0.2], False),
        ([0.3, 0.1, 0.2], False),
        ([0.5], False),
        ([], False),
    ],
)
def test_a_curve_that_still_rises(mrr, rises):
    assert bool(still_rising(mrr)) == rises
