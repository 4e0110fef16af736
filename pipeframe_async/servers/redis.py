"""Redis and what speaks as it does (Valkey, KeyDB): clients that try once, and say so when the server is not there."""

from __future__ import annotations

import re
from typing import Any

from pipeframe_async.errors import ConfigError, text_of
from pipeframe_async.servers.reach import Reach, needed
from pipeframe_async.urls import shown

EXTRA = "redis"
QUIET = 10.0
"""Seconds without a reply after which a connection counts as broken; reads that wait for records wait a tenth of it."""
BUSY = re.compile(r"(^|: \(['\"])(BUSY |UNBLOCKED force unblock)")
"""What a server replies that a script keeps, or that becomes a replica; in a pipeline it is behind the command."""


def client(url: str) -> Any:
    """A client, which connects when it is used first.

    Raises:
        ConfigError: the URL is none; or the library is missing.
    """
    redis, retry, backoff = (needed(f"redis.{part}", EXTRA) for part in ("asyncio", "asyncio.retry", "backoff"))
    try:
        made = redis.Redis.from_url(
            url,
            retry=retry.Retry(backoff.NoBackoff(), 0),  # `Reach` tries again, and tells
            socket_timeout=QUIET,
            socket_connect_timeout=QUIET / 2,
            protocol=2,
        )
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{shown(url)!r} is no URL of a Redis server: {text_of(error)}") from error
    for command in ("XREADGROUP", "XAUTOCLAIM", "XPENDING", "XCLAIM", "XINFO GROUPS"):
        made.set_response_callback(command, lambda reply, **_: reply)  # as the server has sent it
    return made


def reach(name: str) -> Reach:
    """Whether such a server is there."""
    exceptions = needed("redis.exceptions", EXTRA)
    refusals = (exceptions.AuthenticationError, exceptions.AuthorizationError)
    signs = (  # it is not there, or is not the one that may be asked just now
        OSError,
        exceptions.ConnectionError,
        exceptions.TimeoutError,
        exceptions.ReadOnlyError,
        exceptions.ClusterDownError,
        exceptions.MasterDownError,
        exceptions.TryAgainError,
    )

    def away(error: BaseException) -> bool:
        if isinstance(error, refusals):
            return False
        if isinstance(error, signs):
            return True
        return isinstance(error, exceptions.ResponseError) and BUSY.search(str(error)) is not None

    return Reach(name, away, extra=EXTRA)
