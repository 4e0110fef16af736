"""A frame's exit waits for nobody who has left, and can be cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from pipeframe_async import PipeFrame
from pipeframe_async.testing import FakeExecutor
from tests.engine.harness import Sunk

pytestmark = pytest.mark.virtual_clock


async def endless() -> AsyncIterator[int]:
    number = 0
    while True:
        yield number
        number += 1
        await asyncio.sleep(0.01)


def a_stream() -> Sunk:
    return Sunk(endless, source="stream", timeout=None)


async def test_of_a_stream_that_was_broken_out_of_and_not_closed() -> None:
    async def results(frame: PipeFrame) -> AsyncIterator[int]:
        async with frame.stream(a_stream()) as stream:
            async for result in stream:
                yield result

    frame, loop = PipeFrame(executor=FakeExecutor(), drain_timeout=1000.0), asyncio.get_running_loop()
    async with frame:
        iterating = results(frame)
        async for result in iterating:
            assert result == 0
            break
        left = loop.time()
    assert loop.time() - left < 10
    await iterating.aclose()  # type: ignore[attr-defined]


async def test_of_a_stream_whose_task_has_ended() -> None:
    kept = []

    async def opens(frame: PipeFrame) -> None:
        stream = frame.stream(a_stream())
        kept.append(stream)
        await anext(aiter(await stream.__aenter__()))

    frame, loop = PipeFrame(executor=FakeExecutor(), drain_timeout=1000.0), asyncio.get_running_loop()
    async with frame:
        await asyncio.create_task(opens(frame))
        left = loop.time()
    assert loop.time() - left < 10
    await kept[0].__aexit__(None, None, None)


async def test_one_that_is_still_at_its_results_gets_them() -> None:
    got: list[int] = []

    async def consumes(frame: PipeFrame) -> None:
        async with frame.stream(a_stream()) as stream:
            async for result in stream:
                await asyncio.sleep(0.1)
                got.append(result)

    async with PipeFrame(executor=FakeExecutor(), drain_timeout=1000.0) as frame:
        consuming = asyncio.create_task(consumes(frame))
        await asyncio.sleep(1)
    await consuming
    assert len(got) > 50
    assert got == list(range(len(got)))


async def test_the_exit_can_be_cancelled() -> None:
    async def never(results: list[int]) -> None:
        await asyncio.sleep(1e6)

    loop = asyncio.get_running_loop()
    frame, pipeline = PipeFrame(executor=FakeExecutor(), drain_timeout=1000.0), a_stream()
    pipeline.sink = never  # type: ignore[method-assign,assignment]
    began = loop.time()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(10), frame:
            running = asyncio.create_task(frame.run(pipeline))
            await asyncio.sleep(1)
    assert loop.time() - began < 20
    running.cancel()
    await asyncio.wait([running])
