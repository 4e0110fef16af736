"""`Push`: what a program hands over itself, how it waits for room, and what it is told."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from pipeframe_async import DROP, ConfigError, PipeFrame, PipelineEngine, StateError, StepError
from pipeframe_async.feeds import Push


def work(record: Any) -> Any:
    match record:
        case "drop":
            return DROP
        case "raise":
            raise KeyError(record)
        case "many":
            return children(3)
    return f"{record}!", True


def children(count: int) -> Iterator[tuple[int, bool]]:
    for number in range(count):
        yield number, True


class Pushed(PipelineEngine[Any, Any]):
    steps: Any = (work,)

    def __init__(self, size: int = 1_000) -> None:
        self.feed = Push[Any](size)


class Sunk(Pushed):
    def __init__(self, size: int = 1_000) -> None:
        super().__init__(size)
        self.taken: list[Any] = []
        self.open = asyncio.Event()
        self.open.set()

    async def sink(self, records: list[Any]) -> None:
        await self.open.wait()
        self.taken += records


class Encoded:
    """A sink of bytes."""

    @staticmethod
    def encode(record: Any) -> bytes:
        return str(record).encode()

    async def write(self, records: list[bytes]) -> None: ...


WHERE = pytest.mark.parametrize("executor", ["inline", "threads", "processes"])


@WHERE
@pytest.mark.parametrize("kind", [Pushed, Sunk])
async def test_whoever_waits_is_told_what_the_record_came_to(executor: str, kind: type[Pushed]) -> None:
    pipeline = kind()
    running = asyncio.ensure_future(PipeFrame(cpu_count=1, executor=executor).run(pipeline))
    push = pipeline.feed
    assert await push.put("a", wait=True) == "a!"
    assert await push.put("drop", wait=True) is DROP
    assert await push.put("many", wait=True) == [0, 1, 2]
    assert await push.put("not waited for") is None
    with pytest.raises(StepError, match="step 'work' raised KeyError") as caught:
        await push.put("raise", wait=True)
    assert isinstance(caught.value.__cause__, KeyError)
    assert caught.value.failure is not None
    push.close()
    report = await running
    assert (report.fed, report.failed, report.ended_by) == (5, 1, "exhausted")


async def test_many_wait_at_once_and_each_has_its_own() -> None:
    pipeline = Sunk()
    running = asyncio.ensure_future(PipeFrame(executor="inline").run(pipeline))
    told = await asyncio.gather(*(pipeline.feed.put(number, wait=True) for number in range(3_000)))
    assert told == [f"{number}!" for number in range(3_000)]
    pipeline.feed.close()
    assert (await running).delivered == 3_000


async def test_what_is_told_is_what_the_sink_gets() -> None:
    pipeline = Pushed()
    pipeline.sink = Encoded()  # type: ignore[attr-defined]
    running = asyncio.ensure_future(PipeFrame(executor="inline").run(pipeline))
    assert await pipeline.feed.put("a", wait=True) == b"a!"
    pipeline.feed.close()
    await running


async def test_the_children_of_a_long_fan_out_are_told_together() -> None:
    class Long(Sunk):
        steps = (children,)

    pipeline = Long()
    running = asyncio.ensure_future(PipeFrame(executor="inline", buffer_size=100).run(pipeline))
    assert await pipeline.feed.put(5_000, wait=True) == [*range(5_000)]
    pipeline.feed.close()
    assert (await running).delivered == 5_000


async def test_put_waits_while_there_is_no_room_and_try_put_says_so() -> None:
    pipeline = Sunk(size=2)
    push = pipeline.feed
    assert push.try_put(0)
    assert push.try_put(1)
    assert not push.try_put(2)
    putting = [asyncio.ensure_future(push.put(number)) for number in (2, 3, 4)]
    await asyncio.sleep(0)
    assert not any(one.done() for one in putting)
    running = asyncio.ensure_future(PipeFrame(executor="inline").run(pipeline))
    await asyncio.gather(*putting)
    push.close()
    await running
    assert sorted(pipeline.taken) == [f"{number}!" for number in range(5)]


async def test_a_slow_sink_holds_back_those_who_put() -> None:
    pipeline = Sunk(size=3)
    pipeline.open.clear()
    running = asyncio.ensure_future(PipeFrame(executor="inline", buffer_size=4).run(pipeline))
    put = 0

    async def producer() -> None:
        nonlocal put
        for number in range(100):
            await pipeline.feed.put(number)
            put += 1

    producing = asyncio.ensure_future(producer())
    while True:
        before = put
        await asyncio.sleep(0.05)
        if put == before:
            break
    assert put <= 4 + 2 * 3  # the run's, those on their way to it, and those that wait here
    pipeline.open.set()
    await producing
    pipeline.feed.close()
    assert (await running).delivered == 100


async def test_whoever_gives_up_waiting_for_room_hands_nothing_over_and_takes_nobodys_turn() -> None:
    pipeline = Sunk(size=1)
    push = pipeline.feed
    await push.put("first")
    putting = [asyncio.ensure_future(push.put(name)) for name in ("gone", "second", "third")]
    await asyncio.sleep(0)
    putting[0].cancel()
    running = asyncio.ensure_future(PipeFrame(executor="inline").run(pipeline))
    await asyncio.gather(*putting[1:])
    push.close()
    await running
    assert pipeline.taken == ["first!", "second!", "third!"]


async def test_a_record_that_is_not_waited_for_any_more_is_worked_on() -> None:
    pipeline = Sunk()
    pipeline.open.clear()
    running = asyncio.ensure_future(PipeFrame(executor="inline").run(pipeline))
    waiting = asyncio.ensure_future(pipeline.feed.put("a", wait=True))
    await asyncio.sleep(0.05)
    waiting.cancel()
    pipeline.open.set()
    pipeline.feed.close()
    await running
    assert pipeline.taken == ["a!"]


async def test_a_closed_push_takes_no_more_and_refuses_those_who_wait_for_room() -> None:
    push = Push[int](1)
    await push.put(0)
    waiting = asyncio.ensure_future(push.put(1))
    await asyncio.sleep(0)
    push.close()
    with pytest.raises(StateError, match="the Push was closed"):
        await waiting
    with pytest.raises(StateError, match="the Push is closed"):
        await push.put(2)
    with pytest.raises(StateError, match="the Push is closed"):
        push.try_put(2)


async def test_whoever_waits_for_a_run_that_is_cancelled_is_told_so() -> None:
    pipeline = Sunk()
    pipeline.open.clear()
    running = asyncio.ensure_future(PipeFrame(executor="inline").run(pipeline))
    waiting = asyncio.ensure_future(pipeline.feed.put("a", wait=True))
    await asyncio.sleep(0.05)
    running.cancel()
    with pytest.raises(StateError, match="run"):
        await waiting
    with pytest.raises(asyncio.CancelledError):
        await running
    with pytest.raises(StateError, match="make another Push"):
        await pipeline.feed.put("b")
    with pytest.raises(Exception, match="make another Push"):
        await PipeFrame(executor="inline").run(pipeline)


async def test_a_stop_works_off_what_it_has_and_refuses_the_rest() -> None:
    pipeline, frame = Sunk(), PipeFrame(executor="inline")
    running = asyncio.ensure_future(frame.run(pipeline))
    assert await pipeline.feed.put("a", wait=True) == "a!"
    frame.stop()
    assert (await running).ended_by == "stopped"
    with pytest.raises(StateError, match="has ended"):
        await pipeline.feed.put("b")


@pytest.mark.parametrize("size", [0, -1, 1.5, True, "3"])
def test_a_wrong_size_is_refused(size: Any) -> None:
    with pytest.raises(ConfigError, match=r"Push\(size="):
        Push(size)


async def test_no_more_wait_than_size_says_and_nobody_overtakes_those_who_wait_for_room() -> None:
    push, order, most = Push[Any](2), list[Any](), 0

    async def puts(number: int) -> None:
        nonlocal most
        await push.put(number)
        most = max(most, len(push._waiting))

    waiting = [asyncio.create_task(puts(number)) for number in range(6)]
    await asyncio.sleep(0)
    async with push:
        async for chunk in push:
            order += [delivery.record for delivery in chunk.records]
            tried = push.try_put("overtakes")
            assert tried == (len(order) == 6)
            if tried:
                break
            await asyncio.sleep(0)
    await asyncio.gather(*waiting)
    assert (order, most) == ([*range(6)], 2)


async def test_a_place_of_one_that_is_cancelled_as_it_is_woken_is_anothers() -> None:
    push = Push[Any](1)
    await push.put(0)
    second, third = (asyncio.create_task(push.put(number)) for number in (1, 2))
    await asyncio.sleep(0)
    taken = aiter(push)
    await anext(taken)
    second.cancel()
    await asyncio.wait([second, third], timeout=1.0)
    assert (second.cancelled(), third.done(), len(push._waiting)) == (True, True, 1)
