"""Whole runs over real workers."""

from __future__ import annotations

import asyncio
import concurrent.futures
import multiprocessing
import os
from pathlib import Path
from typing import Any

import pytest

from pipeframe_async import FeedError, PipeFrame, PipelineFailed, RunReport, StepError, WorkerLost
from pipeframe_async._worker import codec
from pipeframe_async.executors.packing import Packing
from pipeframe_async.executors.processes.fleet import ProcessLanes
from pipeframe_async.wire import ChainSpec, Packed, Reply
from tests.process import pipelines as p

pytestmark = pytest.mark.process

EXECUTORS = ["processes", "threads", "inline"]


def balanced(report: RunReport) -> bool:
    outcomes = report.delivered + report.filtered + report.failed + report.aborted
    return report.fed + report.emitted == outcomes


@pytest.mark.parametrize("executor", EXECUTORS)
async def test_every_record_goes_through_every_step_in_order(executor: str) -> None:
    pipeline = p.Collected(1000)
    report = await PipeFrame(2, executor=executor).run(pipeline)
    assert pipeline.taken == [(i + 1) * 2 for i in range(1000)]
    assert (report.fed, report.delivered, report.ended_by) == (1000, 1000, "exhausted")
    assert [(step.name, step.calls) for step in report.steps] == [("add_one", 1000), ("double", 1000)]


@pytest.mark.parametrize("executor", EXECUTORS)
async def test_a_failing_record_costs_itself_and_is_named_as_it_was_fed(executor: str) -> None:
    pipeline = p.Unlucky(500)
    report = await PipeFrame(2, executor=executor).run(pipeline)
    assert [failure.record for failure in pipeline.dead] == [13, 113, 213, 313, 413]
    assert pipeline.taken == [i * 2 for i in range(500) if i % 100 != 13]
    assert (report.failed, report.delivered) == (5, 495)
    first = pipeline.dead[0]
    assert (first.step, first.kind, first.error_type) == ("unlucky", "raised", "ValueError")
    assert "13 is unlucky" in first.traceback
    assert "pipelines.py" in first.traceback


async def test_filter_bypass_and_fan_out_are_counted_as_such() -> None:
    class Mixed(p.Collected):
        steps = (p.keep_even, p.stop_at_ten, p.twice)

    pipeline = Mixed(20)
    report = await PipeFrame(2).run(pipeline)
    assert pipeline.taken == [0, 0, 2, 2, 4, 4, 6, 6, 8, 8, 10, 12, 14, 16, 18]
    assert (report.fed, report.filtered, report.bypassed, report.emitted, report.delivered) == (20, 10, 5, 5, 15)
    assert balanced(report)


async def test_the_first_failure_ends_a_run_that_allows_none_and_says_where() -> None:
    with pytest.raises(PipelineFailed, match="'unlucky' raised ValueError: 13 is unlucky") as caught:
        await PipeFrame(2).run(type("Strict", (p.Numbers,), {"steps": (p.unlucky,)}))
    assert caught.value.report is not None
    assert caught.value.report.ended_by == "failed"
    assert balanced(caught.value.report)
    assert caught.value.failures[0].record == 13
    assert "pipelines.py" in caught.value.__notes__[0]


async def test_the_originals_shape_runs_as_it_is() -> None:
    report = await PipeFrame(cpu_count=2).run(p.Original)
    assert (report.fed, report.delivered) == (10, 10)


async def test_load_replaces_the_feed_as_second_argument_and_by_either_name() -> None:
    frame = PipeFrame(2)
    assert (await frame.run(p.Numbers, range(7))).fed == 7
    assert (await frame.run(p.Numbers, feed=range(8))).fed == 8
    assert (await frame.run(p.Numbers, load=p.count_to(9))).fed == 9


async def test_setup_runs_once_a_worker_and_teardown_at_its_end(tmp_path: Path) -> None:
    pipeline = p.Warmed(2000, str(tmp_path / "log"))
    await PipeFrame(2).run(pipeline)
    assert pipeline.taken == [i + 1000 for i in range(2000)]
    lines = (tmp_path / "log").read_text().split("\n")[:-1]
    setups = sorted(line.split()[1] for line in lines if line.startswith("setup"))
    teardowns = sorted(line.split()[1] for line in lines if line.startswith("teardown"))
    assert setups == teardowns
    assert len(set(setups)) == len(setups) in (1, 2)
    assert str(os.getpid()) not in setups


