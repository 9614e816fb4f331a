import pytest

from sparring.serve.comparison import DRAWS, SamplerComparison

FACT = ("e005", "next", "e006")


@pytest.fixture(scope="module")
def comparison(served):
    return SamplerComparison(served)


def test_averages_are_of_the_draws(comparison, served):
    (uniform,) = comparison.draw(FACT, "tail", samplers=["uniform"], shown=1000)
    times = sum(each.times for each in uniform.negatives)
    assert DRAWS - served.graph.training.num_entities <= times <= DRAWS
    mean = lambda name: sum(each.times * getattr(each, name) for each in uniform.negatives) / times
    assert uniform.percentile == pytest.approx(mean("percentile"), abs=1e-5)
    assert uniform.probability == pytest.approx(mean("probability"), rel=1e-4)
    assert uniform.known == pytest.approx(mean("known"))
    hard = [each.percentile for each in uniform.negatives]
    assert hard == sorted(hard, reverse=True)


def test_an_answer_is_never_its_own_negative(comparison):
    for side, answer in (("tail", "e006"), ("head", "e005")):
        for draws in comparison.draw(FACT, side, shown=1000):
            assert answer not in {each.entity.name for each in draws.negatives}


def test_hard_samplers_are_harder_and_draws_repeat(comparison):
    first = {draws.sampler: draws for draws in comparison.draw(FACT, "tail")}
    assert first["dynamic-negatives"].percentile > first["uniform"].percentile
    assert {draws.sampler: draws for draws in comparison.draw(FACT, "tail")} == first
