"""Messages between a parent and its worker: small ones whole over a socket pair, large ones through shared memory.

Comes in: a value of plain data, in which large buffers may stand as `PickleBuffer`s. Goes out: the same value,
with a `bytearray` of the receiver's own for each. Both sides use this; waiting for the socket is theirs.

A large message goes into a `Region`, which both map, and only its lengths over the socket. A region is leased
for one batch, from the message that brings it to the worker until the reply has been read, so nobody writes
where the other one reads. Regions have no names: they are gone with the last process that has them open.
"""

from __future__ import annotations

import mmap
import os
import pickle
import socket
import struct
from collections import deque
from collections.abc import Sequence
from sys import getrefcount
from typing import Any, NamedTuple

from pipeframe_async._worker.codec import PROTOCOL
from pipeframe_async._worker.pages import Pages
from pipeframe_async.wire import OutOfBand, Payload

INLINE_BYTES = 32 * 1024
"""Largest payload that goes over the socket where there is a region. The socket holds about 200 KiB: less goes in one
write, more would wait for the reader, and is copied twice by the kernel."""
REGION_BYTES = 16 * 2**20
"""Largest payload that goes through a region, which keeps its size. It is copied at once, 5 ms; what is larger goes
over the socket, as much at a time as that takes, and holds no memory afterwards."""
KEPT_BUFFERS = 32
"""Buffers that are kept for the next message. Fewer are not enough for two batches of a few arrays each; more would
hold memory that nobody uses."""
KEPT_BYTES = 64 * 2**20
"""And so many bytes of them: sizes that never come again would fill the memory."""
NO_REGION = -1
NO_SIGNAL = getattr(socket, "MSG_NOSIGNAL", 0)
"""To write without a SIGPIPE where the other side is gone: a program may have put that back to its default, which is to
end it."""
_HEAD = struct.Struct("<QQiI")
"""Whose message it is, bytes of pickle, the region that has the parts or `NO_REGION`, and how many parts there are;
their lengths follow."""
_TICKET = struct.Struct("<Q")


def _unused() -> int:
    """References to a buffer that only `Buffers` knows of, counted as it does: not the same in every Python."""
    for buffer in deque([bytearray()]):
        return getrefcount(buffer)
    raise AssertionError


_UNUSED = _unused()


class Buffers:
    """Buffers of this process, used again when nobody holds them any more.

    Memory that was touched before costs a tenth of what new memory does, and an allocator gives large pieces back to
    the system at once. An array that was made of a buffer holds a reference to it for as long as it lives.
    """

    def __init__(self) -> None:
        self._kept: deque[bytearray] = deque(maxlen=KEPT_BUFFERS)

    def take(self, nbytes: int) -> bytearray:
        """A buffer of exactly this size, with anything in it."""
        for buffer in self._kept:
            if len(buffer) == nbytes and getrefcount(buffer) == _UNUSED:
                return buffer
        while self._kept and sum(map(len, self._kept)) + nbytes > KEPT_BYTES:
            self._kept.popleft()
        buffer = bytearray(nbytes)
        self._kept.append(buffer)
        return buffer


