"""Leases: they follow workers that join and are retired, and end with whoever wanted them."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

from pipeframe_async import PipeFrame
from tests.executors.dask.cluster import DaskCluster, until
from tests.executors.dask.pipelines import Kept, same, slow

pytestmark = [pytest.mark.process, pytest.mark.one_loop]

Made = Callable[..., DaskCluster]

PROGRAM = """
import asyncio, sys, time
from pipeframe_async import PipeFrame, PipelineEngine

class Busy(PipelineEngine):
    steps = [lambda record: (time.sleep(1000), True)]

asyncio.run(PipeFrame(executor=sys.argv[1]).run(Busy, range(1000)))
"""


def test_of_a_program_that_is_killed_nothing_is_on_the_cluster_two_seconds_later(cluster: DaskCluster) -> None:
    program = subprocess.Popen([sys.executable, "-c", PROGRAM, cluster.address])
    try:
        until(lambda: len(cluster.lanes()) == 2, "there are not two lanes")
    finally:
        program.kill()
        program.wait()
    until(lambda: not cluster.lanes(), "there are lanes on the cluster", 2.0)


async def busy(frame: PipeFrame, number: int, seconds: float) -> float:
    """Wait until so many lanes have something to do; how long that took."""
    began = time.monotonic()
    async with asyncio.timeout(seconds):
        while sum(worker.state == "busy" for worker in frame.stats().workers) < number:
            await asyncio.sleep(0.01)
    return time.monotonic() - began


async def test_a_worker_that_joins_has_work_within_two_seconds(own: Made) -> None:
    cluster = own(workers=1)
    frame, pipeline = PipeFrame(executor=cluster.address), Kept(slow, batch_size=8)
    run = asyncio.ensure_future(frame.run(pipeline, range(1_200)))
    await busy(frame, 1, 20.0)
    cluster.start_worker("more", threads=2)
    await asyncio.to_thread(cluster.joined, "more")
    await busy(frame, 3, 2.0)
    await run
    assert pipeline.taken == list(range(1_200))


async def test_a_worker_that_is_retired_is_drained_and_nothing_runs_twice(own: Made) -> None:
    from distributed import Client

    cluster = own(workers=2)
    frame, pipeline = PipeFrame(executor=cluster.address), Kept(slow, batch_size=8)
    run = asyncio.ensure_future(frame.run(pipeline, range(800)))
    await busy(frame, 2, 20.0)
    async with Client(cluster.tcp, asynchronous=True, set_as_default=False) as client:
        workers: dict[str, Any] = (await client.scheduler.identity())["workers"]
        await client.retire_workers([next(iter(workers))])
    report = await run
    assert pipeline.taken == list(range(800))
    assert (report.failed, report.re_executed) == (0, 0)


async def test_a_thread_that_is_at_work_for_others_is_waited_for_where_there_is_no_other(own: Made) -> None:
    from distributed import Client

    cluster = own(workers=1)
    async with Client(cluster.tcp, asynchronous=True, set_as_default=False) as client:
        other = client.submit(time.sleep, 2.0)
        await asyncio.sleep(0.5)
        pipeline = Kept(slow)
        await PipeFrame(executor=cluster.address).run(pipeline, range(50))
        assert pipeline.taken == list(range(50))
        await other


async def test_a_run_ends_though_a_thread_that_it_waits_for_is_at_work_for_others(own: Made) -> None:
    from distributed import Client

    cluster = own(workers=2)
    async with Client(cluster.tcp, asynchronous=True, set_as_default=False) as client:
        other = client.submit(time.sleep, 10.0)
        await asyncio.sleep(0.5)
        began = time.monotonic()
        pipeline = Kept(slow)
        await PipeFrame(executor=cluster.address).run(pipeline, range(50))
        assert pipeline.taken == list(range(50))
        assert time.monotonic() - began < 5.0
        assert other.status == "pending"


FORGETFUL = """
import asyncio, sys
from pipeframe_async import PipeFrame, PipelineEngine, apply

class Plus(PipelineEngine):
    feed = range(100)
    steps = [apply(lambda number: number + 1)]

async def main():
    frame = await PipeFrame(executor=sys.argv[1]).__aenter__()
    print((await frame.run(Plus)).delivered)

asyncio.run(main())
"""


def test_a_frame_that_nobody_closes_leaves_nothing_on_the_cluster_and_no_noise(steady: DaskCluster) -> None:
    told = subprocess.run(
        [sys.executable, "-W", "always", "-c", FORGETFUL, steady.address],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert told.stdout == "100\n"
    warned = [line for line in told.stderr.splitlines() if "Warning" in line and "semaphore" not in line]
    assert len(warned) == 1, told.stderr
    assert (
        "ResourceWarning: a PipeFrame was dropped while it was open: its lanes on the cluster are given up" in warned[0]
    )
    until(lambda: not steady.lanes(), "lanes are there", 2.0)


async def test_a_frame_that_is_dropped_while_the_loop_goes_on_gives_its_threads_back(steady: DaskCluster) -> None:
    async def forgetful() -> None:
        frame = await PipeFrame(executor=steady.address).__aenter__()
        await frame.run(Kept(same), range(10))

    async def collected() -> None:
        for _ in range(40):
            gc.collect()
            await asyncio.sleep(0.05)

    await forgetful()
    with pytest.warns(ResourceWarning, match="a PipeFrame was dropped while it was open: its lanes on the cluster"):
        await collected()
    await asyncio.to_thread(until, lambda: not steady.lanes(), "lanes are there", 2.0)
    pipeline = Kept(same)
    await PipeFrame(executor=steady.address).run(pipeline, range(10))
    assert pipeline.taken == list(range(10))
