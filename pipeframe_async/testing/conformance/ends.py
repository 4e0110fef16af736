"""Cases: runs that are left, cancelled or cannot go on."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Final

from pipeframe_async.errors import PipeFrameError, StepError, WorkerLost
from pipeframe_async.testing.conformance.records import beat, slow
from pipeframe_async.testing.conformance.rig import Case, Kept, NotHeld, Rig, expect_balance, finished

GRACE: Final = 1.0
"""Seconds in which work that nobody waits for must have ended. Less, and a busy machine is blamed; it is well below
the time that the work would take."""


class Beating(Kept):
    """A stream whose first record is quick, and all others take long and are seen to go on."""

    source = "stream"
    batch_size = 1

    def __init__(self, path: str) -> None:
        super().__init__(partial(beat, path))

    async def feed(self) -> AsyncIterator[int]:
        """A quick record, and long ones without end."""
        for n in count():
            yield n
            await asyncio.sleep(0)


def _beats(rig: Rig) -> int:
    path = Path(rig.marks)
    return path.stat().st_size if path.exists() else 0


async def _going_on(rig: Rig) -> None:
    while not _beats(rig):  # noqa: ASYNC110 - the beats come from other processes
        await asyncio.sleep(0.01)


async def _expect_silence(rig: Rig, left: float) -> None:
    """No more beats, `GRACE` seconds after the work was left."""
    late = asyncio.get_running_loop().time() - left
    if late > GRACE:
        raise NotHeld("took too long", f"{late:.1f} s")
    await asyncio.sleep(GRACE - late)
    before = _beats(rig)
    await asyncio.sleep(0.2)
    if _beats(rig) > before:
        raise NotHeld("work went on")


async def leaving_stops(rig: Rig) -> None:
    """Leaving a stream of a warm frame ends the steps that run."""
    async with rig.frame(buffer_size=8) as frame:
        async with frame.stream(Beating(rig.marks)) as results:
            async for _ in results:
                await _going_on(rig)
                left = asyncio.get_running_loop().time()
                break
        await _expect_silence(rig, left)


async def cancelling_stops(rig: Rig) -> None:
    """Cancelling a run ends the steps that run."""
    run = asyncio.create_task(rig.frame(buffer_size=8).run(Beating(rig.marks)))
    await _going_on(rig)
    left = asyncio.get_running_loop().time()
    run.cancel()
    await asyncio.wait([run])
    if not run.cancelled():
        raise NotHeld("the cancel was swallowed", repr(run.exception()))
    await _expect_silence(rig, left)


class RaisingSetup(Kept):
    """Cannot be set up."""

    def setup(self) -> None:
        """Raise."""
        raise ValueError("no model")


class DyingSetup(Kept):
    """Kills every worker that sets it up."""

    def setup(self) -> None:
        """End the process."""
        os._exit(7)


async def setup_raises(rig: Rig) -> None:
    """An error of `setup` is told, with what it said."""
    pipeline = RaisingSetup(slow)
    try:
        await rig.frame().run(pipeline, range(64))
    except StepError as error:
        expect_balance(error.report, pipeline.taken)
        if "no model" not in str(error):
            raise NotHeld("the error does not say why", str(error)) from error
        return
    raise NotHeld("the run did not fail")


async def setup_dies(rig: Rig) -> None:
    """Workers that cannot be started are given up, after bounded attempts."""
    await _expect_lost(rig, DyingSetup(slow), WorkerLost)


async def executor_ends(rig: Rig) -> None:
    """An executor that is shut down under a run ends it."""
    rig.need_given()
    frame = rig.frame()
    closing: list[asyncio.Task[None]] = []

    class Closing(Kept):
        batch_size = 4

        async def sink(self, records: list[Any]) -> None:
            await super().sink(records)
            if not closing:  # not waited for here: what a sink that is cancelled had taken counts as aborted
                closing.append(asyncio.create_task(asyncio.to_thread(rig.given[0].shutdown, wait=False)))

    await _expect_lost(rig, Closing(slow), PipeFrameError, frame)
    await asyncio.gather(*closing)


async def _expect_lost(rig: Rig, pipeline: Kept, error_class: type[PipeFrameError], frame: Any = None) -> None:
    try:
        await (frame or rig.frame()).run(pipeline, range(400))
    except error_class as error:
        expect_balance(error.report, pipeline.taken)
    except PipeFrameError as error:
        raise NotHeld(f"run ended: {type(error).__name__}", str(error)) from error
    else:
        raise NotHeld("the run did not fail")


async def not_shut_down(rig: Rig) -> None:
    """Whose executor it is, closes it."""
    rig.need_given()
    frame = rig.frame()
    async with frame:
        await finished(frame, Kept(slow), range(16))
    try:
        rig.given[0].submit(int).result()
    except Exception as error:
        raise NotHeld("it was shut down", repr(error)) from error


CASES: Final = (
    Case("leaving a stream early stops the work", leaving_stops),
    Case("cancelling a run stops the work", cancelling_stops),
    Case("a setup that raises ends the run with a StepError", setup_raises),
    Case("workers that cannot start end the run with WorkerLost and balanced books", setup_dies),
    Case("an executor that takes no more work ends the run with an error and balanced books", executor_ends),
    Case("an executor that was given is not shut down", not_shut_down),
)