async def test_a_setup_that_raises_ends_the_run_with_its_traceback() -> None:
    class Broken(p.Numbers):
        def setup(self) -> None:
            raise OSError("no model here")

    with pytest.raises(StepError, match="setup raised in a worker: OSError: no model here") as caught:
        await PipeFrame(2).run(Broken)
    assert "in setup" in caught.value.__notes__[0]
    assert caught.value.report is not None
    assert balanced(caught.value.report)


async def test_a_warm_frame_keeps_its_workers_between_runs() -> None:
    class Pids(p.Collected):
        steps = (p.pid,)

    async with PipeFrame(1) as frame:
        first, second = Pids(50), Pids(50)
        await frame.run(first)
        await frame.run(second)
    assert len(set(first.taken + second.taken)) == 1


async def test_many_runs_share_a_warm_frame() -> None:
    async with PipeFrame(2) as frame:
        runs = [p.Collected(300), p.Collected(200), p.Unlucky(150)]
        reports = await asyncio.gather(*(frame.run(run) for run in runs))
    assert [report.fed for report in reports] == [300, 200, 150]
    assert runs[0].taken == [(i + 1) * 2 for i in range(300)]
    assert [failure.record for failure in runs[2].dead] == [13, 113]


@pytest.mark.parametrize("kind", ["threads", "fork", "forkserver", "loky"])
async def test_any_foreign_executor_runs_a_pipeline_and_stays_open(kind: str) -> None:
    pipeline = p.Unlucky(300)
    with _foreign(kind) as executor:
        report = await PipeFrame(2, executor=executor).run(pipeline)
        assert executor.submit(abs, -1).result() == 1
    assert (report.delivered, report.failed) == (297, 3)
    assert pipeline.taken == [i * 2 for i in range(300) if i % 100 != 13]


def _foreign(kind: str) -> Any:
    if kind == "threads":
        return concurrent.futures.ThreadPoolExecutor(2)
    if kind == "loky":
        return pytest.importorskip("loky").ProcessPoolExecutor(2)
    return concurrent.futures.ProcessPoolExecutor(2, multiprocessing.get_context(kind))


@pytest.mark.parametrize(("step", "ending"), [(p.kill_at_three, "SIGKILL"), (p.exit_at_three, "code 7")])
async def test_a_record_that_ends_its_worker_is_a_failure_like_any_other(step: Any, ending: str) -> None:
    pipeline = type("Deadly", (p.Collected,), {"steps": (step,), "max_failures": 1})(100)
    async with asyncio.timeout(20):
        report = await PipeFrame(2).run(pipeline)
    assert pipeline.taken == [i for i in range(100) if i != 3]
    assert (report.delivered, report.failed, report.aborted) == (99, 1, 0)
    assert report.worker_restarts >= 1


async def test_a_python_that_was_built_without_memfd_runs_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "memfd_create", raising=False)  # as many are that are not the system's own
    pipeline = p.Collected(1000)
    report = await PipeFrame(2).run(pipeline)
    assert pipeline.taken == [(i + 1) * 2 for i in range(1000)]
    assert report.ended_by == "exhausted"
    with pytest.raises(PipelineFailed, match="died: it was killed by SIGKILL"):
        await PipeFrame(1).run(type("Deadly", (p.Numbers,), {"steps": (p.kill_at_three,)}))


async def test_where_no_failure_is_borne_it_ends_the_run_and_says_how_the_worker_died() -> None:
    with pytest.raises(PipelineFailed, match=r"lane \d \(pid \d+\) died: it exited with code 7") as caught:
        async with asyncio.timeout(20):
            await PipeFrame(2).run(type("Deadly", (p.Numbers,), {"steps": (p.exit_at_three,)}))
    [failure] = caught.value.failures
    assert (failure.record, failure.kind, failure.step, failure.attempts) == (3, "crashed", "exit_at_three", 2)
    assert caught.value.report is not None
    assert balanced(caught.value.report)


async def test_a_warm_frame_replaces_a_dead_worker_for_the_next_run() -> None:
    async with PipeFrame(1) as frame:
        with pytest.raises(PipelineFailed):
            await frame.run(type("Deadly", (p.Numbers,), {"steps": (p.exit_at_three,)}))
        pipeline = p.Collected(10)
        report = await frame.run(pipeline)
    assert (report.delivered, report.failed) == (10, 0)


async def test_a_broken_foreign_executor_is_a_clear_error() -> None:
    deadly = type("Deadly", (p.Numbers,), {"steps": (p.kill_at_three,)})
    pool = concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("forkserver"))
    with pool, pytest.raises(WorkerLost, match="ProcessPoolExecutor is broken and takes no more work") as caught:
        await PipeFrame(1, executor=pool).run(deadly)
    assert caught.value.report is not None
    assert balanced(caught.value.report)


