"""Order by key: within a key as it was fed, keys in parallel, and one lane for a key that has records in flight."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeframe_async import DROP, Failure, Retry
from pipeframe_async._engine.journeys.tie import Tie
from pipeframe_async._engine.settling.answer import given_up
from pipeframe_async._rules.journey import Journey
from pipeframe_async.testing import FakeExecutor, run_virtual
from tests.engine.harness import FakeFrame, Sunk, Through, now, passing, settled

pytestmark = pytest.mark.virtual_clock

KEYS = 5


def key(record: int) -> int:
    return record % KEYS


def of_keys(records: list[int]) -> dict[int, list[int]]:
    lines: dict[int, list[int]] = defaultdict(list)
    for record in records:
        lines[record % KEYS].append(record)
    return lines


async def results_of(pipeline: Through, frame: FakeFrame) -> list[Any]:
    async with frame.stream(pipeline) as results:
        taken = [result async for result in results]
    settled(frame)
    return taken


async def waits(record: int) -> tuple[int, bool]:
    await asyncio.sleep(record * 7919 % 31 * 0.01)
    return record, True


def rejects(record: int) -> Any:
    if record % 11 == 0:
        raise ValueError(record)
    return DROP if record % 13 == 0 else (record, record % 17 != 0)


def twice(record: int) -> Iterator[tuple[int, bool]]:
    yield record, True
    yield record, True


WAYS: dict[str, Any] = {
    "def": [passing],
    "async": [waits],
    "def async": [rejects, waits],
    "async def": [waits, rejects],
    "def async def": [passing, waits, twice],
}


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_order_is_kept_within_each_key_whatever_happens(data: st.DataObject) -> None:
    steps = WAYS[data.draw(st.sampled_from(sorted(WAYS)))]
    lanes, slow = data.draw(st.integers(1, 4)), data.draw(st.sampled_from([1e-6, 0.01, 1.0]))
    deaths = data.draw(st.frozensets(st.integers(0, 20), max_size=3))
    records = data.draw(st.lists(st.integers(0, 10_000), max_size=80))
    size = data.draw(st.sampled_from([1, 3, 100]))
    retry = data.draw(st.sampled_from([None, Retry(2, backoff=0.5)]))

    async def main() -> list[int]:
        executor = FakeExecutor(lanes, delay=lambda number, count: slow * count * (1 + number % 3), deaths=deaths)
        pipeline = Through(records, steps=steps, order=key, max_failures=None, retry=retry)
        return await results_of(pipeline, FakeFrame(executor, buffer_size=size))

    def survive() -> Iterator[int]:
        for record in records:
            failed = rejects in steps and (record % 11 == 0 or record % 13 == 0)
            yield from [record] * (0 if failed else 2 if twice in steps else 1)

    assert of_keys(run_virtual(main())) == of_keys(list(survive()))


async def test_a_hot_key_does_not_stop_the_others() -> None:
    """Its records take a lane for ten seconds each; all others are done in the meantime."""
    ended: dict[int, float] = {}

    async def slow_if_hot(record: int) -> tuple[int, bool]:
        await asyncio.sleep(10.0 if key(record) == 0 else 0.001)
        return record, True

    async def feed() -> AsyncIterator[int]:
        for number in range(50):
            yield number

    async with FakeFrame().stream(Through(feed, steps=[passing, slow_if_hot], order=key, timeout=None)) as results:
        async for record in results:
            ended[record] = now()
    assert all(at < 1.0 for record, at in ended.items() if key(record))
    assert of_keys(list(ended)) == of_keys(list(range(50)))


class Placed(FakeExecutor):
    """Remembers in which lane each record was, from when until when."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, poison=self.look, **options)
        self.seen: dict[int, list[str]] = defaultdict(list)
        self.now = ""
        for lane in self.lanes:
            self._tell(lane)

    def _tell(self, lane: Any) -> None:
        died = lane._died

        async def tells(*args: Any) -> Any:
            self.now = lane.name
            return await died(*args)

        lane._died = tells

    def look(self, record: int) -> bool:
        self.seen[key(record)].append(self.now)
        return False


