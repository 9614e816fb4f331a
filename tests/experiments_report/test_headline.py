from sparring.evaluation.breakdown import Difference
from sparring.experiments.report.records import Estimate, Group, Variant, headline


def variant(label, mrr, *, seeds=3, cpu_seconds=100.0, interval=None):
    numbers = {"mrr": {"mean": mrr}, "cpu_seconds": {"mean": cpu_seconds}}
    groups = [Group("overall", "all", 400, Estimate(mrr, interval))] if interval else []
    return Variant(0, label, numbers, [{}] * seeds, [], groups, {}, [])


def gaps(half_width):
    def gap(one, other):
        middle = one.mean("mrr") - other.mean("mrr")
        return Difference(middle, middle - half_width, middle + half_width)

    return gap


def told(*variants, half_width):
    title, lede = headline(variants, "atlas", gaps(half_width))
    return title, lede.replace("\N{NO-BREAK SPACE}", " ")


def test_a_clear_winner_is_named_with_its_lead():
    title, _ = told(variant("uniform", 0.300), variant("hard", 0.321), half_width=0.01)
    assert title == "Hard beats uniform by 0.021 MRR on atlas"


def test_a_clear_winner_has_an_interval_and_a_price():
    _, lede = told(
        variant("uniform", 0.300), variant("hard", 0.321, cpu_seconds=250.0), half_width=0.01
    )
    assert lede == (
        "0.321 against 0.300; the 95 % interval of the lead is 0.011 to 0.031. "
        "It takes 2.5 times the CPU time of uniform."
    )


def test_an_equal_price_is_called_equal():
    hard = variant("hard", 0.4, cpu_seconds=104.0)
    _, lede = told(variant("uniform", 0.3), hard, half_width=0.01)
    assert lede.endswith("It takes as much CPU time as uniform.")


def test_a_price_nobody_measured_is_not_mentioned():
    _, lede = told(variant("uniform", 0.3, cpu_seconds=0.0), variant("hard", 0.4), half_width=0.01)
    assert "CPU" not in lede


def test_where_the_interval_of_the_lead_includes_zero_nobody_wins():
    title, lede = told(variant("uniform", 0.300), variant("hard", 0.305), half_width=0.02)
    assert title == "No clear winner on atlas"
    assert lede == (
        "Hard comes out 0.005 MRR ahead of uniform, but that may be chance: the 95 % interval, "
        "\N{MINUS SIGN}0.015 to +0.025, includes zero."
    )


def test_a_second_that_is_clearly_behind_is_named():
    variants = variant("uniform", 0.3), variant("hard", 0.4), variant("best", 0.5)
    _, lede = told(*variants, half_width=0.01)
    assert lede.endswith("The next best, hard, is 0.100 behind.")


def test_a_lead_over_the_second_that_may_be_chance_is_called_so():
    variants = variant("uniform", 0.3), variant("hard", 0.495), variant("best", 0.5)
    _, lede = told(*variants, half_width=0.01)
    assert lede.endswith("Its lead over hard, 0.005, may be chance.")


def test_an_unbeaten_baseline_wins():
    title, lede = told(variant("uniform", 0.3), variant("hard", 0.25), half_width=0.01)
    assert title == "No other variant beats uniform on atlas"
    assert lede == (
        "Uniform reaches 0.300 MRR. hard comes closest, at \N{MINUS SIGN}0.050 "
        "(95 % interval \N{MINUS SIGN}0.060 to \N{MINUS SIGN}0.040)."
    )


def test_an_unbeaten_baseline_may_be_level_with_another():
    _, lede = told(variant("uniform", 0.3), variant("hard", 0.295), half_width=0.01)
    assert lede.endswith("too close to tell them apart.")


def test_a_single_seed_is_called_so():
    _, lede = told(variant("uniform", 0.3, seeds=1), variant("hard", 0.4, seeds=1), half_width=0.1)
    assert lede.endswith("With a single seed, nothing is known of the luck of training.")


def test_a_variant_alone_is_not_called_a_winner():
    title, lede = told(variant("uniform", 0.3, interval=(0.28, 0.32)), half_width=0.1)
    assert title == "Uniform reaches an MRR of 0.300 on atlas"
    assert lede == (
        "There is nothing to compare it with: this comparison has one variant. "
        "The 95 % interval of the MRR is 0.280 to 0.320."
    )
