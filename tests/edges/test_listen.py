"""`Listen`: real sockets, and clients that are slow, silent, endless or broken."""

from __future__ import annotations

import asyncio
import json
import resource
import socket
import struct
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from pipeframe_async import ConfigError, FeedError, PipeFrame, PipelineEngine
from pipeframe_async.feeds import Listen


def as_it_is(record: Any) -> tuple[Any, bool]:
    return record, True


class Heard(PipelineEngine[Any, Any]):
    steps = (as_it_is,)

    def __init__(self) -> None:
        self.taken: list[Any] = []
        self.came = asyncio.Event()

    async def sink(self, records: list[Any]) -> None:
        self.taken += records
        self.came.set()

    async def until(self, count: int) -> None:
        async with asyncio.timeout(20):
            while len(self.taken) < count:
                self.came.clear()
                await self.came.wait()


@asynccontextmanager
async def heard(listen: Listen, kind: type[Heard] = Heard) -> AsyncIterator[Heard]:
    """A run that listens."""
    pipeline, running = kind(), PipeFrame(executor="inline")
    run = asyncio.ensure_future(running.run(pipeline, listen))
    while not listen.port and not run.done():
        await asyncio.sleep(0.01)
    try:
        yield pipeline
    finally:
        running.stop()
        report = await run
    assert report.ended_by == "stopped"


async def connected(listen: Listen) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", listen.port)


async def is_closed(reader: asyncio.StreamReader) -> bool:
    """Whether it is, by the other side."""
    try:
        async with asyncio.timeout(10):
            return await reader.read() == b""
    except ConnectionResetError:
        return True


async def test_lines_of_each_client_come_in_order() -> None:
    listen = Listen("127.0.0.1:0")
    async with heard(listen) as pipeline:

        async def client(name: str) -> None:
            _, writer = await connected(listen)
            for number in range(500):
                writer.write(f"{name} {number}\r\n".encode())
                await writer.drain()
            writer.write(b"last")  # without its newline
            writer.close()

        await asyncio.gather(*map(client, "abc"))
        await pipeline.until(1503)
    for name in "abc":
        mine = [line for line in pipeline.taken if line.startswith(f"{name} ".encode())]
        assert mine == [f"{name} {number}".encode() for number in range(500)]
    assert pipeline.taken.count(b"last") == 3
    assert listen.closed == 0


async def test_records_behind_their_lengths_are_decoded_in_the_workers() -> None:
    listen = Listen("127.0.0.1:0", framing="length", decode=json.loads)
    async with heard(listen) as pipeline:
        _, writer = await connected(listen)
        data = b"".join(
            struct.pack(">I", len(text)) + text for text in (b'{"a":\n1}', b"[]", b'"' + b"x" * 50_000 + b'"')
        )
        for at in range(0, len(data), 1_000):
            writer.write(data[at : at + 1_000])
            await writer.drain()
        await pipeline.until(3)
        writer.close()
    assert pipeline.taken == [{"a": 1}, [], "x" * 50_000]


