"""A feed in a thread that is pulled in bursts: nothing lost, nothing late, whatever the feed does in the middle of one.

Real threads and a real clock: what is asked here is what a thread does between two of its records.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pipeframe_async import Chunk, StateError
from pipeframe_async._engine.feeding import pump as pumps
from pipeframe_async._engine.feeding.pump import Pump
from pipeframe_async.model import Delivery

BEGINNING = 500
"""Records a feed here hands over at once, which is enough for bursts of the full length."""


def pump_of(records: Iterator[Any]) -> Pump:
    return Pump(lambda pump: pump.put_all(records), "test")


async def everything(pump: Pump, room: int = 1000) -> list[Any]:
    taken: list[Any] = []
    while (records := await pump.take(room)) is not None:
        taken += records
    await pump.aclose(1)
    return taken


async def at_least(pump: Pump, number: int, room: int = 1000) -> list[Any]:
    taken: list[Any] = []
    async with asyncio.timeout(5):
        while len(taken) < number:
            taken += await pump.take(room) or []
    return taken


@pytest.mark.parametrize("room", [1, 2, 7, 100, 1000])
@pytest.mark.parametrize("records", [0, 1, 2, 63, 64, 65, 1000])
async def test_all_records_come_in_order_whatever_room_there_is(records: int, room: int) -> None:
    assert await everything(pump_of(iter(range(records))), room) == list(range(records))


@pytest.mark.parametrize("records", range(1, 40))
async def test_the_end_is_told_where_the_last_burst_wanted_more_and_room_has_become_scarce(records: int) -> None:
    """The permits of what was taken are still out: there is room for one record, and none comes."""
    pump = pump_of(iter(range(records)))
    await at_least(pump, records, room=records + 1)
    async with asyncio.timeout(5):
        assert await pump.take(1) is None
    await pump.aclose(1)


@pytest.mark.parametrize("room", [1, 5, 64, 150])
async def test_no_more_is_pulled_than_there_is_room_for(room: int) -> None:
    pulled = 0

    def feed() -> Iterator[int]:
        nonlocal pulled
        while True:
            pulled += 1
            yield pulled

    pump, taken = pump_of(feed()), 0
    for _ in range(20):
        taken += len(await pump.take(room) or [])
        await asyncio.sleep(0.001)
        assert pulled <= taken + room
    await pump.aclose(1)
    assert taken + len(pump.rest()) == pulled


async def test_a_feed_that_turns_slow_in_a_burst_is_still_taken_record_by_record() -> None:
    arrivals: list[float] = []

    def feed() -> Iterator[float]:
        yield from [0.0] * BEGINNING
        for _ in range(40):
            time.sleep(0.01)
            yield time.perf_counter()

    pump = pump_of(feed())
    await at_least(pump, BEGINNING)
    while len(arrivals) < 40:
        records = await pump.take(1000) or []
        arrivals += [time.perf_counter() - record for record in records if record]
    assert await everything(pump) == []
    assert sorted(arrivals)[len(arrivals) // 2] < 0.005
    assert max(arrivals) < 0.1  # a burst would hold the first of its records for most of a second


async def test_what_came_before_a_feed_blocks_in_a_burst_does_not_wait_for_it() -> None:
    go_on = threading.Event()

    def feed() -> Iterator[int]:
        yield from range(BEGINNING + 3)
        go_on.wait()
        yield -1

    pump = pump_of(feed())
    assert await at_least(pump, BEGINNING + 3) == list(range(BEGINNING + 3))
    go_on.set()
    assert await everything(pump) == [-1]


async def test_a_burst_ends_where_its_pump_is_stopped() -> None:
    go_on, pulled = threading.Event(), list[int]()

    def feed() -> Iterator[int]:
        for number in range(1000):
            if number == 40:  # in a burst
                go_on.wait(20)
            pulled.append(number)
            yield number

    pump = pump_of(feed())
    assert await at_least(pump, 40) == list(range(40))
    closing = asyncio.ensure_future(pump.aclose(10))
    await asyncio.sleep(0)
    go_on.set()
    await closing
    assert pulled == list(range(41))
    assert pump.rest() == [40]


async def test_what_a_burst_has_pulled_is_taken_while_the_feed_computes() -> None:
    """Without a GIL too, where what pulls into a list by one operation has that locked until it is done."""
    taken = False

    def feed() -> Iterator[int | bool]:
        yield from range(BEGINNING)
        gives_up = time.monotonic() + 4
        while not taken and time.monotonic() < gives_up:
            pass
        yield taken

    pump = pump_of(feed())
    assert await at_least(pump, BEGINNING) == list(range(BEGINNING))
    taken = True
    assert await everything(pump) == [True]


async def test_a_loop_that_begins_to_wait_just_before_a_burst_looks_for_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The thread is held where it has said its last word before the burst, until the loop waits for it."""
    burst: Callable[[Pump, Iterator[Any], int], None] = Pump._pull_many
    go_on, held = threading.Event(), threading.Event()

    def late(self: Pump, iterator: Iterator[Any], records: int) -> None:
        if records >= 16 and not held.is_set():
            held.set()
            while not self._hungry:
                time.sleep(0.0001)
            time.sleep(0.01)  # the loop sleeps by now
        burst(self, iterator, records)

    last = list[int]()  # comes out of the burst the feed has blocked in

    def feed() -> Iterator[int]:
        number = 0
        while not held.is_set():
            yield number
            number += 1
        last.append(number)
        yield number
        go_on.wait(20)

    monkeypatch.setattr(Pump, "_pull_many", late)
    pump, taken = pump_of(feed()), list[int]()
    try:
        async with asyncio.timeout(5):
            while not last or taken[-1:] != last:
                taken += await pump.take(1000) or []
        assert taken == list(range(last[0] + 1))
    finally:
        go_on.set()
    assert await everything(pump) == []


