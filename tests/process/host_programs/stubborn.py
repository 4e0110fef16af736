"""Endless feeds over steps that work, hang, or hold the GIL; `started` appears once workers are at it."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path

from pipeframe_async import PipelineEngine

ENDLESS = re.compile(r"(a+)+$")


def work(record: int) -> tuple[int, bool]:
    end = time.perf_counter() + 0.0003
    while time.perf_counter() < end:
        pass
    if record == 300:
        Path("started").touch()
    return record, True


def hang(record: int) -> tuple[int, bool]:
    Path("started").touch()
    time.sleep(600)
    return record, True


def c_code(record: int) -> tuple[int, bool]:
    Path("started").touch()
    ENDLESS.match("a" * 64 + "b")
    return record, True


class Endless(PipelineEngine[int, int]):
    source = "stream"
    timeout = None
    steps = (work,)

    async def feed(self) -> AsyncIterator[int]:
        n = 0
        while True:
            yield n
            n += 1
            if n % 20 == 0:
                await asyncio.sleep(0.002)


class Hanging(Endless):
    steps = (hang,)


class InC(Endless):
    steps = (c_code,)


PIPELINES: dict[str, type[Endless]] = {"work": Endless, "hang": Hanging, "c_code": InC}
