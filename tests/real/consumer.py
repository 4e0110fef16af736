"""A program that consumes a queue into a file, to be killed: `python -m tests.real.consumer KIND URL NAME OUT OPTIONS`.

Records are ints; -1 kills its worker, -2 kills the program.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from typing import Any

from pipeframe_async import PipeFrame, PipelineEngine
from pipeframe_async.sinks import JsonLines
from tests.real.kinds import KINDS

PROGRAM = "PIPEFRAME_TEST_PROGRAM"


def work(record: int) -> tuple[int, bool]:
    """A millisecond of it."""
    until = time.perf_counter() + 0.001
    while time.perf_counter() < until:
        pass
    if record == -1:
        os.kill(os.getpid(), signal.SIGKILL)
    if record == -2:
        os.kill(int(os.environ[PROGRAM]), signal.SIGKILL)
    return record, True


class Consumer(PipelineEngine[Any, Any]):
    """From the queue to the file; every record is one of them at least once."""

    steps: Any = (work,)

    def __init__(self, queue: Any, out: str) -> None:
        self.feed = queue
        self.sink = JsonLines(out, append=True)
        self.dead_letter = JsonLines(f"{out}.dead", append=True)


def main(kind: str, url: str, name: str, out: str, options: str) -> None:
    """Run until a signal."""
    os.environ[PROGRAM] = str(os.getpid())
    pipeline = Consumer(KINDS[kind].source(url, name, **json.loads(options)), out)
    report = asyncio.run(PipeFrame(2, 200, handle_signals=True).run(pipeline))
    print(json.dumps({"fed": report.fed, "aborted": report.aborted, "ack_errors": report.ack_errors}))


if __name__ == "__main__":
    main(*sys.argv[1:])
