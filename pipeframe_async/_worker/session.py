"""A worker at work: takes batches from its parent's messages, runs each in the envelope, and answers.

The pool's one call into this process that does not end before the parent hangs up: batches come and go beside
the pool's queues, without its threads.

Process: the worker's main thread.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from time import thread_time
from typing import Any

from pipeframe_async._worker import envelope
from pipeframe_async._worker.channel import NO_REGION, NO_SIGNAL, Inbox, Region, Unread, light, pack
from pipeframe_async.wire import Refusal, Reply

RECEIVE_BYTES = 64 * 1024
"""Most bytes of one read. Smaller costs more reads for large messages; from 128 KiB on an allocator asks the system for
each such piece of memory and gives it back, which costs more than the read."""

_session: Session | None = None


class Session:
    """The worker's end of the channel.

    Args:
        fd: of the socket.
        inbound: regions that batches come in.
        outbound: regions for replies.
    """

    def __init__(self, fd: int, inbound: Sequence[int], outbound: Sequence[int]) -> None:
        self._socket = socket.socket(fileno=fd)
        self._outbound = [Region(fd) for fd in outbound]
        self._inbox = Inbox([Region(fd) for fd in inbound])
        self._counted = 0.0  # CPU seconds of this thread that are in a reply, or are nobody's
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
                    if message is None:
                        envelope.drop(ticket)
                        continue
                    self._socket.sendall(self._answered(ticket, *message), NO_SIGNAL)
        except OSError:
            return  # the parent is gone, or a step has closed what was not its own

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
    _session.serve()
