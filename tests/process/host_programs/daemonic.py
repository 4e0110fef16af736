"""A frame inside a daemonic process: `daemonic.py METHOD END`, METHOD how that process is started.

END is `returns`, `unclosed` (its frame is never closed) or `terminated` (it is ended by its own parent's exit).
"""

from __future__ import annotations

import asyncio
import multiprocessing
import sys
import time
from pathlib import Path
from typing import Any

from pipeframe_async import PipeFrame
from tests.process import pipelines as p
from tests.process.host_programs import doing


def daemon(end: str) -> None:
    assert multiprocessing.current_process().daemon
    loop = asyncio.new_event_loop()
    frame = PipeFrame(2)
    loop.run_until_complete(frame.__aenter__())
    pipeline = doing.Nested()
    report = loop.run_until_complete(frame.run(pipeline))
    assert multiprocessing.current_process().daemon, "it is what it was"
    print("delivered:", report.delivered, "in workers:", set(pipeline.taken), flush=True)
    if end == "returns":
        loop.run_until_complete(frame.__aexit__(None, None, None))
    if end == "terminated":
        Path("at work").touch()
        loop.run_until_complete(frame.run(p.Hanging))
    frames.append(frame)


frames: list[PipeFrame] = []

if __name__ == "__main__":
    method, end = sys.argv[1:]
    context: Any = multiprocessing.get_context(method)
    process = context.Process(target=daemon, args=(end,), daemon=True)
    process.start()
    if end == "terminated":
        while not Path("at work").exists():
            time.sleep(0.01)
        sys.exit(0)
    process.join()
    print("exit code:", process.exitcode)
