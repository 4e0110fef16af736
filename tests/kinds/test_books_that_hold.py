"""Whatever fails, a machine, a key, a disk: the run ends with the true cause, and its books balance."""

from __future__ import annotations

import asyncio
import errno
import tempfile
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any

import pytest

from pipeframe_async import Chunk, FeedError, PipelineFailed, Retry
from pipeframe_async._engine.feeding import spill
from pipeframe_async.testing import FakeExecutor
from tests.engine.harness import Answers, FakeFrame, Sunk, Through, balanced, settled

pytestmark = pytest.mark.virtual_clock


class FullDisk:
    """A temporary file on a disk that takes so many writes."""

    made: list[FullDisk]

    def __init__(self, writes: int) -> None:
        self.writes = writes
        self.closed = False

    def write(self, data: bytes) -> None:
        self.writes -= 1
        if self.writes < 0:
            raise OSError(errno.ENOSPC, "No space left on device")

    def writelines(self, lines: Iterable[bytes]) -> None:
        self.write(b"".join(lines))

    def flush(self) -> None:
        pass

    def close(self) -> None:
        self.closed = True
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("writes", [0, 1, 2, 7])
@pytest.mark.parametrize("in_thread", [False, True])
async def test_a_disk_that_is_full_is_the_machines_fault(
    writes: int, in_thread: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk, answers = FullDisk(writes), Answers()
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: disk)
    monkeypatch.setattr(spill, "BLOCK_BYTES", 1)

    async def feed() -> AsyncIterator[Any]:
        for number in range(10_000):
            yield answers.delivery(number)

    def plain() -> Iterator[Any]:
        for number in range(10_000):
            yield answers.delivery(number)

    frame, pipeline = FakeFrame(buffer_size=10), Sunk(plain if in_thread else feed, source="batch")
    with pytest.raises(FeedError, match=r"could not be kept in .*No space left.*TMPDIR") as caught:
        await frame.run(pipeline)
    report = settled(frame)
    assert isinstance(caught.value.__cause__, OSError)
    assert (pipeline.taken, report.aborted, disk.closed) == ([], report.fed, True)
    assert sorted(answers.nacked) == [*range(report.fed)]


async def test_a_key_that_raises_where_no_failure_is_borne_is_that_failure() -> None:
    frame = FakeFrame(buffer_size=100)
    pipeline = Through([{"k": 1}] * 10 + [{}] + [{"k": 2}] * 50, order=lambda record: record["k"], max_failures=0)
    with pytest.raises(PipelineFailed, match="1 record failed") as caught:
        await frame.run(pipeline)
    assert [failure.step for failure in caught.value.failures] == ["order"]
    assert balanced(settled(frame))


async def test_a_chunk_that_comes_when_room_has_shrunk_waits_for_room() -> None:
    async def feed() -> AsyncIterator[Any]:
        for page in range(20):
            yield Chunk([b"x" * (200_000 if n % 97 == 0 else 10) for n in range(page, page + 100)])
            await asyncio.sleep(0.01)

    frame = FakeFrame(FakeExecutor(1, delay=0.02), buffer_size=150, buffer_bytes=2**20)
    report = await frame.run(Sunk(feed))
    assert (report.fed, report.delivered) == (2000, 2000)
    settled(frame)


async def test_a_record_that_is_tried_again_never_waits_for_what_waits_for_it() -> None:
    tried: set[int] = set()

    def once(record: tuple[int, bytes]) -> tuple[Any, bool]:
        if record[0] % 5 == 0 and record[0] not in tried:
            tried.add(record[0])
            raise ValueError(record[0])
        return record, True

    frame = FakeFrame(FakeExecutor(2, delay=0.001), buffer_size=50, buffer_bytes=3000)
    records = [(n, b"x" * 400) for n in range(60)]
    pipeline = Sunk(
        records, steps=(once,), order=lambda record: record[0] % 3, retry=Retry(3, backoff=0.05, jitter=False)
    )
    report = await asyncio.wait_for(frame.run(pipeline), 1000)
    assert (report.delivered, report.retried) == (60, 12)


async def test_failures_that_dead_letter_has_taken_are_not_kept() -> None:
    def bad(record: int) -> Any:
        raise ValueError(record)

    taken: list[Any] = []

    async def dead_letter(failures: list[Any]) -> None:
        taken.extend(failure.record for failure in failures)

    frame = FakeFrame()
    await frame.run(Through(range(50), steps=(bad,), dead_letter=dead_letter))
    assert taken == [*range(50)]
    assert frame.made[-1].organs.collect.failures == []


async def test_no_record_is_in_the_repr_of_an_error() -> None:
    def declined(order: dict[str, str]) -> Any:
        raise ValueError("declined")

    with pytest.raises(PipelineFailed) as caught:
        await FakeFrame().run(Through([{"card": "4111-1111"}] * 9, steps=(declined,), max_failures=3))
    assert "4111" not in repr(caught.value) + str(caught.value) + repr(caught.value.failures)
    assert caught.value.failures[0].record == {"card": "4111-1111"}