class Region:
    """Memory that two processes share, for one message at a time.

    Args:
        fd: of a file without a name; whoever writes makes it as large as it must be.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._map: mmap.mmap | None = None

    def write(self, parts: Sequence[Any]) -> None:
        """Put the parts one after the other."""
        with memoryview(self._mapped(sum(len(part) for part in parts), grow=True)) as view:
            at = 0
            for part in parts:
                view[at : at + len(part)] = part
                at += len(part)

    def read(self, lengths: Sequence[int], buffers: Buffers) -> list[bytearray]:
        """Copies of the parts."""
        parts, at = [], 0
        with memoryview(self._mapped(sum(lengths))) as view:  # released whatever happens: else it cannot be closed
            for length in lengths:
                part = buffers.take(length)
                part[:] = view[at : at + length]
                parts.append(part)
                at += length
        return parts

    def _mapped(self, nbytes: int, *, grow: bool = False) -> mmap.mmap:
        """The memory, at least so much of it. What was mapped before stays: its pages need not be touched anew."""
        if self._map is not None and len(self._map) >= nbytes:
            return self._map
        if grow:
            os.ftruncate(self.fd, max(nbytes, 2 * os.fstat(self.fd).st_size, mmap.PAGESIZE))
        if self._map is not None:
            self._map.close()
        self._map = mmap.mmap(self.fd, os.fstat(self.fd).st_size)
        return self._map

    def close(self) -> None:
        """Unmap it, and let go of the file."""
        if self._map is not None:
            self._map.close()
        os.close(self.fd)


def pack(ticket: int, value: Any, region: Region | None, number: int = NO_REGION) -> bytes:
    """A value as a message; its large buffers go into the region, where there is one and they fit."""
    return b"".join(pieces(ticket, value, region, number))


def pieces(ticket: int, value: Any, region: Region | None, number: int = NO_REGION) -> list[bytes | memoryview]:
    """The same as what follows each other on the socket: views of large buffers that are not in the region."""
    parts: list[Any] = []
    data = pickle.dumps(value, PROTOCOL, buffer_callback=parts.append)
    if not parts:
        return [_HEAD.pack(ticket, len(data), NO_REGION, 0) + data]
    raw = [part.raw() for part in parts]
    lengths = [len(part) for part in raw]
    fits = region is not None and sum(lengths) <= REGION_BYTES
    head = _HEAD.pack(ticket, len(data), number if fits else NO_REGION, len(raw))
    first = head + struct.pack(f"<{len(raw)}Q", *lengths) + data
    if region is None or not fits:
        return [first, *raw]
    region.write(raw)
    return [first]


def light(payload: Payload | None) -> Any:
    """A payload as it is put in a message: what is large is not copied into it, and comes out as a `bytearray`."""
    if isinstance(payload, OutOfBand):
        return OutOfBand(light(payload.data), payload.buffers)
    if isinstance(payload, (bytes, bytearray, memoryview)) and len(payload) > INLINE_BYTES:
        return pickle.PickleBuffer(payload)
    return bytes(payload) if isinstance(payload, memoryview) else payload


def heavy(payload: Payload) -> Payload:
    """A payload as others may pickle it, who know nothing of buffers beside a pickle: with copies of them."""
    if isinstance(payload, OutOfBand):
        data: Any = heavy(payload.data)
        return OutOfBand(data, tuple(bytearray(buffer.raw()) for buffer in payload.buffers))
    return bytearray(payload) if isinstance(payload, memoryview) else payload


class Unread(NamedTuple):
    """What stands for a message that could not be read: there was no memory for it, most likely. Those after it can."""

    error: Exception


class Inbox:
    """Bytes from the socket, as they come, to the values of messages.

    Args:
        regions: those the other side writes to, by their number.
    """

    def __init__(self, regions: Sequence[Region]) -> None:
        self._regions = regions
        self._data = bytearray()
        self._left = 0  # bytes still to come of a message that is gathered apart, or passed over
        self._apart: Pages | None = None
        self._passed: tuple[int, Unread] | None = None
        self._buffers = Buffers()

    def take(self, received: bytes) -> list[tuple[int, Any]]:
        """Whose they are and the values, of all messages that are complete now."""
        if self._left:
            return self._rest(received)
        data: bytes | bytearray = received
        if self._data:
            try:
                self._data += received
            except MemoryError as error:
                return self._give_up(received, error)
            data = self._data
        values, at = [], 0
        while (end := _end(data, at)) is not None:
            (ticket,) = _TICKET.unpack_from(data, at)
            values.append((ticket, self._read(data, at)))
            at = end
        if self._data:
            del self._data[:at]  # and no copy of the rest: a message comes in many pieces
        elif at < len(received):
            self._data = bytearray(memoryview(received)[at:])
        if (whole := _length(self._data, 0) or 0) > REGION_BYTES:
            self._gather(whole)
        return values

    def _gather(self, whole: int) -> None:
        """The message that is coming is large: it is put where the rest of it costs no more than its copy."""
        try:
            self._apart = Pages(whole)
            self._apart.append(self._data)
        except MemoryError as error:
            self._give_up(b"", error)
        else:
            self._left, self._data = whole - len(self._data), bytearray()

    def _give_up(self, received: bytes, error: MemoryError) -> list[tuple[int, Any]]:
        """The message that is coming is too large to be kept: the rest of it is passed over."""
        if (whole := _length(self._data, 0)) is None:
            raise error  # not even its head
        (ticket,) = _TICKET.unpack_from(self._data, 0)
        self._passed, self._left = (ticket, Unread(error.with_traceback(None))), whole - len(self._data)
        self._data = bytearray()
        return self._rest(received)

    def _rest(self, received: bytes) -> list[tuple[int, Any]]:
        """More of a message that is gathered apart, or passed over; and what comes behind it."""
        with memoryview(received) as view:
            piece = view[: self._left]
            if self._apart is not None:
                self._apart.append(piece)
            self._left -= len(piece)
            rest = bytes(view[len(piece) :])
        if self._left:
            return []
        if self._apart is not None:
            data, self._apart = self._apart.view(), None
            ticket, value = _TICKET.unpack_from(data, 0)[0], self._read(data, 0)
        else:
            assert self._passed is not None
            (ticket, value), self._passed = self._passed, None
        return [(ticket, value), *(self.take(rest) if rest else [])]

    def _read(self, data: bytes | bytearray | memoryview, at: int) -> Any:
        """The value of a message, or `Unread`."""
        try:
            return self._value(data, at)
        except Exception as error:
            return Unread(error.with_traceback(None))  # its frames hold what was read

    def _value(self, data: bytes | bytearray | memoryview, at: int) -> Any:
        _, size, number, count = _HEAD.unpack_from(data, at)
        at += _HEAD.size
        lengths = struct.unpack_from(f"<{count}Q", data, at)
        at += 8 * count
        view = memoryview(data)
        parts: list[bytearray | memoryview] = []
        if number != NO_REGION:
            parts += self._regions[number].read(lengths, self._buffers)
        elif count:
            start = at + size
            for length in lengths:
                part: Any = view[start : start + length]
                of_its_own = length > REGION_BYTES and isinstance(data, memoryview)  # of memory that nobody else has
                parts.append(part if of_its_own else bytearray(part))
                start += length
        return pickle.loads(view[at : at + size], buffers=parts)  # noqa: S301 - of our own worker, or of its parent


def _end(data: bytes | bytearray, at: int) -> int | None:
    """Where the message that begins here ends; None where it is not complete."""
    length = _length(data, at)
    return at + length if length is not None and len(data) >= at + length else None


def _length(data: bytes | bytearray, at: int) -> int | None:
    """How long the message is that begins here; None where too little of it has come."""
    if len(data) < at + _HEAD.size:
        return None
    _, size, number, count = _HEAD.unpack_from(data, at)
    lengths = at + _HEAD.size
    if len(data) < lengths + 8 * count:
        return None
    inline = sum(struct.unpack_from(f"<{count}Q", data, lengths)) if number == NO_REGION else 0
    return int(_HEAD.size + 8 * count + size + inline)
