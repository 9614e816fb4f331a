"""Calibration of estimated false negatives, and entropy of a sample."""

import math
from dataclasses import replace

import pytest
import torch
from evaluation.fixtures import FACTS_OF_EACH_KIND, FEW, Says, audited, seeded
from hypothesis import given
from hypothesis import strategies as st

from sparring.evaluation.calibration import entropy


def entropy_of(counts):
    return entropy(torch.zeros(len(counts), dtype=torch.long), torch.tensor(counts), 1).item()


def plain(counts):
    total = sum(counts)
    return -sum(count / total * math.log(count / total) for count in counts)


def test_one_member_has_no_entropy():
    assert entropy_of([7]) == 0


def test_one_draw_shows_no_entropy():
    assert entropy_of([1]) == 0


def test_with_many_draws_it_is_the_plain_entropy():
    counts = [100_000, 300_000, 600_000]
    assert entropy_of(counts) == pytest.approx(plain(counts), abs=1e-9)


def test_entropy_by_hand():
    # coverage 1 - 1/4; shares .75 * (3/4, 1/4)
    parts = [-p * math.log(p) / (1 - (1 - p) ** 4) for p in (0.75 * 3 / 4, 0.75 / 4)]
    assert entropy_of([3, 1]) == pytest.approx(sum(parts))


def test_draws_that_all_differ_show_more_than_they_are():
    assert entropy_of([1] * 50) > math.log(50)


def test_entropy_is_closer_to_the_truth_than_the_plain_entropy():
    # 1000 draws from 1000 members; averages of 20 samples
    rng = seeded()
    errors, plain_errors = [], []
    for _ in range(20):
        counts = torch.randint(1000, (1000,), generator=rng).unique(return_counts=True)[1].tolist()
        errors.append(entropy_of(counts) - math.log(1000))
        plain_errors.append(plain(counts) - math.log(1000))
    assert abs(sum(errors)) < abs(sum(plain_errors)) / 5


@FEW
@given(st.lists(st.lists(st.integers(1, 50), min_size=1, max_size=10), min_size=1, max_size=5))
def test_groups_do_not_disturb_each_other(groups):
    group = torch.tensor([g for g, counts in enumerate(groups) for _ in counts])
    count = torch.tensor([count for counts in groups for count in counts])
    assert entropy(group, count, len(groups)).tolist() == pytest.approx(
        [entropy_of(c) for c in groups]
    )


def test_a_group_without_members_has_no_entropy():
    assert entropy(torch.tensor([1]), torch.tensor([3]), 3).tolist() == [0, 0, 0]


def test_calibration_by_hand():
    # of the tail query, 3 is withheld; of the head query, none of them is known
    found = audited(Says([3, 5], p_false_negative=[0.8, 0.2])).calibration
    squares = (0.2**2 + 0.2**2 + 0.8**2 + 0.2**2) / 4
    assert found.brier == pytest.approx(squares)
    assert [(one.low, one.high, one.candidates) for one in found.bins] == [
        (0.1, 0.3, 20),
        (0.7, 0.9, 20),
    ]
    assert [one.estimate for one in found.bins] == pytest.approx([0.2, 0.8])
    assert [one.withheld for one in found.bins] == [0, 0.5]
    assert found.error == pytest.approx((0.2 + 0.3) / 2)


@pytest.mark.parametrize("estimate, low", [(0.0, 0.0), (0.5, 0.5), (1.0, 0.9)])
def test_the_lower_bound_belongs_to_a_bin(estimate, low):
    (found,) = audited(Says([5], p_false_negative=[estimate])).calibration.bins
    assert found.low == low


def test_an_oracle_is_perfectly_calibrated():
    class Oracle(Says):
        def sample(self, queries, score, rng):
            drawn = super().sample(queries, score, rng)
            truth = FACTS_OF_EACH_KIND.known.contains(queries, drawn.ids) & drawn.mask
            return replace(drawn, p_false_negative=truth.float())

    found = audited(Oracle([1, 2, 3, 4, 5])).calibration
    assert (found.brier, found.error) == (0, 0)


def test_a_sampler_without_estimates_gets_its_rate_of_withheld_facts():
    found = audited(Says([3, 5]))
    assert found.calibration.brier == found.overall.withheld_counted == 0.25


def test_training_facts_do_not_count_for_calibration():
    assert audited(Says([2], p_false_negative=[0.5])).calibration.bins[0].candidates == 20


def test_without_candidates_there_is_no_calibration():
    found = audited(Says([5], mask=[False])).calibration
    assert (found.brier, found.error, found.bins) == (None, None, ())
