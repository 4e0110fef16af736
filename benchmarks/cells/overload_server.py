"""An app for more than it can do: `python -m benchmarks.cells.overload_server KEY ROUNDS DEADLINE` prints its port.

`/ping` is trivial, `/work` is CPU, and answers 503 where it is refused. What differs is what keeps the many out.
"""

from __future__ import annotations

import asyncio
import math
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
from pipeframe_async import Overloaded, PipeFrame, PipelineEngine, apply


class Refused(Exception):
    """To be answered with 503; come again after so many seconds."""


Work = Callable[[int], Awaitable[int]]


@asynccontextmanager
async def by_call(rounds: int, deadline: float) -> AsyncIterator[Work]:
    """`frame.call` with a deadline, and a frame of the default size."""

    class Turned(PipelineEngine[int, int]):
        steps = [apply(partial(turned, rounds=rounds))]

    async with PipeFrame() as frame:

        async def work(number: int) -> int:
            try:
                return await frame.call(Turned, number, deadline=deadline)
            except Overloaded as error:
                raise Refused(error.retry_after) from None

        await frame.ready(Turned)
        yield work


@asynccontextmanager
async def by_semaphore(rounds: int, deadline: float) -> AsyncIterator[Work]:
    """`run_in_executor` behind a semaphore of as many as there are workers: who comes waits for one."""
    workers = max(1, len(os.sched_getaffinity(0)) - 1)
    free = asyncio.Semaphore(workers)
    with ProcessPoolExecutor(workers, mp_context=get_context("forkserver")) as pool:

        async def work(number: int) -> int:
            async with free:
                return await asyncio.get_running_loop().run_in_executor(pool, turned, number, rounds)

        yield work


@asynccontextmanager
async def by_semaphore_in_time(rounds: int, deadline: float) -> AsyncIterator[Work]:
    """The same, and who has not got it within the deadline is refused then."""
    workers = max(1, len(os.sched_getaffinity(0)) - 1)
    free = asyncio.Semaphore(workers)
    with ProcessPoolExecutor(workers, mp_context=get_context("forkserver")) as pool:

        async def work(number: int) -> int:
            try:
                async with asyncio.timeout(deadline):
                    await free.acquire()
            except TimeoutError:
                raise Refused(1.0) from None
            try:
                return await asyncio.get_running_loop().run_in_executor(pool, turned, number, rounds)
            finally:
                free.release()

        yield work


WAYS: dict[str, Callable[[int, float], AbstractAsyncContextManager[Work]]] = {
    "ours": by_call,
    "semaphore": by_semaphore,
    "in_time": by_semaphore_in_time,
}


def app_of(key: str, rounds: int, deadline: float) -> Any:
    """The app."""
    fastapi = import_module("fastapi")
    work: list[Work] = []

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        async with WAYS[key](rounds, deadline) as how:
            work.append(how)
            yield

    app = fastapi.FastAPI(lifespan=lifespan)

    async def ping() -> str:
        return "pong"

    async def worked(number: int) -> Any:
        try:
            return await work[0](number)
        except Refused as refused:
            after = str(math.ceil(refused.args[0]))
            return fastapi.Response(status_code=503, headers={"Retry-After": after})

    app.get("/ping")(ping)
    app.get("/work/{number}", response_model=None)(worked)
    return app


def main(key: str, rounds: int, deadline: float) -> None:
    """Serve."""
    uvicorn = import_module("uvicorn")
    listening = socket.create_server(("127.0.0.1", 0), backlog=2048)
    print(listening.getsockname()[1], flush=True)
    config = uvicorn.Config(app_of(key, rounds, deadline), log_level="error", access_log=False)
    uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
