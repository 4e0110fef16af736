"""A program whose page a browser looks at: one run that has ended, one that goes on, with failures and counters.

Arguments: how many records the first run has, and where its report goes. SIGTERM stops it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator

from pipeframe_async import PipeFrame, PipelineEngine, count

CARD = "-".join(["4929", "0000"])  # in records and messages, and in no source line


def parse(record: int) -> tuple[int, bool]:
    count("parsed")
    if record % 50 == 7:
        raise ValueError(f"{CARD}-{record}")
    if record % 333 == 33:
        raise KeyError(f"{CARD}-{record}")
    if record == 100:
        os._exit(3)
    time.sleep(0.001)
    return record, True


async def enrich(record: int) -> tuple[int, bool]:
    await asyncio.sleep(0.001)
    return record, True


class Orders(PipelineEngine[int, int]):
    source = "stream"
    timeout = None
    max_failures = None
    steps = (parse, enrich)

    def __init__(self, records: int | None) -> None:
        self.records = records

    async def feed(self) -> AsyncIterator[int]:
        number = 0
        while self.records is None or number < self.records:
            yield number
            number += 1
            if self.records is None:
                await asyncio.sleep(0.002)

    async def sink(self, records: list[int]) -> None:
        await asyncio.sleep(0.005)


async def main() -> None:
    frame = PipeFrame(2, monitor="127.0.0.1:0", name="shop", report=sys.argv[2] if len(sys.argv) > 2 else None)
    async with frame:
        await frame.run(Orders(int(sys.argv[1])))
        running = asyncio.create_task(frame.run(Orders(None)))
        print(frame.monitor_url, flush=True)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, frame.stop)
        await running


if __name__ == "__main__":
    asyncio.run(main())
