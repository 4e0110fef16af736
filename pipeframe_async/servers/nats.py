"""NATS: connections that are made anew by whoever calls, and which errors mean that the server is away."""

from __future__ import annotations

from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from pipeframe_async.errors import ConfigError
from pipeframe_async.servers.reach import Reach, needed
from pipeframe_async.urls import shown

EXTRA = "nats"
QUIET = 5
"""Seconds without a sign of the server after which it is asked; after twice that the connection counts as broken."""


def checked(url: str) -> None:
    """Refuse what is no URL of such a server, or a missing library.

    Raises:
        ConfigError: it is.
    """
    needed("nats", EXTRA)
    try:
        good = urlsplit(url).scheme in ("nats", "tls", "ws", "wss") and bool(urlsplit(url).hostname)
    except ValueError:  # half an IPv6 address
        good = False
    if not good:
        raise ConfigError(f"{shown(url)!r} is no URL of a NATS server: write nats://host:4222")


async def connected(url: str) -> Any:
    """A connection, which ends when its server is gone: `Reach` makes another one, and tells."""

    async def heard(error: BaseException) -> None:
        """It is raised where it matters."""

    options = {
        "allow_reconnect": False,
        "max_reconnect_attempts": 1,  # without it the client itself tries for two minutes, and says nothing
        "reconnect_time_wait": 0.05,
        "ping_interval": QUIET,
        "max_outstanding_pings": 2,
        "connect_timeout": QUIET,
    }
    return await needed("nats", EXTRA).connect(url, error_cb=heard, **options)


async def closed(connection: Any) -> None:
    """It is, whatever state it was in."""
    with suppress(Exception):
        await connection.close()


def reach(name: str) -> Reach:
    """Whether such a server is there."""
    errors, streams = needed("nats.errors", EXTRA), needed("nats.js.errors", EXTRA)
    signs = (
        OSError,
        TimeoutError,
        EOFError,
        errors.TimeoutError,
        errors.NoServersError,
        errors.ConnectionClosedError,
        errors.ConnectionReconnectingError,
        errors.ConnectionDrainingError,
        errors.StaleConnectionError,
        errors.NoRespondersError,
        streams.ServiceUnavailableError,
        streams.NoStreamResponseError,
    )
    return Reach(name, lambda error: isinstance(error, signs), extra=EXTRA)
