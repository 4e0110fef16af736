"""`executor="auto"` with real processes: cheap chains go beside the loop, others stay; each place is put in order."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeframe_async import Failure, PipeFrame, PipelineEngine
from pipeframe_async.executors.auto import AutoExecutor

PARENT = os.getpid()
MANY = 3000
LARGE = 200_000


def where(record: bytes) -> tuple[int, bool]:
    return os.getpid(), True


def computes(record: int) -> tuple[int, bool]:
    until = time.thread_time() + 0.002
    while time.thread_time() < until:
        pass
    return os.getpid(), True


def kills_first(record: int) -> tuple[int, bool]:
    if record == 0:
        os.kill(os.getpid(), 9)
    return record, True


class Where(PipelineEngine[Any, int]):
    steps = (where,)
    source = "stream"

    def feed(self) -> Iterator[bytes]:
        for number in range(MANY):
            yield bytes([number % 256]) * LARGE


async def results_of(pipeline: Any, feed: Any = None) -> tuple[list[Any], Any]:
    async with PipeFrame(2, executor="auto").stream(pipeline, feed) as results:
        taken = [result async for result in results]
    return taken, results.report


async def test_large_records_with_little_work_are_run_beside_the_loop() -> None:
    pids, report = await results_of(Where)
    assert len(pids) == MANY
    assert pids[0] != os.getpid()  # the first are always run in a worker
    assert pids[-1] == os.getpid()
    assert "in a thread beside the loop" in report.bottleneck
    assert report.steps[0].where == "both"


async def test_threads_that_share_no_gil_are_tried_and_each_has_a_copy_of_the_pipeline_to_itself() -> None:
    class Here(PipelineEngine[bytes, tuple[int, int, int]]):
        source = "stream"

        def where(self, record: bytes) -> tuple[tuple[int, int, int], bool]:
            record.count(1)  # some microseconds: less tells nothing
            return (os.getpid(), threading.get_ident(), id(self)), True

        steps = (where,)

    executor = AutoExecutor(2, gil=False)
    try:
        async with PipeFrame(executor=executor).stream(Here, Where().feed()) as results:
            taken = [result async for result in results]
    finally:
        await executor.close(kill=False, timeout=10)
    assert len(taken) == MANY
    assert taken[0][0] != os.getpid()
    here = {(thread, copy) for pid, thread, copy in taken if pid == os.getpid()}
    assert len(here) == len({thread for thread, _ in here}) == len({copy for _, copy in here}) == 2
    assert "were run in 2 threads of this process, without a GIL: a record was measured" in results.report.bottleneck


async def test_records_that_take_long_to_compute_stay_in_the_workers() -> None:
    class Computes(PipelineEngine[int, int]):
        steps = (computes,)
        source = "stream"

    pids, report = await results_of(Computes, range(150))
    assert len(pids) == 150
    assert os.getpid() not in pids
    assert report.steps[0].where == "worker"


async def test_a_first_record_that_kills_its_process_kills_a_worker() -> None:
    class Deadly(PipelineEngine[int, int]):
        steps = (kills_first,)
        source = "stream"

        async def dead_letter(self, failures: list[Failure[int]]) -> None:
            assert [failure.record for failure in failures] == [0]

    taken, report = await results_of(Deadly, range(100))
    assert taken == list(range(1, 100))
    assert report.failed == 1


class Logged(Where):
    def __init__(self, log: Path) -> None:
        self.log = log

    def setup(self) -> None:
        self.say("setup")

    def teardown(self) -> None:
        self.say("teardown")

    def say(self, what: str) -> None:
        with self.log.open("a") as log:
            log.write(f"{what} {os.getpid()}\n")


async def test_setup_and_teardown_run_once_in_each_worker_and_once_here(tmp_path: Path) -> None:
    pids, _ = await results_of(Logged(log := tmp_path / "log"))
    lines = log.read_text().splitlines()
    assert {f"setup {pid}" for pid in pids} <= set(lines)
    assert len(lines) == len(set(lines))
    assert {line.replace("setup", "teardown") for line in lines if line.startswith("setup")} == {
        line for line in lines if line.startswith("teardown")
    }
    assert f"teardown {os.getpid()}" in lines


async def test_a_teardown_that_raises_beside_the_loop_is_told(tmp_path: Path) -> None:
    class Sloppy(Logged):
        def teardown(self) -> None:
            if os.getpid() == PARENT:
                raise OSError("not closed")

    from pipeframe_async import StepError

    with pytest.raises(StepError, match="not closed"):
        await results_of(Sloppy(tmp_path / "log"))


async def test_a_warm_frame_runs_one_chain_beside_the_loop_and_another_in_its_workers() -> None:
    class Computes(PipelineEngine[int, int]):
        steps = (computes,)
        source = "stream"

    async with PipeFrame(2, executor="auto") as frame:
        for pipeline, feed, here in ((Where, None, True), (Computes, range(50), False)):
            async with frame.stream(pipeline, feed) as results:
                pids = [pid async for pid in results]
            assert (pids[-1] == os.getpid()) is here
