"""The monitor's server: a thread of its own with a loop of its own, so that a blocked loop is reported and not shared.

    /  the page     /events  what it shows, as it changes     /stats.json  the same, once     /failures.json  tracebacks
    /metrics        /livez   /readyz

Comes in: what there is to show, whenever somebody asks. Only requests that carry the token are answered, where there is
one; probes are answered without, for they tell no more than whether it is well, and why not.

Process: the parent; all of it but `begin` and `end` runs in its own thread.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import json
import logging
import math
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, Final, Literal, Protocol

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from pipeframe_async.observe.monitor.page import page
from pipeframe_async.stats import Health

logger = logging.getLogger("pipeframe_async")
_ITS_LOGGERS: Final = tuple(logging.getLogger(f"uvicorn.{name}") for name in ("error", "access", "asgi"))

UPDATE: Final = 0.5
"""Seconds between two updates of a page, at least."""
FRESH: Final = 0.2
"""Seconds for which one text does for all pages: to make it costs the GIL a millisecond or, of many failures, more."""
TICK: Final = 0.1
"""Seconds between two looks whether anybody is left to be shown. Shorter costs the GIL, longer holds a port."""
END_SECONDS: Final = 2.0
"""Seconds that the thread has to end. Pages are told at once; longer would hold up a run's end for a slow browser."""
HEADERS: Final[Mapping[str, str]] = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}


class Watched(Protocol):
    """What the server asks; in any thread, and at once."""

    def told(self, *, tracebacks: bool = False) -> dict[str, Any]:
        """What there is to show."""

    def health(self) -> Health:
        """Whether it is well."""

    def metrics(self, accept: str) -> tuple[bytes, str]:
        """Its metrics, and their content type."""

    def abandoned(self) -> bool:
        """Whether its loop is closed, and nobody can close it any more."""


