"""Lanes on a real Dask cluster: what holds for worker processes here holds for them there."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from pipeframe_async import ConfigError, PipeFrame, PipelineEngine, Retry, StepError, WorkerLost, apply, count
from pipeframe_async.executors.dask import at
from tests.executors.dask.cluster import DaskCluster, until
from tests.executors.dask.pipelines import (
    POISON,
    Kept,
    bad,
    both,
    forever,
    more,
    odd,
    past_threes,
    same,
    twice,
)

pytestmark = [pytest.mark.process, pytest.mark.one_loop]


def no_lanes(cluster: DaskCluster, seconds: float = 2.0) -> None:
    until(lambda: not cluster.lanes(), "there are lanes on the cluster", seconds)


async def test_def_and_async_steps_and_fan_out_come_in_order(cluster: DaskCluster) -> None:
    pipeline = Kept(twice, more, both)
    report = await PipeFrame(executor=cluster.address).run(pipeline, range(2_000))
    assert pipeline.taken == [sign * (2 * number + 1) for number in range(2_000) for sign in (1, -1)]
    assert (report.fed, report.emitted, report.delivered) == (2_000, 2_000, 4_000)
    no_lanes(cluster)


async def test_filters_bypasses_and_counters(steady: DaskCluster) -> None:
    def counted(number: int) -> tuple[int, bool]:
        count("seen")
        return number, True

    pipeline = Kept(odd, past_threes, counted)
    report = await PipeFrame(executor=steady.address).run(pipeline, range(300))
    assert pipeline.taken == list(range(1, 300, 2))
    assert (report.filtered, report.bypassed, report.counters) == (150, 50, {"seen": 100})


async def test_a_bad_record_costs_itself_and_its_dask_worker_lives(cluster: DaskCluster) -> None:
    workers = [cluster.worker_pid(name) for name in ("w0", "w1")]
    pipeline = Kept(bad, time_limit=0.5)
    report = await PipeFrame(executor=cluster.address).run(pipeline, range(200))
    assert pipeline.taken == [number for number in range(200) if number not in POISON]
    assert {failure.record: failure.kind for failure in pipeline.dead} == POISON
    assert report.delivered + report.failed == report.fed == 200
    assert [cluster.worker_pid(name) for name in ("w0", "w1")] == workers


@pytest.mark.parametrize("order", ["completion", lambda number: number % 5], ids=["completion", "key"])
async def test_the_other_orders(steady: DaskCluster, order: Any) -> None:
    pipeline = Kept(same, order=order)
    await PipeFrame(executor=steady.address).run(pipeline, range(2_000))
    assert sorted(pipeline.taken) == list(range(2_000))
    if callable(order):
        for key in range(5):
            assert [number for number in pipeline.taken if number % 5 == key] == list(range(key, 2_000, 5))


async def test_records_are_tried_again(steady: DaskCluster) -> None:
    tried: set[int] = set()

    def flaky(number: int) -> tuple[int, bool]:
        if number % 10 == 0 and number not in tried:
            tried.add(number)
            raise OSError("not yet")
        return number, True

    pipeline = Kept(flaky, retry=Retry(5, backoff=0.01))
    report = await PipeFrame(executor=steady.address).run(pipeline, range(100))
    assert pipeline.taken == list(range(100))
    assert report.retried >= 10


async def test_a_long_fan_out_comes_in_portions(steady: DaskCluster) -> None:
    def long(number: int) -> Any:
        for child in range(20_000):
            yield (number, child), True

    pipeline = Kept(long)
    await PipeFrame(executor=steady.address, buffer_size=500).run(pipeline, range(3))
    assert pipeline.taken == [(number, child) for number in range(3) for child in range(20_000)]


async def test_large_arrays_come_back_and_may_be_written_into(steady: DaskCluster) -> None:
    np = pytest.importorskip("numpy")

    def marked(array: Any) -> Any:
        array[0] = 7
        return array * 2, True

    pipeline = Kept(marked, batch_size=None)
    await PipeFrame(executor=steady.address).run(pipeline, (np.arange(131_072.0) for _ in range(20)))
    assert [array[:2].tolist() for array in pipeline.taken] == [[14.0, 2.0]] * 20
    assert all(array.flags.writeable for array in pipeline.taken)


async def test_setup_and_teardown_run_there_and_a_teardown_that_raises_is_told(steady: DaskCluster) -> None:
    class Ready(PipelineEngine[int, int]):
        def setup(self) -> None:
            self.added = 5

        def teardown(self) -> None:
            raise RuntimeError("not now")

        def add(self, number: int) -> tuple[int, bool]:
            return number + self.added, True

        @property
        def steps(self) -> Any:  # type: ignore[override]
            return [self.add]

        async def sink(self, records: list[int]) -> None:
            taken.extend(records)

    taken: list[int] = []
    with pytest.raises(StepError, match="not now") as raised:
        await PipeFrame(executor=steady.address).run(Ready, range(50))
    assert taken == list(range(5, 55))
    assert raised.value.report is not None
    assert raised.value.report.delivered == 50


async def test_workers_are_recycled(steady: DaskCluster) -> None:
    pipeline = Kept(same)
    report = await PipeFrame(executor=steady.address, max_worker_batches=3).run(pipeline, range(400))
    assert pipeline.taken == list(range(400))
    assert report.worker_restarts > 3


async def test_runs_streams_and_calls_share_warm_lanes(steady: DaskCluster) -> None:
    async with PipeFrame(executor=steady.address) as frame:
        await frame.ready(Kept(twice))
        assert await frame.call(Kept(twice), 21) == 42
        runs = await asyncio.gather(*(frame.run(Kept(twice), range(500)) for _ in range(3)))
        assert [report.delivered for report in runs] == [500] * 3
        async with frame.stream(Kept(twice), range(100)) as results:
            assert [record async for record in results] == list(range(0, 200, 2))
        assert {worker.state for worker in frame.stats().workers} == {"idle"}
    no_lanes(steady)


async def test_a_cancel_and_an_early_leave_end_the_work_within_a_second(cluster: DaskCluster) -> None:
    async with PipeFrame(executor=cluster.address) as frame:
        run = asyncio.ensure_future(frame.run(Kept(forever), range(100)))
        await asyncio.sleep(0.5)
        began = time.monotonic()
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        assert time.monotonic() - began < 1.0
        async with frame.stream(Kept(same), range(100_000)) as results:
            async for _ in results:
                began = time.monotonic()
                break
        assert time.monotonic() - began < 1.0
    cold = asyncio.ensure_future(PipeFrame(executor=cluster.address).run(Kept(forever), range(100)))
    await asyncio.sleep(1.0)
    began = time.monotonic()
    cold.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cold
    assert time.monotonic() - began < 1.0
    no_lanes(cluster)


async def test_a_stop_finishes_what_is_in_flight(steady: DaskCluster) -> None:
    frame = PipeFrame(executor=steady.address)
    pipeline = Kept(same, source="stream")

    async def feed() -> Any:
        for number in range(1_000_000):
            if number == 500:
                frame.stop()
            yield number
            await asyncio.sleep(0)

    report = await frame.run(pipeline, feed)
    assert report.ended_by == "stopped"
    assert pipeline.taken == list(range(report.fed))


async def test_cpu_count_is_how_many_lanes_at_most(steady: DaskCluster) -> None:
    async with PipeFrame(1, executor=steady.address) as frame:
        await frame.run(Kept(same), range(100))
        assert len(frame.stats().workers) == len(steady.lanes()) == 1


async def test_a_client_of_the_users_is_used_and_left_open(steady: DaskCluster) -> None:
    from distributed import Client

    async with Client(steady.tcp, asynchronous=True, set_as_default=False) as client:
        pipeline = Kept(twice)
        await PipeFrame(executor=client).run(pipeline, range(100))
        assert pipeline.taken == list(range(0, 200, 2))
        assert await client.submit(len, "abc") == 3


async def test_a_client_with_a_loop_of_its_own_is_used_too(steady: DaskCluster) -> None:
    from distributed import Client

    client = await asyncio.to_thread(Client, steady.tcp, set_as_default=False)
    try:
        pipeline = Kept(twice)
        async with PipeFrame(executor=client) as frame:
            await frame.run(pipeline, range(500))
            assert await frame.call(Kept(twice), 21) == 42
        assert pipeline.taken == list(range(0, 1_000, 2))
    finally:
        await asyncio.to_thread(client.close)


async def test_a_client_that_is_closed_ends_the_run_with_books(steady: DaskCluster) -> None:
    from distributed import Client

    client = await Client(steady.tcp, asynchronous=True, set_as_default=False)
    run = asyncio.ensure_future(PipeFrame(executor=client).run(Kept(forever), range(100)))
    await asyncio.sleep(1.0)
    began = time.monotonic()
    await client.close()
    with pytest.raises(WorkerLost, match="the Dask client was closed") as raised:
        await run
    assert time.monotonic() - began < 2.0
    no_lanes(steady)
    report = raised.value.report
    assert report is not None
    assert report.fed == report.delivered + report.aborted + report.failed + report.filtered
    with pytest.raises(ConfigError, match="this client is closed"):
        await PipeFrame(executor=client).run(Kept(same), range(3))


async def test_threads_that_are_at_work_for_others_for_too_long_are_named(steady: DaskCluster) -> None:
    async with PipeFrame(executor=steady.address) as first:
        await first.run(Kept(same), range(10))
        cluster = at.cluster_of(steady.address)
        assert cluster is not None
        from pipeframe_async.executors.dask import fleet

        lanes = fleet.DaskLanes(cluster, worker_timeout=6.0)
        await lanes.open()
        try:
            with pytest.raises(WorkerLost, match="its threads are at work for others"):
                await PipeFrame(executor=lanes).run(Kept(same), range(10))
        finally:
            await lanes.close(kill=True, timeout=5.0)
    assert (await PipeFrame(executor=steady.address).run(Kept(same), range(10))).delivered == 10


async def test_where_nobody_answers_it_is_said_within_seconds() -> None:
    pytest.importorskip("distributed", reason="no distributed is here")
    began = time.monotonic()
    with pytest.raises(ConfigError, match="no Dask scheduler answers there"):
        await PipeFrame(executor="dask://127.0.0.1:9").run(Kept(same), range(3))
    assert time.monotonic() - began < 10.0


async def test_steps_that_cannot_be_loaded_there_are_named(steady: DaskCluster) -> None:
    class Broken(PipelineEngine[int, int]):
        steps = [apply(abs)]

        def setup(self) -> None:
            import a_module_that_is_nowhere  # type: ignore[import-not-found]  # noqa: F401

    with pytest.raises(StepError, match="a_module_that_is_nowhere"):
        await PipeFrame(executor=steady.address).run(Broken, range(3))
