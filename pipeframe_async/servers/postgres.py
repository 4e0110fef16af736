"""PostgreSQL: connections that notice when their server is gone, and which errors mean that."""

from __future__ import annotations

from typing import Any

from pipeframe_async.errors import ConfigError, text_of
from pipeframe_async.servers.reach import Reach, needed
from pipeframe_async.urls import shown

EXTRA = "postgres"
QUIET = 10
"""Seconds without a sign of the server after which a connection counts as broken."""
ALIVE = {
    "connect_timeout": QUIET,
    "keepalives_idle": QUIET,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": QUIET * 1000,
    "client_encoding": "utf8",  # which COPY is written in, whatever the database has
}
SOON = (
    "starting up",
    "shutting down",
    "in recovery",
    "not yet accepting",
    "not accepting",
    "too many",
    "remaining connection slots",
)
"""What a server says that refuses a connection just now."""
GONE = ("08", "57P", "53300", "40")
"""Beginnings of states in which a connection is gone, none is to be had, or a transaction has met another's, as in a
deadlock, and may be tried again."""


def checked(url: str) -> None:
    """Refuse what is no URL of such a server, or a missing library.

    Raises:
        ConfigError: it is.
    """
    psycopg = needed("psycopg", EXTRA)
    try:
        needed("psycopg.conninfo", EXTRA).conninfo_to_dict(url)
    except psycopg.Error as error:
        raise ConfigError(f"{shown(url)!r} is no URL of a PostgreSQL server: {text_of(error)}") from error


async def connected(url: str) -> Any:
    """A connection; each statement is a transaction, unless one is begun."""
    return await needed("psycopg", EXTRA).AsyncConnection.connect(url, autocommit=True, **ALIVE)


def reach(name: str) -> Reach:
    """Whether such a server is there."""
    psycopg = needed("psycopg", EXTRA)

    def away(error: BaseException) -> bool:
        if isinstance(error, OSError):
            return True
        if not isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError)):
            return False
        if error.sqlstate is not None:
            return str(error.sqlstate).startswith(GONE)
        said = str(error)  # no state is told of a connection that was never made
        return "FATAL:" not in said or any(part in said for part in SOON)

    return Reach(name, away, extra=EXTRA)


def quoted(*names: str) -> str:
    """Names as SQL has them."""
    return ", ".join('"' + name.replace('"', '""') + '"' for name in names)


def qualified(table: str) -> str:
    """A table's name as SQL has it; `schema.table` is two names."""
    return ".".join(quoted(part) for part in table.split("."))


def in_query(name: str) -> str:
    """A name in a query with parameters, where `%` begins one."""
    return name.replace("%", "%%")
