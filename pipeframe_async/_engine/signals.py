"""SIGINT and SIGTERM for runs that own the program: the first stops them in good order, a second one aborts them.

Only where asked for, only in the main thread. All runs of a loop share one handler, which comes with the first of them
and puts back with the last what was there before. Two signals within a moment are one wish: `timeout` and supervisors
signal a child and then its group.

The loop is told, and does what is to be done. Beside it a handler of Python's sees whether it is: on a loop that is
blocked no signal would ever do anything, so a Ctrl-C that finds an earlier one unheard raises KeyboardInterrupt there.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType
from typing import Any
from weakref import WeakKeyDictionary

logger = logging.getLogger("pipeframe_async")

HANDLED = (signal.SIGINT, signal.SIGTERM)
MOMENT = 0.2
"""Seconds in which signals are one wish. Shorter takes a supervisor's pair for two, longer ignores who hurries."""


@dataclass(frozen=True, slots=True, eq=False)
class Owner:
    """A run: `stop` it in good order, or `abort` it; `left`: how many records it has, and how long those may take."""

    stop: Callable[[], None]
    abort: Callable[[], None]
    left: Callable[[], tuple[int, float]] = lambda: (0, 0.0)


class _Handling:
    """The handler of one loop, for as long as there are owners."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._owners: dict[Owner, float | None] = {}  # when each was told to stop
        self._before = {number: signal.getsignal(number) for number in HANDLED}
        self._unheard: float | None = None  # since when the loop has one it has not taken up
        for number in HANDLED:
            loop.add_signal_handler(number, self._heard, number)  # has the loop woken, whatever the handler is
            signal.signal(number, self._seen)

    def enter(self, owner: Owner) -> None:
        self._owners[owner] = None

    def leave(self, owner: Owner) -> bool:
        """One less; True where it was the last: then all is as it was before."""
        del self._owners[owner]
        if self._owners:
            return False
        for number, handler in self._before.items():
            with suppress(RuntimeError):  # the loop is closed, and has let go of them itself
                self._loop.remove_signal_handler(number)
            if handler is not None:
                signal.signal(number, handler)
        return True

    def _seen(self, number: int, frame: FrameType | None) -> Any:
        """In the main thread, between two steps of whatever runs there; not in the loop's turn."""
        now = time.monotonic()
        if self._unheard is None:
            self._unheard = now
        elif number == signal.SIGINT and now - self._unheard > MOMENT:
            raise KeyboardInterrupt

    def _heard(self, number: int) -> None:
        """On the loop."""
        self._unheard = None
        now, first = time.monotonic(), all(told is None for told in self._owners.values())
        for owner, told in [*self._owners.items()]:
            if told is None:
                self._owners[owner] = now
                owner.stop()
            elif now - told > MOMENT:
                owner.abort()
        if first and self._owners:
            records, seconds = zip(*(owner.left() for owner in self._owners), strict=True)
            _say(sum(records), max(seconds), aloud=number == signal.SIGINT)


def _say(records: int, seconds: float, *, aloud: bool) -> None:
    """Who has pressed Ctrl-C sees at once what happens; whoever has sent a signal finds it in the log."""
    flying = f"{records:,} record{'' if records == 1 else 's'} in flight, at most {seconds:g} s"
    logger.info("stopping: %s", flying)
    with suppress(OSError, ValueError, AttributeError):  # there is no terminal
        if aloud and sys.stderr.isatty():
            sys.stderr.write(f"\nstopping: {flying}; again to abort\n")
            sys.stderr.flush()


_handling: WeakKeyDictionary[asyncio.AbstractEventLoop, _Handling] = WeakKeyDictionary()


@contextmanager
def handled_signals(owner: Owner) -> Iterator[None]:
    """Handle the signals for this run while the block lasts."""
    loop = asyncio.get_running_loop()
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    if (handling := _handling.get(loop)) is None:
        try:
            handling = _handling[loop] = _Handling(loop)
        except NotImplementedError:  # Windows loops cannot; there Ctrl-C is a KeyboardInterrupt as ever
            yield
            return
    handling.enter(owner)
    try:
        yield
    finally:
        if handling.leave(owner):
            del _handling[loop]
