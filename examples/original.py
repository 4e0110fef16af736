"""The example that the original PipeFrame came with, on this library: three steps, ten numbers, run twice.

What is new about it: the import, and `asyncio.run` around the two calls. In a notebook, where an event loop is
running already, write `await` instead.
"""

import asyncio
import fcntl
import json
import os
import tempfile
from typing import Any

from pipeframe_async import PipeFrame, PipelineEngine

NUMBER = int(os.environ.get("NUMBER", "1_000_000"))  # a smaller one needs less patience

Entry = dict[str, int]


def clear(entry: Entry) -> tuple[Entry, bool]:
    """Reset a field."""
    entry["power"] = 0
    return entry, True


def power(entry: Entry) -> tuple[Entry, bool]:
    """Burn some CPU."""
    entry["power"] = entry["number"] ** entry["number"]
    return entry, True


def log(entry: Entry) -> tuple[Entry, bool]:
    """Append to a file that all workers share, one at a time."""
    with open(LOG, "a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(json.dumps(entry["number"]) + "\n")
    return entry, True


class Powers(PipelineEngine[Entry, Entry]):
    steps = [clear, power, log]
    source = "batch"

    @staticmethod
    def feed(bucket: Any) -> None:
        for _ in range(10):
            bucket.put({"number": NUMBER})


with tempfile.NamedTemporaryFile("r") as shared:
    LOG = shared.name
    print(asyncio.run(PipeFrame().run(Powers)))
    print(asyncio.run(PipeFrame(cpu_count=2).run(Powers)))
    print(f"{len(shared.readlines())} lines were logged")
