import math

import pytest
import torch
from evaluation.fixtures import FEW, seeded
from hypothesis import given
from hypothesis import strategies as st

from sparring.evaluation.calibration import entropy


def of(counts):
    return entropy(torch.zeros(len(counts), dtype=torch.long), torch.tensor(counts), 1).item()


def plain(counts):
    total = sum(counts)
    return -sum(count / total * math.log(count / total) for count in counts)


def test_one_member_has_no_entropy():
    assert of([7]) == 0


def test_one_draw_shows_no_entropy():
    assert of([1]) == 0


def test_with_many_draws_it_is_the_plain_entropy():
    counts = [100_000, 300_000, 600_000]
    assert of(counts) == pytest.approx(plain(counts), abs=1e-9)


def test_by_hand():
    # coverage 1 - 1/4; shares .75 * (3/4, 1/4)
    parts = [-p * math.log(p) / (1 - (1 - p) ** 4) for p in (0.75 * 3 / 4, 0.75 / 4)]
    assert of([3, 1]) == pytest.approx(sum(parts))


def test_draws_that_all_differ_show_more_than_they_are():
    assert of([1] * 50) > math.log(50)


def test_it_is_closer_to_the_truth_than_the_plain_entropy():
    # 1000 draws from 1000 members; averages of 20 samples
    rng = seeded()
    errors, plain_errors = [], []
    for _ in range(20):
        counts = torch.randint(1000, (1000,), generator=rng).unique(return_counts=True)[1].tolist()
        errors.append(of(counts) - math.log(1000))
        plain_errors.append(plain(counts) - math.log(1000))
    assert abs(sum(errors)) < abs(sum(plain_errors)) / 5


@FEW
@given(st.lists(st.lists(st.integers(1, 50), min_size=1, max_size=10), min_size=1, max_size=5))
def test_groups_do_not_disturb_each_other(groups):
    group = torch.tensor([g for g, counts in enumerate(groups) for _ in counts])
    count = torch.tensor([count for counts in groups for count in counts])
    assert entropy(group, count, len(groups)).tolist() == pytest.approx([of(c) for c in groups])


def test_a_group_without_members_has_no_entropy():
    assert entropy(torch.tensor([1]), torch.tensor([3]), 3).tolist() == [0, 0, 0]
