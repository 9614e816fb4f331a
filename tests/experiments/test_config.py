import json
from importlib.resources import files
from pathlib import Path

import pytest

from sparring.experiments.compare import check_comparison
from sparring.experiments.config import (
    check_config,
    merged,
    override_value,
    read_config,
    read_tables,
)
from sparring.registry import ConfigError

REPOSITORY = Path(__file__).parents[2]
EXPERIMENTS = [
    *sorted((REPOSITORY / "research" / "configs").rglob("*.toml")),
    Path(str(files("sparring.experiments"))) / "atlas.toml",
]


def refused(tables, match):
    with pytest.raises(ConfigError, match=match):
        check_config(tables)


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_experiment_of_the_repository_resolves(path, former_names_are_errors):
    tables = read_tables(path)
    if "compare" in tables:
        assert check_comparison(path.stem, tables).variants
    else:
        assert check_config(tables).parts


def test_a_file_is_read_with_its_values(config):
    assert (config.general.seed, config.train.epochs, config.parts["model"]["dim"]) == (3, 6, 8)


def test_defaults_are_spelled_out(config):
    assert config.parts["schedule"] == {"name": "constant", "warmup": 0.0}


def test_the_resolved_configuration_survives_json(config):
    assert check_config(json.loads(json.dumps(config.as_dict()))) == config


def test_an_override_reaches_a_nested_value(tables, write):
    assert read_config(write(tables), ["model.dim=12"]).parts["model"]["dim"] == 12


def test_later_overrides_win(tables, write):
    assert read_config(write(tables), ["seed=1", "seed=2"]).general.seed == 2


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("2.5", 2.5),
        ("true", True),
        ("'a b'", "a b"),
        ("word", "word"),
        ("[1, 2]", [1, 2]),
    ],
)
def test_an_override_is_toml_or_a_bare_word(text, value):
    tables = {}
    override_value(tables, f"part.key={text}")
    assert tables == {"part": {"key": value}}


def test_an_override_may_be_a_table():
    tables = {"sampler": {"name": "uniform", "k": 3}}
    override_value(tables, 'sampler={name = "all-entities"}')
    assert tables == {"sampler": {"name": "all-entities"}}


def test_an_override_without_a_sign_is_refused():
    with pytest.raises(ConfigError, match="has the form path=value; got 'seed'"):
        override_value({}, "seed")


def test_an_override_through_a_value_is_refused():
    with pytest.raises(ConfigError, match=r"override 'seed.x=1': 'seed' is a value, not a table"):
        override_value({"seed": 3}, "seed.x=1")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"there is no experiment file .*absent\.toml"):
        read_config(tmp_path / "absent.toml")


def test_a_folder_is_no_experiment(tmp_path):
    with pytest.raises(ConfigError, match="is a folder; an experiment is a TOML file"):
        read_config(tmp_path)


def test_a_file_that_is_no_toml_is_refused_with_line(tmp_path):
    path = tmp_path / "broken.toml"
    path.write_text("seed = 1\nseed 2\n")
    with pytest.raises(ConfigError, match=r"broken\.toml: .*line 2"):
        read_config(path)


def test_a_file_that_is_no_text_is_refused(tmp_path):
    path = tmp_path / "binary.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match=r"binary\.toml: 'utf-8' codec"):
        read_config(path)


def test_mistakes_name_the_file(tables, write):
    with pytest.raises(ConfigError, match=r"small\.toml: \[model\] unknown name 'distmut'"):
        read_config(write(tables), ["model.name=distmut"])


def test_an_unknown_table_is_met_with_the_nearest(tables):
    refused({**tables, "sampler_": {}}, r"\[experiment\] there is no 'sampler_'; .*'sampler'")


def test_an_unknown_key_of_a_plain_table_is_met_with_the_nearest(tables):
    refused({**tables, "train": {"epoch": 3}}, r"\[train\] there is no 'epoch'; .*'epochs'")


def test_a_plain_table_that_is_a_value_is_refused(tables):
    refused({**tables, "train": 3}, r"\[train\] is a table; got 3")


def test_a_part_that_is_a_value_is_refused(tables):
    refused({**tables, "model": "distmult"}, r"\[model\] is a table with a name; got 'distmult'")


def test_a_missing_part_is_told_the_names(tables):
    del tables["loss"]
    refused(tables, r"\[loss\] has no name; known: .*softmax")


def test_a_default_part_takes_options_without_its_name(tables):
    config = check_config({**tables, "corruption": {"subsampling": 0.5}})
    corruption = config.parts["corruption"]
    assert (corruption["name"], corruption["subsampling"]) == ("both", 0.5)


def test_a_value_that_cannot_work_is_refused_with_its_table(tables):
    refused(
        {**tables, "train": {"batch_size": 0}}, r"\[train\] batch_size must be at least 1; got 0"
    )


def test_a_split_is_valid_or_test(tables):
    refused(
        {**tables, "evaluate": {"split": "train"}},
        r"\[evaluate.split\] expects one of 'test', 'valid'; got 'train'",
    )


def test_the_bootstrap_needs_a_resample(tables):
    refused({**tables, "evaluate": {"bootstrap": 0}}, "bootstrap must be at least 1; got 0")


def test_no_bootstrap_takes_for_ever(tables):
    refused({**tables, "evaluate": {"bootstrap": 2**63 - 1}}, "bootstrap must be at most 100,000")


def test_threads_are_not_negative(tables):
    refused({**tables, "threads": -1}, r"\[experiment\] threads must not be negative; got -1")


def test_tables_of_torchrec_are_for_sharded_runs(tables):
    tables["distributed"] = {"tables": "torchrec"}
    with pytest.raises(ConfigError, match=r"\[distributed\] tables = .* set virtual_workers too"):
        check_config(tables)
    tables["distributed"]["virtual_workers"] = 64
    assert check_config(tables).distributed.tables == "torchrec"


def test_a_graph_must_be_named(tables):
    refused({**tables, "graph": {}}, r"\[graph\] no graph is given; set name = \"atlas\" or path")


def test_merging_keeps_what_is_not_overridden():
    assert merged({"a": {"x": 1, "y": 2}, "b": 3}, {"a": {"y": 4}}) == {
        "a": {"x": 1, "y": 4},
        "b": 3,
    }


def test_merging_another_part_drops_the_options_of_the_old_one():
    base = {"sampler": {"name": "uniform", "k": 8}}
    over = {"sampler": {"name": "all-entities"}}
    assert merged(base, over) == over


def test_merging_the_same_part_keeps_its_options():
    base = {"sampler": {"name": "uniform", "k": 8}}
    over = {"sampler": {"name": "uniform", "groups": 1}}
    assert merged(base, over) == {"sampler": {"name": "uniform", "k": 8, "groups": 1}}
