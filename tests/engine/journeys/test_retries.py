"""Failed records tried again: as often as asked, after what was asked, with everybody else going on meanwhile."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest

from pipeframe_async import Failure, PipelineFailed, Retry
from pipeframe_async.testing import FakeExecutor
from tests.engine.harness import Answers, FakeFrame, Through, now, passing, settled

pytestmark = pytest.mark.virtual_clock


class Flaky:
    """A step that fails so many times over each record it is told of."""

    def __init__(self, fails: dict[int, int], error: type[BaseException] = ValueError) -> None:
        self.fails = fails
        self.error = error
        self.calls: list[tuple[int, float]] = []

    def one(self, record: int) -> tuple[int, bool]:
        self.calls.append((record, asyncio.get_event_loop().time()))
        if sum(seen == record for seen, _ in self.calls) <= self.fails.get(record, 0):
            raise self.error(record)
        return record, True

    async def awaited(self, record: int) -> tuple[int, bool]:
        return self.one(record)

    def times(self, record: int) -> list[float]:
        return [at for seen, at in self.calls if seen == record]


class Tried(Through):
    """Keeps its dead letters."""

    def __init__(self, feed: Any, **knobs: Any) -> None:
        super().__init__(feed, **knobs)
        self.dead: list[Failure[Any]] = []

    async def dead_letter(self, failures: list[Failure[Any]]) -> None:
        self.dead += failures


async def run(pipeline: Through, frame: FakeFrame | None = None) -> list[Any]:
    frame = frame or FakeFrame()
    async with frame.stream(pipeline) as results:
        taken = [result async for result in results]
    settled(frame)
    return taken


WAYS: dict[str, Any] = {
    "def": lambda flaky: [flaky.one],
    "async": lambda flaky: [flaky.awaited],
    "async def": lambda flaky: [Flaky({}).awaited, flaky.one],
    "def async": lambda flaky: [passing, flaky.awaited],
    "def async def": lambda flaky: [passing, Flaky({}).awaited, flaky.one],
}


@pytest.mark.parametrize("order", ["input", "completion"])
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
async def test_a_record_that_fails_and_then_does_not_is_delivered(way: Any, order: str) -> None:
    flaky, frame = Flaky({3: 1, 50: 2, 51: 2}), FakeFrame()
    pipeline = Tried(range(100), steps=way(flaky), retry=Retry(3, backoff=1.0, jitter=False), order=order)
    taken = await run(pipeline, frame)
    assert (taken if order == "input" else sorted(taken)) == list(range(100))
    report = settled(frame)
    assert (report.delivered, report.failed, report.retried, pipeline.dead) == (100, 0, 5, [])
    assert Counter(record for record, _ in flaky.calls) == {n: 1 + flaky.fails.get(n, 0) for n in range(100)}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
async def test_a_record_that_goes_on_failing_fails_with_all_its_attempts(way: Any) -> None:
    flaky, frame = Flaky({5: 99}), FakeFrame()
    pipeline = Tried(range(10), steps=way(flaky), retry=Retry(4, backoff=0.1))
    assert await run(pipeline, frame) == [n for n in range(10) if n != 5]
    (failure,) = pipeline.dead
    assert (failure.record, failure.attempts, failure.error_type) == (5, 4, "ValueError")
    assert settled(frame).retried == 3


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
async def test_attempts_are_further_and_further_apart_up_to_the_longest(way: Any) -> None:
    flaky = Flaky({0: 5})
    await run(Tried([0], steps=way(flaky), retry=Retry(6, backoff=1.0, factor=3.0, max_backoff=20.0, jitter=False)))
    times = flaky.times(0)
    gaps = [round(after - before, 1) for before, after in pairwise(times)]
    assert gaps == [1.0, 3.0, 9.0, 20.0, 20.0]


async def test_with_jitter_an_attempt_comes_between_half_and_the_whole_of_its_delay() -> None:
    flaky = Flaky(dict.fromkeys(range(50), 1))
    await run(Tried(range(50), steps=[flaky.one], retry=Retry(2, backoff=10.0)))
    delays = [after - before for before, after in (flaky.times(n) for n in range(50))]
    assert all(4.9 <= delay <= 10.1 for delay in delays)
    assert max(delays) - min(delays) > 1.0


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize(("on", "attempts"), [((OSError, ValueError), 3), ((OSError,), 1), ((LookupError,), 3)])
async def test_only_what_was_asked_for_is_tried_again(way: Any, on: Any, attempts: int) -> None:
    error = KeyError if LookupError in on else ValueError
    flaky = Flaky({0: 99}, error)
    pipeline = Tried([0], steps=way(flaky), retry=Retry(3, on=on, backoff=0.1))
    await run(pipeline)
    assert (len(flaky.calls), pipeline.dead[0].attempts) == (attempts, attempts)


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
async def test_others_go_on_while_a_record_waits_for_its_next_attempt(way: Any) -> None:
    flaky = Flaky({0: 1})
    at: dict[int, float] = {}
    pipeline = Tried(
        range(200), steps=way(flaky), retry=Retry(2, backoff=25.0, jitter=False), order="completion", timeout=None
    )
    async with FakeFrame(buffer_size=5).stream(pipeline) as results:
        async for record in results:
            at[record] = now()
    assert at.pop(0) >= 25.0
    assert max(at.values()) < 5.0


async def test_where_order_is_kept_the_others_wait_for_it_and_the_feed_for_room() -> None:
    flaky, frame = Flaky({0: 1}), FakeFrame(buffer_size=5)
    fed: list[float] = []

    async def feed() -> Any:
        for number in range(20):
            fed.append(now())
            yield number

    pipeline = Tried(feed, steps=[flaky.one], retry=Retry(2, backoff=25.0, jitter=False), timeout=None)
    assert await run(pipeline, frame) == list(range(20))
    assert fed[4] < 1.0 < 25.0 <= fed[6]


async def test_a_step_that_breaks_its_contract_is_not_tried_again() -> None:
    async def nothing(record: int) -> None:
        return None

    pipeline = Tried([1, 2], steps=[nothing], retry=Retry(5))
    await run(pipeline)
    assert [failure.attempts for failure in pipeline.dead] == [1, 1]

    pipeline = Tried([1, 2], steps=[lambda record: None], retry=Retry(5))
    await run(pipeline)
    assert [failure.attempts for failure in pipeline.dead] == [1, 1]


async def test_children_of_a_failed_attempt_do_not_count() -> None:
    flaky = Flaky({1: 1})

    def three(record: int) -> Iterator[tuple[int, bool]]:
        for child in range(3):
            yield record * 10 + child, True

    def last_fails(child: int) -> tuple[int, bool]:
        if child % 10 == 2:
            flaky.one(child // 10)
        return child, True

    frame = FakeFrame()
    pipeline = Tried([0, 1, 2], steps=[three, last_fails], retry=Retry(2, backoff=0.1))
    assert await run(pipeline, frame) == [0, 1, 2, 10, 11, 12, 20, 21, 22]
    report = settled(frame)
    assert (report.fed, report.emitted, report.delivered, report.retried) == (3, 6, 9, 1)


async def test_each_attempt_gets_the_record_as_it_came_to_the_step() -> None:
    seen: list[dict[str, int]] = []

    async def changes(record: dict[str, int]) -> Any:
        seen.append(dict(record))
        record["tries"] = record.get("tries", 0) + 1
        if len(seen) < 3:
            raise ValueError("again")
        return record, True

    taken = await run(Tried([{"id": 1}], steps=[changes], retry=Retry(3, backoff=0.1)))
    assert seen == [{"id": 1}] * 3
    assert taken == [{"id": 1, "tries": 1}]


@pytest.mark.parametrize(("on", "attempts"), [((Exception,), 2), ((OSError,), 2), ((ValueError,), 1)])
async def test_a_record_out_of_time_counts_as_a_timeout(on: Any, attempts: int) -> None:
    async def never(record: int) -> Any:
        await asyncio.sleep(1000)

    stuck = FakeExecutor(stuck=lambda record: record == 3)
    # In a worker it is tried once more alone before it has failed, as after a worker's death.
    for steps, executor, alone in (([never], None, 0), ([passing], stuck, 1)):
        pipeline = Tried([3], steps=steps, retry=Retry(2, on=on, backoff=0.1), time_limit=1.0)
        await run(pipeline, FakeFrame(executor))
        (failure,) = pipeline.dead
        assert (failure.kind, failure.attempts) == ("timeout", attempts + alone)


async def test_a_record_that_kills_its_worker_is_tried_again_only_if_that_was_asked_for() -> None:
    deaths = Counter[bool]()
    for on in ((Exception,), (OSError,)):
        executor = FakeExecutor(1, poison=lambda record: record == 3)
        pipeline = Tried(range(6), steps=[passing], retry=Retry(2, on=on, backoff=0.1))
        assert await run(pipeline, FakeFrame(executor)) == [0, 1, 2, 4, 5]
        assert pipeline.dead[0].kind == "crashed"
        deaths[on == (Exception,)] = executor.restarts
    assert deaths[True] > deaths[False]


async def test_a_record_nobody_can_pickle_is_not_tried_again() -> None:
    pipeline = Tried([lambda: None, asyncio.Lock()], steps=[passing], retry=Retry(3))
    await run(pipeline)
    assert {(failure.kind, failure.attempts) for failure in pipeline.dead} == {("unpicklable", 1)}


async def test_a_stop_waits_for_attempts_for_as_long_as_it_drains() -> None:
    for backoff, aborted in ((1.0, 0), (100.0, 1)):
        flaky, frame = Flaky({0: 1}), FakeFrame(drain_timeout=5.0)
        answers = Answers()

        async def feed(frame: FakeFrame = frame, answers: Answers = answers) -> Any:
            yield answers.delivery(0)
            await asyncio.sleep(0.5)
            frame.stop()
            await asyncio.sleep(1000)

        pipeline = Tried(
            feed, steps=[flaky.one], retry=Retry(2, backoff=backoff, max_backoff=backoff, jitter=False), timeout=None
        )
        report = await frame.run(pipeline)
        assert (report.aborted, report.ended_by) == (aborted, "stopped")
        assert (len(answers.acked), len(answers.nacked)) == (1 - aborted, aborted)


async def test_too_many_failures_give_up_what_waits_for_its_next_attempt() -> None:
    flaky, frame = Flaky({0: 1, 5: 99}), FakeFrame()
    pipeline = Through(range(10), steps=[flaky.one], retry=Retry(2, backoff=100.0, max_backoff=100.0), batch_size=1)
    flaky.error = ValueError
    with pytest.raises(PipelineFailed):
        await frame.run(pipeline)
    report = settled(frame)
    assert report.failed >= 1
    assert now() <= 101.0
