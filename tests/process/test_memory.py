"""A long feed under a small buffer: memory stays flat, and the bound on records holds at every moment."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.process

SCRIPT = """
import asyncio, resource, sys
from pipeframe_async import PipeFrame, PipelineEngine

def touch(record):
    return record, True

class Long(PipelineEngine):
    source = sys.argv[1]
    steps = [touch]

    async def feed(self):
        for i in range(1_000_000):
            if i == 100_000:
                self.early = peak()
            yield i

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

async def main():
    pipeline, frame = Long(), PipeFrame(2, buffer_size=1000)
    most = 0
    async def look():
        nonlocal most
        while True:
            most = max(most, frame.stats().in_flight)
            await asyncio.sleep(0.001)
    looking = asyncio.create_task(look())
    report = await frame.run(pipeline)
    looking.cancel()
    print(report.fed, report.delivered, most, peak() - pipeline.early)

asyncio.run(main())
"""


@pytest.mark.parametrize("source", ["stream", "batch"])
def test_a_million_records_under_a_buffer_of_a_thousand_take_no_more_memory_than_the_first(
    source: str, tmp_path: Path
) -> None:
    script = tmp_path / "long.py"
    script.write_text(SCRIPT)
    with tempfile.TemporaryFile("w+") as out:
        subprocess.run([sys.executable, str(script), source], stdout=out, check=True, timeout=50)
        out.seek(0)
        fed, delivered, most, grown_kib = map(int, out.read().split())
    assert (fed, delivered) == (1_000_000, 1_000_000)
    assert 0 < most <= 1000
    assert grown_kib < 4 * 1024
