"""Jobs with a checkpoint, good and bad ones, that `crash_and_resume` runs in processes of their own."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from pipeframe_async import Checkpoint, PipelineEngine, Retry, expand
from pipeframe_async.sinks import JsonLines

RECORDS = 5_000


def work(record: int) -> tuple[dict[str, int], bool]:
    time.sleep(0.0001)
    return {"record": record}, True


class Good(PipelineEngine[int, Any]):
    """In feed order."""

    steps: Any = (work,)
    checkpoint = Checkpoint("job.state", every=0.02)
    sink = JsonLines("out.jsonl")
    source = "stream"

    async def feed(self) -> AsyncIterator[int]:
        for record in range(RECORDS):
            yield record


class Completed(Good):
    """As they are done; results may come again."""

    order = "completion"


def some(record: int) -> Iterator[int]:
    if record % 100 == 7:
        raise ValueError("it is bad")
    if record % 10:
        yield from (record, -record)


class Mixed(Good):
    """With filters, fan-out, failures and retries."""

    steps: Any = (work, expand(lambda record: some(record["record"])))
    retry = Retry(2, backoff=0.0)
    max_failures = None


def lived_before() -> bool:
    """Whether a life before this one has begun here; this one has now."""
    before = os.path.exists("lived")
    Path("lived").touch()
    return before


class Forgets(Good):
    """Its state is taken away before its second life, which is a slow one."""

    def __init__(self) -> None:
        self.again = Path("lived").exists()
        for ending in ("", "-wal", "-shm") if self.again else ():
            Path(f"job.state{ending}").unlink(missing_ok=True)

    async def feed(self) -> AsyncIterator[int]:
        Path("lived").touch()  # noqa: ASYNC240
        if self.again:
            await asyncio.sleep(100.0)
        async for record in super().feed():
            yield record


class Differs(Good):
    """A life that goes on has other records."""

    async def feed(self) -> AsyncIterator[int]:
        sign = -1 if lived_before() else 1
        async for record in super().feed():
            yield sign * record


class Leaves(Good):
    """Starts a process that outlives it."""

    async def feed(self) -> AsyncIterator[int]:
        subprocess.Popen(["sleep", "100"], start_new_session=True)  # noqa: ASYNC220
        for record in range(RECORDS):
            yield record


class Fails(Good):
    async def feed(self) -> AsyncIterator[int]:
        yield 1
        raise OSError("its source is gone")


class NoCheckpoint(PipelineEngine[int, Any]):
    steps: Any = (work,)
