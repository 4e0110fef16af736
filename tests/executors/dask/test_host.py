"""Dask workers that die under our lanes: it costs re-execution, and nobody is blamed."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable

import pytest

from pipeframe_async import PipeFrame, WorkerLost
from pipeframe_async.executors.dask import at
from tests.executors.dask.cluster import DaskCluster, kill
from tests.executors.dask.pipelines import Kept, bad, same, slow

pytestmark = [pytest.mark.process, pytest.mark.one_loop]

Made = Callable[..., DaskCluster]


async def reached(pipeline: Kept, number: int) -> None:
    """Wait until so many have been delivered."""
    async with asyncio.timeout(40):
        while len(pipeline.taken) < number:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("nanny", [True, False], ids=["nanny", "no nanny"])
async def test_a_dask_worker_that_is_killed_costs_re_execution_only(own: Made, nanny: bool) -> None:
    cluster = own(nanny=nanny)
    pipeline = Kept(slow, batch_size=8)
    run = asyncio.ensure_future(PipeFrame(executor=cluster.address).run(pipeline, range(600)))
    await reached(pipeline, 100)
    kill(cluster.worker_pid("w0"))
    report = await run
    assert pipeline.taken == list(range(600))
    assert (report.delivered, report.failed) == (600, 0)
    assert report.re_executed > 0


async def test_a_nanny_that_is_killed_takes_its_worker_along_and_the_run_goes_on(own: Made) -> None:
    cluster = own(nanny=True)
    pipeline = Kept(slow, batch_size=8)
    run = asyncio.ensure_future(PipeFrame(executor=cluster.address).run(pipeline, range(600)))
    await reached(pipeline, 100)
    kill(cluster.pid("w0"))
    report = await run
    assert pipeline.taken == list(range(600))
    assert (report.delivered, report.failed) == (600, 0)


async def test_all_dask_workers_killed_and_others_started_the_run_goes_on(own: Made) -> None:
    cluster = own(workers=2)
    pipeline = Kept(slow, batch_size=8)
    run = asyncio.ensure_future(PipeFrame(executor=cluster.address).run(pipeline, range(400)))
    await reached(pipeline, 100)
    cluster.kill("w0")
    cluster.kill("w1")
    cluster.start_worker("w2")
    report = await run
    assert pipeline.taken == list(range(400))
    assert (report.delivered, report.failed) == (400, 0)


async def test_a_scheduler_that_is_killed_and_started_again_with_its_workers_is_waited_for(own: Made) -> None:
    cluster = own(nanny=True, workers=1)
    pipeline = Kept(slow, batch_size=8)
    run = asyncio.ensure_future(PipeFrame(executor=cluster.address).run(pipeline, range(400)))
    await reached(pipeline, 100)
    cluster.kill("scheduler")
    await asyncio.sleep(1.0)
    cluster.start_scheduler()
    cluster.start_worker("w1")  # Dask's workers end with their scheduler
    report = await run
    assert pipeline.taken == list(range(400))
    assert (report.delivered, report.failed) == (400, 0)


async def test_a_cluster_without_workers_is_an_error_with_books_and_no_silence(own: Made) -> None:
    from pipeframe_async.executors.dask.fleet import DaskLanes

    cluster = own(workers=1)
    cluster_at = at.cluster_of(cluster.address)
    assert cluster_at is not None
    lanes = DaskLanes(cluster_at, worker_timeout=3.0)
    await lanes.open()
    try:
        pipeline = Kept(slow, batch_size=8)
        run = asyncio.ensure_future(PipeFrame(executor=lanes).run(pipeline, range(5_000)))
        await reached(pipeline, 50)
        cluster.kill("w0")
        began = time.monotonic()
        with pytest.raises(WorkerLost, match=r"there was no lane on any Dask worker for 3 s") as raised:
            await run
        assert time.monotonic() - began < 10.0
        report = raised.value.report
        assert report is not None
        assert report.fed == report.delivered + report.aborted + report.failed
    finally:
        await lanes.close(kill=True, timeout=5.0)


@pytest.mark.timeout(120)
async def test_poison_and_dask_workers_that_are_killed_every_few_seconds_lose_nothing(own: Made) -> None:
    """The chaos run, small: 2,000 records, of which some end their lanes, while Dask workers die and join."""
    cluster = own(workers=3)

    def step(number: int) -> object:
        time.sleep(0.002)
        if number % 1_000 in (50, 160):
            bad(number % 1_000)
        return number, True

    pipeline = Kept(step, time_limit=5.0)
    run = asyncio.ensure_future(PipeFrame(executor=cluster.address).run(pipeline, range(2_000)))
    chance, names = random.Random(17), ["w0", "w1", "w2"]
    for number in range(3, 6):
        await asyncio.sleep(1.5)
        if run.done():
            break
        cluster.kill(names.pop(chance.randrange(len(names))))
        cluster.start_worker(name := f"w{number}")
        names.append(name)
    report = await run
    poison = [number for number in range(2_000) if number % 1_000 in (50, 160)]
    assert pipeline.taken == [number for number in range(2_000) if number not in poison]
    assert sorted(failure.record for failure in pipeline.dead) == poison
    assert report.delivered + report.failed == report.fed == 2_000


async def test_after_all_that_a_frame_may_be_opened_again(own: Made) -> None:
    cluster = own(workers=1)
    frame = PipeFrame(executor=cluster.address)
    for _ in range(2):
        async with frame:
            assert (await frame.run(Kept(same), range(10))).delivered == 10
