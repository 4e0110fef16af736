"""`on_progress`: how far everything is final, never past a gap, and the last word before the run returns."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from pipeframe_async import PipelineFailed, Retry
from pipeframe_async._engine.settling.answer import Answer, answer_of
from pipeframe_async._engine.settling.finals import Finals
from pipeframe_async._engine.settling.watermark import WatermarkReporter
from pipeframe_async.testing import FakeExecutor
from tests.engine.harness import FakeFrame, Sunk, Through, a_failure, failing, now, passing, settled

pytestmark = pytest.mark.virtual_clock


class Told(Sunk):
    """Keeps the watermarks it is told; `pause`: seconds each takes to be stored."""

    pause = 0.0

    def __init__(self, feed: Any, **knobs: Any) -> None:
        super().__init__(feed, **knobs)
        self.told: list[int] = []
        self.at: list[float] = []

    async def on_progress(self, watermark: int) -> None:
        await asyncio.sleep(self.pause)
        self.told.append(watermark)
        self.at.append(now())


async def slow_if_third(record: int) -> tuple[int, bool]:
    await asyncio.sleep(50.0 if record == 3 else 0.01)
    return record, True


@pytest.mark.parametrize("order", ["input", "completion", lambda record: record % 4])
@pytest.mark.parametrize("steps", [[passing], [passing, slow_if_third], [slow_if_third, passing]])
async def test_it_rises_to_the_number_of_records(steps: Any, order: Any) -> None:
    frame = FakeFrame()
    pipeline = Told(range(100), steps=steps, order=order)
    await frame.run(pipeline)
    settled(frame)
    assert pipeline.told[-1] == 100
    assert pipeline.told == sorted(set(pipeline.told))


async def test_it_never_passes_a_record_that_is_not_final() -> None:
    pipeline = Told(range(100), steps=[slow_if_third], order="completion")
    await FakeFrame().run(pipeline)
    assert [mark for mark, at in zip(pipeline.told, pipeline.at, strict=True) if at < 49.0][-1] == 3


async def test_what_comes_while_it_is_told_comes_in_one() -> None:
    pipeline = Told(range(50), steps=[passing], batch_size=1)
    pipeline.pause = 10.0
    await FakeFrame(FakeExecutor(delay=lambda number, records: 0.1)).run(pipeline)
    assert len(pipeline.told) <= 3
    assert pipeline.told[-1] == 50


async def test_records_that_failed_were_filtered_or_fanned_out_are_final_too() -> None:
    async def thrice(record: int) -> AsyncIterator[tuple[int, bool]]:
        for _ in range(record % 4):
            yield record, True

    async def dead_letter(failures: list[Any]) -> None:
        await asyncio.sleep(1.0)

    def some_fail(record: int) -> Any:
        return failing(record) if record % 5 == 0 else (record, True)

    pipeline = Told(range(60), steps=[thrice, some_fail], dead_letter=dead_letter, retry=Retry(2, backoff=0.1))
    report = await FakeFrame().run(pipeline)
    assert report.failed
    assert report.filtered
    assert pipeline.told[-1] == 60


async def test_it_does_not_pass_what_was_given_up() -> None:
    frame = FakeFrame(drain_timeout=1.0)

    async def feed() -> AsyncIterator[int]:
        for number in range(10):
            yield number
        await asyncio.sleep(0.5)
        frame.stop()
        await asyncio.sleep(1000)

    pipeline = Told(feed, steps=[slow_if_third], order="completion", timeout=None)
    report = await frame.run(pipeline)
    assert report.aborted == 1
    assert pipeline.told[-1] == 3


async def test_a_run_that_fails_tells_how_far_it_came() -> None:
    def fails_late(record: int) -> Any:
        return failing(record) if record == 20 else (record, True)

    pipeline = Told(range(50), steps=[fails_late], batch_size=1)
    with pytest.raises(PipelineFailed):
        await FakeFrame().run(pipeline)
    assert pipeline.told[-1] >= 20


async def test_a_call_that_raises_is_logged_and_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    class Raises(Told):
        async def on_progress(self, watermark: int) -> None:
            await super().on_progress(watermark)
            raise ConnectionError("the log is gone")

    pipeline = Raises(range(10))
    report = await FakeFrame().run(pipeline)
    assert (report.delivered, pipeline.told[-1], report.ack_errors) == (10, 10, len(pipeline.told))
    logged = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "on_progress raised ConnectionError: the log is gone" in logged[0].getMessage()


@pytest.mark.parametrize("loop", ["asyncio"])
def test_a_plain_function_is_called_in_a_thread(loop: str) -> None:
    told: list[int] = []

    class Plain(Sunk):
        def on_progress(self, watermark: int) -> None:
            time.sleep(0.001)
            told.append(watermark)

    asyncio.run(FakeFrame().run(Plain(range(10))))
    assert told[-1] == 10


async def test_a_stream_tells_what_was_taken() -> None:
    pipeline = Told(range(10), batch_size=1)
    pipeline.pause = 0.0
    async with FakeFrame(buffer_size=2).stream(pipeline) as results:
        async for record in results:
            await asyncio.sleep(1.0)
            assert all(mark <= record + 1 for mark in pipeline.told)
    assert pipeline.told[-1] == 10


async def test_where_nobody_asks_nothing_is_counted() -> None:
    frame = FakeFrame()
    await frame.run(Through(range(10)))
    assert frame.made[-1].organs.books._finals is None


# By itself.


def an_answer(first: int, count: int, *failed: int) -> Answer:
    """Records from that position on; those that failed by their index."""
    delivered = count - len(failed)
    return answer_of(
        first,
        count,
        delivered=delivered,
        bypassed=0,
        filtered=0,
        results=["a"] * delivered,
        failures=[(index, a_failure()) for index in failed],
    )


async def told_of(
    settlements: list[Answer | tuple[Answer, bool]], *, pause: float = 1.0, borne: bool = True
) -> list[int]:
    """What is told of answers that are final, some with records that were given up."""
    told: list[int] = []

    async def tell(value: int) -> None:
        told.append(value)

    finals = Finals(borne=lambda: borne)
    reporter = WatermarkReporter(tell, finals)
    running = asyncio.ensure_future(reporter.run())
    for settlement in settlements:
        answer, aborted = settlement if isinstance(settlement, tuple) else (settlement, False)
        finals.settled(answer, aborted=aborted)
        await asyncio.sleep(pause)
    reporter.end()
    await running
    return told


async def test_it_tells_how_far_everything_is_final() -> None:
    assert await told_of([an_answer(2, 3), an_answer(0, 1), an_answer(1, 1)]) == [1, 5]


async def test_it_tells_nothing_where_nothing_is_final_from_the_first_on() -> None:
    assert await told_of([an_answer(1, 5)]) == []


async def test_it_is_never_past_records_of_which_some_were_given_up() -> None:
    assert await told_of([an_answer(0, 2), (an_answer(2, 2), True), an_answer(4, 1)]) == [2]


async def test_it_is_past_failures_that_the_run_bears() -> None:
    assert await told_of([an_answer(0, 3, 1), an_answer(3, 2, 0, 1)]) == [3, 5]


async def test_it_is_never_past_a_failure_that_nobody_has_and_that_was_too_many() -> None:
    assert await told_of([an_answer(0, 5, 3), an_answer(5, 2)], borne=False) == [3]


async def test_it_is_never_past_a_record_of_which_a_child_failed_so_in_a_portion_before() -> None:
    child = replace(an_answer(0, 1), failures=[(1, a_failure())])
    assert await told_of([child, an_answer(1, 1), an_answer(2, 1)], borne=False) == [1]
