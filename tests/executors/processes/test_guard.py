"""The guard: ends what takes too long, soon after it does, and nothing else. On the virtual clock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeframe_async._rules.overtime import (
    ABANDONED_SECONDS,
    GRACE_SECONDS,
    LOOK_SECONDS,
    MEMORY_SECONDS,
    NOT_BEGUN_SECONDS,
    EndedFor,
)
from pipeframe_async._worker.cursor import BATCH, INDEX, Cursor
from pipeframe_async._worker.postmortem import LAST_CALL
from pipeframe_async.executors.processes import guard as guarding
from pipeframe_async.executors.processes.guard import Guard
from pipeframe_async.testing import run_virtual
from pipeframe_async.wire import Phase, Spot

pytestmark = pytest.mark.virtual_clock

LATEST = 0.25
"""Seconds after its limit at which a record is ended at the latest."""


class Watched(Cursor):
    """A cursor that counts how often it is looked at."""

    __slots__ = ("looks",)

    def __init__(self) -> None:
        self.looks = 0
        super().__init__()

    def read(self) -> Spot:
        self.looks += 1
        return super().read()


class FakeWorker:
    """A worker that is where it is put, and writes down what is done to it.

    Args:
        hears: called when it is asked for its last words.
    """

    pid = 0

    def __init__(self, hears: Callable[[FakeWorker], None] = lambda worker: None) -> None:
        self.cursor = Watched()
        self._hears = hears
        self.asked: list[float] = []
        self.killed: list[float] = []

    def at(self, batch: int, index: int) -> None:
        self.cursor.cells[BATCH], self.cursor.cells[INDEX] = batch, index

    def signal(self, number: int) -> None:
        assert number == LAST_CALL
        assert self.cursor.sought
        self.asked.append(now())
        self._hears(self)

    def kill(self) -> None:
        self.killed.append(now())


def now() -> float:
    return asyncio.get_running_loop().time()


def guarded(worker: FakeWorker, max_rss: int | None = None) -> Guard:
    return Guard(worker, max_rss, asyncio.get_running_loop())  # type: ignore[arg-type] # all that it uses is there


def block(seconds: float) -> None:
    """Hold up the loop, as code on it does that never awaits."""
    asyncio.get_running_loop()._jump(seconds)  # type: ignore[attr-defined]


# The time limit.


@given(limit=st.floats(0.02, 20), start=st.floats(0, 3), index=st.sampled_from([0, 5, Phase.READING, Phase.WRITING]))
def test_what_takes_longer_than_its_limit_is_ended_soon_after_it(limit: float, start: float, index: int) -> None:
    async def main() -> None:
        worker = FakeWorker()
        guard = guarded(worker)
        guard.watch(1, limit)
        await asyncio.sleep(start)
        worker.at(1, index)
        await asyncio.sleep(limit + 1)
        assert worker.killed
        assert limit <= worker.killed[0] - start <= limit + LATEST
        assert guard.why is EndedFor.TIME_LIMIT
        assert worker.cursor.sought

    run_virtual(main())


async def test_it_is_asked_for_its_last_words_before_it_is_killed_where_it_is_at_a_record() -> None:
    worker = FakeWorker()
    worker.at(1, 3)
    guarded(worker).watch(1, 2.0)
    await asyncio.sleep(3)
    (asked,) = worker.asked
    assert 2.0 <= asked <= 2.0 + 2 * LOOK_SECONDS
    assert asked + GRACE_SECONDS - LOOK_SECONDS <= worker.killed[0] <= 2.0 + LATEST


@pytest.mark.parametrize("phase", [Phase.READING, Phase.WRITING])
async def test_where_it_is_at_no_record_it_has_no_words_to_say(phase: Phase) -> None:
    worker = FakeWorker()
    worker.at(1, phase)
    guarded(worker).watch(1, 2.0)
    await asyncio.sleep(3)
    assert (worker.asked, len(worker.killed) > 0) == ([], True)


async def test_loading_has_no_limit() -> None:
    worker = FakeWorker()
    worker.at(1, Phase.LOADING)
    guarded(worker).watch(1, 0.5)
    await asyncio.sleep(100)
    assert (worker.asked, worker.killed) == ([], [])


async def test_one_that_does_not_begin_is_ended_without_a_question() -> None:
    worker = FakeWorker()
    worker.at(1, Phase.IDLE)
    guard = guarded(worker)
    guard.watch(2, 0.5)
    await asyncio.sleep(0.5 + NOT_BEGUN_SECONDS + LATEST)
    assert (worker.asked, len(worker.killed), guard.why) == ([], 1, EndedFor.NOT_BEGUN)


async def test_a_record_that_ends_when_it_is_asked_is_spared_and_the_next_one_has_its_own_time() -> None:
    worker = FakeWorker(lambda worker: worker.at(1, 4) if len(worker.asked) == 1 else None)
    worker.at(1, 3)
    guard = guarded(worker)
    guard.watch(1, 2.0)
    await asyncio.sleep(2.5)
    assert (len(worker.asked), worker.killed, guard.why) == (1, [], None)
    await asyncio.sleep(2)
    assert worker.killed[0] >= worker.asked[0] + 2.0
    assert guard.why is EndedFor.TIME_LIMIT


@pytest.mark.parametrize("pause", [0.01, 0.3, 0.45])
async def test_a_worker_that_goes_on_is_never_ended_however_long_its_batch_takes(pause: float) -> None:
    worker = FakeWorker()
    guarded(worker).watch(1, 0.5)
    for index in range(200):
        worker.at(1, index)
        await asyncio.sleep(pause)
    assert (worker.asked, worker.killed) == ([], [])


async def test_the_same_place_in_the_next_batch_is_another_place() -> None:
    worker = FakeWorker()
    guard = guarded(worker)
    for batch in range(20):
        guard.watch(batch, 0.5)
        worker.at(batch, 0)
        await asyncio.sleep(0.4)
        guard.done(batch)
    assert worker.asked == []


async def test_a_batch_without_a_limit_is_not_looked_at() -> None:
    worker = FakeWorker()
    worker.at(1, 0)
    guarded(worker).watch(1, None)
    await asyncio.sleep(100)
    assert worker.cursor.looks == 0


async def test_nothing_is_looked_at_when_all_batches_are_done() -> None:
    worker = FakeWorker()
    worker.at(1, 0)
    guard = guarded(worker)
    guard.watch(1, 5.0)
    guard.watch(2, 5.0)
    assert guard.busy
    await asyncio.sleep(1)
    guard.done(1)
    assert guard.busy
    guard.done(2)
    assert not guard.busy
    looks = worker.cursor.looks
    await asyncio.sleep(100)
    assert worker.cursor.looks == looks > 0


async def test_a_limit_is_looked_at_a_few_times_and_not_a_thousand() -> None:
    worker = FakeWorker()
    worker.at(1, 0)
    guarded(worker).watch(1, 0.02)
    await asyncio.sleep(0.02 + 1e-6)
    assert 3 <= worker.cursor.looks <= 6


async def test_a_guard_stops_where_its_worker_has_been_put_away() -> None:
    worker = FakeWorker()
    worker.at(1, 0)
    guarded(worker).watch(1, 0.5)
    await asyncio.sleep(0.1)
    worker.cursor.close()
    await asyncio.sleep(10)
    assert worker.killed == []


# A loop that was held up.


@pytest.mark.parametrize("held_up", [1.5, 5.0, 60.0])
async def test_time_in_which_the_loop_did_not_look_is_not_held_against_a_record(held_up: float) -> None:
    worker = FakeWorker()
    worker.at(1, 0)
    guarded(worker).watch(1, 1.0)
    await asyncio.sleep(0.3)
    block(held_up)
    await asyncio.sleep(0.2)
    assert worker.asked == []
    await asyncio.sleep(1.0)
    assert worker.asked  # but what it takes after that is


async def test_a_short_hold_up_is_not_its_fault_either() -> None:
    worker = FakeWorker()
    worker.at(1, 0)
    guarded(worker).watch(1, 1.0)
    await asyncio.sleep(0.9)
    block(0.5)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not worker.asked
    await asyncio.sleep(0.1 + 2 * LOOK_SECONDS)
    assert worker.asked


# A batch nobody waits for.


async def test_an_abandoned_batch_that_goes_on_is_ended_with_its_worker() -> None:
    worker = FakeWorker()
    guard = guarded(worker)
    guard.watch(1, None)
    worker.at(1, 0)
    await asyncio.sleep(5)
    guard.abandon(1)
    await asyncio.sleep(1)
    (killed,) = worker.killed
    assert 5 + ABANDONED_SECONDS <= killed <= 5 + ABANDONED_SECONDS + 2 * LOOK_SECONDS
    assert guard.why is EndedFor.ABANDONED


async def test_an_abandoned_batch_is_ended_also_while_its_records_go_by() -> None:
    worker = FakeWorker()
    guard = guarded(worker)
    guard.watch(1, 10.0)
    guard.abandon(1)
    for index in range(50):
        worker.at(1, index)
        await asyncio.sleep(0.01)
        if worker.killed:
            break
    assert worker.killed
    assert worker.killed[0] <= ABANDONED_SECONDS + 2 * LOOK_SECONDS


async def test_an_abandoned_batch_that_ends_soon_costs_no_worker() -> None:
    worker = FakeWorker()
    guard = guarded(worker)
    guard.watch(1, None)
    worker.at(1, 0)
    guard.abandon(1)
    await asyncio.sleep(ABANDONED_SECONDS / 2)
    worker.cursor.leave()
    guard.done(1)
    await asyncio.sleep(10)
    assert worker.killed == []


async def test_a_worker_at_another_batch_than_the_abandoned_one_is_left_to_it() -> None:
    worker = FakeWorker()
    guard = guarded(worker)
    guard.watch(1, None)
    guard.watch(2, None)
    worker.at(1, 0)
    guard.abandon(2)
    await asyncio.sleep(5)
    assert worker.killed == []
    worker.at(2, 0)
    await asyncio.sleep(LOOK_SECONDS)
    assert worker.killed


async def test_abandoning_what_is_done_does_nothing() -> None:
    worker = FakeWorker()
    guard = guarded(worker)
    guard.watch(1, None)
    guard.done(1)
    guard.abandon(1)
    guard.done(1)
    await asyncio.sleep(5)
    assert (worker.killed, worker.cursor.looks) == ([], 0)


# Memory.


@pytest.fixture
def resident(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Bytes that the worker holds; and a pid for each time that was asked for."""
    held = [0]

    def read(pid: int) -> int:
        held.append(pid)
        return held[0]

    monkeypatch.setattr(guarding, "resident_bytes", read)
    return held


