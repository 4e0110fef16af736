"""Steps that are awaited: on the loop, so many records at a time, and alike to `def` steps in everything else."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from pipeframe_async import DROP, Delivery, PipelineFailed, apply, expand, keep_if
from pipeframe_async.testing import FakeExecutor
from tests.engine.harness import Answers, FakeFrame, Sunk, Through, a_run, failing, now, passing, settled

pytestmark = pytest.mark.virtual_clock


async def awaited(record: Any) -> tuple[Any, bool]:
    await asyncio.sleep(0.01)
    return record, True


def doubled(record: Any) -> tuple[Any, bool]:
    return record * 2, True


async def results_of(pipeline: Through, frame: FakeFrame | None = None) -> list[Any]:
    frame = frame or FakeFrame()
    async with frame.stream(pipeline) as results:
        taken = [result async for result in results]
    settled(frame)
    return taken


MIXTURES: dict[str, list[Any]] = {
    "async": [awaited],
    "async async": [awaited, awaited],
    "async def": [awaited, doubled],
    "def async": [doubled, awaited],
    "def async def": [doubled, awaited, doubled],
    "async def async": [awaited, doubled, awaited],
    "def def async def def async": [doubled, passing, awaited, passing, doubled, awaited],
}


@pytest.mark.parametrize("source", ["stream", "batch"])
@pytest.mark.parametrize("order", ["input", "completion"])
@pytest.mark.parametrize("steps", MIXTURES.values(), ids=MIXTURES)
async def test_every_record_goes_through_every_step_in_every_mixture(steps: Any, order: str, source: str) -> None:
    taken = await results_of(Through(range(200), steps=steps, order=order, source=source), FakeFrame(buffer_size=30))
    expected = [number * 2 ** steps.count(doubled) for number in range(200)]
    assert (taken if order == "input" else sorted(taken)) == expected


async def test_as_many_records_as_are_allowed_are_awaited_at_a_time() -> None:
    at_work, most = 0, 0

    async def counts(record: int) -> tuple[int, bool]:
        nonlocal at_work, most
        at_work += 1
        most = max(most, at_work)
        await asyncio.sleep(1.0)
        at_work -= 1
        return record, True

    await results_of(Through(range(50), steps=[counts], async_concurrency=8))
    assert most == 8
    assert now() == pytest.approx(7.0)


async def test_each_run_of_async_steps_has_places_of_its_own() -> None:
    async def slow(record: int) -> tuple[int, bool]:
        await asyncio.sleep(1.0)
        return record, True

    await results_of(Through(range(20), steps=[slow, passing, slow], async_concurrency=10), FakeFrame())
    assert now() == pytest.approx(3.0, abs=0.1)


async def test_a_chain_of_async_steps_starts_no_worker() -> None:
    frame = FakeFrame()
    await results_of(Through(range(10), steps=[awaited]), frame)
    assert [lane.lives for lane in frame.executor.lanes] == [0, 0]


async def test_a_slow_async_step_holds_no_worker() -> None:
    """All of its records are waiting at once, while the lanes go on with the others."""

    async def slow_if_odd(record: int) -> tuple[int, bool]:
        await asyncio.sleep(100.0 if record % 2 else 0.0)
        return record, True

    frame, ended = FakeFrame(), []

    def seen(record: int) -> tuple[int, bool]:
        ended.append((record, asyncio.get_event_loop().time()))
        return record, True

    await results_of(Through(range(40), steps=[passing, slow_if_odd, seen], order="completion"), frame)
    assert sorted(record for record, at in ended if at < 1.0) == list(range(0, 40, 2))
    assert all(at >= 100.0 for record, at in ended if record % 2)


async def test_a_slow_worker_starves_no_async_step() -> None:
    begun: list[float] = []

    async def begins(record: int) -> tuple[int, bool]:
        begun.append(now())
        return record, True

    frame = FakeFrame(FakeExecutor(delay=lambda number, records: 10.0 * records))
    await results_of(Through(range(20), steps=[begins, passing]), frame)
    assert max(begun) == 0.0


async def drops_odd(record: int) -> Any:
    return DROP if record % 2 else (record, True)


async def bypasses_odd(record: int) -> tuple[int, bool]:
    return record, record % 2 == 0


async def thrice(record: int) -> AsyncIterator[tuple[tuple[int, int], bool]]:
    for child in range(3):
        yield (record, child), child != 1


def pairs(record: Any) -> tuple[Any, bool]:
    return ("seen", record), True


async def test_records_are_filtered_and_bypass_what_follows() -> None:
    assert await results_of(Through(range(6), steps=[drops_odd, pairs])) == [("seen", n) for n in (0, 2, 4)]
    assert await results_of(Through(range(4), steps=[bypasses_odd, pairs, awaited])) == [
        ("seen", 0),
        1,
        ("seen", 2),
        3,
    ]


async def test_children_keep_their_places_though_some_go_further_than_others() -> None:
    frame = FakeFrame()
    taken = await results_of(Through(range(3), steps=[thrice, awaited, pairs]), frame)
    of_each = [[("seen", (n, 0)), (n, 1), ("seen", (n, 2))] for n in range(3)]
    assert taken == [child for children in of_each for child in children]
    report = settled(frame)
    assert (report.fed, report.emitted, report.delivered, report.bypassed) == (3, 6, 9, 3)


async def test_a_fan_out_that_yields_nothing_filters() -> None:
    async def none(record: int) -> AsyncIterator[tuple[int, bool]]:
        for child in range(0):
            yield child, True

    frame = FakeFrame()
    assert await results_of(Through(range(3), steps=[none, passing]), frame) == []
    assert settled(frame).filtered == 3


async def test_a_fan_out_that_raises_takes_back_what_it_had_yielded() -> None:
    async def breaks(record: int) -> AsyncIterator[tuple[int, bool]]:
        yield record, True
        raise ValueError("in the middle")

    frame = FakeFrame()
    pipeline = Through(range(3), steps=[breaks, passing], max_failures=None)
    assert await results_of(pipeline, frame) == []
    assert settled(frame).failed == 3


async def test_async_functions_are_made_steps_like_others() -> None:
    async def half(record: int) -> float:
        return record / 2

    async def whole(record: float) -> bool:
        return record == int(record)

    async def both(record: float) -> list[float]:
        return [record, -record]

    async def each(record: float) -> AsyncIterator[float]:
        yield record
        yield record + 100

    steps = [apply(half), keep_if(whole), expand(both), expand(each)]
    assert await results_of(Through([2, 3], steps=steps)) == [1.0, 101.0, -1.0, 99.0]


BREAKS = {
    "returns None": (None, "returned None (NoneType)"),
    "returns a triple": ((1, True, 2), "returned (1, True, 2) (tuple)"),
    "says it with a number": ((1, 1), "returned (1, 1) (tuple)"),
}


@pytest.mark.parametrize(("outcome", "says"), BREAKS.values(), ids=BREAKS)
async def test_a_step_that_returns_something_else_is_named(outcome: Any, says: str) -> None:
    async def wrong(record: int) -> Any:
        return outcome

    frame = FakeFrame()
    with pytest.raises(PipelineFailed) as caught:
        await frame.run(Through([7], steps=[passing, wrong]))
    (failure,) = caught.value.failures
    assert (failure.record, failure.step, failure.kind, failure.error_type) == (7, "wrong", "raised", "StepError")
    assert says in failure.message


async def failures_of(steps: list[Any], records: Any = (7,), **knobs: Any) -> list[Any]:
    dead: list[Any] = []

    async def dead_letter(failures: list[Any]) -> None:
        dead.extend(failures)

    frame = FakeFrame()
    await results_of(Through(list(records), steps=steps, dead_letter=dead_letter, **knobs), frame)
    return dead


@pytest.mark.parametrize(
    "error", [ValueError("bad"), SystemExit(3), asyncio.CancelledError("of its own"), TimeoutError()]
)
async def test_what_an_async_step_raises_is_its_records_failure(error: BaseException) -> None:
    async def raises(record: int) -> Any:
        raise error

    (failure,) = await failures_of([passing, raises, passing])
    assert (failure.record, failure.step, failure.kind) == (7, "raises", "raised")
    assert (failure.error_type, failure.message) == (type(error).__name__, str(error))
    assert failure.traceback.count("\n  File ") == 1
    assert "in raises" in failure.traceback


async def test_a_step_whose_future_is_cancelled_fails_and_the_others_go_on() -> None:
    async def waits_for_another(record: int) -> Any:
        other = asyncio.get_running_loop().create_future()
        if record == 3:
            other.cancel()
        else:
            other.set_result(None)
        await other
        return record, True

    (failure,) = await failures_of([waits_for_another], range(5))
    assert (failure.record, failure.error_type) == (3, "CancelledError")


async def test_a_record_out_of_time_is_cancelled_and_fails_alone() -> None:
    cancelled: list[int] = []

    async def slow_if_odd(record: int) -> tuple[int, bool]:
        try:
            await asyncio.sleep(10.0 if record % 2 else 0.1)
        except asyncio.CancelledError:
            cancelled.append(record)
            raise
        return record, True

    failed = await failures_of([passing, slow_if_odd], range(4), time_limit=1.0)
    assert [(failure.record, failure.kind, failure.step) for failure in failed] == [
        (1, "timeout", "slow_if_odd"),
        (3, "timeout", "slow_if_odd"),
    ]
    assert cancelled == [1, 3]
    assert now() < 2.0


async def test_a_timeout_that_a_step_raises_itself_is_no_time_limit() -> None:
    async def gives_up(record: int) -> Any:
        async with asyncio.timeout(0.5):
            await asyncio.sleep(10)

    (failure,) = await failures_of([gives_up], time_limit=5.0)
    assert (failure.kind, failure.error_type) == ("raised", "TimeoutError")


async def test_a_failure_has_its_record_as_it_was_fed_though_a_step_has_changed_it() -> None:
    async def changes(record: dict[str, Any]) -> Any:
        record["changed"] = True
        return record, True

    (failure,) = await failures_of([changes, failing], [{"id": 1}])
    assert failure.record == {"id": 1}
    (failure,) = await failures_of([changes, awaited, changes, async_failing], [{"id": 1}])
    assert failure.record == {"id": 1}


async def async_failing(record: Any) -> Any:
    raise ValueError(record)


async def test_what_cannot_be_pickled_goes_through_async_steps_as_it_is() -> None:
    lock = asyncio.Lock()

    async def locks(record: asyncio.Lock) -> Any:
        async with record:
            return record, True

    assert await results_of(Through([lock], steps=[locks, awaited])) == [lock]


async def test_what_a_step_sets_in_its_context_is_gone_with_its_record() -> None:
    name: contextvars.ContextVar[int] = contextvars.ContextVar("name", default=-1)
    seen: list[int] = []

    async def sets(record: int) -> Any:
        seen.append(name.get())
        name.set(record)
        await asyncio.sleep(0)
        assert name.get() == record
        return record, True

    await results_of(Through(range(100), steps=[sets], async_concurrency=3))
    assert set(seen) == {-1}


async def test_leaving_early_cancels_the_steps_that_are_awaited() -> None:
    cancelled: list[int] = []

    async def waits(record: int) -> Any:
        try:
            await asyncio.sleep(0.0 if record == 0 else 1000.0)
        except asyncio.CancelledError:
            cancelled.append(record)
            raise
        return record, True

    frame = FakeFrame()
    async with frame.stream(Through(range(10), steps=[waits, passing], timeout=None)) as results:
        assert await anext(results) == 0
    settled(frame)
    assert sorted(cancelled) == list(range(1, 10))


async def test_a_stop_lets_the_steps_that_are_awaited_finish() -> None:
    frame = FakeFrame()

    async def feed() -> AsyncIterator[int]:
        for number in range(3):
            yield number
        frame.stop()
        await asyncio.sleep(1000)

    async def slow(record: int) -> Any:
        await asyncio.sleep(5.0)
        return record, True

    pipeline = Sunk(feed, steps=[slow, passing], timeout=None)
    report = await frame.run(pipeline)
    assert (pipeline.taken, report.ended_by) == ([0, 1, 2], "stopped")


async def test_a_step_that_outlasts_the_drain_timeout_is_cancelled() -> None:
    frame = FakeFrame(drain_timeout=2.0)

    async def feed() -> AsyncIterator[int]:
        yield 0
        await asyncio.sleep(1.0)
        frame.stop()
        await asyncio.sleep(1000)

    async def never(record: int) -> Any:
        await asyncio.sleep(10_000)

    report = await frame.run(Through(feed, steps=[passing, never], timeout=None))
    assert (report.aborted, report.ended_by) == (1, "stopped")
    assert now() < 5.0


async def test_too_many_failures_give_up_what_has_not_begun() -> None:
    answers = Answers()
    feed = [answers.delivery(number) for number in range(100)]
    frame = FakeFrame()
    pipeline = Through(feed, steps=[passing, async_failing, passing], async_concurrency=2, max_failures=3)
    with pytest.raises(PipelineFailed):
        await frame.run(pipeline)
    report = settled(frame)
    assert (report.fed, report.failed + report.aborted) == (100, 100)
    assert 4 <= report.failed <= 6
    assert sorted(answers.nacked) == list(range(100))
    assert len([failure for failure in answers.failures if failure is not None]) == report.failed


async def test_a_fan_out_is_acked_when_its_last_child_is_final() -> None:
    acked: list[float] = []

    async def later(record: tuple[int, int]) -> Any:
        await asyncio.sleep(record[1] * 10.0)
        return record, True

    def three(record: int) -> Iterator[tuple[tuple[int, int], bool]]:
        for child in range(3):
            yield (record, child), True

    feed = [Delivery(0, ack=lambda: acked.append(now()))]
    pipeline = Sunk(feed, steps=[three, later], timeout=None)
    await FakeFrame().run(pipeline)
    assert pipeline.taken == [(0, 0), (0, 1), (0, 2)]
    assert acked == [pytest.approx(20.0, abs=0.1)]


async def test_no_more_is_fed_than_the_buffer_holds_while_steps_wait() -> None:
    frame = FakeFrame(buffer_size=10)
    fed: list[int] = []

    async def feed() -> AsyncIterator[int]:
        for number in range(50):
            fed.append(number)
            yield number

    async def slow(record: int) -> Any:
        assert len(fed) <= 10 + record + 1
        await asyncio.sleep(1.0)
        return record, True

    await results_of(Through(feed, steps=[slow], async_concurrency=1, timeout=None), frame)
    assert frame.made[-1].organs.books.ledger.peak_in_flight == 10


async def test_the_report_says_where_each_step_ran_and_what_bounded_the_run() -> None:
    async def slow(record: int) -> Any:
        await asyncio.sleep(0)
        return record, True

    frame = FakeFrame()
    await results_of(Through(range(20), steps=[slow, passing, slow], async_concurrency=2), frame)
    steps = settled(frame).steps
    assert [(step.name, step.where, step.calls) for step in steps] == [
        ("slow", "loop", 20),
        ("passing", "fake", 20),
        ("slow", "loop", 20),
    ]


async def test_an_async_step_that_returns_a_generator_fans_out() -> None:
    async def gives(record: int) -> Any:
        return ((child, True) for child in range(record))

    assert await results_of(Through([2, 0, 3], steps=[gives])) == [0, 1, 0, 1, 2]


async def test_what_goes_wrong_beside_the_steps_ends_the_run_and_says_how_the_stage_was() -> None:
    run = a_run(Through([1, 2], steps=[awaited]))

    def broken(*_: Any) -> None:
        raise LookupError("a bug")

    run.organs.journeys.came = broken  # type: ignore[assignment]
    (stage,) = run.organs.async_stages
    assert repr(stage) == "<0 at work, 0 waiting>"
    with pytest.raises(LookupError, match="a bug"):
        await run.execute()
