"""A TCP socket as a feed: clients push lines, as fast as they like, into a server that is the feed.

Each connection's handler hands its lines to `bucket.put`, which waits while the buffer is full. Then the handler
does not read, the kernel's buffers fill, and the client waits: backpressure, from the sink to the other end of
the wire. The stream ends when no line has come for a second.
"""

import asyncio
import socket
from collections import Counter
from typing import Any

from pipeframe_async import PipeFrame, PipelineEngine

CLIENTS = 5
LINES = 2_000  # of each client
MAX_LINE = 1024  # bytes; who sends a longer one is sent away


def parse(line: bytes) -> tuple[tuple[str, int], bool]:
    client, number = line.decode().split()
    return (client, int(number)), True


def square(pair: tuple[str, int]) -> tuple[tuple[str, int], bool]:
    client, number = pair
    return (client, number**2), True


class Lines(PipelineEngine[bytes, tuple[str, int]]):
    steps = [parse, square]
    source = "stream"
    timeout = 1.0

    def __init__(self, listening: socket.socket) -> None:
        self.listening = listening
        self.sums: Counter[str] = Counter()

    async def feed(self, bucket: Any) -> None:
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                while line := await reader.readline():
                    await bucket.put(line)
            except ValueError:  # what readline says of a line above the limit
                writer.write(f"a line may have {MAX_LINE} bytes: goodbye\n".encode())
            finally:
                writer.close()

        server = await asyncio.start_server(handle, sock=self.listening, limit=MAX_LINE)
        try:
            await server.serve_forever()
        finally:
            server.close()

    async def sink(self, pairs: list[tuple[str, int]]) -> None:
        for client, number in pairs:
            self.sums[client] += number


async def client(name: str, port: int) -> None:
    """Push lines without a pause; `drain` is where this end feels the backpressure."""
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    for number in range(LINES):
        writer.write(f"{name} {number}\n".encode())
        await writer.drain()
    writer.close()
    await writer.wait_closed()


async def babbler(port: int) -> str:
    """A client that never ends its line; returns what it is told."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"la" * MAX_LINE)
    answer = await reader.readline()
    writer.close()
    return answer.decode().strip()


async def main() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        pipeline = Lines(listening)
        frame = PipeFrame(cpu_count=1, buffer_size=500)
        clients = [client(f"client-{number}", port) for number in range(CLIENTS)]
        report, answer, *_ = await asyncio.gather(frame.run(pipeline), babbler(port), *clients)
    for name, total in sorted(pipeline.sums.items()):
        print(f"{name}  {total:,}")
    print(f"the babbler was told: {answer}")
    print(report)


asyncio.run(main())
