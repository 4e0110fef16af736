"""More load on a web app than it can carry: `python -m benchmarks.cells.overload_client PORT SECONDS DEADLINE TIMES`.

Prints JSON. First what the app can do at most, asked by clients who wait for their answers; then `/ping` alone; then
so many times the capacity, by an open loop: requests go out at times that were drawn before, whatever has come of those
before them, and each is timed from when it should have gone out. `/ping` is asked meanwhile as before.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections import Counter

from benchmarks.asking.question import percentile

PAUSE_SECONDS = 0.01
CLIENTS = 8
POLL = 0.005
"""Seconds between two looks at how many answers have come."""
PATIENCE = 10.0
"""Seconds after which a client hangs up: people have gone by then."""
LATE = 1.5
"""An answer after this many deadlines is none: it counts for nothing."""


class Connections:
    """Kept for those who come next."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._free: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def get(self, path: str) -> int:
        """The status of an answer, once it is read whole; 0 where none came in time."""
        reader, writer = self._free.pop() if self._free else await asyncio.open_connection("127.0.0.1", self._port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        try:
            async with asyncio.timeout(PATIENCE):
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = next((line for line in head.split(b"\r\n") if line.startswith(b"content-length:")), b":0")
                await reader.readexactly(int(length.split(b":")[1]))
        except (TimeoutError, asyncio.IncompleteReadError):
            writer.close()
            return 0
        self._free.append((reader, writer))
        return int(head.split(maxsplit=2)[1])

    def close(self) -> None:
        """Hang up."""
        for _, writer in self._free:
            writer.close()


async def capacity(there: Connections, seconds: float) -> float:
    """Answers a second, for clients who wait for theirs."""
    done = 0

    async def works(number: int) -> None:
        nonlocal done
        while True:
            good = await there.get(f"/work/{number}") == 200
            done += good

    working = [asyncio.ensure_future(works(number)) for number in range(CLIENTS)]
    while done < CLIENTS:  # its workers have started
        await asyncio.sleep(POLL)
    began, before = time.perf_counter(), done
    while time.perf_counter() - began < seconds or done == before:
        await asyncio.sleep(POLL)
    rate = (done - before) / (time.perf_counter() - began)
    for task in working:
        task.cancel()
    await asyncio.gather(*working, return_exceptions=True)
    return rate


async def pings(there: Connections, seconds: float) -> list[float]:
    """How long each took, milliseconds."""
    draw, took, until = random.Random(7), [], time.perf_counter() + seconds
    while (began := time.perf_counter()) < until:
        if await there.get("/ping") != 200:
            raise ValueError("this is no pong")
        took.append(1e3 * (time.perf_counter() - began))
        await asyncio.sleep(PAUSE_SECONDS * 2 * draw.random())
    return took


async def flood(there: Connections, rate: float, seconds: float) -> list[tuple[int, float, float]]:
    """An open loop: of each request its status, seconds to it, and when it should have gone out."""
    draw, answers, asking = random.Random(11), list[tuple[int, float, float]](), set[asyncio.Task[None]]()
    began = time.perf_counter()

    async def ask(due: float, number: int) -> None:
        status = await there.get(f"/work/{number}")
        answers.append((status, time.perf_counter() - due, due - began))

    due, number = began, 0
    while due < began + seconds:
        if (ahead := due - time.perf_counter()) > 0:
            await asyncio.sleep(ahead)
        task = asyncio.create_task(ask(due, number))
        asking.add(task)
        task.add_done_callback(asking.discard)
        due, number = due + draw.expovariate(rate), number + 1
    await asyncio.gather(*asking)
    return answers


async def load(port: int, seconds: float, deadline: float, times: float) -> dict[str, float]:
    """All of it, one after the other."""
    there = Connections(port)
    await pings(there, seconds / 4)  # the first ones find nothing in its place
    can = await capacity(there, seconds)
    idle = await pings(there, seconds)
    flooding = asyncio.ensure_future(flood(there, times * can, seconds))
    await asyncio.sleep(seconds / 8)
    busy = await pings(there, seconds * 0.8)
    answers = await flooding
    there.close()
    good = [took for status, took, _ in answers if status == 200]
    refused = [took for status, took, _ in answers if status == 503]
    in_time = sum(took <= LATE * deadline for took in good)
    codes = Counter(status for status, _, _ in answers)
    return {
        "capacity": can,
        "asked": len(answers) / seconds,
        "goodput": in_time / seconds / can,
        "good_p50": percentile(good or [PATIENCE], 50),
        "good_p99": percentile(good or [PATIENCE], 99),
        "refused": codes[503] / len(answers),
        "gone": codes[0] / len(answers),
        "refused_p50": 1e3 * percentile(refused or [0.0], 50),
        "refused_p99": 1e3 * percentile(refused or [0.0], 99),
        "idle_p99": percentile(idle, 99),
        "busy_p50": percentile(busy, 50),
        "busy_p99": percentile(busy, 99),
        "ping": percentile(busy, 99) / percentile(idle, 99),
    }


if __name__ == "__main__":
    print(json.dumps(asyncio.run(load(int(sys.argv[1]), *map(float, sys.argv[2:])))))