async def test_a_record_that_makes_its_worker_too_large_is_ended(resident: list[int]) -> None:
    worker = FakeWorker()
    guard = guarded(worker, max_rss=100)
    guard.watch(1, None)
    resident[0] = 50
    worker.at(1, 0)
    await asyncio.sleep(1)
    assert worker.killed == []
    resident[0] = 101
    await asyncio.sleep(2 * LOOK_SECONDS)
    assert (len(worker.killed), guard.why) == (1, EndedFor.MEMORY)


async def test_what_a_worker_held_before_the_record_is_not_held_against_it(resident: list[int]) -> None:
    resident[0] = 200
    worker = FakeWorker()
    guard = guarded(worker, max_rss=100)
    guard.watch(1, None)
    worker.at(1, 0)
    await asyncio.sleep(1)
    resident[0] = 205
    await asyncio.sleep(1)
    assert (worker.killed, guard.why) == ([], None)


async def test_short_records_are_not_ended_for_what_they_take_and_looked_at_once(resident: list[int]) -> None:
    worker = FakeWorker()
    guarded(worker, max_rss=100).watch(1, None)
    for index in range(100):
        resident[0] = 101 + index % 2 * 100  # each second one takes much
        worker.at(1, index)
        await asyncio.sleep(MEMORY_SECONDS / 2)
    assert (worker.killed, len(resident)) == ([], 1 + 100)


async def test_what_a_record_takes_before_it_is_long_at_work_is_its_own(resident: list[int]) -> None:
    resident[0] = 50
    worker = FakeWorker()
    guard = guarded(worker, max_rss=100)
    guard.watch(1, None)
    worker.at(1, 0)
    await asyncio.sleep(2 * LOOK_SECONDS)
    resident[0] = 101
    await asyncio.sleep(MEMORY_SECONDS)
    assert (len(worker.killed), guard.why) == (1, EndedFor.MEMORY)


@pytest.mark.parametrize("index", [Phase.LOADING, Phase.READING, Phase.WRITING, Phase.IDLE])
async def test_memory_is_held_against_records_only(resident: list[int], index: Any) -> None:
    resident[0] = 101
    worker = FakeWorker()
    guarded(worker, max_rss=100).watch(1, None)
    worker.at(1, index)
    await asyncio.sleep(5)
    assert worker.killed == []
