"""Signals of a run that owns the program: the first stops, every further one aborts, and what was before comes back."""

from __future__ import annotations

import asyncio
import signal
from typing import Any

import pytest

from pipeframe_async._engine.signals import HANDLED, handled_signals

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="loops of Windows handle no signals")


class Told:
    """What was called, and an event for each call."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self._came = asyncio.Event()

    def stop(self) -> None:
        self.calls.append("stop")
        self._came.set()

    def abort(self) -> None:
        self.calls.append("abort")
        self._came.set()

    async def after(self, number: signal.Signals) -> None:
        """Raise a signal and wait until it was told."""
        self._came.clear()
        signal.raise_signal(number)
        async with asyncio.timeout(10):
            await self._came.wait()


@pytest.mark.parametrize("number", HANDLED)
async def test_the_first_stops_and_every_further_one_aborts(number: signal.Signals) -> None:
    told = Told()
    with handled_signals(told.stop, told.abort):
        for _ in range(3):
            await told.after(number)
    assert told.calls == ["stop", "abort", "abort"]


async def test_the_second_may_be_another_than_the_first() -> None:
    told = Told()
    with handled_signals(told.stop, told.abort):
        await told.after(signal.SIGTERM)
        await told.after(signal.SIGINT)
    assert told.calls == ["stop", "abort"]


async def test_what_was_installed_before_comes_back_also_after_an_error() -> None:
    def mine(*_: Any) -> None: ...

    before = {number: signal.signal(number, mine) for number in HANDLED}
    try:
        with pytest.raises(LookupError), handled_signals(lambda: None, lambda: None):
            raise LookupError
        assert [signal.getsignal(number) for number in HANDLED] == [mine, mine]
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


async def test_in_another_thread_nothing_is_installed() -> None:
    before = [signal.getsignal(number) for number in HANDLED]

    async def elsewhere() -> None:
        with handled_signals(lambda: None, lambda: None):
            assert [signal.getsignal(number) for number in HANDLED] == before

    await asyncio.to_thread(lambda: asyncio.run(elsewhere()))
