"""A live HTTP stream: a server sends readings one by one, in a response that never says how long it will be.

The feed takes each reading as it comes, the steps judge it in a worker, the sink prints it. Nothing waits for
the response to end: the printed delay is from the moment the server sent a reading to its result.
"""

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator
from typing import TypedDict

from pipeframe_async import PipeFrame, PipelineEngine, RunReport

READINGS = 40
MAX_CHUNK = 64 * 1024  # bytes; what a peer may make us keep


class Reading(TypedDict):
    sensor: str
    celsius: float
    sent: float
    alarm: bool


def parse(line: bytes) -> tuple[Reading, bool]:
    return json.loads(line), True


def judge(reading: Reading) -> tuple[Reading, bool]:
    reading["alarm"] = reading["celsius"] > 90
    return reading, True


class Readings(PipelineEngine[bytes, Reading]):
    steps = [parse, judge]
    source = "stream"
    timeout = 5  # seconds of silence after which we give the server up

    def __init__(self, port: int) -> None:
        self.port = port

    async def feed(self) -> AsyncIterator[bytes]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(b"GET /readings HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200 "):
                raise ConnectionError(head.decode().partition("\r\n")[0])
            async for line in lines(chunks(reader)):
                yield line
        finally:
            writer.close()

    async def sink(self, readings: list[Reading]) -> None:
        for reading in readings:
            delay = 1000 * (time.time() - reading["sent"])
            print(f"{reading['sensor']}  {reading['celsius']:5.1f} °C  {delay:5.1f} ms {' ALARM' * reading['alarm']}")


async def chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """The chunks of a chunked response."""
    while size := int(await reader.readline(), 16):
        if size > MAX_CHUNK:
            raise ValueError(f"a chunk of {size:,} bytes")
        yield (await reader.readexactly(size + 2))[:-2]


async def lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The lines in chunks, whose borders mean nothing."""
    rest = b""
    async for chunk in chunks:
        *complete, rest = (rest + chunk).split(b"\n")
        if len(rest) > MAX_CHUNK:
            raise ValueError("a line without an end")
        for line in complete:
            yield line


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """The server's side: one reading every 50 ms, cut into chunks wherever it happens to be."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(READINGS):
        reading = {"sensor": random.choice("ABC"), "celsius": random.gauss(75, 10), "sent": time.time()}
        line = json.dumps(reading).encode() + b"\n"
        cut = random.randrange(1, len(line))
        for chunk in (line[:cut], line[cut:]):
            writer.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
        await writer.drain()
        await asyncio.sleep(0.05)
    writer.write(b"0\r\n\r\n")
    writer.close()


async def main() -> RunReport:
    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        return await PipeFrame(cpu_count=1).run(Readings(port))


print(asyncio.run(main()))
