"""`frame.stats()`: all there is to see of runs, workers and failures, as one snapshot from any thread."""

from __future__ import annotations

import asyncio
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from pipeframe_async import PipeFrame, PipelineEngine
from pipeframe_async.stats import Stats

pytestmark = pytest.mark.process


def doubled(record: int) -> tuple[int, bool]:
    if record % 10 == 3:
        raise ValueError(record)
    return 2 * record, True


def killed(record: int) -> tuple[int, bool]:
    if record == 5:
        os.kill(os.getpid(), signal.SIGSEGV)
    return record, True


async def awaited(record: int) -> tuple[int, bool]:
    await asyncio.sleep(0)
    return record, True


class Numbers(PipelineEngine[int, int]):
    source = "stream"
    max_failures = None
    steps = (doubled, awaited)

    async def feed(self) -> Any:
        for record in range(100):
            yield record


class Held(PipelineEngine[int, int]):
    """Its sink takes nothing until it may."""

    source = "stream"
    steps = (awaited,)

    def __init__(self) -> None:
        self.may = asyncio.Event()
        self.began = asyncio.Event()

    async def feed(self) -> Any:
        for record in range(20):
            yield record
        await self.may.wait()

    async def sink(self, records: list[int]) -> None:
        self.began.set()
        await self.may.wait()


class Killed(PipelineEngine[int, int]):
    max_failures = None
    steps = (killed,)

    async def feed(self) -> Any:
        for record in range(10):
            yield record


async def test_a_run_that_has_ended_is_still_shown_with_its_stages_steps_and_failures() -> None:
    frame = PipeFrame(1)
    report = await frame.run(Numbers)
    (run,) = frame.stats().runs
    assert (run.pipeline, run.kind, run.state, run.ended_by) == ("Numbers", "run", "closed", "exhausted")
    assert [(stage.kind, stage.name, stage.done) for stage in run.stages] == [
        ("feed", "feed", 100),
        ("steps", "doubled", 100),
        ("steps", "awaited", 90),
        ("deliver", "deliver", 100),
    ]
    assert all(stage.waiting == stage.running == 0 for stage in run.stages)
    assert run.steps == report.steps
    assert [histogram.count for histogram in run.step_seconds] == pytest.approx([100, 90])
    assert run.queue_seconds.count == 100
    assert run.batch_records.sum == 100
    assert run.bottleneck == report.bottleneck
    (group,) = run.failures
    assert (group.step, group.kind, group.error_type, group.count) == ("doubled", "raised", "ValueError", 10)
    assert "in doubled" in group.traceback
    assert group.newest >= run.began


async def test_what_waits_and_runs_at_each_stage_adds_up_to_what_is_in_flight() -> None:
    frame, held = PipeFrame(1), Held()
    task = asyncio.create_task(frame.run(held))
    await held.began.wait()
    stats = frame.stats()
    (run,) = stats.runs
    assert run.state == "feeding"
    assert run.waits_for == "a hook"
    assert sum(stage.waiting + stage.running for stage in run.stages) == stats.in_flight > 0
    assert run.stages[-1].waiting > 0
    assert run.oldest is not None
    held.may.set()
    await task
    (run,) = frame.stats().runs
    assert run.oldest is None


async def test_runs_at_the_same_time_are_told_apart_and_the_last_that_ended_are_kept() -> None:
    async with PipeFrame(1) as frame:
        for _ in range(20):
            await frame.run(Numbers)
        await asyncio.gather(frame.run(Numbers), frame.call(Numbers, 1))
        runs = frame.stats().runs
        assert [run.number for run in runs] == sorted({run.number for run in runs})
        assert [run.kind for run in runs].count("calls") == 1
        assert len([run for run in runs if run.state == "closed"]) == 16


async def test_a_worker_that_died_is_counted_by_its_cause() -> None:
    async with PipeFrame(1) as frame:
        await frame.run(Killed)
        (worker,) = frame.stats().workers
        assert worker.state == "idle"
        assert worker.pid not in (None, 0, os.getpid())
        assert set(worker.restarts) == {"crashed"}
        assert sum(worker.restarts.values()) == frame.stats().runs[0].counts.worker_restarts


async def test_any_thread_may_look_while_records_move() -> None:
    frame = PipeFrame(2)
    ended = False

    def look() -> Stats:
        while not ended:
            stats = frame.stats()
            final = stats.delivered + stats.filtered + stats.failed + stats.aborted
            assert final <= stats.fed + stats.emitted
        return stats

    with ThreadPoolExecutor(1) as thread:
        looking = asyncio.get_running_loop().run_in_executor(thread, look)
        for _ in range(5):
            await frame.run(Numbers)
        ended = True
        assert (await looking).fed == 100
