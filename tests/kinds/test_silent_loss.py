"""Nothing is lost without a word: by a timer that is late, a wait that is cancelled, a type that is subclassed."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import pytest

from pipeframe_async import Chunk, Delivery
from pipeframe_async._engine.feeding.idle import IdleTimer
from pipeframe_async.testing import FakeExecutor
from tests.engine.harness import FakeFrame, Sunk, Through, settled

virtual = pytest.mark.virtual_clock


class Late(IdleTimer):
    """Its timer comes so many seconds late, as on a loop that was kept."""

    def __init__(self, late: float, **args: Any) -> None:
        super().__init__(**args)
        self._late = late

    def _arm(self, delay: float) -> None:
        super()._arm(delay)
        assert self._handle is not None
        self._handle.cancel()
        self._handle = asyncio.get_running_loop().call_at(self._due + self._late, self._look)
        self._late = 0.0


@virtual
@pytest.mark.parametrize(("late", "dries_at"), [(0.0, 2.0), (0.004, 2.004), (1.5, 5.5), (60.0, 64.0)])
async def test_an_idle_timer_that_comes_late_counts_anew(late: float, dries_at: float) -> None:
    loop = asyncio.get_running_loop()
    dried: list[float] = []
    timer = Late(late, timeout=2.0, count=lambda: 0, dried=lambda: dried.append(loop.time()))
    timer.start()
    await asyncio.sleep(300)
    assert dried == [pytest.approx(dries_at, abs=0.01)]


@virtual
async def test_a_timeout_on_one_result_loses_none() -> None:
    frame = FakeFrame(FakeExecutor(1, delay=0.03))
    got: list[int] = []
    async with frame.stream(Through(range(20), batch_size=1)) as results:
        iterator = aiter(results)
        while True:
            try:
                async with asyncio.timeout(0.01):
                    got.append(await anext(iterator))
            except TimeoutError:
                continue
            except StopAsyncIteration:
                break
    assert got == [*range(20)]
    assert settled(frame).ended_by == "exhausted"


class Message(Delivery[int]):
    """A client's own."""


class Page(Chunk[Any]):
    """A client's own."""


@virtual
async def test_subclasses_of_deliveries_and_chunks_are_deliveries_and_chunks() -> None:
    acked: list[int] = []
    first, last = (Message(n, ack=partial(acked.append, n)) for n in (1, 2))
    feed = [Page([0, first]), last, 3]

    async def yields() -> Any:
        for one in feed:
            yield one

    for form in (feed, yields):
        acked.clear()
        pipeline = Sunk(form)
        await FakeFrame().run(pipeline)
        assert (pipeline.taken, acked) == ([0, 1, 2, 3], [1, 2])
