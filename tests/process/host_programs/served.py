"""An ASGI app with a warm frame in its lifespan: 200 says that the record's sink has it in the file."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

from pipeframe_async import PipeFrame, PipelineEngine
from tests.process.host_programs.stubborn import work

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class Kept(PipelineEngine[int, int]):
    source = "stream"
    steps = (work,)

    async def sink(self, records: list[int]) -> None:
        line = "".join(f"{record}\n" for record in records)
        os.write(log, line.encode())


log = os.open("kept.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
frame = PipeFrame(2, drain_timeout=5)


async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
    else:
        await request(int(scope["path"].strip("/")), send)


async def lifespan(receive: Receive, send: Send) -> None:
    async with AsyncExitStack() as stack:
        await receive()
        await stack.enter_async_context(frame)
        await send({"type": "lifespan.startup.complete"})
        await receive()
    await send({"type": "lifespan.shutdown.complete"})


async def request(record: int, send: Send) -> None:
    report = await frame.run(Kept, [record])
    status = 200 if report.delivered == 1 else 500
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})