async def test_stop_drains_what_is_in_flight_and_returns_normally() -> None:
    pipeline = p.Forever()
    frame = PipeFrame(2, buffer_size=500)
    running = asyncio.ensure_future(frame.run(pipeline))
    while frame.stats().delivered < 1000:
        await asyncio.sleep(0)
    frame.stop()
    report = await running
    assert report.ended_by == "stopped"
    assert report.aborted == 0
    assert report.delivered == report.fed >= 1000
    assert pipeline.closed


async def test_stop_gives_up_on_steps_that_hang_after_the_drain_timeout() -> None:
    frame = PipeFrame(2, buffer_size=4, drain_timeout=0.2)
    running = asyncio.ensure_future(frame.run(p.Hanging))
    while frame.stats().in_flight < 4:
        await asyncio.sleep(0)
    frame.stop()
    async with asyncio.timeout(2.2):
        report = await running
    assert (report.ended_by, report.delivered, report.aborted) == ("stopped", 0, report.fed)


async def test_cancelling_a_run_ends_its_workers_even_when_they_hang() -> None:
    pipeline = p.Hanging()
    frame = PipeFrame(2, buffer_size=4)
    running = asyncio.ensure_future(frame.run(pipeline))
    while frame.stats().in_flight < 4:
        await asyncio.sleep(0)
    running.cancel()
    async with asyncio.timeout(5):
        with pytest.raises(asyncio.CancelledError):
            await running
    assert pipeline.closed


async def test_leaving_a_stream_early_leaves_nothing_behind() -> None:
    pipeline = p.Forever()
    async with PipeFrame(2, buffer_size=100).stream(pipeline) as results:
        first = [await anext(results) for _ in range(10)]
    assert first == [(i + 1) * 2 for i in range(10)]
    assert pipeline.closed
    assert results.report.ended_by == "stopped"
    assert results.report.delivered == 10
    assert balanced(results.report)


async def test_a_stream_gives_its_results_and_then_its_error() -> None:
    class Strict(p.Numbers):
        steps = (p.unlucky,)

    taken = []
    with pytest.raises(PipelineFailed) as caught:
        async with PipeFrame(2).stream(Strict) as results:
            async for result in results:
                taken.append(result)
    assert taken == [i for i in range(100) if i != 13][: len(taken)]
    assert len(taken) >= 13
    assert caught.value.report == results.report
    assert results.report.delivered == len(taken)


async def test_what_was_fed_before_the_feed_raised_is_delivered_first() -> None:
    class Torn(p.Collected):
        async def feed(self) -> Any:
            for i in range(30):
                yield i
            raise ConnectionResetError("the peer is gone")

    pipeline = Torn()
    with pytest.raises(FeedError, match="ConnectionResetError: the peer is gone") as caught:
        await PipeFrame(2).run(pipeline)
    assert len(pipeline.taken) == 30
    assert isinstance(caught.value.__cause__, ConnectionResetError)
    assert caught.value.report is not None
    assert caught.value.report.delivered == 30


async def test_without_a_consumer_no_results_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    unpack = Packing.unpack

    def measured(self: Packing, reply: Reply, step: str) -> Any:
        sizes.append(reply.nbytes)
        return unpack(self, reply, step)

    monkeypatch.setattr(Packing, "unpack", measured)
    report = await PipeFrame(2).run(p.Numbers(500))
    assert report.delivered == 500
    assert set(sizes) == {0}


async def test_one_frame_serves_two_loops_one_after_the_other() -> None:
    frame = PipeFrame(1)
    await frame.run(p.Numbers)
    other = await asyncio.to_thread(lambda: asyncio.run(frame.run(p.Numbers)))
    assert other.delivered == 100


async def test_two_frames_run_at_once() -> None:
    first, second = await asyncio.gather(PipeFrame(1).run(p.Numbers(300)), PipeFrame(1).run(p.Numbers(200)))
    assert (first.delivered, second.delivered) == (300, 200)


async def test_spawn_works_like_the_fork_server() -> None:
    lanes = ProcessLanes(1, "spawn")
    try:
        chain = lanes.load(ChainSpec(("add_one",), (p.add_one,), None))
        reply = await lanes.lanes[0].run(chain, 0, Packed(3, codec.dumps([1, 2, 3])), ship=True)
        assert isinstance(reply, Reply)
        assert lanes.codec.unpack(reply, "add_one") == ([2, 3, 4], {})
    finally:
        await lanes.close(kill=False, timeout=5)
