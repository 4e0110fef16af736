"""`frame.call`: many callers, shared batches, each with its own result, its own failure and its own cancel."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from pipeframe_async import (
    DROP,
    PipeFrame,
    PipeFrameError,
    PipelineEngine,
    Retry,
    StateError,
    StepError,
    WorkerLost,
    apply,
)
from pipeframe_async._engine.calls import Calls
from pipeframe_async._engine.settling.answer import Answer, given_up
from pipeframe_async.testing import FakeExecutor
from tests.engine.harness import FakeFrame, Through, delivered, now

pytestmark = pytest.mark.virtual_clock


def squared(record: int) -> Any:
    if record < 0:
        raise ValueError(f"no root of {record}")
    return DROP if record == 13 else (record * record, record != 7)


async def later(record: int) -> tuple[int, bool]:
    await asyncio.sleep(0.1)
    return record, True


class Squares(PipelineEngine[int, int]):
    steps: Sequence[Callable[..., object]] = (squared,)

    async def sink(self, records: list[int]) -> None:
        raise AssertionError("calls have no sink")

    async def on_progress(self, watermark: int) -> None:
        raise AssertionError("calls make no progress")


class Mixed(Squares):
    steps = (later, squared, later)


def thrice(record: int) -> Iterator[tuple[int, bool]]:
    for _ in range(record):
        yield record, True


class Thrice(PipelineEngine[int, int]):
    steps = (thrice,)


@asynccontextmanager
async def opened(executor: FakeExecutor | None = None, **options: Any) -> AsyncIterator[FakeFrame]:
    """A warm frame on fake workers; when it is closed nothing is left."""
    async with FakeFrame(executor, **options) as frame:
        yield frame
    left = asyncio.all_tasks() - {asyncio.current_task()}
    assert not left
    assert frame.stats().in_flight == 0


@pytest.mark.parametrize("pipeline", [Squares, Mixed, Squares(), Mixed()])
async def test_each_caller_gets_its_own_result(pipeline: Any) -> None:
    async with opened() as frame:
        assert await frame.call(pipeline, 3) == 9
        numbers = [n for n in range(100) if n != 13]
        assert await asyncio.gather(*(frame.call(pipeline, n) for n in numbers)) == [n * n for n in numbers]


async def test_each_caller_gets_its_own_failure() -> None:
    async with opened() as frame:
        calls = [frame.call(Squares, n) for n in (1, -2, 3, -4)]
        one, two, three, four = await asyncio.gather(*calls, return_exceptions=True)
        assert (one, three) == (1, 9)
        for number, error in ((-2, two), (-4, four)):
            assert isinstance(error, StepError)
            assert error.failure is not None
            assert (error.failure.record, error.failure.kind, error.failure.step) == (number, "raised", "squared")
            assert f"no root of {number}" in str(error)
            assert any("in squared" in note for note in error.__notes__)
        assert await frame.call(Squares, 5) == 25


async def test_a_filtered_record_gives_drop_a_bypassing_one_its_record() -> None:
    async with opened() as frame:
        filtered: Any = await frame.call(Squares, 13)
        assert filtered is DROP
        assert await frame.call(Mixed, 7) == 49


async def test_a_fan_out_gives_a_list_however_many_there_are() -> None:
    async with opened() as frame:
        for count in (0, 1, 3):
            children: Any = await frame.call(Thrice, count)
            assert children == [count] * count


async def test_calls_at_the_same_time_share_batches() -> None:
    executor = FakeExecutor(1, delay=lambda number, records: 0.001 + records * 1e-6)
    async with opened(executor) as frame:
        await asyncio.gather(*(frame.call(Squares, 2) for _ in range(1000)))
        assert sum(records for _, records in executor.batches) == 1000
        assert len(executor.batches) < 50


async def test_an_idle_frame_answers_in_one_hop() -> None:
    executor = FakeExecutor(2, delay=0.5)
    async with opened(executor) as frame:
        for calls in range(1, 5):
            await frame.call(Squares, 1)
            assert now() == pytest.approx(0.5 * calls)


async def test_a_caller_that_gives_up_frees_its_place() -> None:
    executor = FakeExecutor(1, slots=1, delay=1.0)
    async with opened(executor, buffer_size=10) as frame:
        first = asyncio.ensure_future(frame.call(Squares, 1))
        await asyncio.sleep(0.5)
        waiting = [asyncio.ensure_future(frame.call(Squares, 100 + n)) for n in range(30)]
        await asyncio.sleep(0.1)
        assert frame.stats().in_flight == 10
        for call in waiting:
            call.cancel()
        last = asyncio.ensure_future(frame.call(Squares, 2))
        assert (await first, await last) == (1, 4)
        assert sum(records for _, records in executor.batches) <= 3
        assert frame.stats().in_flight == 0


async def test_a_caller_that_gives_up_cancels_the_async_step_it_is_in() -> None:
    cancelled: list[int] = []

    async def waits(record: int) -> Any:
        try:
            await asyncio.sleep(1000 if record == 3 else 0)
        except asyncio.CancelledError:
            cancelled.append(record)
            raise
        return record, True

    pipeline = Through(steps=[waits, squared])
    async with opened() as frame:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.0):
                await frame.call(pipeline, 3)
        assert await frame.call(pipeline, 4) == 16
        assert cancelled == [3]
        assert frame.stats().aborted == 1


async def test_a_result_nobody_waits_for_any_more_is_dropped() -> None:
    async with opened(FakeExecutor(1, delay=1.0)) as frame:
        call = asyncio.ensure_future(frame.call(Squares, 1))
        await asyncio.sleep(0.5)
        call.cancel()
        assert await frame.call(Squares, 2) == 4
        stats = frame.stats()
        assert (stats.delivered, stats.aborted) == (1, 1)


async def test_pipelines_and_runs_share_the_lanes() -> None:
    """A long run fills both slots of every lane, over and over; calls get their turn all the same."""
    executor = FakeExecutor(2, delay=lambda number, records: 0.01 * records)
    async with opened(executor) as frame:
        run = asyncio.ensure_future(frame.run(Through(range(2000), steps=[later_def], batch_size=1)))
        await asyncio.sleep(1.0)
        for _ in range(20):
            began = now()
            await asyncio.gather(frame.call(Squares, 2), frame.call(Thrice, 2))
            assert now() - began < 0.1
        assert not run.done()
        assert (await run).delivered == 2000


def later_def(record: int) -> tuple[int, bool]:
    return record, True


async def test_a_lane_that_another_run_keeps_busy_is_left_to_it() -> None:
    executor = FakeExecutor(2, delay=lambda number, records: 100.0 if number in long else 0.01)
    long: set[int] = set()
    async with opened(executor) as frame:
        await frame.call(Squares, 1)
        long |= {0}
        run = asyncio.ensure_future(frame.run(Through([0], steps=[later_def])))
        await asyncio.sleep(1.0)
        for _ in range(10):
            began = now()
            await frame.call(Squares, 2)
            assert now() - began < 0.1
        await run


async def test_a_retry_is_the_callers_too() -> None:
    tried: list[int] = []

    def once(record: int) -> Any:
        tried.append(record)
        if len(tried) < 3:
            raise ValueError("again")
        return record, True

    async with opened() as frame:
        assert await frame.call(Through(steps=[once], retry=Retry(3, backoff=0.1)), 8) == 8
        assert tried == [8, 8, 8]


async def test_a_worker_that_is_lost_for_good_is_told_to_all_who_wait() -> None:
    refusals = {0}
    async with opened(FakeExecutor(1, refusals=refusals, delay=1.0)) as frame:
        calls = [frame.call(Squares, n) for n in range(3)]
        errors = await asyncio.gather(*calls, return_exceptions=True)
        assert {type(error) for error in errors} == {WorkerLost}
        assert len({id(error) for error in errors}) == 3
        refusals.clear()
        assert await frame.call(Squares, 2) == 4  # the next one begins anew


async def test_a_frame_that_is_not_open_takes_no_calls() -> None:
    frame = PipeFrame(executor="inline")
    with pytest.raises(StateError, match="is not open: call needs warm workers"):
        await frame.call(Squares, 1)
    async with frame:
        assert await frame.call(Squares, 2) == 4
    with pytest.raises(StateError, match="is not open"):
        await frame.call(Squares, 1)


async def test_closing_the_frame_finishes_what_was_called() -> None:
    async with opened(FakeExecutor(1, delay=1.0)) as frame:
        calls = [asyncio.ensure_future(frame.call(Squares, n)) for n in range(3)]
        await asyncio.sleep(0.5)
    assert await asyncio.gather(*calls) == [0, 1, 4]


async def test_leaving_the_frame_with_an_error_gives_up_what_was_called() -> None:
    calls: list[asyncio.Future[int]] = []
    with pytest.raises(LookupError):
        async with opened(FakeExecutor(1, delay=1.0)) as frame:
            calls += [asyncio.ensure_future(frame.call(Squares, n)) for n in range(3)]
            await asyncio.sleep(0.5)
            raise LookupError
    for error in await asyncio.gather(*calls, return_exceptions=True):
        assert isinstance(error, StateError)


async def test_a_stop_finishes_what_is_fed_and_later_calls_begin_anew() -> None:
    async with opened(FakeExecutor(1, delay=1.0)) as frame:
        call = asyncio.ensure_future(frame.call(Squares, 3))
        await asyncio.sleep(0.5)
        frame.stop()
        assert await call == 9
        assert await frame.call(Squares, 4) == 16


async def test_a_wrong_pipeline_is_refused_at_its_call() -> None:
    async with opened() as frame:
        with pytest.raises(PipeFrameError, match="is empty"):
            await frame.call(Through(steps=[]), 1)
        assert frame.stats().fed == 0


async def test_pipelines_that_nobody_calls_any_more_do_not_pile_up() -> None:
    async with opened() as frame:
        for number in range(100):
            assert await frame.call(Through(steps=[later_def]), number) == number
            await asyncio.sleep(0.1)
        serving = [task for task in asyncio.all_tasks() if task.get_name().endswith("-calls")]
        assert len(serving) <= 20


async def test_a_call_from_another_loop_is_refused() -> None:
    async with PipeFrame(executor="inline") as frame:

        def elsewhere() -> None:
            with pytest.raises(StateError, match="another event loop"):
                asyncio.run(frame.call(Squares, 1))

        await asyncio.to_thread(elsewhere)


# By themselves, with a run that is a fake.


class Joined:
    """Calls, and what they ask of their run."""

    def __init__(self, *, fans_out: bool = False) -> None:
        self.calls = Calls(fans_out=fans_out)
        self.settled: list[Answer] = []
        self.withdrawn: list[int] = []
        self.fed = 0
        self.calls.join(settle=self.settled.append, withdraw=self.withdrawn.append, position=lambda: self.fed)
        self.feed = self.calls.feed()

    async def next(self) -> Any:
        record = await anext(self.feed)
        self.fed += 1
        return record

    async def closed(self, error: BaseException | None = None) -> None:
        self.calls.close(error)
        await self.feed.aclose()  # type: ignore[attr-defined]


async def test_calls_are_fed_in_their_order_and_each_answer_finds_its_caller() -> None:
    joined = Joined()
    calls = [asyncio.ensure_future(joined.calls.call(record)) for record in "abc"]
    assert [await joined.next() for _ in range(3)] == ["a", "b", "c"]
    assert not joined.calls.idle
    await joined.calls.take([delivered(2, "C"), delivered(0, "A")])
    await joined.calls.take([delivered(1, "B")])
    assert await asyncio.gather(*calls) == ["A", "B", "C"]
    assert (joined.calls.idle, [answer.first for answer in joined.settled]) == (True, [2, 0, 1])
    await joined.closed()


async def test_a_call_whose_record_was_given_up_is_told_so() -> None:
    joined = Joined()
    call = asyncio.ensure_future(joined.calls.call("a"))
    await joined.next()
    await joined.calls.take([given_up(0)])
    with pytest.raises(StateError, match="given up"):
        await call
    await joined.closed()


async def test_a_caller_that_leaves_before_its_record_is_fed_takes_it_along() -> None:
    joined = Joined()
    first, second = (asyncio.ensure_future(joined.calls.call(record)) for record in "ab")
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    assert (await joined.next(), joined.withdrawn) == ("b", [])
    second.cancel()
    await asyncio.sleep(0)
    assert joined.withdrawn == [0]
    await joined.closed()


async def test_whoever_waits_at_the_end_gets_an_error_of_its_own() -> None:
    joined, error = Joined(), WorkerLost("gone")
    calls = [asyncio.ensure_future(joined.calls.call(record)) for record in "ab"]
    await joined.next()
    await joined.closed(error)
    came = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(each) for each in came] == [WorkerLost, WorkerLost]
    assert len({id(each) for each in [error, *came]}) == 3


async def test_a_call_opens_no_sink() -> None:
    opened: list[str] = []

    class Place:
        async def __aenter__(self) -> None:
            opened.append("sink")

        async def __aexit__(self, *error: object) -> None:
            """It is."""

        async def write(self, records: list[int]) -> None:
            """Calls have no use for it."""

    class Absolute(PipelineEngine[int, int]):
        steps: Any = (apply(abs),)
        sink = Place()
        dead_letter = Place()

    async with FakeFrame() as frame:
        assert await frame.call(Absolute, -3) == 3
    assert not opened