@pytest.mark.parametrize("steps", [[passing], [passing, waits, passing]], ids=["one run", "two runs"])
async def test_a_key_stays_in_its_lane_while_it_has_records_in_flight(steps: Any) -> None:
    executor = Placed(3, delay=lambda number, records: 0.5)
    frame = FakeFrame(executor)
    await results_of(Through(range(100), steps=steps, order=key, batch_size=2), frame)
    assert {len(set(lanes)) for lanes in executor.seen.values()} == {1}
    assert len({lanes[0] for lanes in executor.seen.values()}) == 3


@pytest.mark.parametrize(
    ("order", "error"),
    [(lambda record: record["id"], "KeyError"), (lambda record: [record], "TypeError")],
    ids=["it raises", "not hashable"],
)
async def test_a_record_without_a_key_fails_and_the_others_go_on(order: Any, error: str) -> None:
    dead: list[Failure[Any]] = []

    async def dead_letter(failures: list[Failure[Any]]) -> None:
        dead.extend(failures)

    frame = FakeFrame()
    taken = await results_of(Through([{}, {}], order=order, dead_letter=dead_letter), frame)
    assert taken == []
    assert [(failure.record, failure.step, failure.error_type) for failure in dead] == [({}, "order", error)] * 2


async def test_a_batch_feed_larger_than_the_buffer_is_ordered_too() -> None:
    frame = FakeFrame(buffer_size=7)
    taken = await results_of(Through(range(300), steps=[waits, passing], order=key, source="batch"), frame)
    assert of_keys(taken) == of_keys(list(range(300)))
    assert frame.made[-1].organs.books.ledger.peak_in_flight <= 7


async def test_a_sink_gets_each_key_in_its_order() -> None:
    frame = FakeFrame(FakeExecutor(3, delay=lambda number, records: number % 3 * 0.2))
    pipeline = Sunk(range(200), steps=[passing], order=key, batch_size=3)
    await frame.run(pipeline)
    settled(frame)
    assert of_keys(pipeline.taken) == of_keys(list(range(200)))


# By itself.


def entered(tie: Tie, position: int, record: Any, *, asked: bool = True) -> tuple[Journey, Exception | None]:
    journey = Journey(position, record)
    return journey, tie.enter(journey, asked=asked)


async def test_records_of_one_key_are_tied_to_one_lane_until_the_last_has_left() -> None:
    tie = Tie(lambda record: record, 2)
    (first, _), (second, _), (other, _) = (entered(tie, n, record) for n, record in enumerate("aab"))
    assert first.lane == second.lane != other.lane
    tie.leave(other)
    tie.leave(first)
    assert entered(tie, 3, "a")[0].lane == second.lane


async def test_what_a_key_raises_is_given_back_and_the_record_is_nobodys_follower() -> None:
    tie = Tie(lambda record: record[0], 2)
    journey, error = entered(tie, 0, [])
    assert isinstance(error, IndexError)
    _, unhashable = entered(tie, 1, [{}])
    assert isinstance(unhashable, TypeError)
    assert len(tie.sequencer.offer(1, 1, given_up(1))) == 1
    tie.leave(journey)


async def test_a_key_that_nobody_asks_for_is_not_computed() -> None:
    def never(record: Any) -> Any:
        raise AssertionError("asked")

    _, error = entered(Tie(never, 1), 0, "a", asked=False)
    assert error is None


async def test_answers_leave_in_order_within_their_key_only() -> None:
    tie = Tie(lambda record: record, 2)
    for position, record in enumerate("aab"):
        entered(tie, position, record)
    assert tie.sequencer.offer(1, 1, given_up(1)) == []
    assert [answer.first for answer in tie.sequencer.offer(2, 1, given_up(2))] == [2]
    assert [answer.first for answer in tie.sequencer.offer(0, 1, given_up(0))] == [0, 1]
