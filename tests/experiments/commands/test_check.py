import json
import textwrap

import pytest


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module of samplers in the working directory."""
    text = """
        import torch
        from sparring.samplers import Uniform
        from sparring.testing import ExternalSampler


        class NeverFirst(Uniform):
            def sample(self, queries, score, rng):
                ids = super().sample(queries, score, rng).ids.clamp(min=1)
                return self.to_negatives(queries, ids)


        class Deaf(Uniform):
            def __init__(self, graph, *, k: int):
                super().__init__(graph, k=3)


        def give_back(graph, width, seed):
            return lambda triples: (
                triples.unsqueeze(1).repeat(1, width, 1),
                torch.ones(len(triples), width, dtype=torch.bool),
            )


        external = ExternalSampler("it", give_back)
        """
    (tmp_path / "own_samplers.py").write_text(textwrap.dedent(text))
    monkeypatch.syspath_prepend(tmp_path)


def test_a_sampler_of_the_library_passes(command):
    result = command("check", "generator", "--set", "dim=8")
    assert result.exit_code == 0
    assert result.stdout.endswith("generator: 0 errors, 0 warnings\n")


def test_what_was_looked_at_and_found_good_is_told(command):
    assert "ok: reach" in command("check", "sparring.samplers:Uniform").stdout


def test_a_warning_is_no_failure_unless_asked_for(command):
    result = command("check", "uniform")
    assert result.exit_code == 0
    assert "warning: known facts:" in result.stdout and "0 errors, 1 warnings" in result.stdout
    strict = command("check", "uniform", "--strict")
    assert strict.exit_code == 1
    assert "error: known facts:" in strict.stdout and "1 errors, 0 warnings" in strict.stdout


def test_facts_in_what_should_be_filtered_are_a_failure(command):
    result = command("check", "uniform", "--filtered")
    assert result.exit_code == 1 and "though the sampler is filtered" in result.stdout


def test_samplers_around_others_are_built_as_in_an_experiment(command):
    words = ("--set", "inner.name=uniform", "--set", "inner.k=4", "--filtered")
    assert command("check", "mask-known", *words).exit_code == 0


def test_a_broken_sampler_of_ones_own_fails_in_plain_words(command, module):
    result = command("check", "own_samplers:NeverFirst")
    assert result.exit_code == 1
    assert "error: reach: entity 0 is never drawn" in result.stdout


def test_a_number_of_candidates_that_is_ignored_is_told(command, module):
    result = command("check", "own_samplers:Deaf")
    assert "K is ignored: asked for 1 per triple, got 3" in result.stdout


def test_a_contestant_is_judged_whatever_its_library(command, module):
    result = command("check", "own_samplers:external", "--json")
    found = json.loads(result.stdout)
    assert result.exit_code == 1 and found["sampler"] == "own_samplers:external"
    assert any(
        "returned as its own negative: 100.0%" in one["message"] for one in found["violations"]
    )
    assert "variety" in found["checks"]


@pytest.mark.parametrize(
    ("sampler", "words"),
    [
        ("nowhere:X", "cannot import 'nowhere:X': No module named 'nowhere'"),
        ("sparring.samplers:Y", "cannot import 'sparring.samplers:Y'"),
        ("unifrom", "unknown name 'unifrom'; did you mean 'uniform'?"),
        ("json:loads", "'json:loads' is a function; the kit checks sampler classes"),
        ("json:JSONDecoder", "is no sparring.samplers.NegativeSampler, nor a class of pykeen"),
        ("mask-known", "'mask-known' needs inner"),
    ],
)
def test_what_cannot_be_judged_is_misuse_in_one_line(command, sampler, words):
    result = command("check", sampler)
    assert result.exit_code == 2 and result.stderr.count("\n") == 1
    assert words in result.stderr
