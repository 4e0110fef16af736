"""A job with all that may happen to a record: filters, failures, retries, fan-out, async steps; in each order."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from typing import Any

from pipeframe_async import DROP, Checkpoint, Chunk, PipelineEngine, Retry, expand
from pipeframe_async.sinks import DeadLetters, JsonLines

RECORDS = int(os.environ.get("PIPEFRAME_TEST_KILLS_RECORDS", "20_000"))

FAILS = 499
"""One in so many records fails for good, and as many now and then: with twelve attempts one of them fails in 10¹¹."""


def weigh(record: int) -> Any:
    if record % FAILS == 7:
        raise ValueError(f"record {record} is bad")
    if record % FAILS == 11 and os.urandom(1)[0] < 32:
        raise OSError(f"record {record} is better another time")
    return DROP if record % 50 == 3 else (record, True)


def parts(record: int) -> Iterator[dict[str, int]]:
    for part in range(1 + record % 3):
        yield {"record": record, "part": part}


async def looked_up(part: dict[str, int]) -> tuple[dict[str, int], bool]:
    await asyncio.sleep(0)
    return {**part, "found": part["record"] % 10}, True


class InOrder(PipelineEngine[int, Any]):
    """In feed order, from a feed that cannot be gone back to."""

    steps: Any = (weigh, expand(parts))
    source = "stream"
    retry = Retry(12, on=(OSError,), backoff=0.001)
    checkpoint = Checkpoint("job.state", every=0.05)
    sink = JsonLines("out.jsonl.gz")
    dead_letter = DeadLetters("dead.db")

    async def feed(self) -> AsyncIterator[Chunk[int]]:
        for first in range(0, RECORDS, 1_000):
            yield Chunk(range(first, min(first + 1_000, RECORDS)))


class AsTheyAreDone(InOrder):
    order = "completion"


class ByKey(InOrder):
    order = lambda record: record % 17  # noqa: E731


class OnTheLoopToo(InOrder):
    steps = (weigh, expand(parts), looked_up)
    order = "completion"
    sink = JsonLines("out.jsonl")
