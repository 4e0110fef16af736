"""One web app under uvicorn: `python -m benchmarks.cells.web_server KEY ROUNDS` prints its port and serves until ended.

The same app three times: `/ping` is trivial, `/work` is CPU. What differs is how that leaves the event loop, if at all.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from importlib import import_module
from multiprocessing import get_context
from typing import Any

from benchmarks.works.cpu import turned
from pipeframe_async import PipeFrame, PipelineEngine, apply

Work = Callable[[int], Awaitable[int]]


@asynccontextmanager
async def by_call(rounds: int) -> AsyncIterator[Work]:
    """`frame.call`, with a frame of the default size."""

    class Turned(PipelineEngine[int, int]):
        steps = [apply(partial(turned, rounds=rounds))]

    async with PipeFrame() as frame:
        yield partial(frame.call, Turned)


@asynccontextmanager
async def by_pool(rounds: int) -> AsyncIterator[Work]:
    """A bare `run_in_executor`, with as many workers."""
    workers = max(1, len(os.sched_getaffinity(0)) - 1)
    with ProcessPoolExecutor(workers, mp_context=get_context("forkserver")) as pool:
        yield lambda number: asyncio.get_running_loop().run_in_executor(pool, turned, number, rounds)


@asynccontextmanager
async def inline(rounds: int) -> AsyncIterator[Work]:
    """On the event loop itself."""

    async def work(number: int) -> int:
        return turned(number, rounds)

    yield work


WAYS: dict[str, Callable[[int], AbstractAsyncContextManager[Work]]] = {
    "ours": by_call,
    "executor": by_pool,
    "inline": inline,
}


def app_of(key: str, rounds: int) -> Any:
    """The app."""
    fastapi = import_module("fastapi")
    work: list[Work] = []

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        async with WAYS[key](rounds) as how:
            work.append(how)
            yield

    app = fastapi.FastAPI(lifespan=lifespan)

    async def ping() -> str:
        return "pong"

    async def worked(number: int) -> int:
        return await work[0](number)

    app.get("/ping")(ping)
    app.get("/work/{number}")(worked)
    return app


def main(key: str, rounds: int) -> None:
    """Serve."""
    uvicorn = import_module("uvicorn")
    listening = socket.create_server(("127.0.0.1", 0))
    print(listening.getsockname()[1], flush=True)
    config = uvicorn.Config(app_of(key, rounds), log_level="error", access_log=False)
    uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
