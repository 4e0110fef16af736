"""Batches and lanes: when a batch goes, how large it is, and in which order results leave."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeframe_async import PipelineFailed, WorkerLost
from pipeframe_async.testing import FakeExecutor, run_virtual
from pipeframe_async.testing.executor import FakeLane
from pipeframe_async.wire import Packed
from tests.engine.harness import Kept, Stream, a_run, balanced, watched

virtual = pytest.mark.virtual_clock


@virtual
async def test_an_idle_pipeline_sends_each_record_at_once() -> None:
    pipeline = Kept([item for i in range(20) for item in (i, 1.0)])
    executor = FakeExecutor(delay=lambda number, records: 0.001)
    await a_run(pipeline, executor).execute()
    assert [size for _, size in executor.batches] == [1] * 20


@virtual
async def test_a_busy_pipeline_forms_large_batches() -> None:
    executor = FakeExecutor(delay=lambda number, records: 1e-6 * records)
    await a_run(Stream(range(100_000)), executor, buffer_size=10_000).execute()
    assert max(size for _, size in executor.batches) >= 1000
    assert len(executor.batches) < 500


@virtual
async def test_all_lanes_get_work_and_end_together() -> None:
    executor = FakeExecutor(4, delay=lambda number, records: 0.01 * records)
    loop = asyncio.get_running_loop()
    await a_run(Stream(range(400)), executor, buffer_size=1000).execute()
    done = [sum(size for _, size in lane.batches) for lane in executor.lanes]
    assert min(done) >= 80
    assert loop.time() <= 1.2 * 400 * 0.01 / 4


@virtual
async def test_a_slow_batch_does_not_stop_the_other_lane_until_the_buffer_is_full() -> None:
    executor = FakeExecutor(2, delay=lambda number, records: 100.0 if number == 0 else 0.01)
    pipeline = Kept(range(1000))
    run = a_run(pipeline, executor, buffer_size=50)
    running = asyncio.ensure_future(run.execute())
    await asyncio.sleep(50)
    assert pipeline.taken == []
    assert run.stats().in_flight == 50
    await running
    assert pipeline.taken == list(range(1000))


@virtual
async def test_completion_order_hands_on_what_is_finished() -> None:
    executor = FakeExecutor(2, delay=lambda number, records: 100.0 if number == 0 else 0.01)
    pipeline = Kept(range(100))
    pipeline.order = "completion"
    run = a_run(pipeline, executor)
    running = asyncio.ensure_future(run.execute())
    await asyncio.sleep(50)
    assert len(pipeline.taken) >= 90
    await running
    assert sorted(pipeline.taken) == list(range(100))


@virtual
async def test_a_fixed_batch_size_is_kept_to() -> None:
    pipeline = Stream(range(95))
    pipeline.batch_size = 10
    executor = FakeExecutor()
    await a_run(pipeline, executor, buffer_size=100).execute()
    assert [size for _, size in executor.batches] == [10] * 9 + [5]


@settings(max_examples=60)
@given(
    seed=st.integers(0, 10**6),
    script=st.lists(st.one_of(st.integers(0, 99), st.floats(0, 0.1)), max_size=60),
    lanes=st.integers(1, 4),
    buffer_size=st.sampled_from([1, 2, 5, 50]),
    source=st.sampled_from(["stream", "batch"]),
)
def test_input_order_holds_for_any_feed_and_any_latency(
    seed: int, script: list[int | float], lanes: int, buffer_size: int, source: Any
) -> None:
    draw = random.Random(seed)

    def step(record: int) -> object:
        if record % 10 == 7:
            raise ValueError(record)
        return record, record % 3 != 0

    async def main() -> None:
        pipeline = Kept(script)
        pipeline.source = source
        pipeline.steps = (step,)
        executor = FakeExecutor(lanes, delay=lambda number, records: draw.random())
        report = await watched(a_run(pipeline, executor, buffer_size=buffer_size))
        fed = [item for item in script if not isinstance(item, float)]
        assert pipeline.taken == [record for record in fed if record % 10 != 7]
        assert [failure.record for failure in pipeline.dead] == [record for record in fed if record % 10 == 7]
        assert (report.fed, report.aborted) == (len(fed), 0)
        assert balanced(report)

    run_virtual(main, seed=seed)


@virtual
@pytest.mark.parametrize(("limit", "allowed"), [(0, 0), (3, 3), (0.5, 100)])
async def test_a_run_stops_when_more_records_fail_than_are_borne(limit: float, allowed: int) -> None:
    def step(record: int) -> tuple[int, bool]:
        if record % 2 or record > 600:
            raise ValueError(record)
        return record, True

    pipeline = Stream(range(10_000))
    pipeline.steps = (step,)
    pipeline.max_failures = limit
    with pytest.raises(PipelineFailed) as caught:
        await watched(a_run(pipeline, FakeExecutor(delay=lambda number, records: 1e-4 * records)))
    error = caught.value
    assert error.report is not None
    assert error.report.failed > allowed
    assert error.report.fed < 10_000
    assert error.failures[0].record == 1
    assert balanced(error.report)


@virtual
async def test_any_number_of_failures_is_borne_where_it_says_so() -> None:
    def step(record: int) -> tuple[int, bool]:
        raise ValueError(record)

    pipeline = Stream(range(500))
    pipeline.steps = (step,)
    pipeline.max_failures = None
    report = await watched(a_run(pipeline))
    assert (report.failed, report.delivered) == (500, 0)


class Unstartable(FakeExecutor):
    """Of whose lanes some cannot start."""

    def __init__(self, lanes: int, *bad: int) -> None:
        super().__init__(lanes, delay=lambda number, records: 0.01)

        async def start() -> None:
            raise WorkerLost("too many open files")

        for number in bad:
            self.lanes[number].start = start  # type: ignore[method-assign]


@virtual
async def test_a_run_goes_on_with_the_lanes_it_has_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    pipeline, executor = Kept(range(100)), Unstartable(3, 0, 2)
    run = a_run(pipeline, executor)
    await watched(run)
    assert pipeline.taken == list(range(100))
    assert [len(lane.batches) > 0 for lane in executor.lanes] == [False, True, False]
    said = [record.getMessage() for record in caplog.records if "goes on with the other lanes" in record.getMessage()]
    assert len(said) == 2
    assert "too many open files" in said[0]


@virtual
@pytest.mark.parametrize("order", ["input", None])
async def test_without_any_lane_or_with_keys_tied_to_one_it_does_not(order: Any) -> None:
    pipeline = Kept(range(100))
    pipeline.order = order or (lambda record: record % 7)
    executor = Unstartable(2, 0, 1) if order else Unstartable(2, 1)
    with pytest.raises(WorkerLost, match="too many open files"):
        await a_run(pipeline, executor).execute()
    assert len(pipeline.taken) < 100


class Placed(FakeExecutor):
    """Its second lane and those after it have a place when they are told."""

    def __init__(self, lanes: int) -> None:
        super().__init__(lanes, delay=lambda number, records: 0.01 * records)
        self.places = [asyncio.Event() for _ in self.lanes]
        self.waiting = 0
        for lane, place in zip(self.lanes[1:], self.places[1:], strict=True):
            lane.workers = 0
            lane.start = partial(self._start, lane, place, lane.start)  # type: ignore[method-assign]

    async def _start(self, lane: Any, place: asyncio.Event, start: Any) -> None:
        self.waiting += 1
        await place.wait()
        lane.workers = 1
        await start()


@virtual
async def test_a_run_does_not_wait_for_a_lane_that_has_no_place_yet() -> None:
    executor, pipeline = Placed(200), Kept(range(100))
    await a_run(pipeline, executor, buffer_size=50).execute()
    assert pipeline.taken == list(range(100))
    assert executor.waiting == 1
    assert not any(lane.batches for lane in executor.lanes[1:])


@virtual
async def test_a_run_does_not_wait_for_a_place_that_was_promised_and_is_not_to_be_had() -> None:
    class Promised(Placed):
        async def open(self) -> None: ...

        async def gathered(self) -> None: ...

    executor, pipeline = Promised(3), Kept(range(100))
    executor.lanes[1].workers = 1  # it was asked for, and is lost, or others have it for long
    await a_run(pipeline, executor, buffer_size=50).execute()
    assert pipeline.taken == list(range(100))
    assert not any(lane.batches for lane in executor.lanes[1:])


@virtual
async def test_a_lane_that_gets_a_place_meanwhile_has_its_part() -> None:
    executor, pipeline = Placed(4), Kept(range(1_000))
    loop = asyncio.get_running_loop()
    for at, place in enumerate(executor.places):
        loop.call_later(at, place.set)
    await a_run(pipeline, executor, buffer_size=50).execute()
    assert pipeline.taken == list(range(1_000))
    assert loop.time() <= 5.0
    assert [bool(lane.batches) for lane in executor.lanes] == [True, True, True, True]


@virtual
async def test_a_lane_that_fails_when_it_has_got_a_place_ends_the_run() -> None:
    executor, pipeline = Placed(3), Kept(range(1_000))
    executor.places[1].set()

    async def refuses(*args: Any, **options: Any) -> Any:
        raise WorkerLost("not with me")

    executor.lanes[1].run = refuses  # type: ignore[method-assign]
    with pytest.raises(WorkerLost, match="not with me"):
        await a_run(pipeline, executor, buffer_size=50).execute()


@virtual
async def test_where_no_lane_that_has_a_place_can_start_the_run_ends_whoever_waits_for_one() -> None:
    executor, pipeline = Placed(5), Kept(range(100))

    async def refuses() -> None:
        raise WorkerLost("not today")

    executor.lanes[0].start = refuses  # type: ignore[method-assign]
    with pytest.raises(WorkerLost, match="not today"):
        await a_run(pipeline, executor, buffer_size=50).execute()


@virtual
@pytest.mark.parametrize("order", ["input", lambda record: record % 3], ids=["input", "key"])
async def test_where_no_lane_has_a_place_the_first_is_waited_for(order: Any) -> None:
    executor, pipeline = Placed(3), Kept(range(100))
    lane, place = executor.lanes[0], executor.places[0]
    lane.workers = 0
    lane.start = partial(executor._start, lane, place, lane.start)  # type: ignore[method-assign]
    asyncio.get_running_loop().call_later(5.0, place.set)
    pipeline.order = order
    await a_run(pipeline, executor, buffer_size=50).execute()
    assert sorted(pipeline.taken) == list(range(100))


@virtual
async def test_keys_are_tied_to_no_lane_that_was_only_promised_a_place() -> None:
    executor, pipeline = Placed(4), Kept(range(100))
    for lane, began in zip(executor.lanes, (True, True, False, False), strict=True):
        lane.began = began  # type: ignore[attr-defined]
        lane.workers = 1  # those that have not begun were asked for, and never come
    executor.places[1].set()
    pipeline.order = lambda record: record % 7
    await a_run(pipeline, executor, buffer_size=50).execute()
    assert sorted(pipeline.taken) == list(range(100))
    assert [bool(lane.batches) for lane in executor.lanes] == [True, True, False, False]


@virtual
async def test_by_key_a_lane_has_one_batch_at_a_time() -> None:
    executor, pipeline = FakeExecutor(2, delay=lambda number, records: 0.01 * records), Kept(range(200))
    most = Counter[int]()
    for number, lane in enumerate(executor.lanes):
        lane.run = partial(_counted, lane.run, Counter(), number, most)  # type: ignore[method-assign]
    pipeline.order = lambda record: record % 7
    await a_run(pipeline, executor, buffer_size=50).execute()
    assert most == {0: 1, 1: 1}


async def _counted(run: Any, now: Counter[int], number: int, most: Counter[int], *args: Any, **options: Any) -> Any:
    now[number] += 1
    most[number] = max(most[number], now[number])
    try:
        return await run(*args, **options)
    finally:
        now[number] -= 1


@virtual
async def test_a_lane_that_is_no_more_is_given_nothing_and_what_it_has_is_finished() -> None:
    executor, pipeline = FakeExecutor(3, delay=lambda number, records: 0.01 * records), Kept(range(600))
    lane = executor.lanes[2]
    asyncio.get_running_loop().call_later(1.0, setattr, lane, "workers", 0)
    running = asyncio.ensure_future(a_run(pipeline, executor, buffer_size=50).execute())
    await asyncio.sleep(1.5)
    had = len(lane.batches)
    assert 0 < len(pipeline.taken) < 500
    await running
    assert (len(lane.batches), pipeline.taken) == (had, list(range(600)))


class Looked(FakeLane):
    """Its batches wait behind another record at each look, of which it keeps the times."""

    def __init__(self, name: str, fleet: FakeExecutor, slots: int) -> None:
        super().__init__(name, fleet, slots)
        self.looks: list[float] = []

    def waits_behind(self, batch: Packed) -> float:
        now = asyncio.get_running_loop().time()
        self.looks.append(now)
        return now

    async def cede(self, batch: Packed) -> int | None:
        raise AssertionError("it was not held up")


@virtual
async def test_one_slot_looks_for_what_is_held_up_however_many_have_nothing_to_do() -> None:
    executor = FakeExecutor(8, delay=lambda number, records: 2.0 if number == 8 else 0.5)
    executor.lanes = tuple(Looked(f"lane {number}", executor, 2) for number in range(8))
    # A batch for each lane, so that all have the steps; one that takes long; and some to be taken meanwhile.
    pipeline = Kept([*range(80), 0.6, *range(80, 90), *(item for i in range(90, 97) for item in (0.1, i))])
    pipeline.batch_size = 10
    await a_run(pipeline, executor).execute()
    looks = sorted(look for lane in executor.lanes if isinstance(lane, Looked) for look in lane.looks if look >= 0.6)
    assert len(looks) <= 220  # at each of 200 times once, and at rings
    assert max(later - look for look, later in pairwise(looks)) <= 0.0101  # whoever had looked and got something to do
