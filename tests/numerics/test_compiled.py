"""Loops run in parts: all rows once, whatever the number of threads."""

import threading

import pytest
import torch

from sparring.kernels.runtime import WORTH_A_THREAD, Threads, run_in_threads


def mark(start, stop, out):
    out[start:stop] += 1
    return stop - start


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_every_row_belongs_to_one_part(threads):
    before, out = torch.get_num_threads(), torch.zeros(10)
    torch.set_num_threads(threads)
    try:
        assert run_in_threads(mark, 10, 10 * WORTH_A_THREAD, out) == 10
    finally:
        torch.set_num_threads(before)
    assert out.tolist() == [1.0] * 10


def test_the_first_part_runs_here_and_the_others_beside_it():
    threads, meet = Threads(), threading.Barrier(3, timeout=20)

    def call(number):
        meet.wait()
        return number, threading.current_thread() is threading.main_thread()

    assert threads.map(call, range(3)) == [(0, True), (1, False), (2, False)]
    assert threads.map(lambda number: number, range(2)) == [0, 1]
