"""SQLite files of our own kinds: opened, known by kind and format, and their errors told as what is meant.

    WAL, synchronous=FULL: what was committed survives the end of the process, and that of the machine.

Blocks: it is called in threads.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from pipeframe_async.errors import ConfigError

HEAD = b"SQLite format 3\0"
"""What every file of SQLite's begins with."""
APPLICATION = slice(68, 72)
"""Where the number stands that `PRAGMA application_id` gives."""
BUSY_SECONDS = 5.0
"""That another connection may hold up a transaction, a backup for instance. Longer looks like a job that hangs."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of file.

    Attributes:
        name: for messages.
        application: tells it from any other file of SQLite's.
        format: of what is in it; a file of a higher one is refused.
        remedy: what to do about one that cannot be used.
        error: what says that it cannot.
    """

    name: str
    application: int
    format: int
    remedy: str
    error: type[ConfigError]

    def opened(self, path: str) -> sqlite3.Connection:
        """Open one to write; it is made where there is none, and is none of this kind until `mark`.

        Raises:
            ConfigError: it is damaged, newer, or something else: an `error`.
            OSError: it cannot be read or written.
        """
        with self.told_of(path):
            database = connected(f"{address(path)}")
            try:
                self.check(database, path)
                database.execute("PRAGMA journal_mode = WAL")
                database.execute("PRAGMA synchronous = FULL")
            except BaseException:
                database.close()
                raise
        return database

    def mark(self, database: sqlite3.Connection) -> None:
        """It is of this kind; in the caller's transaction."""
        database.execute(f"PRAGMA application_id = {self.application}")
        database.execute(f"PRAGMA user_version = {self.format}")

    def is_something_else(self, database: sqlite3.Connection) -> bool:
        """Whether it is a database of another kind."""
        (application,) = database.execute("PRAGMA application_id").fetchone()
        (tables,) = database.execute("SELECT count(*) FROM sqlite_master").fetchone()
        return bool(tables and application != self.application)

    def has_made(self, path: str) -> bool:
        """Whether a file, damaged or not, is known by its first bytes to be of this kind."""
        with open(path, "rb") as file:
            head = file.read(APPLICATION.stop)
        return head.startswith(HEAD) and int.from_bytes(head[APPLICATION]) == self.application

    def check(self, database: sqlite3.Connection, path: str) -> None:
        """That it is of this kind, or empty.

        Raises:
            ConfigError: it is not: an `error`.
        """
        (version,) = database.execute("PRAGMA user_version").fetchone()
        if self.is_something_else(database):
            raise self.error(f"{path} is a database of something else, and no {self.name}: name another file")
        if version > self.format:
            raise self.error(
                f"{path} was written by a newer pipeframe_async, as format {version}, and this one knows "
                f"{self.format}: upgrade it, or {self.remedy}"
            )

    @contextmanager
    def told_of(self, path: str) -> Iterator[None]:
        """What SQLite raises, as what is meant."""
        try:
            yield
        except sqlite3.OperationalError as error:
            raise OSError(f"{path} could not be read or written: {error}") from error
        except sqlite3.DatabaseError as error:
            if not self.has_made(path):
                raise self.error(f"{path} is no {self.name} ({error}): name another file") from error
            raise self.error(f"{path} is damaged ({error}): {self.remedy}") from error


def is_in_its_place(path: str, file: os.stat_result) -> bool:
    """Whether a file is still where it was opened. One that was removed, or moved away, is written for nobody."""
    with suppress(FileNotFoundError):
        return os.path.samestat(file, os.stat(path))
    return False


def address(path: str) -> str:
    """A path for SQLite, to which `?mode=ro` may be added."""
    return Path(path).absolute().as_uri()


def connected(where: str) -> sqlite3.Connection:
    """A connection to an address, for one thread at a time, without transactions of its own."""
    return sqlite3.connect(where, uri=True, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
