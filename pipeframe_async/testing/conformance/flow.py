"""Cases: records on their way, while nothing goes wrong."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any, Final

from pipeframe_async.frame import PipeFrame
from pipeframe_async.testing.conformance.records import Bad, act, mark, marks, slow, unequal
from pipeframe_async.testing.conformance.rig import Case, Kept, NotHeld, Rig, expect_balance, expect_records, finished

BUFFER: Final = 32
"""Records: the buffer that backpressure has to keep to; two batches of the suite."""

KEYS: Final = 3

STANDSTILL: Final = 0.5
"""Seconds the loop may stand still beside a record that holds the GIL for a second. Less, and a busy machine is one."""


async def in_order(rig: Rig) -> None:
    """Records that take unequally long come out once each, as they were fed."""
    pipeline = Kept(unequal)
    report = await finished(rig.frame(), pipeline, range(200))
    expect_records(pipeline.taken, range(200))
    expect_balance(report, pipeline.taken)


async def backpressure(rig: Rig) -> None:
    """A slow consumer slows the feed."""
    frame = rig.frame(buffer_size=BUFFER)
    count = most = taken = 0

    async def feed() -> AsyncIterator[int]:
        nonlocal count, most
        while count < 6 * BUFFER:
            count += 1
            most = max(most, count - taken, frame.stats().in_flight)
            yield count

    pipeline = Kept(act)
    pipeline.source = "stream"
    async with frame.stream(pipeline, feed) as results:
        async for _ in results:
            taken += 1
            await asyncio.sleep(0.001)
    if most > BUFFER + 1:  # the one in the feed's hand is not in the buffer yet
        raise NotHeld("more in flight", f"{most} of {BUFFER}")
    if taken != count:
        raise NotHeld("records were lost", f"{count - taken} of {count}")


async def loop_stays_responsive(rig: Rig) -> None:
    """While C code holds the GIL of a worker, the loop turns."""
    loop = asyncio.get_running_loop()
    longest = 0.0

    async def tick() -> None:
        nonlocal longest
        last = loop.time()
        while True:
            await asyncio.sleep(0.005)
            now = loop.time()
            longest, last = max(longest, now - last), now

    async with rig.frame() as frame:
        await finished(frame, Kept(act), range(32))  # its workers are up now
        ticking = asyncio.create_task(tick())
        try:
            await finished(frame, Kept(act), [Bad("holds the GIL for a second")])
            await asyncio.sleep(0.01)  # a loop that stood still to the end is seen at its next turn
        finally:
            ticking.cancel()
    if longest > STANDSTILL:
        raise NotHeld("loop stood still", f"for {longest:.2f} s")


async def runs_share(rig: Rig) -> None:
    """Two runs of a warm frame at the same time get each its own results."""
    one, two = Kept(slow), Kept(slow)
    async with rig.frame() as frame:
        await asyncio.gather(finished(frame, one, range(64)), finished(frame, two, range(1000, 1064)))
    expect_records(one.taken, range(64))
    expect_records(two.taken, range(1000, 1064))


class Keyed(Kept):
    """Leaves a mark where a record of a key begins, and where it ends."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path
        self.steps = (self.work,)
        self.order = lambda record: record % KEYS

    def work(self, record: int) -> tuple[int, bool]:
        """A step."""
        mark(self.path, f"{record % KEYS} {record}")
        slow(record)
        mark(self.path, f"{record % KEYS} {record}")
        return record, True


async def keys_are_kept_together(rig: Rig) -> None:
    """Of each key one record is worked on at a time, in the order they were fed."""
    pipeline = Keyed(rig.marks)
    await finished(rig.frame(), pipeline, range(64))
    expect_records(sorted(pipeline.taken), range(64))
    seen: dict[str, list[int]] = {}
    for line in marks(rig.marks):
        key, record = line.split()
        seen.setdefault(key, []).append(int(record))
    for key, records in seen.items():
        if records[::2] != records[1::2]:
            raise NotHeld("at the same time", f"records of key {key}")
        if records != sorted(records):
            raise NotHeld("not in their order", f"records of key {key}")


class Warmed(Kept):
    """Leaves a mark at `setup`, at each record and at `teardown`, with the process it was in."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path
        self.steps = (self.work,)

    def setup(self) -> None:
        """Before the first record."""
        mark(self.path, f"setup {os.getpid()}")

    def work(self, record: int) -> tuple[int, bool]:
        """A step."""
        mark(self.path, f"record {os.getpid()}")
        return slow(record)

    def teardown(self) -> None:
        """After the last record."""
        mark(self.path, f"teardown {os.getpid()}")


async def _warmed(rig: Rig, frame: PipeFrame) -> dict[str, list[str]]:
    """What each process has marked in a run, in order."""
    await finished(frame, Warmed(rig.marks), range(64))
    by_process: dict[str, list[str]] = {}
    for line in marks(rig.marks):
        word, process = line.split()
        by_process.setdefault(process, []).append(word)
    return by_process


async def setup_runs_once(rig: Rig) -> None:
    """Each process that has seen a record has run `setup` before it, once."""
    for process, words in (await _warmed(rig, rig.frame())).items():
        if (times := words.count("setup")) != 1 or words[0] != "setup":
            raise NotHeld("not once and first", f"{times} times in process {process}")


async def teardown_runs(rig: Rig) -> None:
    """Each process that has run `setup` runs `teardown` when the frame is closed, once and last."""
    for process, words in (await _warmed(rig, rig.frame())).items():
        times = Counter(words)["teardown"]
        if not times:
            raise NotHeld("never ran", f"in process {process}")
        if times != 1 or words[-1] != "teardown":
            raise NotHeld("not once and last", f"{times} times in process {process}")


async def stop_drains(rig: Rig) -> None:
    """`stop()` ends an endless stream and delivers what was fed."""
    frame = rig.frame()

    class Endless(Kept):
        source = "stream"

        async def sink(self, records: list[Any]) -> None:
            await super().sink(records)
            if len(self.taken) > 3 * self.batch_size:
                frame.stop()

    async def feed() -> AsyncIterator[int]:
        n = 0
        while True:
            yield n
            n += 1
            await asyncio.sleep(0)

    pipeline = Endless(act)
    report = await finished(frame, pipeline, feed)
    expect_records(pipeline.taken, range(report.fed))
    expect_balance(report, pipeline.taken)


CASES: Final = (
    Case("every record is delivered once, in input order", in_order),
    Case("never more records are in flight than buffer_size", backpressure),
    Case("the event loop turns while a step holds the GIL", loop_stays_responsive),
    Case("records of one key are worked on one at a time, in their order", keys_are_kept_together),
    Case("two runs at the same time get each its own results", runs_share),
    Case("setup runs once in each worker, before its first record", setup_runs_once),
    Case("teardown runs at the end of each worker", teardown_runs),
    Case("stop() delivers what was fed", stop_drains),
)
