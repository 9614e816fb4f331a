"""Generators by name, from the tables of an experiment."""

import pytest

from sparring.experiments.config import PARTS
from sparring.models import TransE
from sparring.registry import ConfigError, build, resolve
from sparring.testing import tiny_graph

FAMILY = PARTS["sampler"][0]


def test_the_model_inside_a_generator_is_any_model_by_name():
    spec = {"name": "kbgan", "model": {"name": "transe", "dim": 6, "norm": 2}}
    made = build(spec, FAMILY, "sampler", graph=tiny_graph())
    assert isinstance(made.model, TransE)
    assert made.model.dim == 6


def test_the_model_inside_is_resolved_with_its_defaults():
    full = resolve({"name": "kbgan", "model": {"name": "transe"}}, FAMILY, "sampler")
    assert full["model"]["norm"] == 1


def test_a_sampler_is_no_model():
    spec = {"name": "kbgan", "model": {"name": "uniform", "k": 3}}
    with pytest.raises(ConfigError, match=r"\[sampler.model\] unknown name 'uniform'"):
        build(spec, FAMILY, "sampler", graph=tiny_graph())


def test_a_model_is_no_sampler():
    with pytest.raises(ConfigError, match=r"\[sampler\] unknown name 'transe'"):
        build({"name": "transe"}, FAMILY, "sampler", graph=tiny_graph())


def test_options_of_generators_can_change_while_training():
    inner = {"name": "softmax-generator", "k": 3}
    change = {"option": "floor", "start": 0.9, "end": 0.1, "steps": 10}
    spec = {"name": "curriculum", "inner": inner, **change}
    assert build(spec, FAMILY, "sampler", graph=tiny_graph()).inner.floor == 0.9


def test_generators_can_be_wrapped_like_any_sampler():
    spec = {"name": "hide-known", "inner": {"name": "adversarial-tree", "k": 3}}
    assert build(spec, FAMILY, "sampler", graph=tiny_graph()).k == 3
