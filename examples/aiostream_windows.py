"""aiostream on both sides: two live sources merged into one feed, and the results cut into windows.

`merge` hands on each reading as soon as a sensor has it, and the merged stream is the feed as it stands.
`chunks` takes what comes out of `frame.stream`, as any operator could: a window is there while the sensors go on.

aiostream comes with the extra, `pip install "pipeframe_async[aiostream]"`. It is GPL-3.0; the library never imports it.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from statistics import mean
from typing import TypedDict

from aiostream import Stream, pipe, stream

from pipeframe_async import PipeFrame, PipelineEngine, RunReport

WINDOW = 10  # readings


class Reading(TypedDict):
    sensor: str
    celsius: float


async def sensor(name: str, celsius: float, interval: float, readings: int) -> AsyncIterator[str]:
    """A live source: a line every `interval` seconds."""
    for _ in range(readings):
        await asyncio.sleep(interval)
        yield f"{name} {random.gauss(celsius, 1):.3f}"


def parse(line: str) -> tuple[Reading, bool]:
    name, celsius = line.split()
    return {"sensor": name, "celsius": float(celsius)}, True


class Readings(PipelineEngine[str, Reading]):
    steps = [parse]
    source = "stream"

    def feed(self) -> Stream[str]:
        return stream.merge(sensor("indoors", 21, 0.03, 30), sensor("outdoors", 9, 0.06, 15))


async def main() -> RunReport:
    started = time.perf_counter()
    async with PipeFrame(cpu_count=1).stream(Readings) as results:
        windows = stream.iterate(results) | pipe.chunks(WINDOW) | pipe.enumerate(1)
        async with windows.stream() as streamer:
            async for number, window in streamer:
                print(f"window {number} after {time.perf_counter() - started:.2f} s: {summary(window)}")
    return results.report


def summary(window: list[Reading]) -> str:
    """How many readings of each sensor, and their mean."""
    by_sensor: dict[str, list[float]] = {}
    for reading in window:
        by_sensor.setdefault(reading["sensor"], []).append(reading["celsius"])
    return ", ".join(f"{name} {len(values)} × {mean(values):.1f} °C" for name, values in sorted(by_sensor.items()))


print(asyncio.run(main()))
