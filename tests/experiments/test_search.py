"""Ranges reach the values that a search begins with, and only options that exist are tuned."""

import json

import optuna
import pytest

from sparring.experiments.search import COMMON, Choice, Log, Method, method_of, value_at

TABLES = {
    "model": {"name": "complex", "dim": 100, "n3": 0.0, "dropout": 0.0},
    "sampler": {"name": "uniform", "k": 32},
    "optimizer": {"name": "adam", "lr": 1.5},
    "train": {"batch_size": 64},
}


def test_the_first_trial_has_the_settings_of_the_tables():
    method = method_of("uniform", TABLES)
    start = method.start()
    assert start["model.dim"] == 100 and 100 in method.ranges["model.dim"].values
    assert start["optimizer.lr"] == method.ranges["optimizer.lr"].high == 1.5
    trial = optuna.trial.FixedTrial(start)
    assert method.suggest(trial) == start
    assert method.with_values(start) == method.tables


def test_a_zero_that_a_logarithm_cannot_reach_becomes_the_least():
    method = method_of("uniform", TABLES)
    assert method.start()["model.n3"] == COMMON["model.n3"].low
    assert method.start()["model.dropout"] == 0.0


def test_options_that_the_parts_do_not_have_are_left_out():
    without = {**TABLES, "model": {"name": "transe", "dim": 8}, "sampler": {"name": "all-entities"}}
    assert set(method_of("any", without).ranges) == {
        "optimizer.lr",
        "model.dim",
        "train.batch_size",
    }


def test_ranges_of_the_method_and_those_given_come_first():
    of_generator = method_of("generator", TABLES).ranges["sampler.k"]
    assert 256 not in of_generator.values
    given = {"sampler.k": Choice((2, 4)), "train.batch_size": Log(1.0, 2.0)}
    method = method_of("generator", TABLES, given)
    assert method.ranges["sampler.k"].values == (2, 4, 32)
    assert method.ranges["train.batch_size"].high == 64


def test_values_change_one_option_and_leave_the_tables_alone():
    method = Method(TABLES, {})
    changed = method.with_values({"model.dim": 7, "train.batch_size": 9})
    assert changed["model"] == {**TABLES["model"], "dim": 7}
    assert changed["train"] == {"batch_size": 9}
    assert value_at(method.tables, "model.dim") == 100
    assert value_at(TABLES, "model.absent") is value_at(TABLES, "absent.dim") is None


def test_an_option_of_an_inner_sampler_is_tuned_too():
    masked = {"name": "mask-known", "inner": {"name": "uniform", "k": 8}}
    ranges = {"sampler.inner.k": Choice((8, 16)), "sampler.other.k": Choice((1,))}
    method = method_of("shared", {**TABLES, "sampler": masked}, ranges)
    assert "sampler.other.k" not in method.ranges and "sampler.k" not in method.ranges
    assert method.start()["sampler.inner.k"] == 8
    changed = method.with_values({"sampler.inner.k": 16})
    assert changed["sampler"] == {"name": "mask-known", "inner": {"name": "uniform", "k": 16}}
    assert masked["inner"]["k"] == 8


@pytest.mark.parametrize("name", ["uniform", "generator"])
def test_a_method_is_read_back_from_a_file(name):
    method = method_of(name, TABLES)
    assert Method.from_dict(json.loads(json.dumps(method.as_dict()))) == method
