"""Results to the sink, failures to the dead letters, and how many failures a run bears."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeframe_async import DROP, Failure, PipelineFailed, SinkError
from pipeframe_async.testing import FakeExecutor, run_virtual
from tests.engine.feeds import ON_LOOP
from tests.engine.harness import Answers, FakeFrame, Sunk, Tap, Through, failing, now, passing, settled

virtual = pytest.mark.virtual_clock


def numbers(n: int | None, pause: float = 0.0) -> Any:
    return ON_LOOP["async generator"](Tap(), n, pause)


def odd_fails(record: int) -> tuple[int, bool]:
    if record % 2:
        raise ValueError(f"{record} is odd")
    return record, True


@virtual
async def test_the_sink_gets_lists_in_order_and_none_is_empty() -> None:
    lists: list[list[int]] = []

    async def sink(records: list[int]) -> None:
        lists.append(records)
        await asyncio.sleep(0.1)

    frame = FakeFrame(FakeExecutor(3, delay=lambda number, records: (number * 7 % 5) / 10), buffer_size=20)
    await frame.run(Through(numbers(200), sink=sink))
    assert [record for records in lists for record in records] == list(range(200))
    assert all(lists)
    settled(frame)


@virtual
async def test_the_sink_is_called_once_at_a_time() -> None:
    inside = 0

    async def sink(records: list[int]) -> None:
        nonlocal inside
        inside += 1
        await asyncio.sleep(0.5)
        assert inside == 1
        inside -= 1

    frame = FakeFrame(buffer_size=5)
    await frame.run(Through(numbers(50), sink=sink))
    settled(frame)


@virtual
async def test_the_sink_is_not_called_where_there_is_no_result() -> None:
    async def sink(records: list[int]) -> None:
        raise AssertionError(records)

    frame = FakeFrame()
    report = await frame.run(Through(numbers(20), sink=sink, steps=(lambda record: DROP,)))
    assert (report.filtered, report.delivered) == (20, 0)
    settled(frame)


@virtual
async def test_a_record_counts_as_delivered_when_the_sink_has_returned() -> None:
    frame = FakeFrame()

    async def sink(records: list[int]) -> None:
        before = frame.stats().delivered
        await asyncio.sleep(1)
        assert frame.stats().delivered == before
        assert frame.stats().in_flight >= len(records)

    report = await frame.run(Through(numbers(50), sink=sink))
    assert report.delivered == 50
    settled(frame)


async def test_a_plain_sink_runs_in_a_thread_of_its_own() -> None:
    taken: list[int] = []
    threads: set[str] = set()

    def sink(records: list[int]) -> None:
        threads.add(threading.current_thread().name)
        taken.extend(records)

    frame = FakeFrame(FakeExecutor(delay=lambda number, records: 0.0), buffer_size=10)
    await frame.run(Through(numbers(100), sink=sink))
    assert taken == list(range(100))
    assert threads == {"pipeframe-sink_0"}
    settled(frame)


@virtual
@pytest.mark.parametrize("calls", [1, 2, 5])
@pytest.mark.parametrize("plain", [False, True])
async def test_what_a_sink_that_raises_did_not_take_is_aborted(calls: int, plain: bool) -> None:
    taken: list[int] = []
    called = 0

    def plain_sink(records: list[int]) -> None:
        nonlocal called
        called += 1
        if called == calls:
            raise OSError("disk full")
        taken.extend(records)

    async def sink(records: list[int]) -> None:
        await asyncio.sleep(0.1)
        plain_sink(records)

    frame = FakeFrame(buffer_size=10)
    with pytest.raises(SinkError, match="sink raised OSError: disk full") as caught:
        await frame.run(Through(numbers(None, 0.01), sink=plain_sink if plain else sink))
    report = settled(frame)
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.report == report
    assert (report.delivered, report.ended_by) == (len(taken), "failed")
    assert report.aborted == report.fed - report.delivered
    assert taken == list(range(len(taken)))


@virtual
@pytest.mark.parametrize("hook", ["sink", "dead_letter"])
async def test_a_cancelled_error_of_a_hooks_own_is_the_hooks_error(hook: str) -> None:
    async def cancels(records: list[Any]) -> None:
        raise asyncio.CancelledError("not yours")

    frame = FakeFrame()
    steps = (failing,) if hook == "dead_letter" else (passing,)
    with pytest.raises(SinkError, match="CancelledError"):
        await frame.run(Through(numbers(10), steps=steps, **{hook: cancels}))
    assert settled(frame).ended_by == "failed"


@virtual
async def test_a_plain_sink_that_returns_an_awaitable_is_awaited() -> None:
    taken: list[int] = []

    async def insert(records: list[int]) -> None:
        taken.extend(records)

    class Inserting(Through):
        def sink(self, records: list[int]) -> Awaitable[None]:
            return insert(records)

    frame = FakeFrame()
    await frame.run(Inserting(numbers(10)))
    assert taken == list(range(10))
    settled(frame)


@virtual
async def test_dead_letters_get_the_failures_in_order_with_their_records() -> None:
    dead: list[Failure[int]] = []

    async def dead_letter(failures: list[Failure[int]]) -> None:
        assert failures
        dead.extend(failures)

    frame = FakeFrame(FakeExecutor(3, delay=lambda number, records: (number * 7 % 5) / 10), buffer_size=20)
    pipeline = Sunk(numbers(100), steps=(passing, odd_fails), dead_letter=dead_letter)
    report = await frame.run(pipeline)
    assert pipeline.taken == list(range(0, 100, 2))
    assert [failure.record for failure in dead] == list(range(1, 100, 2))
    assert {(failure.step, failure.kind, failure.error_type) for failure in dead} == {
        ("odd_fails", "raised", "ValueError")
    }
    assert "1 is odd" in dead[0].traceback
    assert (report.failed, report.delivered, report.ended_by) == (50, 50, "exhausted")
    settled(frame)


async def test_plain_dead_letters_run_in_a_thread() -> None:
    dead: list[tuple[bool, int]] = []

    def dead_letter(failures: list[Failure[int]]) -> None:
        main = threading.current_thread() is threading.main_thread()
        dead.extend((main, failure.record) for failure in failures)

    frame = FakeFrame()
    await frame.run(Through(numbers(10), steps=(failing,), dead_letter=dead_letter))
    assert dead == [(False, number) for number in range(10)]
    settled(frame)


@virtual
async def test_failures_reach_the_dead_letters_also_where_they_end_the_run() -> None:
    dead: list[Failure[int]] = []
    frame = FakeFrame(buffer_size=10)
    pipeline = Through(numbers(None, 0.01), steps=(failing,), dead_letter=dead.extend, max_failures=5)
    with pytest.raises(PipelineFailed) as caught:
        await frame.run(pipeline)
    assert len(dead) == settled(frame).failed >= 6
    assert caught.value.failures == tuple(dead)


@virtual
@pytest.mark.parametrize("limit", [0, 1, 7])
async def test_one_more_failure_than_is_borne_ends_the_run(limit: int) -> None:
    frame = FakeFrame(FakeExecutor(1, slots=1), buffer_size=10)
    with pytest.raises(
        PipelineFailed, match="allows; the first: step 'odd_fails' raised ValueError: 1 is odd"
    ) as caught:
        await frame.run(Sunk(numbers(None, 0.01), steps=(odd_fails,), max_failures=limit, batch_size=1))
    report = settled(frame)
    assert len(caught.value.failures) == report.failed == limit + 1
    assert [failure.record for failure in caught.value.failures] == [2 * i + 1 for i in range(limit + 1)]
    assert caught.value.report == report
    assert report.ended_by == "failed"
    assert "odd" in "".join(caught.value.__notes__)


@virtual
@pytest.mark.parametrize("limit", [1, 7, None])
async def test_as_many_failures_as_are_borne_end_nothing(limit: int | None) -> None:
    frame = FakeFrame()
    report = await frame.run(Through(numbers(2 * (limit or 50)), steps=(odd_fails,), max_failures=limit))
    assert (report.failed, report.ended_by) == (limit or 50, "exhausted")
    settled(frame)


@settings(max_examples=40)
@given(bad=st.lists(st.booleans(), max_size=400), limit=st.sampled_from([0.01, 0.3, 0.5, 0.9, 1.0]))
def test_a_ratio_is_judged_from_the_200th_record_on(bad: list[bool], limit: float) -> None:
    def step(record: int) -> tuple[int, bool]:
        if bad[record]:
            raise ValueError
        return record, True

    failed, ends_at = 0, None
    for seen, failure in enumerate(bad, 1):
        failed += failure
        if ends_at is None and seen >= 200 and failed > limit * seen:
            ends_at = seen

    async def main() -> None:
        frame = FakeFrame(FakeExecutor(1, slots=1, delay=lambda number, records: 0.0))
        with suppress(PipelineFailed):
            await frame.run(Through(numbers(len(bad)), steps=(step,), max_failures=limit, batch_size=1))
        report = settled(frame)
        assert report.ended_by == ("failed" if ends_at else "exhausted")
        assert report.delivered + report.failed == (ends_at or len(bad))

    run_virtual(main)


@virtual
async def test_what_was_not_sent_when_a_run_fails_is_aborted_and_what_was_is_finished() -> None:
    frame = FakeFrame(FakeExecutor(2, slots=1, delay=lambda number, records: 1.0 + number), buffer_size=10)
    pipeline = Sunk(numbers(None), steps=(lambda record: failing(record) if record == 0 else passing(record),))
    pipeline.batch_size = 2
    with pytest.raises(PipelineFailed):
        await frame.run(pipeline)
    report = settled(frame)
    assert pipeline.taken == [1, 2, 3]
    assert (report.failed, report.delivered, report.aborted) == (1, 3, report.fed - 4)
    assert now() == pytest.approx(2, abs=0.3)


@virtual
async def test_a_feed_that_goes_on_after_a_run_has_failed_gets_no_ack_for_what_was_not_done() -> None:
    ran: list[int] = []
    answers = Answers()

    def step(record: int) -> tuple[int, bool]:
        if record == 0:
            raise ValueError
        ran.append(record)
        return record, True

    async def feed() -> AsyncIterator[Any]:
        number = 0
        try:
            while True:
                try:
                    yield answers.delivery(number)
                    number += 1
                    await asyncio.sleep(0.01)
                except asyncio.CancelledError:
                    pass
        finally:
            await asyncio.sleep(0.5)

    frame = FakeFrame(FakeExecutor(1, slots=1, delay=lambda number, records: 1.0), buffer_size=1000)
    with pytest.raises(PipelineFailed):
        await frame.run(Through(feed, steps=(step,)))
    report = settled(frame)
    assert answers.acked == ran
    assert sorted(answers.acked + answers.nacked) == list(range(report.fed))


@virtual
async def test_without_a_consumer_results_are_not_shipped() -> None:
    shipped: list[bool] = []

    class Unconsumed:
        """A result that may not be pickled: nobody wants it."""

        def __reduce__(self) -> Any:
            shipped.append(True)
            return int, ()

    frame = FakeFrame()
    report = await frame.run(Through(numbers(20), steps=(lambda record: (Unconsumed(), True),)))
    assert (report.delivered, shipped) == (20, [])
    settled(frame)
    await frame.run(Sunk(numbers(20), steps=(lambda record: (Unconsumed(), True),)))
    assert shipped