async def test_a_feed_that_raises_in_a_burst_has_fed_all_before() -> None:
    def feed() -> Iterator[int]:
        yield from range(BEGINNING + 3)
        raise ValueError("broken")

    pump, taken = pump_of(feed()), list[int]()
    with pytest.raises(ValueError, match="broken"):
        while (records := await pump.take(100)) is not None:
            taken += records
    assert taken == list(range(BEGINNING + 3))
    await pump.aclose(1)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError])
async def test_what_is_no_exception_comes_out_as_it_was_raised(error: type[BaseException]) -> None:
    def feed() -> Iterator[int]:
        yield from range(BEGINNING)
        raise error

    pump = pump_of(feed())
    assert await at_least(pump, BEGINNING) == list(range(BEGINNING))
    with pytest.raises(error):
        await pump.take(100)
    await pump.aclose(1)


@pytest.mark.parametrize("seen", [1, BEGINNING // 2, BEGINNING])
async def test_a_feed_that_is_stopped_is_closed_in_its_thread_and_nothing_of_it_is_lost(seen: int) -> None:
    pulled, closed = 0, list[str]()

    def feed() -> Iterator[int]:
        nonlocal pulled
        try:
            while True:
                pulled += 1
                yield pulled
        finally:
            closed.append(threading.current_thread().name)

    pump = pump_of(feed())
    taken = await at_least(pump, seen, room=50)
    await pump.aclose(1)
    taken += pump.rest()
    assert taken == list(range(1, pulled + 1))
    assert closed == ["pipeframe-feed-test"]


async def test_a_feed_stopped_in_a_burst_it_has_blocked_in_keeps_what_it_had_handed_over(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pumps, "NOTICE", 0.1)
    blocked, go_on = threading.Event(), threading.Event()

    def feed() -> Iterator[int]:
        yield from range(BEGINNING)
        blocked.set()
        go_on.wait()

    pump = pump_of(feed())
    taken = await pump.take(2 * BEGINNING) or []
    assert await asyncio.to_thread(blocked.wait, 5)
    await pump.aclose(1)
    assert "left behind" in caplog.text
    assert taken + pump.rest() == list(range(BEGINNING))
    go_on.set()
    pump._thread.join(5)


def mixed() -> Iterator[Any]:
    """Chunks and deliveries in what are bursts by then."""
    yield from range(BEGINNING)
    for number in range(100):
        yield Chunk([number, number])
        yield number
        yield Delivery(number)


async def test_chunks_and_deliveries_in_a_burst_come_as_they_are() -> None:
    taken = (await everything(pump_of(mixed())))[BEGINNING:]
    flat: list[Any] = []
    for record in taken:
        flat += record.records if isinstance(record, Chunk) else [record]
    numbers = [record.record if isinstance(record, Delivery) else record for record in flat]
    assert numbers == [number for number in range(100) for _ in range(4)]
    assert sum(isinstance(record, Delivery) for record in flat) == 100


async def test_an_iterator_without_close_and_one_that_ends_twice_are_fine() -> None:
    class Counting:
        def __init__(self) -> None:
            self.asked = 0

        def __iter__(self) -> Iterator[int]:
            return self

        def __next__(self) -> int:
            self.asked += 1
            if self.asked > BEGINNING:
                raise StopIteration
            return self.asked

    feed = Counting()
    assert await everything(pump_of(feed)) == list(range(1, BEGINNING + 1))
    assert feed.asked <= BEGINNING + 2


async def test_records_put_from_many_threads_all_come_and_those_of_one_thread_in_order() -> None:
    def put(pump: Pump, thread: int) -> None:
        for number in range(300):
            pump.put((thread, number))

    def produce(pump: Pump) -> None:
        threads = [threading.Thread(target=put, args=(pump, thread)) for thread in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    pump = Pump(produce, "test")
    taken = await everything(pump, room=7)
    assert len(taken) == 1200
    for thread in range(4):
        assert [k for n, k in taken if n == thread] == list(range(300))
    with pytest.raises(StateError, match="after the feed had returned"):
        pump.put(1)
