"""A worker at work: takes batches from its parent's messages, runs each in the envelope, and answers.

The pool's one call into this process that does not end before the parent hangs up: batches come and go beside
the pool's queues, without its threads.

Process: the worker's main thread.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from time import thread_time
from typing import Any

from pipeframe_async._worker import envelope
from pipeframe_async._worker.channel import NO_REGION, NO_SIGNAL, Inbox, Region, Unread, light, pack
from pipeframe_async._worker.forwarding import Chunk, Forwarding
from pipeframe_async._worker.memory import keep_freed
from pipeframe_async._worker.wanted import Wanted
from pipeframe_async.wire import Refusal, Reply

RECEIVE_BYTES = 64 * 1024
"""Most bytes of one read. Smaller costs more reads for large messages; from 128 KiB on an allocator asks the system for
each such piece of memory and gives it back, which costs more than the read."""

LOGS = 2**64 - 1
"""In place of a ticket, of which there will never be so many: the parent says which log lines it wants, and a worker
sends some."""

_session: Session | None = None


class Session:
    """The worker's end of the channel.

    Args:
        fd: of the socket.
        inbound: regions that batches come in.
        outbound: regions for replies.
        logs: what steps log here, to be sent; None where nothing is caught.
    """

    def __init__(
        self, fd: int, inbound: Sequence[int], outbound: Sequence[int], logs: Forwarding | None = None
    ) -> None:
        self._socket = socket.socket(fileno=fd)
        self._outbound = [Region(fd) for fd in outbound]
        self._inbox = Inbox([Region(fd) for fd in inbound])
        self._counted = 0.0  # CPU seconds of this thread that are in a reply, or are nobody's
        self._logs = logs
        self._sending = threading.Lock()  # a message is written as a whole: by this thread, or by who sends log lines
        if logs is not None:
            logs.sent_by(self._send)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._socket.close)  # of a process a step forks: the talk is ours

    def serve(self) -> None:
        """Answer batch after batch until the parent hangs up."""
        self._counted = thread_time()
        try:
            while received := self._socket.recv(RECEIVE_BYTES):
                for ticket, message in self._inbox.take(received):
                    if isinstance(message, Unread):
                        raise message.error  # there is nothing to say what it was about
                    if ticket == LOGS:
                        self._adopt(message)
                        continue
                    if message is None:
                        envelope.drop(ticket)
                        continue
                    self._send(self._answered(ticket, *message))
                    flush_streams()
        except OSError:
            return  # the parent is gone, or a step has closed what was not its own

    def _adopt(self, wanted: tuple[Any, ...]) -> None:
        if self._logs is not None:
            self._logs.adopt(Wanted(*wanted))

    def _send(self, message: bytes = b"") -> None:
        """Write the log lines that wait, and behind them the message.

        Raises:
            OSError: the talk is over; the lines wait for `conclude`.
        """
        with self._sending:
            chunks = [] if self._logs is None else self._logs.chunks()
            if chunks:
                message = b"".join([*(pack(LOGS, tuple(chunk), None) for chunk in chunks), message])
            try:
                if message:
                    self._socket.sendall(message, NO_SIGNAL)
            except OSError:
                if self._logs is not None:
                    self._logs.put_back(chunks)
                raise

    def rest(self) -> list[Chunk]:
        """The log lines that were not sent."""
        with self._sending:
            return [] if self._logs is None else self._logs.chunks()

    def _answered(self, ticket: int, number: int, call: tuple[Any, ...]) -> bytes:
        moving = thread_time() - self._counted  # reading this batch, and writing the reply before, as this one's will
        reply = envelope.work(*call, out_of_band=True)
        reply = reply._replace(cpu=reply.cpu + moving)
        self._counted = thread_time()
        region = None if number == NO_REGION else self._outbound[number]
        try:
            return pack(ticket, tuple(reply._replace(results=light(reply.results))), region, number)
        except BaseException as error:  # no memory, most likely: the worker always answers
            refusal = Refusal("envelope", f"{type(error).__name__}: {error}")
            return pack(ticket, tuple(Reply(0, refusal=refusal)), None)


def attach(session: Session) -> None:
    """Use this session (called once, when the worker begins)."""
    global _session
    _session = session


def serve() -> None:
    """Answer batches until the parent hangs up. The function the parent calls in its worker."""
    assert _session is not None
    keep_freed()
    _session.serve()


def conclude() -> tuple[list[str], list[Chunk], list[tuple[str, bytes]]]:
    """Run the teardown of each chain: the traceback of each that raised, and the log lines that were not sent.

    And what the others have returned, pickled, with the keys of their chains.

    The function the parent calls in its worker when it has hung up, through the pool's queues.
    """
    problems = envelope.forget()
    return problems, [] if _session is None else _session.rest(), envelope.returned()


def flush_streams() -> None:
    """What was printed without the end of its line is written too."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):  # there is none, or it was closed
            stream.flush()
