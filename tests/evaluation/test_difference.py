import math

import pytest
import torch
from evaluation.fixtures import evaluation_of, seeded

from sparring.evaluation.breakdown import paired_difference

NEVER = math.inf


def ranks(tail, head=None, **options):
    count = len(tail)
    triples = [(i, i % 2, count + i) for i in range(count)]
    return evaluation_of(triples, tail, tail if head is None else head, **options)


def difference(a, b, **options):
    return paired_difference(a, b, rng=seeded(), **{"replicates": 500, **options})


def test_a_model_does_not_differ_from_itself():
    one = ranks([1, 2, 3, 4] * 5)
    assert difference(one, one) == (0, 0, 0)


def test_the_difference_is_that_of_the_mrrs():
    a, b = ranks([1, 2, 3, 4]), ranks([2, 2, 5, 1])
    assert difference(a, b).difference == pytest.approx(a.mrr() - b.mrr())


def test_an_equal_gain_everywhere_leaves_no_doubt():
    # ranks 1 and 3 against 2 and 6: every query's reciprocal rank differs, every triple's by 1/3
    a, b = ranks([1, 3] * 10, [3, 1] * 10), ranks([2, 6] * 10, [6, 2] * 10)
    assert difference(a, b) == pytest.approx((1 / 3, 1 / 3, 1 / 3))


def test_what_both_models_find_hard_cancels():
    shared = [1, NEVER] * 100
    a, b = ranks(shared, [1] * 200), ranks(shared, [2] * 200)
    found = difference(a, b)
    assert (found.low, found.high) == pytest.approx((0.25, 0.25))


def test_the_interval_is_that_of_the_binomial_distribution():
    # half of 400 triples are won outright: standard deviation 1 / 40
    found = difference(ranks([1, NEVER] * 200), ranks([NEVER] * 400), replicates=4000)
    assert (found.low, found.high) == pytest.approx((0.5 - 1.96 / 40, 0.5 + 1.96 / 40), abs=4e-3)


def test_exchanging_the_models_turns_the_interval_around():
    a, b = ranks([1, 2, 3, 4] * 5), ranks([4, 2, 9, 1] * 5)
    there, back = difference(a, b), difference(b, a)
    assert back == pytest.approx((-there.difference, -there.high, -there.low))


def test_chance_alone_is_rarely_called_a_difference():
    rng = seeded(5)
    wrong = 0
    for _ in range(100):
        lots = torch.randint(1, 10, (2, 60), generator=rng).tolist()
        found = difference(ranks(lots[0]), ranks(lots[1]), replicates=300)
        wrong += not found.low <= 0 <= found.high
    assert wrong <= 12  # 5 are expected; more than 12 come once in a thousand


def test_several_seeds_count_by_their_mean():
    a = [ranks([1, 2]), ranks([2, 4])]
    b = [ranks([4, 4])]
    assert difference(a, b).difference == pytest.approx((0.75 + 0.375) / 2 - 0.25)


def test_seeds_that_disagree_widen_the_interval():
    lucky, plain = ranks([1] * 20), ranks([2] * 20)
    found = difference([lucky, plain], plain)
    assert (found.low, found.high) == pytest.approx((0, 0.5))


def test_seeds_of_both_models_are_drawn_apart():
    lucky, plain = ranks([1] * 20), ranks([2] * 20)
    found = difference([lucky, plain], [lucky, plain])
    assert (found.difference, found.low, found.high) == pytest.approx((0, -0.5, 0.5))


def test_models_may_have_different_numbers_of_seeds():
    plain = ranks([2] * 20)
    assert difference([plain] * 3, [plain] * 2) == pytest.approx((0, 0, 0))


def test_the_same_seed_gives_the_same_interval():
    a, b = ranks([1, 2, 3, 4] * 5), ranks([4, 2, 9, 1] * 5)
    assert difference(a, b) == difference(a, b)


def test_models_judged_on_different_numbers_of_queries_are_refused():
    with pytest.raises(ValueError, match="4 queries cannot be paired with 8"):
        difference(ranks([1, 2]), ranks([1, 2, 3, 4]))


def test_models_judged_on_different_triples_are_refused():
    other = evaluation_of([(0, 0, 2), (1, 1, 0)], [1, 2], [1, 2])
    with pytest.raises(ValueError, match="query 3 has anchor 3 in one evaluation and 0 in another"):
        difference(ranks([1, 2]), other)


def test_every_seed_is_compared_not_only_the_first():
    with pytest.raises(ValueError, match="4 queries cannot be paired with 6"):
        difference([ranks([1, 2]), ranks([1, 2, 3])], ranks([1, 2]))


def test_models_filtered_by_different_facts_are_refused():
    with pytest.raises(ValueError, match="query 0 has candidates 101 in one evaluation and 90"):
        difference(ranks([1, 2]), ranks([1, 2], candidates=90))


def test_a_model_without_evaluations_is_refused():
    with pytest.raises(ValueError, match="each model needs at least one evaluation"):
        difference(ranks([1, 2]), [])


def test_options_are_checked_as_in_a_breakdown():
    with pytest.raises(ValueError, match=r"level must lie between 0 and 1; got 2\.0"):
        difference(ranks([1, 2]), ranks([1, 2]), level=2.0)
