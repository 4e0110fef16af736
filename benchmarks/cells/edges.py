"""One consumer of one source: `python -m benchmarks.cells.edges SOURCE CONTESTANT URL NAME RECORDS` prints JSON.

A record is a line of JSON of about 200 bytes, which is loaded, priced and dumped in two workers; nobody wants results.
`reading` is the source alone, driven by nobody: what a record costs the loop, from the server to its ack.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager
from itertools import islice
from multiprocessing import get_context
from typing import Any, NamedTuple

import uvloop

from benchmarks.contestants.peers import WORKERS
from benchmarks.works import lines
from pipeframe_async import PipeFrame, PipelineEngine, feeds

CHUNK = 500
"""Records that are fetched at once by hand, and the size of what a worker gets: tuned, larger is not faster."""
AHEAD = 3 * WORKERS
"""Chunks that are under way at once by hand."""
GROUP = "benchmark"

Fetched = tuple[Sequence[bytes], Callable[[], Awaitable[object]]]
"""Records, and what acks them."""


class Taken(NamedTuple):
    """Seconds, and those of them in which the loop's thread was at work."""

    seconds: float
    loop: float


def source(kind: str, url: str, name: str, **options: Any) -> Any:
    """Ours."""
    match kind:
        case "files":
            return feeds.JsonLines(url)
        case "redis":
            return feeds.RedisStream(url, name, GROUP, **options)
        case "kafka":
            return feeds.KafkaTopic(url, name, name, **options)
        case "nats":
            return feeds.JetStream(url, name, GROUP, **options)
    return feeds.PostgresJobs(url, name, **options)


class Priced(PipelineEngine[Any, Any]):
    """What is done with each line once it is loaded."""

    steps: Any = (lines.price, lines.dump)


async def ours(kind: str, url: str, name: str, records: int) -> Taken:
    """With default knobs."""
    feed, frame = source(kind, url, name), PipeFrame(WORKERS)
    async with frame:
        await frame.ready(Priced)
        begun, cpu = time.perf_counter(), time.thread_time()
        running = asyncio.ensure_future(frame.run(Priced, feed))
        if kind != "files":
            while frame.stats().delivered < records:
                await asyncio.sleep(0.005)
            feed.stop()
        report = await running
        assert report.delivered == records
        return Taken(time.perf_counter() - begun, time.thread_time() - cpu)


def worked(chunk: Sequence[bytes]) -> int:
    """A chunk in a worker."""
    for line in chunk:
        order, _ = lines.load(line)  # type: ignore[arg-type]  # JSON is as well read of bytes
        lines.dump(lines.price(order)[0])
    return len(chunk)


async def by_hand(kind: str, url: str, name: str, records: int) -> Taken:
    """What a good engineer writes with the same client: chunks, a pool, acks for a chunk at once."""
    loop, left, under_way = asyncio.get_running_loop(), records, set[asyncio.Task[None]]()
    with ProcessPoolExecutor(WORKERS, mp_context=get_context("forkserver")) as pool:
        await asyncio.gather(*(loop.run_in_executor(pool, worked, [b'{"items": []}']) for _ in range(WORKERS)))

        async def one(chunk: Sequence[bytes], ack: Callable[[], Awaitable[object]]) -> None:
            await loop.run_in_executor(pool, worked, chunk)
            await ack()

        begun, cpu = time.perf_counter(), time.thread_time()
        async with HANDS[kind](url, name) as fetch:
            while left:
                chunk, ack = await fetch(min(left, CHUNK))
                left -= len(chunk)
                under_way.add(asyncio.create_task(one(chunk, ack)))
                if len(under_way) >= AHEAD:
                    _, under_way = await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.gather(*under_way)
        return Taken(time.perf_counter() - begun, time.thread_time() - cpu)


@asynccontextmanager
async def _files(url: str, name: str) -> AsyncIterator[Callable[[int], Awaitable[Fetched]]]:
    async def nothing() -> None:
        """A file takes no acks."""

    with open(url, "rb") as file:  # noqa: ASYNC230 - as anybody would

        async def fetch(most: int) -> Fetched:
            return [*islice(file, most)], nothing

        yield fetch


@asynccontextmanager
async def _redis(url: str, name: str) -> AsyncIterator[Callable[[int], Awaitable[Fetched]]]:
    import redis.asyncio

    async with redis.asyncio.Redis.from_url(url) as client:
        await client.xgroup_create(name, GROUP, id="0")

        async def fetch(most: int) -> Fetched:
            found: Any = await client.xreadgroup(GROUP, "hand", {name: ">"}, count=most)
            entries = found[0][1]
            return [fields[b"data"] for _, fields in entries], lambda: client.xack(
                name, GROUP, *(e for e, _ in entries)
            )

        yield fetch


@asynccontextmanager
async def _nats(url: str, name: str) -> AsyncIterator[Callable[[int], Awaitable[Fetched]]]:
    import nats

    connection = await nats.connect(url)
    pulled = await connection.jetstream().pull_subscribe(name, GROUP)

    async def fetch(most: int) -> Fetched:
        messages = await pulled.fetch(most)

        async def ack() -> None:
            for message in messages:
                await message.ack()

        return [message.data for message in messages], ack

    yield fetch
    await connection.drain()


@asynccontextmanager
async def _postgres(url: str, name: str) -> AsyncIterator[Callable[[int], Awaitable[Fetched]]]:
    import psycopg

    async with (
        await psycopg.AsyncConnection.connect(url, autocommit=True) as reading,
        await psycopg.AsyncConnection.connect(url, autocommit=True) as acking,
    ):

        async def fetch(most: int) -> Fetched:
            found = await reading.execute(
                f"UPDATE {name} SET visible_at = now() + interval '1 minute' WHERE id IN (SELECT id FROM {name} "
                f"WHERE visible_at <= now() ORDER BY id LIMIT {most} FOR UPDATE SKIP LOCKED) "
                "RETURNING id, record::text::bytea",
                binary=True,
            )
            rows = await found.fetchall()
            ids = [number for number, _ in rows]
            return [record for _, record in rows], lambda: acking.execute(
                f"DELETE FROM {name} WHERE id = ANY(%s)", [ids]
            )

        yield fetch


HANDS: dict[str, Any] = {"files": _files, "redis": _redis, "nats": _nats, "postgres": _postgres}


async def reading(kind: str, url: str, name: str, records: int) -> Taken:
    """Take, and ack at once."""
    async with source(kind, url, name) as feed:
        begun, cpu, left = time.perf_counter(), time.thread_time(), records
        while left:
            deliveries = await feed.take(CHUNK)
            left -= len(deliveries)
            for delivery in deliveries:
                delivery.ack()
        while feed.counts().unacked:
            await asyncio.sleep(0.001)
        return Taken(time.perf_counter() - begun, time.thread_time() - cpu)


CONTESTANTS = {"ours": ours, "by_hand": by_hand, "reading": reading}


def main(kind: str, contestant: str, url: str, name: str, records: str) -> None:
    """Measure one, and print it."""
    taken = uvloop.run(CONTESTANTS[contestant](kind, url, name, int(records)))
    print(json.dumps(taken._asdict()))


if __name__ == "__main__":
    main(*sys.argv[1:])
