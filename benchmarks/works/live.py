"""A live stream and the clock on it: records come at their times, and what comes back is timed against those.

The open loop: a record counts from when it was due, so that who is slow cannot put off what is next.
"""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks.works.live_source import NUMBER, TIME

LEAD = 0.02
"""Seconds between the first pull of the feed and the first record: the source must have heard of it."""


class Live:
    """Numbers from a process of their own, at a steady rate; taken from a loop or in a thread.

    Args:
        count: how many.
        rate: a second.
    """

    def __init__(self, count: int, rate: float) -> None:
        self.count, self.interval = count, 1 / rate
        self.first = 0.0
        self.came = [0.0] * count
        self.times = 0
        self._here, self._there = socket.socketpair()

    def __enter__(self) -> Self:
        script = Path(__file__).with_name("live_source.py")
        there = self._there.fileno()
        command = [sys.executable, "-I", "-S", str(script), str(there), str(self.interval), str(self.count)]
        self._source = subprocess.Popen(command, pass_fds=[there])
        self._there.close()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._here.close()
        if error is not None:
            self._source.kill()
        self._source.wait()

    async def arrivals(self) -> AsyncIterator[int]:
        """Records on the loop, as they come."""
        loop = asyncio.get_running_loop()
        self._here.setblocking(False)
        self._begin()
        rest = b""
        while come := await loop.sock_recv(self._here, 4096):
            rest += come
            whole = len(rest) - len(rest) % NUMBER.size
            for (number,) in NUMBER.iter_unpack(rest[:whole]):
                yield number
            rest = rest[whole:]

    def blocking(self) -> Iterator[int]:
        """Records in a thread, as they come."""
        self._begin()
        with self._here.makefile("rb") as file:
            while come := file.read(NUMBER.size):
                yield NUMBER.unpack(come)[0]

    def back(self, number: int) -> None:
        """A record's result is back in this process."""
        self.came[number] = time.monotonic()
        self.times += 1

    def delays(self, warm_up: int) -> list[float]:
        """Seconds from due to back, without the first records.

        Raises:
            RuntimeError: a record did not come back, or came twice.
        """
        if self.times != self.count or not all(self.came):
            raise RuntimeError(
                f"of {self.count} records {self.count - self.came.count(0.0)} are back, {self.times} times"
            )
        due = self.first
        return [back - (due + number * self.interval) for number, back in enumerate(self.came)][warm_up:]

    def _begin(self) -> None:
        self.first = time.monotonic() + LEAD
        self._here.send(TIME.pack(self.first))
