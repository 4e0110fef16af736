"""A web app whose heavy work leaves the event loop free: `uvicorn examples.web_app:app`

    curl -d '{"text": "how often each word occurs"}' -H 'content-type: application/json' localhost:8000/score
    yes 'one line after the other' | curl -sNT - -X POST localhost:8000/lines

One frame lives as long as the app, and its workers with it. `/score` is one record a request, and requests at the
same time share batches; who would wait for too long is told at once to come again later. `/lines` is a pipeline a
request: the body is its feed, the response its results, and neither is ever held in whole. A client that reads slowly
slows its own body down; one that goes away ends its work.
"""

import asyncio
import hashlib
import json
import math
import os
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import Response
from pydantic import BaseModel
from starlette.types import Message, Receive, Scope, Send

from pipeframe_async import Overloaded, PipeFrame, PipelineEngine, StepError

T = TypeVar("T")

ROUNDS = 200_000  # about a tenth of a second


class Text(BaseModel):
    text: str


def score(text: str) -> tuple[dict[str, Any], bool]:
    """Something that takes a while: here, a hash that is meant to."""
    if not text.strip():
        raise ValueError("there is nothing to score")
    return {"text": text, "score": hashlib.pbkdf2_hmac("sha256", text.encode(), b"salt", ROUNDS).hex()[:16]}, True


def measure(line: bytes) -> tuple[bytes, bool]:
    """One line of the stream."""
    found = {"words": len(line.split()), "sha256": hashlib.sha256(line).hexdigest()[:16]}
    return json.dumps(found).encode() + b"\n", True


class Score(PipelineEngine[str, dict[str, Any]]):
    steps = [score]


class Lines(PipelineEngine[bytes, bytes]):
    steps = [measure]
    source = "stream"
    timeout = None  # the client decides when it ends


class Gone(Exception):
    """The client has left."""


class Streamed(Response):
    """The results of a pipeline that is fed with the lines of the request's body, one after the other.

    Starlette's own StreamingResponse listens for the client's end by itself, and would take messages of the body.
    """

    def __init__(self, frame: PipeFrame, pipeline: type[PipelineEngine[bytes, bytes]]) -> None:
        super().__init__(media_type="application/x-ndjson")
        self.frame = frame
        self.pipeline = pipeline
        del self.headers["content-length"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        chunks: asyncio.Queue[bytes] = asyncio.Queue(1)  # one in hand: more is read when this is taken
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        try:
            async with asyncio.TaskGroup() as group:
                receiving = group.create_task(receive_all(receive, chunks))
                async with self.frame.stream(self.pipeline, lines(chunks)) as results:
                    async for result in results:
                        await send({"type": "http.response.body", "body": result, "more_body": True})
                receiving.cancel()
        except* Gone:
            pass  # the group has ended what was under way
        await send({"type": "http.response.body", "body": b""})


async def unless_gone(request: Request, work: Awaitable[T]) -> T:
    """What the work comes to; it is cancelled when the client leaves, which nobody else looks for.

    Raises:
        Gone: it has left.
    """
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(left(request.receive))
    try:
        await asyncio.wait([working, leaving], return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise Gone
        return working.result()
    finally:
        working.cancel()
        leaving.cancel()


async def left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def receive_all(receive: Receive, chunks: asyncio.Queue[bytes]) -> None:
    """Take in the body as there is room, and after it wait for the client to leave."""
    while True:
        message: Message = await receive()
        if message["type"] == "http.disconnect":
            raise Gone
        if body := message.get("body"):
            await chunks.put(body)
        if not message.get("more_body"):
            await chunks.put(b"")


async def lines(chunks: asyncio.Queue[bytes]) -> AsyncIterator[bytes]:
    """The lines of a body; an empty chunk ends it."""
    rest = b""
    while chunk := await chunks.get():
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line
    if rest:
        yield rest


def create_app(workers: int | None = None, buffer_size: int = 1_000, deadline: float = 5.0) -> FastAPI:
    frame = PipeFrame(workers, buffer_size)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with frame:  # workers start with the first work and end with the app
            yield

    app = FastAPI(lifespan=lifespan)

    @app.get("/ping")
    async def ping() -> str:
        return "pong"

    @app.get("/stats")
    async def stats() -> dict[str, float]:
        now = frame.stats()
        return {"fed": now.fed, "delivered": now.delivered, "aborted": now.aborted, "in_flight": now.in_flight}

    @app.post("/score")
    async def score_one(text: Text, request: Request) -> Any:
        try:
            return await unless_gone(request, frame.call(Score, text.text, deadline=deadline))
        except StepError as error:
            raise HTTPException(422, str(error)) from error
        except Overloaded as error:  # nobody has worked on it
            raise HTTPException(503, str(error), {"Retry-After": str(math.ceil(error.retry_after))}) from error
        except Gone:
            return Response(status_code=499)  # nobody reads it

    @app.post("/lines")
    async def measure_lines(request: Request) -> Response:
        return Streamed(frame, Lines)

    return app


app = create_app(
    buffer_size=int(os.environ.get("BUFFER_SIZE", "1000")), deadline=float(os.environ.get("DEADLINE", "5"))
)
