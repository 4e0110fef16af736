"""Programs that end with a frame open: `never_closed.py HOW WHAT`, WHAT its workers are at (`idle` or a pipeline)."""

from __future__ import annotations

import asyncio
import multiprocessing
import sys
from pathlib import Path

from pipeframe_async import PipeFrame
from tests.process import pipelines as p
from tests.process.host_programs.stubborn import PIPELINES

STARTED = Path("started")

kept: list[object] = []


async def begin(what: str) -> None:
    """Open a frame and have its workers at work; what would close it is kept from doing so."""
    frame = PipeFrame(2, drain_timeout=600)
    await frame.__aenter__()
    kept.append(frame)
    await frame.run(p.Numbers(50))
    if what != "idle":
        kept.append(asyncio.ensure_future(frame.run(PIPELINES[what])))
        while not STARTED.exists():  # noqa: ASYNC240
            await asyncio.sleep(0.01)


def abandoned(what: str) -> None:
    """The loop is simply not run any more."""
    loop = asyncio.new_event_loop()
    kept.append(loop)
    loop.run_until_complete(begin(what))
    kept.append(loop.close)


def asyncio_run(what: str) -> None:
    """`asyncio.run` cancels the run, and leaves the workers of a warm frame alone."""
    asyncio.run(begin(what))


def child_process(what: str) -> None:
    """The same in a child of multiprocessing, which joins its own children before it looks at its threads."""
    child = multiprocessing.get_context("fork").Process(target=abandoned, args=(what,))
    child.start()
    child.join()
    sys.exit(child.exitcode)


if __name__ == "__main__":
    globals()[sys.argv[1]](sys.argv[2])
    print("at the end")
