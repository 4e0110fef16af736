"""Whether a step has waited or computed: by what its thread did, however little of a core it had."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from pipeframe_async._worker.waiting import WAITING, Stretch

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells why a thread was off its core")


def computes(seconds: float) -> None:
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def test_a_step_that_computes_counts_by_its_cpu_time() -> None:
    stretch = Stretch()
    computes(0.01)
    seconds, waited = stretch.ended(shared=False)
    assert not waited
    assert 0.01 <= seconds < 0.02


def test_a_step_that_waits_counts_by_the_wall() -> None:
    stretch = Stretch()
    time.sleep(0.02)
    seconds, waited = stretch.ended(shared=False)
    assert waited
    assert seconds >= 0.02


def test_a_thread_that_others_of_its_process_keep_from_computing_has_not_waited() -> None:
    stop = threading.Event()

    def busy() -> None:
        while not stop.is_set():
            pass

    others = [threading.Thread(target=busy) for _ in range(3)]
    for other in others:
        other.start()
    try:
        stretch = Stretch()
        computes(0.005)
        assert not stretch.ended(shared=False)[1]
    finally:
        stop.set()
        for other in others:
            other.join()


@contextmanager
def crowd(core: int, number: int) -> Iterator[None]:
    """This thread, and so many processes that always compute, on one core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(number)]  # they are there too
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
        for other in others:
            other.kill()
            other.wait()


@linux
def test_a_step_that_is_preempted_has_not_waited() -> None:
    wall = cpu = 0.0
    with crowd(min(os.sched_getaffinity(0)), 8):
        time.sleep(0.5)  # they have started: a look would take a core that nobody else has
        stretch = Stretch()
        wall, cpu = time.perf_counter(), time.thread_time()
        computes(0.05)
        seconds, waited = stretch.ended(shared=False)
        wall, cpu = time.perf_counter() - wall, time.thread_time() - cpu
    if wall < WAITING * cpu + 0.001:
        pytest.skip(f"it was not preempted enough to tell: {cpu:.3f} s of CPU in {wall:.3f} s")
    assert not waited
    assert seconds == pytest.approx(cpu, abs=0.01)
