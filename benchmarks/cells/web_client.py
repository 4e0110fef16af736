"""The load on one web app: `python -m benchmarks.cells.web_client PORT SECONDS CLIENTS` prints JSON.

First `/ping` alone, one request after the other, with a pause between two as a visitor's are; then the same beside so
many clients who ask for work, each as soon as it has its last answer.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time

from benchmarks.asking.question import percentile

PAUSE_SECONDS = 0.01


class Client:
    """One connection that is kept."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._reader: asyncio.StreamReader | None = None

    async def get(self, path: str) -> bytes:
        """The body of an answer; raises where it is not a good one."""
        if self._reader is None:
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        head = await self._reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise ConnectionError(head.decode())
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        return await self._reader.readexactly(int(length.split(b":")[1]))

    def close(self) -> None:
        """Hang up."""
        if self._reader is not None:
            self._writer.close()


async def pings(port: int, seconds: float) -> list[float]:
    """How long each took, milliseconds."""
    client, draw, took = Client(port), random.Random(7), []
    until = time.perf_counter() + seconds
    while (began := time.perf_counter()) < until:
        if await client.get("/ping") != b'"pong"':
            raise ValueError("this is no pong")
        took.append(1e3 * (time.perf_counter() - began))
        await asyncio.sleep(PAUSE_SECONDS * 2 * draw.random())
    client.close()
    return took


async def works(port: int, client_number: int, count: list[int]) -> None:
    """Ask for work until cancelled."""
    client = Client(port)
    try:
        while True:
            await client.get(f"/work/{client_number}")
            count[0] += 1
    finally:
        client.close()


async def load(port: int, seconds: float, clients: int) -> dict[str, float]:
    """Both, and how much work was done meanwhile."""
    await pings(port, seconds / 4)  # the first ones find nothing in its place
    idle, count = await pings(port, seconds), [0]
    working = [asyncio.ensure_future(works(port, number, count)) for number in range(clients)]
    await asyncio.sleep(seconds / 4)
    began, before = time.perf_counter(), count[0]
    busy = await pings(port, seconds)
    rate = (count[0] - before) / (time.perf_counter() - began)
    for task in working:
        task.cancel()
    await asyncio.gather(*working, return_exceptions=True)
    return {
        "idle_p50": percentile(idle, 50),
        "idle_p99": percentile(idle, 99),
        "busy_p50": percentile(busy, 50),
        "busy_p99": percentile(busy, 99),
        "rate": rate,
        "n": len(busy),
    }


if __name__ == "__main__":
    print(json.dumps(asyncio.run(load(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])))))
