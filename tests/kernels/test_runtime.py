"""When loops run, and that threads share their rows."""

import os
import subprocess
import sys
import threading

import pytest
import torch

from sparring import kernels
from sparring.kernels import runtime
from sparring.kernels.runtime import NUMBERS_PER_THREAD, Threads, run_in_threads


def mark(start, stop, out):
    out[start:stop] += 1
    return stop - start


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_every_row_belongs_to_one_part(threads):
    before, out = torch.get_num_threads(), torch.zeros(10)
    torch.set_num_threads(threads)
    try:
        assert run_in_threads(mark, 10, 10 * NUMBERS_PER_THREAD, out) == 10
    finally:
        torch.set_num_threads(before)
    assert out.tolist() == [1.0] * 10


def test_the_first_part_runs_here_and_the_others_at_the_same_time():
    threads, meet = Threads(), threading.Barrier(3, timeout=20)

    def call(number):
        meet.wait()
        return number, threading.current_thread() is threading.main_thread()

    assert threads.map(call, range(3)) == [(0, True), (1, False), (2, False)]
    assert threads.map(lambda number: number, range(2)) == [0, 1]


def test_without_a_compiler_loops_stay_as_they_are(monkeypatch):
    monkeypatch.setattr(runtime, "numba", None)
    plain = lambda: None
    assert runtime.compiled(plain) is plain
    assert not runtime.enabled_for(torch.zeros(1))


def test_loops_run_until_they_are_disabled():
    some = torch.zeros(1)
    assert runtime.enabled_for(some)
    with kernels.disabled():
        with kernels.disabled():
            assert not runtime.enabled_for(some)
        assert not runtime.enabled_for(some)
    assert runtime.enabled_for(some)


def test_an_error_enables_loops_again():
    with pytest.raises(ValueError), kernels.disabled():
        raise ValueError
    assert runtime.enabled_for(torch.zeros(1))


@pytest.mark.slow  # a process of its own each
@pytest.mark.parametrize("value, enabled", [("0", False), ("1", True), ("", True)])
def test_a_variable_switches_loops_off(value, enabled):
    asked = "import torch; from sparring.kernels.runtime import enabled_for as enabled; "
    asked += "print(enabled(torch.zeros(1)))"
    words, values = [sys.executable, "-c", asked], {**os.environ, "SPARRING_KERNELS": value}
    done = subprocess.run(words, env=values, capture_output=True, text=True, check=True)
    assert done.stdout == f"{enabled}\n"


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.int8, torch.complex64])
def test_loops_read_32_and_64_bits_only(dtype):
    assert not runtime.enabled_for(torch.zeros(1, dtype=dtype))


def test_loops_read_no_other_device():
    assert not runtime.enabled_for(torch.zeros(1, device="meta"))
