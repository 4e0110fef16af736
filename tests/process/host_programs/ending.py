"""A run at work: `ending.py FRONT LOOP WHAT HANDLE`, made to be ended from outside.

FRONT: `script` (`pipeframe_async.run`), `frame` (`PipeFrame.run`), `warm` (the same in an open frame).
LOOP: `asyncio` or `uvloop`. WHAT: `work`, `hang` or `c_code`, what steps do. HANDLE: `handle` or `default`.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import pipeframe_async
from pipeframe_async import PipeFrame, RunReport
from tests.process.host_programs import stubborn


async def in_frame(frame: PipeFrame, *, warm: bool) -> RunReport:
    if not warm:
        return await frame.run(stubborn.PIPELINES[what])
    async with frame:
        return await frame.run(stubborn.PIPELINES[what])


if __name__ == "__main__":
    front, loop, what, handle = sys.argv[1:]
    options: dict[str, Any] = {
        "cpu_count": 2,
        "buffer_size": 100,
        "drain_timeout": 1.5,
        "handle_signals": handle == "handle",
    }
    if loop == "asyncio":
        sys.modules["uvloop"] = None  # type: ignore[assignment]
    if front == "script":
        report = pipeframe_async.run(stubborn.PIPELINES[what], **options)
    else:
        factory = None
        if loop == "uvloop":
            import uvloop

            factory = uvloop.new_event_loop
        with asyncio.Runner(loop_factory=factory) as runner:
            report = runner.run(in_frame(PipeFrame(**options), warm=front == "warm"))
    balanced = report.fed == report.delivered + report.aborted
    print(report.ended_by, f"balanced={balanced} aborted={bool(report.aborted)} restarts={report.worker_restarts}")
    Path("done").touch()
