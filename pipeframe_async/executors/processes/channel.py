"""The parent's end of the talk with one worker: batches out, replies in, without a thread in between.

A pool's own queues cost two threads and 0.4 ms a batch, of which the parent pays most; this costs the loop a
write and a read. The pool still starts the worker, runs the session in it, and tells of its death.

Process: lives in the parent. It is made, handed over (`ends`, `given`), finished and closed in threads of the lane; all
else runs on the loop, between `given` and `close`.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections import deque
from collections.abc import Callable
from concurrent.futures import BrokenExecutor
from contextlib import suppress
from typing import Any

from pipeframe_async._worker.bootstrap import Ends, SharedFile
from pipeframe_async._worker.channel import NO_REGION, NO_SIGNAL, Inbox, Region, Unread, light, pieces
from pipeframe_async._worker.forwarding import Chunk
from pipeframe_async._worker.session import LOGS, RECEIVE_BYTES
from pipeframe_async._worker.wanted import Wanted
from pipeframe_async.executors.handling import Hears
from pipeframe_async.wire import Packed, Positions, Reply

Told = Callable[[Reply | Exception], None]
"""Is called on the loop, once: with the reply, or with why there will be none."""

REGIONS = 2
"""Batches of one worker that may have shared memory at a time: as many as a run puts in a lane. More go inline."""


class Channel:
    """Asks a worker, and tells those who wait.

    Args:
        logs: handles what steps log; None where they are not asked for it.
        worker: whose end the other one is, for who reads that.
    """

    def __init__(self, logs: Hears | None = None, worker: str = "") -> None:
        self._logs = logs
        self._worker = worker
        self._wanted: Wanted | None = None  # as the worker was told last
        self._positions: dict[int, Positions | None] = {}  # of the batches that are asked
        self._out, self._back = _memory("out"), _memory("back")
        try:
            self._socket, self._theirs = socket.socketpair()
        except OSError:
            _free([*self._out, *self._back])
            raise
        self._socket.setblocking(False)
        self._free = list(range(min(len(self._out), len(self._back))))
        self._leased: dict[int, int] = {}  # by ticket, the region of its batch and of its reply
        self._asked: dict[int, Told] = {}
        self._inbox = Inbox(self._back)
        self._unsent: deque[memoryview] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None

    def ends(self) -> Ends:
        """The worker's part, to be pickled while it is started."""
        return Ends(
            SharedFile(self._theirs.fileno()),
            tuple(SharedFile(region.fd) for region in self._out),
            tuple(SharedFile(region.fd) for region in self._back),
        )

    def given(self) -> None:
        """The worker has its part: this process needs it no more."""
        self._theirs.close()

    def open(self, session: asyncio.Future[None]) -> None:
        """Listen from now on. `session` is done when the worker does not."""
        # The loop calls `_receive` from here on, until `detach`. The pool's thread sees the worker's death, and the
        # loop calls `_over` for it: before or after it has read the last of what the worker wrote.
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket.fileno(), self._receive)
        session.add_done_callback(self._over)

    def ask(
        self,
        ticket: int,
        chain: str,
        data: tuple[Any, ...] | bytes | None,
        batch: Packed,
        ship: bool,
        weigh: bool,
        told: Told,
    ) -> None:
        """Send a batch.

        Raises:
            BrokenExecutor: the worker does not listen any more.
        """
        if self._loop is None:
            raise BrokenExecutor("the worker was gone before it was given a batch")
        self._say_wanted()
        number, region = (self._free[-1], self._out[self._free[-1]]) if self._free else (NO_REGION, None)
        portions = batch.portions and (*batch.portions,)
        call: tuple[Any, ...] = (chain, data, ticket, light(batch.data), ship, batch.span, weigh, portions)
        if batch.traced:
            call += (batch.traced,)
        message = pieces(ticket, (number, call), region, number)  # where that raises, nothing is leased or asked
        if region is not None:
            self._leased[ticket] = self._free.pop()  # until its reply was read; of a lost worker `close` frees them all
        self._asked[ticket] = told
        self._positions[ticket] = batch.positions
        self._send(message)

    def _say_wanted(self) -> None:
        """Before a batch: which log lines are wanted, where that has changed."""
        wanted = None if self._logs is None else self._logs.wanted()
        if wanted is not None and wanted is not self._wanted:
            self._wanted = wanted
            self._send(pieces(LOGS, tuple(wanted), None))

    def drop(self, token: int) -> None:
        """Tell the worker that nobody wants the rest of a batch; no answer comes."""
        if self._loop is not None:
            self._send(pieces(token, None, None))

    def _send(self, message: list[bytes | memoryview]) -> None:
        """Write what the socket takes now, and the rest when it takes more."""
        assert self._loop is not None
        first, *others = message
        if not self._unsent:
            try:
                sent = self._socket.send(first, NO_SIGNAL)
            except BlockingIOError:
                sent = 0
            except OSError:
                return  # the worker is gone: the session tells
            if sent == len(first) and not others:
                return
            first = memoryview(first)[sent:]
            # The rest is the loop's, also when who asked is cancelled: half a message would be the end of the talk.
            self._loop.add_writer(self._socket.fileno(), self._send_rest)
        self._unsent.extend(memoryview(piece) for piece in (first, *others))

    def _send_rest(self) -> None:
        assert self._loop is not None
        try:
            while self._unsent:
                view = self._unsent[0]
                sent = self._socket.send(view, NO_SIGNAL) if view else 0
                if sent < len(view):
                    self._unsent[0] = view[sent:]
                    return
                self._unsent.popleft()
        except BlockingIOError:
            return
        except OSError:
            self._unsent.clear()
        self._loop.remove_writer(self._socket.fileno())

    def _receive(self) -> bool:
        """Read what there is; replies go to those who wait for them. False where there was nothing."""
        try:
            received = self._socket.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            received = b""
        if not received:
            self.detach()  # the end of the talk; what it means, the session tells
            return False
        try:
            for ticket, message in self._inbox.take(received):
                if ticket == LOGS:
                    self.logged(message)
                else:
                    self._answered(ticket, self._read(message))
        except Exception as error:  # this is no talk any more: what comes after it makes no sense either
            self.lost(error)
        return True

    def logged(self, message: Any) -> None:
        """The worker has sent log lines. On the loop, or in a thread after `detach`."""
        if self._logs is not None and not isinstance(message, Unread):
            self._logs.put(Chunk(*message), self._worker, {**self._positions})

    def _read(self, message: Any) -> Reply | MemoryError:
        if not isinstance(message, Unread):
            return Reply(*message)
        if isinstance(message.error, MemoryError):
            return message.error  # this process has none; the worker is well
        raise message.error

    def _answered(self, ticket: int, reply: Reply | Exception) -> None:
        if (number := self._leased.pop(ticket, None)) is not None:
            self._free.append(number)
        self._positions.pop(ticket, None)
        self._asked.pop(ticket)(reply)

    def _over(self, session: asyncio.Future[None]) -> None:
        """The worker does not listen any more: hear what it has said before, and end."""
        while self._loop is not None and self._receive():
            pass
        self.lost(None if session.cancelled() else session.exception())

    def lost(self, error: BaseException | None = None) -> None:
        """Tell those who still wait that nothing will come."""
        self.detach()
        asked, self._asked = self._asked, {}
        for told in asked.values():
            broken = BrokenExecutor("the worker does not answer any more")
            broken.__cause__ = error
            told(broken)

    def detach(self) -> None:
        """Hear and send no more. On the loop; before `close`, which may be called in any thread.

        The loop must not look at a descriptor that is closed: its number may be another file's by then.
        """
        loop, self._loop = self._loop, None
        if loop is not None:
            loop.remove_reader(self._socket.fileno())
            loop.remove_writer(self._socket.fileno())

    def finish(self) -> None:
        """Tell the worker that no more batches come, and that nobody hears it: its session ends. In a thread.

        What it has logged since its last reply is heard.
        """
        with suppress(Exception):  # it is gone, or was in the middle of something
            while received := self._socket.recv(RECEIVE_BYTES):
                for ticket, message in self._inbox.take(received):
                    if ticket == LOGS:
                        self.logged(message)
        with suppress(OSError):  # it is gone
            self._socket.shutdown(socket.SHUT_RDWR)  # both ways: it may be writing a reply that nobody reads any more

    def close(self) -> None:
        """End the talk, also for a worker that still writes, and free what the parent holds for it."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._theirs.close()
        _free([*self._out, *self._back])


def _memory(name: str) -> list[Region]:
    """Regions, where the system has memory without a name, and gives us some; batches go inline where not."""
    regions: list[Region] = []
    with suppress(OSError):
        while hasattr(os, "memfd_create") and len(regions) < REGIONS:
            regions.append(Region(os.memfd_create(f"pipeframe-{name}")))
    return regions


def _free(regions: list[Region]) -> None:
    for region in regions:
        region.close()
