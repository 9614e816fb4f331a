import sys

import pytest

from sparring.registry import ConfigError, Family, build, checked, in_words, options_of, resolve


class Engine:
    """Turns fuel into motion."""

    def __init__(self, graph, *, power: float, cylinders: int = 4, fuel: str | None = None):
        if power <= 0:
            raise ValueError(f"power must be above 0; got {power}")
        self.graph, self.power, self.cylinders, self.fuel = graph, power, cylinders, fuel


class Car:
    """Carries an engine."""

    def __init__(self, *, engine: Engine, doors: int = 5):
        self.engine, self.doors = engine, doors


class Train:
    """Carries several."""

    def __init__(self, *, engines: list[Engine]):
        self.engines = engines


TABLE = {"engine": Engine, "car": Car, "train": Train}


def refused(spec, match):
    with pytest.raises(ConfigError, match=match):
        build(spec, TABLE, "ride", graph="map")


def test_a_part_is_built_with_its_options():
    engine = build({"name": "engine", "power": 2.5, "fuel": "oil"}, TABLE, "ride", graph="map")
    assert (engine.power, engine.fuel) == (2.5, "oil")


def test_what_is_supplied_reaches_those_who_ask_for_it():
    assert build({"name": "engine", "power": 1.0}, TABLE, "ride", graph="map").graph == "map"


def test_a_nested_table_is_built_first():
    spec = {"name": "car", "engine": {"name": "engine", "power": 1.0}}
    assert build(spec, TABLE, "ride", graph="map").engine.power == 1.0


def test_a_nested_table_is_of_the_family_that_its_argument_names():
    garage = Family({"car": Car}, engine={"engine": Engine})
    spec = {"name": "car", "engine": {"name": "engine", "power": 1.0}}
    assert build(spec, garage, "ride", graph="map").engine.power == 1.0
    with pytest.raises(ConfigError, match=r"\[ride.engine\] unknown name 'car'; known: engine"):
        build({"name": "car", "engine": {"name": "car"}}, garage, "ride", graph="map")


def test_a_list_of_tables_becomes_a_list_of_parts():
    spec = {"name": "train", "engines": [{"name": "engine", "power": p} for p in (1.0, 2.0)]}
    assert [e.power for e in build(spec, TABLE, "ride", graph="map").engines] == [1.0, 2.0]


def test_defaults_are_spelled_out():
    spec = {"name": "car", "engine": {"name": "engine", "power": 1.0}}
    full = resolve(spec, TABLE, "ride")
    engine = {"name": "engine", "power": 1.0, "cylinders": 4, "fuel": None}
    assert full == {"name": "car", "engine": engine, "doors": 5}


def test_a_resolved_table_resolves_to_itself():
    full = resolve({"name": "engine", "power": 1.0}, TABLE, "ride")
    assert resolve(full, TABLE, "ride") == full


def test_whole_numbers_pass_as_floats():
    assert isinstance(checked(3, float, "place"), float)


def test_a_name_with_a_colon_is_imported():
    assert build({"name": "fractions:Fraction", "numerator": 3}, TABLE, "ride") == 3


def test_an_unknown_name_is_met_with_the_nearest():
    refused({"name": "enginee"}, r"\[ride\] unknown name 'enginee'; did you mean 'engine'\?")


def test_a_name_far_from_all_is_met_with_all():
    refused({"name": "boat"}, r"unknown name 'boat'; known: car, engine, train")


def test_a_table_without_a_name_is_told_the_names():
    refused({"power": 1.0}, r"\[ride\] has no name; known: car, engine, train")


def test_a_name_that_is_no_string_is_refused():
    refused({"name": ["engine"]}, r"\[ride\] a name is a string; got \['engine'\]")


def test_an_unknown_option_is_met_with_the_nearest():
    refused(
        {"name": "engine", "power": 1.0, "cylinder": 3},
        r"\[ride\] 'engine' does not take 'cylinder'; did you mean 'cylinders'\?",
    )


def test_what_is_supplied_is_no_option():
    refused({"name": "engine", "power": 1.0, "graph": "mine"}, "does not take 'graph'")


def test_a_missing_option_is_named():
    refused({"name": "engine"}, r"\[ride\] 'engine' needs power")


def test_a_value_of_another_type_is_refused_with_its_place():
    spec = {"name": "car", "engine": {"name": "engine", "power": "much"}}
    refused(spec, r"\[ride.engine.power\] expects float; got 'much'")


def test_the_place_of_a_mistake_in_a_list_is_told():
    spec = {"name": "train", "engines": [{"name": "engine", "power": 1.0}, {"name": "engine"}]}
    refused(spec, r"\[ride.engines.1\] 'engine' needs power")


def test_true_is_no_number():
    refused({"name": "engine", "power": True}, "expects float; got True")


def test_a_union_takes_either_type_and_no_other():
    refused({"name": "engine", "power": 1.0, "fuel": 3}, r"expects str \| None; got 3")


def test_a_value_that_the_part_refuses_is_refused_with_its_place():
    refused({"name": "engine", "power": -1.0}, r"\[ride\] power must be above 0; got -1.0")


def test_a_nested_refusal_names_the_inner_place():
    spec = {"name": "car", "engine": {"name": "engine", "power": -1.0}}
    refused(spec, r"^\[ride.engine\] power must be above 0")


def test_a_module_that_is_missing_is_told():
    refused({"name": "nowhere:Boat"}, r"\[ride\] cannot import 'nowhere:Boat': No module named")


def test_a_class_that_is_missing_is_told():
    refused(
        {"name": "fractions:Boat"}, r"cannot import 'fractions:Boat': module 'fractions' has no"
    )


def test_a_module_outside_the_library_is_found_on_the_path(tmp_path, monkeypatch):
    (tmp_path / "outside.py").write_text("class Boat:\n    'Floats.'\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "outside", raising=False)
    assert type(build({"name": "outside:Boat"}, TABLE, "ride")).__name__ == "Boat"


def test_options_are_listed_with_type_and_default():
    assert options_of(Engine) == {
        "power": "float",
        "cylinders": "int = 4",
        "fuel": "str | None = None",
    }


def test_types_in_words_leave_modules_out():
    assert in_words(list[Engine]) == "list[Engine]"
