"""What live sources have in common, on a queue in memory: every way to an end, and none that waits for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytest

from pipeframe_async import FeedError, PipeFrame, PipelineEngine, SinkError
from pipeframe_async.feeds.live import Live
from pipeframe_async.feeds.queue import Message, Nack, Queue
from pipeframe_async.model import Delivery
from pipeframe_async.servers.reach import Reach


class Memory(Queue[int]):
    """So many messages, of a server that can be away, break, and keep a call for ever."""

    def __init__(self, messages: int = 100) -> None:
        self.left = [*range(messages)]
        self.away = asyncio.Event()
        self.acked: list[int] = []
        self.back: list[int] = []
        self.opened = 0
        self.errors: dict[str, BaseException] = {}
        self.calls: list[str] = []

    async def _call(self, name: str) -> None:
        self.calls.append(name)
        if (error := self.errors.get(name)) is not None:
            raise error
        if self.away.is_set():
            raise ConnectionError("away")

    async def open(self) -> None:
        await self._call("open")
        self.opened += 1

    async def fetch(self, most: int, known: Callable[[int], bool]) -> Sequence[Message[int]]:
        await self._call("fetch")
        if not self.left:
            await asyncio.sleep(0.01)
        came, self.left[:] = self.left[:most], self.left[most:]
        return [Message(number, number, number, 1) for number in came]

    async def answer(self, acks: Sequence[int], nacks: Sequence[Nack[int]]) -> None:
        await self._call("answer")
        self.acked += acks
        self.back += [nack.token for nack in nacks]

    async def extend(self, tokens: Sequence[int]) -> Iterable[int]:
        await self._call("extend")
        return ()

    async def lag(self) -> int | None:
        await self._call("lag")
        return len(self.left)

    async def close(self, known: Callable[[int], bool]) -> None:
        await self._call("close")


def live(queue: Memory, **options: Any) -> Live[int]:
    """A source of it."""
    reach = Reach("the queue", lambda error: isinstance(error, ConnectionError), extra="redis")
    given = {"lease": 60.0, "max_deliveries": 5, "timeout": 0.2, **options}
    return Live(queue, reach, name="Memory('q')", **given)


async def test_a_stop_ends_a_take_that_waits_for_answers_of_a_server_that_is_away() -> None:
    queue = Memory()
    source = live(queue)
    async with source:
        for delivery in await source.take(5) or ():
            assert delivery.ack is not None
            delivery.ack()
        queue.away.set()
        taking = asyncio.ensure_future(source.take(5))  # all five are handed out, until their acks are sent
        await asyncio.sleep(0.05)
        assert not taking.done()
        source.stop()
        async with asyncio.timeout(1):
            assert await taking is None
        queue.away.clear()


async def test_an_error_names_the_source() -> None:
    queue = Memory(0)
    source = live(queue)
    with pytest.raises(FeedError, match=r"Memory\('q'\): ValueError: no such queue"):
        async with source:
            queue.errors["fetch"] = ValueError("no such queue")
            await source.take(5)


async def test_a_client_that_cancels_itself_ends_the_source_instead_of_leaving_it_waiting() -> None:
    queue = Memory(0)
    source = live(queue)
    with pytest.raises(FeedError, match="CancelledError"):
        async with source, asyncio.timeout(2):
            queue.errors["fetch"] = asyncio.CancelledError()
            await source.take(5)


async def test_a_source_that_could_not_be_opened_after_a_stop_is_another_run_s() -> None:
    queue = Memory(3)
    source = live(queue)
    queue.away.set()
    source.stop()
    with pytest.raises(ConnectionError, match="away"):
        await source.__aenter__()
    queue.away.clear()
    async with source:
        assert len(await source.take(5) or ()) == 3


async def test_a_source_whose_last_answers_failed_is_another_run_s() -> None:
    queue = Memory(3)
    source = live(queue)
    with pytest.raises(FeedError, match="no permission"):
        async with source:
            queue.errors["answer"] = ValueError("no permission")
            for delivery in await source.take(1) or ():
                assert delivery.ack is not None
                delivery.ack()
    queue.errors.clear()
    async with source:
        assert len(await source.take(5) or ()) == 2


async def test_a_stop_before_it_is_opened_is_a_source_without_records_once() -> None:
    source = live(Memory(3))
    source.stop()
    async with source:
        assert await source.take(5) is None
    async with source:
        assert len(await source.take(5) or ()) == 3


async def test_closing_that_is_cancelled_leaves_no_task_behind() -> None:
    queue = Memory()
    source = live(queue)
    await source.__aenter__()
    for delivery in await source.take(5) or ():
        assert delivery.ack is not None
        delivery.ack()
    queue.away.set()
    closing = asyncio.ensure_future(source.__aexit__(None, None, None))
    await asyncio.sleep(0)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("pipeframe-")]


async def test_leases_are_extended_whatever_else_the_server_is_asked() -> None:
    queue = Memory(1)

    async def slow() -> int | None:
        await asyncio.sleep(0.2)
        return None

    queue.lag = slow  # type: ignore[method-assign]
    async with live(queue, lease=0.3) as source:
        await source.take(1)
        await asyncio.sleep(0.45)
        assert queue.calls.count("extend") >= 1


@pytest.mark.parametrize("kept", [True, False])
async def test_answers_of_a_whole_run_have_the_time_they_need(kept: bool) -> None:
    class Slow(Memory):
        async def answer(self, acks: Sequence[int], nacks: Sequence[Nack[int]]) -> None:
            await asyncio.sleep(0.05)
            await super().answer(acks, nacks)

    class Place:
        whole = True

        async def __aenter__(self) -> None: ...

        async def __aexit__(self, *error: object) -> None:
            if not kept:
                raise OSError("no room")

        async def write(self, records: list[int]) -> None: ...

    async def passed(record: int) -> tuple[int, bool]:
        return record, True

    queue = Slow(10_000)
    pipeline = type("P", (PipelineEngine,), {"steps": [passed], "feed": live(queue), "sink": Place(), "timeout": 0.2})
    running = PipeFrame(executor="inline", drain_timeout=0.5).run(pipeline)
    if kept:
        assert (await running).ack_errors == 0
    else:
        with pytest.raises(SinkError, match="no room"):
            await running
    assert sorted(queue.acked if kept else queue.back) == [*range(10_000)]


async def test_many_leases_are_extended_some_at_a_time() -> None:
    asked: list[int] = []

    class Many(Memory):
        async def extend(self, tokens: Sequence[int]) -> Iterable[int]:
            asked.append(len(tokens))
            return ()

    async with live(Many(2_500), lease=0.3) as source:
        taken = 0
        while taken < 2_500:
            taken += len(await source.take(2_500) or ())
        async with asyncio.timeout(10):
            while sum(asked) < 2_500:
                await asyncio.sleep(0.01)
    assert max(asked) <= 1_000


async def test_what_was_fetched_and_not_taken_is_handed_back() -> None:
    queue = Memory()
    async with live(queue) as source:
        taking = asyncio.ensure_future(source.take(5))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        taking.cancel()
        await asyncio.sleep(0.01)
    assert sorted(queue.left + queue.back) == list(range(100))


def test_a_message_has_all_that_a_delivery_has() -> None:
    message = Message("1-0", "1-0", b"record", 1)
    for name in Delivery.__dataclass_fields__:
        getattr(message, name)
