import math
import sys
from dataclasses import dataclass

import pytest

from sparring.registry import (
    Alias,
    ConfigError,
    Registry,
    build,
    in_words,
    options_of,
    resolve,
    validate_type,
    warn_renamed,
)


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


def registry_of(kind, nested=None, base=None, **parts):
    """A registry of a kind of its own."""
    registry = Registry(kind, nested=nested, base=base)
    for name, part in parts.items():
        registry.register(name)(part)
    return registry


def test_without_a_base_no_code_can_be_named():
    with pytest.raises(ConfigError, match=r"no code can be named here; known: train; got 'os:getc"):
        build({"name": "os:getcwd"}, registry_of("free", train=Train), "free")


TABLE = registry_of("ride", base=object, engine=Engine, car=Car, train=Train)


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
    registry_of("motor", engine=Engine)
    garage = registry_of("garage", nested={"engine": "motor"}, car=Car)
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
    assert isinstance(validate_type(3, float, "place"), float)


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


def test_a_table_in_the_place_of_a_number_is_refused():
    engine = {"name": "engine", "power": {"name": "engine", "power": 1.0}}
    refused(engine, r"\[ride.power\] expects float; got {'name'")
    refused({"name": "engine", "power": 1.0, "fuel": [{"name": "car"}]}, r"expects str \| None")


def test_a_number_beyond_64_bits_is_refused():
    refused({"name": "engine", "power": 1.0, "cylinders": 2**63}, r"expects int; got 9223372")
    refused({"name": "engine", "power": 10**400}, r"expects float; got 1000")
    refused({"name": "engine", "power": math.nan}, r"expects float; got nan")


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


SHIPS = Registry("ship", renamed={"dear": "expensive"})


@SHIPS.register(
    "ferry",
    aliases={"boat": Alias(implied={"power": 3.0}, renamed={"force": "power"}), "barge": Alias()},
    renamed={"mass": "load.weight"},
)
class Ferry:
    """Crosses a river."""

    def __init__(self, *, power: float = 1.0, load: object = None, expensive: bool = False):
        self.power, self.load, self.expensive = power, load, expensive


@pytest.fixture
def renamed():
    """What is said of former names, from the start."""
    warn_renamed.cache_clear()


@pytest.mark.usefixtures("renamed")
def test_a_former_name_loads_with_what_it_stood_for_and_one_warning():
    with pytest.warns(FutureWarning, match=r"\[ride\] 'boat' is now named 'ferry'") as said:
        boats = [resolve({"name": "boat"}, SHIPS, "ride") for _ in range(2)]
    assert boats[0] == {"name": "ferry", "power": 3.0, "load": None, "expensive": False}
    assert boats[0] == boats[1] and len(said) == 1


@pytest.mark.usefixtures("renamed")
def test_what_is_given_stands_before_what_a_former_name_stood_for():
    with pytest.warns(FutureWarning, match="'force' is now named 'power'"):
        assert build({"name": "boat", "force": 5.0}, SHIPS, "ride").power == 5.0


@pytest.mark.usefixtures("renamed")
def test_an_option_may_have_moved_into_a_group():
    with pytest.warns(FutureWarning, match="'mass' is now named 'load.weight'"):
        assert SHIPS.current({"name": "barge", "mass": 2}, "ride")["load"] == {"weight": 2}


@pytest.mark.usefixtures("renamed")
def test_an_option_of_all_parts_may_have_a_former_name():
    with pytest.warns(FutureWarning, match="'dear' is now named 'expensive'"):
        assert build({"name": "ferry", "dear": True}, SHIPS, "ride").expensive


def test_an_option_under_both_its_names_is_refused():
    with pytest.raises(ConfigError, match="'dear' is the former name of 'expensive'; give one"):
        build({"name": "ferry", "dear": True, "expensive": True}, SHIPS, "ride")


def test_a_name_is_taken_once():
    with pytest.raises(ValueError, match="there is a ship named 'boat' already"):
        SHIPS.register("boat")


@dataclass(frozen=True)
class Comfort:
    """How one sits."""

    seats: int = 40
    leather: bool = False

    def __post_init__(self):
        if self.seats < 1:
            raise ValueError(f"someone must sit; got seats={self.seats}")


class Coach:
    """Carries people in comfort."""

    def __init__(self, graph, *, doors: int = 2, comfort: Comfort = Comfort(seats=50)):
        self.doors, self.comfort = doors, comfort


COACHES = Registry("coach")
COACHES.register("coach", renamed={"places": "comfort.seats"})(Coach)


def test_a_group_of_options_is_a_table_without_a_name():
    coach = build({"name": "coach", "comfort": {"leather": True}}, COACHES, "ride", graph="map")
    assert coach.comfort == Comfort(50, leather=True)


def test_the_defaults_of_a_group_are_spelled_out():
    full = resolve({"name": "coach"}, COACHES, "ride", ("graph",))
    assert full == {"name": "coach", "doors": 2, "comfort": {"seats": 50, "leather": False}}
    assert resolve(full, COACHES, "ride", ("graph",)) == full


@pytest.mark.usefixtures("renamed")
def test_a_former_option_leads_into_a_group():
    with pytest.warns(FutureWarning, match="'places' is now named 'comfort.seats'"):
        coach = build({"name": "coach", "places": 9}, COACHES, "ride", graph="map")
    assert coach.comfort == Comfort(seats=9)


@pytest.mark.parametrize(
    ("comfort", "match"),
    [
        ({"seat": 3}, r"\[ride.comfort\] this table does not take 'seat'; did you mean 'seats'"),
        ({"seats": "all"}, r"\[ride.comfort.seats\] expects int; got 'all'"),
        ({"seats": 0}, r"\[ride.comfort\] someone must sit; got seats=0"),
        (3, r"\[ride.comfort\] expects Comfort; got 3"),
    ],
)
def test_mistakes_in_a_group_are_refused_with_their_place(comfort, match):
    with pytest.raises(ConfigError, match=match):
        build({"name": "coach", "comfort": comfort}, COACHES, "ride", graph="map")


def test_a_constructor_that_takes_anything_has_no_options_of_that_name():
    class Anything:
        def __init__(self, *args, size: int = 1, **kwargs):
            self.size = size

    SHIPS.register("anything")(Anything)
    assert resolve({"name": "anything"}, SHIPS, "ride") == {"name": "anything", "size": 1}
    assert list(options_of(Anything)) == ["size"]