class _Serving(uvicorn.Server):
    """Ends when it is told to, and not a tenth of a second later; or when what it shows is abandoned.

    Attributes:
        ending: it is to end.
    """

    def __init__(self, config: uvicorn.Config, abandoned: Callable[[], bool]) -> None:
        super().__init__(config)
        self.ending = asyncio.Event()
        self._abandoned = abandoned

    async def main_loop(self) -> None:
        ticks = 0
        while not await self.on_tick(ticks) and not self._abandoned():
            ticks += 1
            await self.wait(TICK)
        self.should_exit = True
        self.ending.set()

    async def wait(self, seconds: float) -> None:
        """For so long, or until it is to end."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.ending.wait()


class _Silent(logging.Filter):
    """Keeps what the monitor's thread does out of these loggers: the app's own server has the same ones."""

    def __init__(self, thread: threading.Thread) -> None:
        super().__init__()
        self._thread = thread

    def filter(self, record: logging.LogRecord) -> bool:
        return record.thread != self._thread.ident


class Server:
    """Serves from `begin` to `end`.

    Args:
        listening: the socket; the server's from here on.
        watched: what it shows.
        token: what requests must carry; None where they must name this machine, False where anybody may look.
    """

    def __init__(self, listening: socket.socket, watched: Watched, token: str | Literal[False] | None) -> None:
        self._socket = listening
        self._watched = watched
        self._token = token
        # Nothing of its logging is said here: it would set levels and handlers of the app's own server too.
        config = uvicorn.Config(self._app(), log_config=None, lifespan="off", timeout_graceful_shutdown=1, ws="none")
        self._server = _Serving(config, watched.abandoned)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._over: Future[None] = Future()
        self._thread = threading.Thread(target=self._serve, name="pipeframe-monitor", daemon=True)
        self._silent = _Silent(self._thread)
        self._said = -FRESH, ""

    def begin(self) -> None:
        """Serve from now on."""
        for its in _ITS_LOGGERS:
            its.addFilter(self._silent)
        self._thread.start()

    def end(self) -> None:
        """Tell the pages that are open how it ended, and stop: soon, and `gone` says when."""
        self._server.should_exit = True
        with suppress(AttributeError, RuntimeError):  # the thread has not begun, and sees it; or it has ended
            self._loop.call_soon_threadsafe(self._server.ending.set)  # type: ignore[union-attr]

    async def gone(self) -> None:
        """When it has stopped, or takes too long. A cancel leaves it to itself."""
        await asyncio.wait([asyncio.wrap_future(self._over)], timeout=END_SECONDS)  # set by its thread
        if self._over.done():
            self._thread.join(TICK)  # it has nothing to do any more

    def _serve(self) -> None:
        try:
            asyncio.run(self._served())
        except Exception:
            logger.exception("the monitor has ended")
        finally:
            self._socket.close()
            for its in _ITS_LOGGERS:
                its.removeFilter(self._silent)
            self._over.set_result(None)

    async def _served(self) -> None:
        self._loop = asyncio.get_running_loop()
        await self._server.serve(sockets=[self._socket])

    def _app(self) -> Starlette:
        routes: dict[str, Callable[[Request], Response]] = {
            "/": self._page,
            "/events": self._events,
            "/stats.json": lambda request: _json(self._watched.told()),
            "/failures.json": lambda request: _json(self._watched.told(tracebacks=True)["runs"]),
            "/metrics": self._metrics,
        }
        probes: dict[str, Callable[[Request], Response]] = {
            "/livez": lambda request: self._probe(request, "live"),
            "/readyz": lambda request: self._probe(request, "ready"),
        }
        return Starlette(
            routes=[
                *(Route(path, self._guarded(answer), methods=["GET"]) for path, answer in routes.items()),
                *(Route(path, _open(answer), methods=["GET"]) for path, answer in probes.items()),
            ]
        )

    def _guarded(self, answer: Callable[[Request], Response]) -> Callable[[Request], Any]:
        """With a look at who asks: another site's page must not read ours through the browser of who has it open."""

        async def guarded(request: Request) -> Response:
            if self._token is None and not _is_ours(request.headers.get("host", "")):
                return PlainTextResponse("this name is not the monitor's: use the address it has said\n", 403)
            if self._token and not _same(_token_of(request), self._token):
                return PlainTextResponse(
                    "the monitor wants its token: ?token=… or Authorization: Bearer …\n",
                    401,
                    {"www-authenticate": "Bearer"},
                )
            return _answered(answer, request)

        return guarded

    def _page(self, request: Request) -> Response:
        return HTMLResponse(page(None))

    def _metrics(self, request: Request) -> Response:
        text, content_type = self._watched.metrics(request.headers.get("accept", ""))
        return Response(text, headers={"content-type": content_type})

    def _probe(self, request: Request, what: str) -> Response:
        health = self._watched.health()
        well = health.live if what == "live" else health.ready
        said = "ok" if well else f"not {what}: {health.reason}"
        return PlainTextResponse(f"{said}\n", 200 if well else 503)

    def _events(self, request: Request) -> Response:
        return StreamingResponse(self._told(), media_type="text/event-stream")

    async def _told(self) -> AsyncIterator[str]:
        """What there is to show, twice a second; and at the end once more, as how it ended."""
        yield "retry: 1000\n\n"
        while not self._server.should_exit:
            yield f"data: {self._text()}\n\n"
            await self._server.wait(UPDATE)  # the server cancels it where the browser has left
        yield f"event: ended\ndata: {self._text()}\n\n"

    def _text(self) -> str:
        now, (since, text), ends = time.monotonic(), self._said, self._server.should_exit
        if now - since > FRESH or (ends and since < math.inf):
            text = json.dumps(self._watched.told())
            self._said = math.inf if ends else now, text  # how it ended is made once, and after it has
        return text


def _json(told: object) -> Response:
    """In ASCII: names are the user's, and UTF-8 cannot write all of them."""
    return Response(json.dumps(told), media_type="application/json")


def _open(answer: Callable[[Request], Response]) -> Callable[[Request], Any]:
    async def answered(request: Request) -> Response:
        return _answered(answer, request)

    return answered


def _answered(answer: Callable[[Request], Response], request: Request) -> Response:
    """An answer; one that cannot be given is told of in our log, for the server's own is silent."""
    try:
        response = answer(request)
    except Exception:
        logger.exception("the monitor cannot answer %s", request.url.path)
        response = PlainTextResponse("this cannot be told; the log of the program says why\n", 500)
    response.headers.update(HEADERS)
    return response


def _token_of(request: Request) -> str:
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    return value if scheme.lower() == "bearer" else request.query_params.get("token", "")


def _same(given: str, token: str) -> bool:
    return hmac.compare_digest(given.encode(), token.encode())


def _is_ours(host: str) -> bool:
    """Whether a Host header names an address, or this machine: a name of somebody else's may lead here too."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() and not host.endswith("]") else host
    if name.lower() == "localhost":
        return True
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True
