"""Counts of greater scores: the loop gives what comparisons of whole blocks give."""

import pytest
import torch
from kernels.switch import kernels_on

from sparring.kernels.ranking import count_greater


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_loop_and_comparisons_count_alike(dtype):
    rng = torch.Generator().manual_seed(0)
    scores = torch.randint(5, (7, 50), generator=rng).to(dtype)  # with ties
    target = scores[:, :1].contiguous()
    found = []
    for loops in (True, False):
        with kernels_on(loops):
            found.append(count_greater(scores, target))
    assert all(torch.equal(loop, plain) for loop, plain in zip(*found))
    above, at_least = found[0]
    assert above.tolist() == [sum(s > row[0] for s in row) for row in scores.tolist()]
    assert at_least.tolist() == [sum(s >= row[0] for s in row) for row in scores.tolist()]
