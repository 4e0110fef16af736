"""Runs a pipeline, and then with threads, where no semaphores are to be had."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from pipeframe_async import ConfigError, PipeFrame
from tests.process import pipelines as p

CHILDREN = Path(f"/proc/self/task/{os.getpid()}/children")


async def main() -> None:
    try:
        await PipeFrame(2).run(p.Numbers)
    except ConfigError as refused:
        print("refused:", refused)
    print("children:", CHILDREN.read_text().split())  # noqa: ASYNC240
    report = await PipeFrame(2, executor="threads").run(p.Numbers)
    print("threads:", report.delivered)


if __name__ == "__main__":
    asyncio.run(main())
