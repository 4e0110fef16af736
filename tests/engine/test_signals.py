"""Signals of a run that owns the program: the first stops, every further one aborts, and what was before comes back."""

from __future__ import annotations

import asyncio
import io
import logging
import signal
import sys
from contextlib import ExitStack
from typing import Any, cast

import pytest

from pipeframe_async._engine import signals
from pipeframe_async._engine.signals import HANDLED, Owner, handled_signals

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="loops of Windows handle no signals")


@pytest.fixture
def in_no_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """However soon they come, two signals are two wishes."""
    monkeypatch.setattr(signals, "MOMENT", 0.0)


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


@pytest.mark.usefixtures("in_no_moment")
@pytest.mark.parametrize("number", HANDLED)
async def test_the_first_stops_and_every_further_one_aborts(number: signal.Signals) -> None:
    told = Told()
    with handled_signals(Owner(told.stop, told.abort)):
        for _ in range(3):
            await told.after(number)
    assert told.calls == ["stop", "abort", "abort"]


@pytest.mark.parametrize(
    ("number", "left", "said"),
    [
        (
            signal.SIGINT,
            [(2_000, 30.0), (500, 5.0)],
            "stopping: 2,500 records in flight, at most 30 s; again to abort\n",
        ),
        (signal.SIGINT, [(1, 0.5)], "stopping: 1 record in flight, at most 0.5 s; again to abort\n"),
        (signal.SIGTERM, [(1, 0.5)], ""),
    ],
)
async def test_a_ctrl_c_says_at_once_what_happens_and_a_signal_is_logged(
    number: signal.Signals,
    left: list[tuple[int, float]],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stderr", Terminal())
    caplog.set_level(logging.INFO, "pipeframe_async")
    told = Told()
    with ExitStack() as runs:
        for flying in left:
            runs.enter_context(handled_signals(Owner(told.stop, told.abort, lambda flying=flying: flying)))  # type: ignore[misc]
        await told.after(number)
        assert cast(Terminal, sys.stderr).getvalue().removeprefix("\n") == said
    assert "in flight, at most" in caplog.text


async def test_two_within_a_moment_are_one_wish() -> None:
    told = Told()
    with handled_signals(Owner(told.stop, told.abort)):
        await told.after(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert told.calls == ["stop"]


@pytest.mark.usefixtures("in_no_moment")
async def test_all_runs_of_a_loop_are_told_and_the_last_puts_back_what_was_before() -> None:
    before = [signal.getsignal(number) for number in HANDLED]
    first, second = Told(), Told()
    one, other = handled_signals(Owner(first.stop, first.abort)), handled_signals(Owner(second.stop, second.abort))
    one.__enter__()
    other.__enter__()
    await second.after(signal.SIGTERM)
    assert (first.calls, second.calls) == (["stop"], ["stop"])
    one.__exit__(None, None, None)
    await second.after(signal.SIGTERM)
    assert (first.calls, second.calls) == (["stop"], ["stop", "abort"])
    other.__exit__(None, None, None)
    assert [signal.getsignal(number) for number in HANDLED] == before


@pytest.mark.usefixtures("in_no_moment")
async def test_a_ctrl_c_that_finds_an_earlier_one_unheard_interrupts_whatever_blocks_the_loop() -> None:
    told = Told()
    with handled_signals(Owner(told.stop, told.abort)):
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        assert told.calls == []


@pytest.mark.usefixtures("in_no_moment")
async def test_the_second_may_be_another_than_the_first() -> None:
    told = Told()
    with handled_signals(Owner(told.stop, told.abort)):
        await told.after(signal.SIGTERM)
        await told.after(signal.SIGINT)
    assert told.calls == ["stop", "abort"]


async def test_what_was_installed_before_comes_back_also_after_an_error() -> None:
    def mine(*_: Any) -> None: ...

    before = {number: signal.signal(number, mine) for number in HANDLED}
    try:
        with pytest.raises(LookupError), handled_signals(Owner(lambda: None, lambda: None)):
            raise LookupError
        assert [signal.getsignal(number) for number in HANDLED] == [mine, mine]
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


async def test_in_another_thread_nothing_is_installed() -> None:
    before = [signal.getsignal(number) for number in HANDLED]

    async def elsewhere() -> None:
        with handled_signals(Owner(lambda: None, lambda: None)):
            assert [signal.getsignal(number) for number in HANDLED] == before

    await asyncio.to_thread(lambda: asyncio.run(elsewhere()))