async def test_a_socket_file_is_there_while_the_run_is_and_a_dead_one_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    pipeline, frame = Heard(), PipeFrame(executor="inline")
    run = asyncio.ensure_future(frame.run(pipeline, Listen(f"unix:{path}")))
    while True:
        try:
            _, writer = await asyncio.open_unix_connection(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            await asyncio.sleep(0.01)
        else:
            break
    with pytest.raises(FeedError, match="could not be opened"):
        await PipeFrame(executor="inline").run(Heard(), Listen(f"unix:{path}"))  # somebody listens there
    writer.write(b"one\n")
    await pipeline.until(1)
    writer.close()
    frame.stop()
    await run
    assert pipeline.taken == [b"one"]
    assert not path.exists()


@pytest.mark.parametrize("framing", ["lines", "length"])
async def test_a_record_that_is_too_long_costs_its_client(framing: Any) -> None:
    listen = Listen("127.0.0.1:0", max_record=1_000, framing=framing)
    async with heard(listen) as pipeline:
        good, bad = await connected(listen), await connected(listen)
        one = b"one\n" if framing == "lines" else b"\0\0\0\3one"
        endless = b"x" * 100_000 if framing == "lines" else b"\0\1\0\0" + b"x" * 100
        bad[1].write(one + endless)
        assert await is_closed(bad[0])
        good[1].write(one)
        await pipeline.until(2)
        for _, writer in (good, bad):
            writer.close()
    assert pipeline.taken == [b"one", b"one"]
    assert listen.closed == 1


async def test_who_ends_no_record_in_time_is_closed_and_who_does_is_not() -> None:
    listen = Listen("127.0.0.1:0", idle_timeout=0.5)
    async with heard(listen) as pipeline:
        silent, slow, good = [await connected(listen) for _ in range(3)]

        async def works(writer: asyncio.StreamWriter, text: bytes) -> None:
            for _ in range(15):
                writer.write(text)
                await asyncio.sleep(0.1)

        good_works = asyncio.ensure_future(works(good[1], b"x\n"))
        slow_works = asyncio.ensure_future(works(slow[1], b"x"))  # one byte after the other, and no end
        assert await is_closed(silent[0])
        assert await is_closed(slow[0])
        await asyncio.gather(good_works, slow_works, return_exceptions=True)
        await pipeline.until(15)
        for _, writer in (silent, slow, good):
            writer.close()
    assert listen.closed == 2


async def test_where_there_are_too_many_the_most_silent_one_goes() -> None:
    listen = Listen("127.0.0.1:0", max_connections=3)
    async with heard(listen) as pipeline:
        first, second, third = [await connected(listen) for _ in range(3)]
        first[1].write(b"here\n")
        await pipeline.until(1)
        fourth = await connected(listen)
        assert await is_closed(second[0])
        fourth[1].write(b"too\n")
        await pipeline.until(2)
        for _, writer in (first, second, third, fourth):
            writer.close()
    assert listen.closed == 1


async def test_what_has_not_ended_is_bounded_over_all_clients() -> None:
    listen = Listen("127.0.0.1:0", max_record=60_000, max_bytes=100_000)
    async with heard(listen):
        clients = [await connected(listen) for _ in range(10)]
        for size, (_, writer) in enumerate(clients, 1):
            writer.write(b"x" * (size * 5_000))
        async with asyncio.timeout(10):
            while listen.closed < 3 or listen._held > 100_000:
                await asyncio.sleep(0.01)
        for _, writer in clients:
            writer.close()


async def test_a_client_that_floods_is_read_no_faster_than_the_run_takes_it() -> None:
    class Slow(Heard):
        async def sink(self, records: list[Any]) -> None:
            await asyncio.sleep(0.001)
            await super().sink(records)

    listen, pipeline, frame = Listen("127.0.0.1:0"), Slow(), PipeFrame(executor="inline", buffer_size=100)
    run = asyncio.ensure_future(frame.run(pipeline, listen))
    while not listen.port:
        await asyncio.sleep(0.01)
    (_, flood), (_, good) = await connected(listen), await connected(listen)
    flood.write(b"flood\n" * 2_000_000)  # 12 MB; the transport of this side holds them
    await pipeline.until(1)
    good.write(b"good\n")
    async with asyncio.timeout(10):
        while b"good" not in pipeline.taken:
            pipeline.came.clear()
            await pipeline.came.wait()
    assert len(pipeline.taken) < 100_000
    assert sum(len(ended) for *_, ended in listen._ready) < 100_000
    for writer in (flood, good):
        writer.transport.abort()
    frame.stop()
    await run


HOSTILE = """
import resource, socket, sys
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
sent = (b"x" * 60_000, b"y", b"ab\\n" * 5_000, b"")
clients = []
for number in range(1_000):
    clients.append(client := socket.create_connection(("127.0.0.1", int(sys.argv[1]))))
    client.setblocking(False)
    try:
        client.send(sent[number % 4])
    except OSError:
        pass
print("there", flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="looks at its memory in /proc")
async def test_a_thousand_hostile_clients_cost_themselves() -> None:
    class Counting(Heard):
        async def sink(self, records: list[Any]) -> None:
            await super().sink([record for record in records if record == b"good"])

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 4_096:
        pytest.skip("needs more descriptors than there may be")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 4_096), hard))
    listen = Listen("127.0.0.1:0")
    async with heard(listen, Counting) as pipeline:
        _, good = await connected(listen)
        heard_of = 0

        async def goes_through() -> None:
            """A record of the good client does."""
            nonlocal heard_of
            heard_of += 1
            good.write(b"good\n")
            async with asyncio.timeout(20):
                await pipeline.until(heard_of)

        await goes_through()
        before = _resident()
        hostile = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            HOSTILE,
            str(listen.port),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert hostile.stdout is not None
        assert await hostile.stdout.readline() == b"there\n"
        while not listen.closed or heard_of < 20:  # what has not ended is more than it may be
            await goes_through()
        grown = _resident() - before
        good.close()
        await hostile.communicate(b"")
    assert grown < 32 * 2**20, f"{grown / 2**20:.0f} MiB"
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"address": "localhost"}, "must be 'host:port'"),
        ({"address": "localhost:99999"}, "must be 'host:port'"),
        ({"address": 80}, "must be 'host:port' or 'unix:path'"),
        ({"framing": "json"}, "framing='json': must be 'lines' or 'length'"),
        ({"max_record": 0}, "max_record=0: must be a number greater than 0"),
        ({"idle_timeout": None}, "idle_timeout=None: must be"),
        ({"max_connections": True}, "max_connections=True: must be"),
    ],
)
def test_what_is_wrong_is_said_at_once(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        Listen(**{"address": "127.0.0.1:0", **arguments})


async def test_an_address_that_is_taken_is_said_before_anything_is_fed() -> None:
    listen = Listen("127.0.0.1:0")
    async with heard(listen):
        with pytest.raises(FeedError, match="the feed of Heard, Listen could not be opened: OSError"):
            await PipeFrame(executor="inline").run(Heard(), Listen(f"127.0.0.1:{listen.port}"))


@pytest.mark.parametrize("turns", [0, 1, 3, 4])  # after 2, asyncio itself forgets the socket it is accepting
async def test_a_client_that_is_told_of_after_the_end_is_not_kept(turns: int) -> None:
    listen = Listen("127.0.0.1:0")
    async with listen:
        client = socket.create_connection(("127.0.0.1", listen.port))
        for _ in range(turns):
            await asyncio.sleep(0)
    with client:
        for _ in range(5):
            await asyncio.sleep(0)
        assert not listen._clients
