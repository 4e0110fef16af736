"""Acks wait for a sink whose results are there only when it has been closed, and the feed is still open for them."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipeframe_async import Delivery, FeedError, PipelineEngine, SinkError
from pipeframe_async.feeds.queue import Message
from pipeframe_async.sinks import JsonLines
from tests.engine.harness import FakeFrame, now, settled


class Queue:
    """Deliveries of an object that is opened; what happens is told."""

    def __init__(self, told: list[str], records: int = 3, error: Exception | None = None) -> None:
        self._told, self._records, self._error = told, records, error

    async def __aenter__(self) -> None:
        self._told.append("open")

    async def __aexit__(self, *error: object) -> None:
        self._told.append("closed")

    async def __aiter__(self) -> AsyncIterator[Delivery[int]]:
        for number in range(self._records):
            yield Delivery(number, number, partial(self._ack, number), partial(self._nack, number))
        if self._error is not None:
            raise self._error

    async def _ack(self, number: int) -> None:
        await asyncio.sleep(0)
        self._told.append(f"ack {number}")

    def _nack(self, number: int, failure: object) -> None:
        self._told.append(f"nack {number}")


class Place:
    """A sink whose results are there at the end."""

    def __init__(self, told: list[str], *, whole: bool = True, error: Exception | None = None) -> None:
        self.whole, self._told, self._error = whole, told, error

    async def __aenter__(self) -> None:
        """It is."""

    async def __aexit__(self, kind: object, error: object, traceback: object) -> None:
        self._told.append("there" if kind is None else "not there")
        if self._error is not None:
            raise self._error

    async def write(self, records: list[int]) -> None:
        self._told.append("written")


def passed(record: int) -> tuple[int, bool]:
    return record, True


class Through(PipelineEngine[int, int]):
    """From one end to the other."""

    steps: Any = (passed,)

    def __init__(self, feed: Any, sink: Any, **knobs: Any) -> None:
        self.feed, self.sink = feed, sink
        for name, value in knobs.items():
            setattr(self, name, value)


@pytest.mark.virtual_clock
async def test_acks_wait_until_the_sink_has_been_closed() -> None:
    told: list[str] = []
    frame = FakeFrame(buffer_size=2)  # fewer than there are: they hold no place
    await frame.run(Through(Queue(told), Place(told)))
    settled(frame)
    assert [one for one in told if one != "written"] == ["open", "there", "ack 0", "ack 1", "ack 2", "closed"]


@pytest.mark.virtual_clock
async def test_a_sink_that_keeps_what_it_gets_has_them_acked_at_once() -> None:
    told: list[str] = []
    await FakeFrame().run(Through(Queue(told), Place(told, whole=False)))
    assert told.index("ack 2") < told.index("there")


@pytest.mark.virtual_clock
async def test_after_an_error_they_are_nacks() -> None:
    told: list[str] = []
    with pytest.raises(FeedError):
        await FakeFrame().run(Through(Queue(told, error=OSError("broken")), Place(told), source="stream"))
    assert [one for one in told if one != "written"] == ["open", "not there", "nack 0", "nack 1", "nack 2", "closed"]


@pytest.mark.virtual_clock
async def test_so_they_are_where_closing_the_sink_has_failed() -> None:
    told: list[str] = []
    with pytest.raises(SinkError):
        await FakeFrame().run(Through(Queue(told), Place(told, error=OSError("disk full"))))
    assert told[-4:] == ["nack 0", "nack 1", "nack 2", "closed"]


@pytest.mark.virtual_clock
async def test_a_dead_letter_like_that_is_waited_for_too() -> None:
    told: list[str] = []

    def fails(record: int) -> tuple[int, bool]:
        raise ValueError("no")

    await FakeFrame().run(Through(Queue(told), None, steps=(fails,), dead_letter=Place(told)))
    assert [one for one in told if one != "written"] == ["open", "there", "ack 0", "ack 1", "ack 2", "closed"]


class Thing:
    """A record that can be looked for."""


@pytest.mark.virtual_clock
@pytest.mark.parametrize("kind", ["of the user's", "of a queue of ours"])
async def test_records_are_not_in_memory_until_then(kind: str) -> None:
    seen: list[weakref.ref[Thing]] = []
    alive: list[int] = []
    acked: list[int] = []

    class Things(Queue):
        async def __aiter__(self) -> AsyncIterator[Delivery[Any]]:
            for number in range(500):
                seen.append(weakref.ref(thing := Thing()))
                if kind == "of the user's":
                    yield Delivery(thing, ack=partial(acked.append, number))
                else:
                    message = Message(number, number, thing, 1)
                    message.fetched(SimpleNamespace(ack=acked.append, crowd=lambda: None), None)
                    yield message
                    del message

    class Looks(Place):
        async def __aexit__(self, kind: object, error: object, traceback: object) -> None:
            gc.collect()
            alive.append(sum(one() is not None for one in seen))

    async def counted(record: Thing) -> tuple[int, bool]:
        return 1, True

    await FakeFrame(buffer_size=20).run(Through(Things([]), Looks([]), steps=(counted,), source="stream"))
    assert (len(seen), acked) == (500, [*range(500)])
    assert alive[0] <= 20


class Late(Queue):
    """Takes a second for each ack, or does not take it at all."""

    stuck = False

    async def _ack(self, number: int) -> None:
        await (asyncio.Event().wait() if self.stuck else asyncio.sleep(1.0))
        self._told.append(f"ack {number}")


class Stuck(Late):
    stuck = True


@pytest.mark.virtual_clock
async def test_so_many_acks_as_there_are_have_the_time_they_need() -> None:
    told: list[str] = []
    report = await FakeFrame(drain_timeout=20.0).run(Through(Late(told, 10_000), Place(told)))
    assert report.ack_errors == 0
    assert len({one for one in told if one.startswith("ack")}) == 10_000


@pytest.mark.virtual_clock
async def test_a_source_that_takes_none_of_them_holds_up_an_end_once() -> None:
    told: list[str] = []
    began = now()
    report = await FakeFrame(drain_timeout=20.0).run(Through(Stuck(told, 10_000), Place(told)))
    assert (report.ack_errors, told[-1]) == (10_000, "closed")
    assert now() - began < 30


@pytest.mark.virtual_clock
async def test_a_cancel_meanwhile_leaves_them_so_much_time_and_is_passed_on() -> None:
    told: list[str] = []
    frame = FakeFrame(drain_timeout=40.0)
    run = asyncio.ensure_future(frame.run(Through(Late(told, 10_000), Place(told))))
    while "ack 10" not in told:
        await asyncio.sleep(0.1)
    began = now()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    settled(frame)
    assert 1_000 < len(told) < 10_000
    assert told[-1] == "closed"
    assert 40 <= now() - began < 80


class Marked(Through):
    """Is told how far all is final."""

    def __init__(self, *args: Any, **knobs: Any) -> None:
        super().__init__(*args, **knobs)
        self.marks: list[int] = []

    async def on_progress(self, watermark: int) -> None:
        self.marks.append(watermark)
        self.feed._told.append(f"told {watermark}")


@pytest.mark.virtual_clock
async def test_the_watermark_follows_the_acks() -> None:
    told: list[str] = []
    await FakeFrame().run(Marked(Queue(told, 100), Place(told)))
    assert told[-3:] == ["ack 99", "told 100", "closed"]
    early = Marked(Queue(told), Place(told, whole=False))
    await FakeFrame().run(early)
    assert told.index("told 3") < len(told) - 2


@pytest.mark.virtual_clock
@pytest.mark.parametrize("how", ["the sink cannot be closed", "the feed breaks"])
async def test_it_is_not_told_where_there_are_nacks(how: str) -> None:
    told: list[str] = []
    error = OSError(how)
    feed, sink = Queue(told, 100), Place(told)
    if how == "the feed breaks":
        feed = Queue(told, 100, error)
    else:
        sink = Place(told, error=error)
    pipeline = Marked(feed, sink, source="stream")
    with pytest.raises((FeedError, SinkError)):
        await FakeFrame().run(pipeline)
    assert pipeline.marks == []


@pytest.mark.virtual_clock
async def test_a_hook_that_hangs_holds_up_an_end_for_so_long() -> None:
    class Hangs(Through):
        async def on_progress(self, watermark: int) -> None:
            await asyncio.Event().wait()

    told: list[str] = []
    report = await FakeFrame(drain_timeout=5.0).run(Hangs(Queue(told), Place(told)))
    assert (report.ack_errors, told[-1]) == (1, "closed")


@pytest.mark.parametrize("append", [False, True])
def test_a_file_is_like_that_unless_it_is_appended_to(tmp_path: Path, append: bool) -> None:
    assert JsonLines(tmp_path / "out.jsonl", append=append).whole is not append
    assert not JsonLines("-").whole
    assert not JsonLines("/dev/null").whole
