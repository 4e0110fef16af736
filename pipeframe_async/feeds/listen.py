"""`Listen`: what clients send to a TCP or Unix socket, line by line, or each record behind its length.

Comes in: bytes of any number of clients, none of which is trusted. Goes out: records, those of each client in order.
A client has at most one read of its records waiting here, and is read on when the run has taken them; whose turn it is
goes by what each has had, so one who sends little does not wait for those who flood. What is held of records that have
not ended is bounded over all clients.

All of it runs on the event loop, in callbacks of the transports and in `__aiter__`.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
import stat
import sys
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from heapq import heappop, heappush
from itertools import count
from types import TracebackType
from typing import Any, Final, Literal, cast

from pipeframe_async.errors import ConfigError
from pipeframe_async.model import Chunk

logger = logging.getLogger("pipeframe_async")

LENGTH_BYTES: Final = 4
"""Of the length before a record, big-endian."""
LOOK_INTERVAL: Final = 0.5
"""Seconds between two looks for clients that are silent. Longer keeps them for longer, shorter costs the loop."""
BACKLOG: Final = 1_024
"""Connections that the system holds before they are accepted. Fewer are refused in a rush, more are its memory."""
READ: Final = 8_192
"""Bytes that are read of a client at once, and wait here at most. More are more memory, fewer cost turns of a loop."""
TOO_LONG: Final = "a record is longer than max_record"


class Listen:
    """A feed of what clients send: `feed = Listen("127.0.0.1:9000", decode=json.loads)`.

    It is a live source: the pipeline streams until it is stopped. Clients are told nothing: a record that was read is
    in no client's hands any more, so what is in flight is lost with the program. A client that breaks a limit is
    closed, and counted in `closed`; so is the one that has been silent for longest where there are too many.

    Args:
        address: `"host:port"`, or `"unix:path"`. Port 0 is any; `port` has it then. A socket file that nobody listens
            at any more is replaced.
        framing: `"lines"`, which end with the byte 10 (one 13 before it is taken away), or `"length"`: four bytes,
            big-endian, say how many follow.
        decode: of the bytes of a record, in the workers; None: they are the record.
        max_connections: clients at a time, ≥ 1.
        max_record: bytes of a record, ≥ 1.
        max_bytes: of records that have not ended, over all clients; where they are more, the client that holds most is
            closed.
        idle_timeout: seconds in which a client must end a record, > 0.

    Raises:
        ConfigError: a value is wrong.

    Process: the parent, on the event loop, but for `decode`.
    """

    streams = True
    live = True

    def __init__(
        self,
        address: str,
        *,
        framing: Literal["lines", "length"] = "lines",
        decode: Callable[[bytes], Any] | None = None,
        max_connections: int = 2_000,
        max_record: int = 65_536,
        max_bytes: int = 8 * 2**20,
        idle_timeout: float = 60.0,
    ) -> None:
        self._where = _address(address)
        if framing not in ("lines", "length"):
            raise ConfigError(f"framing={framing!r}: must be 'lines' or 'length'")
        for name, value in (
            ("max_connections", max_connections),
            ("max_record", max_record),
            ("max_bytes", max_bytes),
            ("idle_timeout", idle_timeout),
        ):
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
                raise ConfigError(f"{name}={value!r}: must be a number greater than 0")
        self.address = address
        self.decode = decode
        self.max_connections = max_connections
        self.max_record = max_record
        self.max_bytes = max_bytes
        self.idle_timeout = idle_timeout
        self.framing = framing
        self.port = 0
        self.closed = 0
        """Clients that were closed because they broke a limit."""
        self._server: asyncio.Server | None = None
        self._leaving = False
        self._clients: OrderedDict[_Client, float] = OrderedDict()  # and when each last ended a record, first the first
        self._held = 0
        self._ready: list[tuple[int, int, _Client, bytes]] = []  # a heap, of whose turn it is
        self._turn = 0  # bytes that one had had before its turn, of those whose turn it was the most
        self._numbers = count()
        self.buffer = memoryview(bytearray(READ))
        self._came = asyncio.Event()
        self._looking: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        return f"Listen({self.address!r}), {len(self._clients)} clients"

    async def __aenter__(self) -> None:
        loop = asyncio.get_running_loop()
        self._came.clear()
        self._leaving = False
        if isinstance(self._where, str):
            _remove_dead(self._where)
            self._server = await loop.create_unix_server(lambda: _Client(self), self._where, backlog=BACKLOG)
        else:
            host, port = self._where
            self._server = await loop.create_server(lambda: _Client(self), host, port, backlog=BACKLOG)
            self.port = self._server.sockets[0].getsockname()[1]
        self._look()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._leaving = True
        if self._looking is not None:
            self._looking.cancel()
        if self._server is not None:
            self._server.close()
            for client in [*self._clients]:
                client.abort()
            await self._server.wait_closed()
            if isinstance(self._where, str):
                with suppress(FileNotFoundError):
                    os.unlink(self._where)
        self._ready.clear()

    async def __aiter__(self) -> AsyncIterator[Chunk[bytes]]:
        cut = _lines if self.framing == "lines" else _behind_lengths
        while True:
            if not self._ready:
                self._came.clear()
                await self._came.wait()  # set by `came`, on this loop
            had, _, client, ended = heappop(self._ready)
            self._turn = max(self._turn, had - len(ended))
            records, too_long = cut(ended, self.max_record)  # only now: as objects they are many times as large
            yield Chunk(records)
            if too_long:
                self.refuse(client, TOO_LONG)
            else:
                client.go_on()  # the run has taken them

    def end_of_records(self, data: bytearray) -> int:
        """Where in these bytes the last record ends that is there as a whole; 0 where none is."""
        return _end_of_lines(data) if self.framing == "lines" else _end_of_lengths(data, self.max_record)

    def joined(self, client: _Client) -> None:
        """A client is there."""
        if self._leaving:  # it was accepted before, and told of only now
            client.abort()
            return
        if len(self._clients) >= self.max_connections:
            self.refuse(next(iter(self._clients)), "there are more than max_connections, and it was silent for longest")
        self._clients[client] = asyncio.get_running_loop().time()

    def left(self, client: _Client) -> None:
        """It is no more."""
        self._clients.pop(client, None)

    def came(self, client: _Client, ended: bytes) -> None:
        """It has ended records, one at least."""
        client.had = max(self._turn, client.had) + len(ended)  # who was silent has saved nothing
        heappush(self._ready, (client.had, next(self._numbers), client, ended))
        self._came.set()
        if client in self._clients:
            self._clients[client] = asyncio.get_running_loop().time()
            self._clients.move_to_end(client)

    def holds(self, more: int) -> None:
        """So many bytes more, or fewer, are held of records that have not ended."""
        self._held += more
        while self._held > self.max_bytes:
            most = max(self._clients, key=lambda client: client.held)
            self.refuse(most, "records that have not ended are more than max_bytes")

    def refuse(self, client: _Client, why: str) -> None:
        """It has broken a limit."""
        self.closed += 1
        logger.debug("a client of %s was closed: %s", self.address, why)
        client.abort()

    def _look(self) -> None:
        """Close those that have ended no record for too long; but not who waits for the run."""
        now = asyncio.get_running_loop().time()
        for client, since in [*self._clients.items()]:
            if now - since < self.idle_timeout:
                break
            if client.paused:
                self._clients[client] = now
                self._clients.move_to_end(client)
            else:
                self.refuse(client, "it has ended no record for idle_timeout")
        self._looking = asyncio.get_running_loop().call_later(min(LOOK_INTERVAL, self.idle_timeout / 2), self._look)


class _Client(asyncio.BufferedProtocol):
    """One connection.

    Attributes:
        held: bytes of a record that has not ended.
        paused: it is not read, for the run has not taken what it has sent.
        had: bytes that were its turn.
    """

    def __init__(self, listen: Listen) -> None:
        self._listen = listen
        self._transport: asyncio.Transport | None = None
        self._rest = bytearray()
        self._gone = False
        self.held = self.had = 0
        self.paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is there."""
        self._transport = cast("asyncio.Transport", transport)
        self._listen.joined(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where to read to: one buffer for all, for what is in it is taken at once."""
        return self._listen.buffer

    def buffer_updated(self, nbytes: int) -> None:
        """It has sent something."""
        if self._gone:
            return
        rest = self._rest
        rest += self._listen.buffer[:nbytes]
        if end := self._listen.end_of_records(rest):
            self._send(bytes(rest[:end]))
            del rest[:end]
        if len(rest) > self._listen.max_record + LENGTH_BYTES:
            self._listen.refuse(self, TOO_LONG)
        else:
            self._hold(len(rest))

    def eof_received(self) -> bool:
        """It sends no more: a last line without its end is one."""
        if self._rest and self._listen.framing == "lines":
            self._send(bytes(self._rest) + b"\n")
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """It is gone."""
        self._forget()

    def go_on(self) -> None:
        """The run has taken what it has sent."""
        if self.paused and self._transport is not None and not self._transport.is_closing():
            self.paused = False
            self._transport.resume_reading()

    def abort(self) -> None:
        """Close it at once; nothing more of it is read."""
        self._forget()
        if self._transport is not None:
            self._transport.abort()

    def _send(self, ended: bytes) -> None:
        if not self.paused and self._transport is not None and not self._transport.is_closing():
            self.paused = True
            self._transport.pause_reading()
        self._listen.came(self, ended)

    def _forget(self) -> None:
        self._gone = True
        self._rest.clear()
        self._hold(0)
        self._listen.left(self)

    def _hold(self, held: int) -> None:
        more, self.held = held - self.held, held
        if more:
            self._listen.holds(more)


def _end_of_lines(data: bytearray) -> int:
    """Where the last line ends."""
    return data.rfind(b"\n") + 1


def _end_of_lengths(data: bytearray, most: int) -> int:
    """Where the last record ends that is there as a whole, or one begins that is too long."""
    at, size = 0, len(data)
    while size - at >= LENGTH_BYTES:
        length = int.from_bytes(data[at : at + LENGTH_BYTES], "big")
        if length > most:
            return size  # all of it: who cuts it finds that
        if size - at - LENGTH_BYTES < length:
            break
        at += LENGTH_BYTES + length
    return at


def _lines(data: bytes, most: int) -> tuple[list[bytes], bool]:
    """The lines, up to the first that is too long; and whether there is one."""
    lines = [line.removesuffix(b"\r") for line in data.split(b"\n")[:-1]]
    return _up_to_the_first(lines, most) if len(data) > most else (lines, False)


def _up_to_the_first(lines: list[bytes], most: int) -> tuple[list[bytes], bool]:
    for number, line in enumerate(lines):
        if len(line) > most:
            return lines[:number], True
    return lines, False


def _behind_lengths(data: bytes, most: int) -> tuple[list[bytes], bool]:
    """The records, up to the first that is too long; and whether there is one."""
    records, at = list[bytes](), 0
    while at < len(data):
        start = at + LENGTH_BYTES
        at = start + int.from_bytes(data[at:start], "big")
        if at - start > most:
            return records, True
        records.append(data[start:at])
    return records, False


def _address(address: str) -> tuple[str, int] | str:
    if not isinstance(address, str):
        raise ConfigError(f"address={address!r}: must be 'host:port' or 'unix:path'")
    if address.startswith("unix:") and len(address) > len("unix:"):
        if sys.platform == "win32":
            raise ConfigError(f"address={address!r}: asyncio has no Unix sockets on Windows: listen at 'host:port'")
        return address.removeprefix("unix:")
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65_535:
        raise ConfigError(f"address={address!r}: must be 'host:port', such as '127.0.0.1:9000', or 'unix:path'")
    return host.strip("[]"), int(port)


def _remove_dead(path: str) -> None:
    """A socket file that a program has left which is gone.

    Raises:
        OSError: somebody listens at it; asyncio would take it away from them.
    """
    if sys.platform == "win32":
        return  # it has none, see `_address`
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            return
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX) as tried:
        try:
            tried.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
        else:
            raise OSError(errno.EADDRINUSE, f"another program listens at {path}")
