"""A program of the user's, on a host of its own: runs a pipeline on a cluster, and says in JSON what came of it.

`python -m tests.executors.dask.distant ADDRESS '{"records": …}'`

On SIGUSR2 it says where its threads are, and on SIGUSR1 where its tasks are.
"""

from __future__ import annotations

import asyncio
import faulthandler
import json
import os
import signal
import sys
import time
from dataclasses import dataclass
from typing import Any

from pipeframe_async import PipeFrame
from pipeframe_async.errors import PipeFrameError
from pipeframe_async.report import RunReport
from tests.executors.dask.pipelines import Kept

UNDER_WAY = 50
"""Records that are delivered when it says that it is under way."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is run.

    Attributes:
        records: how many.
        seconds: that each takes.
        poison: those that end their process.
        worker_timeout: as `PipeFrame` has it.
    """

    records: int
    seconds: float = 0.0
    poison: tuple[int, ...] = ()
    worker_timeout: float = 60.0


class Told(Kept):
    """Says when it is under way."""

    async def sink(self, records: list[Any]) -> None:
        before = len(self.taken)
        await super().sink(records)
        if before < UNDER_WAY <= len(self.taken):
            print("under way", flush=True)


async def told(address: str, wanted: Wanted) -> dict[str, Any]:
    """What came of it."""
    seconds, poison = wanted.seconds, frozenset(wanted.poison)

    def step(number: int) -> tuple[int, bool]:
        time.sleep(seconds)
        if number in poison:
            os._exit(3)
        return number, True

    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, _say_tasks)
    pipeline, problem = Told(step, batch_size=8), ""
    report: RunReport | None
    began = time.monotonic()
    try:
        report = await PipeFrame(executor=address, worker_timeout=wanted.worker_timeout).run(
            pipeline, range(wanted.records)
        )
    except PipeFrameError as error:
        report, problem = error.report, f"{type(error).__name__}: {error}"
    assert report is not None, problem
    return {
        "taken": pipeline.taken,
        "dead": [failure.record for failure in pipeline.dead],
        "problem": problem,
        "at": time.monotonic(),
        "seconds": time.monotonic() - began,
        **{name: getattr(report, name) for name in ("fed", "delivered", "failed", "aborted", "re_executed")},
    }


def _say_tasks() -> None:
    for task in asyncio.all_tasks():
        print(task, file=sys.stderr)
        task.print_stack(file=sys.stderr)
    sys.stderr.flush()


if __name__ == "__main__":
    faulthandler.register(signal.SIGUSR2)
    # As from a terminal: whatever a shell starts in the background, and all that this starts, has it ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    print(json.dumps(asyncio.run(told(sys.argv[1], Wanted(**json.loads(sys.argv[2]))))), flush=True)
