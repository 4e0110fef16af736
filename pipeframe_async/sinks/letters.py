"""The file of dead letters: one entry for each failed record, in SQLite; counted, found, changed and removed here.

Blocks: it is called in threads, one at a time. A file is made by the first failure, not before.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime
from types import NoneType
from typing import Any, Final

from pipeframe_async.databases import Kind, is_in_its_place
from pipeframe_async.errors import ConfigError
from pipeframe_async.keeping import Kept, given_back, kept, shown
from pipeframe_async.model import AnyFailure, Child, Failure

LETTERS: Final = Kind(
    "file of dead letters", 0x5066446C, format=1, remedy="name another file", error=ConfigError
)  # `PfDl`

TABLE: Final = """
CREATE TABLE IF NOT EXISTS letters (
    id INTEGER PRIMARY KEY AUTOINCREMENT, writer TEXT, pipeline TEXT, step TEXT, kind TEXT, error_type TEXT,
    message TEXT, traceback TEXT, child TEXT, attempts INTEGER, first REAL, last REAL, form TEXT, record BLOB,
    log TEXT)
"""
LOG: Final = "ALTER TABLE letters ADD COLUMN log TEXT"
"""Of a file that was made before there was one; who made it reads and writes it as before."""
INDEX: Final = "CREATE INDEX IF NOT EXISTS by_kind ON letters (pipeline, step, kind, error_type)"
FIELDS: Final = (
    "id, pipeline, step, kind, error_type, message, traceback, child, attempts, first, last, form, record, log"
)
NO_LOG: Final = FIELDS.replace("log", "'' AS log")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which entries: those that are all of this.

    Args:
        pipeline, step, kind, error_type: as an entry has them; None is any.
        since: that have failed last at this time or later: seconds since 1970, or a datetime (one without a time zone
            is of this machine's).
        ids: their numbers; None is any.

    Raises:
        ConfigError: a value is none of these.
    """

    pipeline: str | None = None
    step: str | None = None
    kind: str | None = None
    error_type: str | None = None
    since: float | datetime | None = None
    ids: Sequence[int] | None = None

    def __post_init__(self) -> None:
        for name in ("pipeline", "step", "kind", "error_type"):
            if not isinstance(value := getattr(self, name), (str, NoneType)):
                raise ConfigError(f"{name}={value!r}: must be the name that entries have, a text")
        if not _is_number(self.since) and not isinstance(self.since, (datetime, NoneType)):
            raise ConfigError(f"since={self.since!r}: must be seconds since 1970, or a datetime")
        if self.ids is not None and (
            isinstance(self.ids, (str, bytes))
            or not isinstance(self.ids, Sequence)
            or not all(map(_is_number, self.ids))
        ):
            raise ConfigError(f"ids={self.ids!r}: must be a list of the numbers of entries")

    def clause(self) -> tuple[str, list[Any]]:
        """As a condition of SQL, and its values."""
        conditions, values = ["1"], list[Any]()
        for name in ("pipeline", "step", "kind", "error_type"):
            if (value := getattr(self, name)) is not None:
                conditions.append(f"{name} = ?")
                values.append(value)
        if self.since is not None:
            conditions.append("last >= ?")
            values.append(self.since.timestamp() if isinstance(self.since, datetime) else self.since)
        if self.ids is not None:
            conditions.append("id IN (SELECT value FROM json_each(?))")  # one value, for of those there may be few
            values.append(json.dumps(list(self.ids)))
        return " AND ".join(conditions), values


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


EVERY: Final = Wanted()


@dataclass(frozen=True, slots=True)
class Group:
    """Entries that have failed in the same way: how many, when last, and the newest of them."""

    pipeline: str
    step: str
    kind: str
    error_type: str
    count: int
    last: float
    newest: Letter


@dataclass(frozen=True, slots=True)
class Letter:
    """An entry.

    Attributes:
        id: its number.
        pipeline, step, kind, error_type, message, traceback, attempts: as its `Failure` had them, the last time.
        child: which child of the record had failed, as a path; None where there were none.
        log: the last lines that were logged at the record, where it has cost a worker.
        first, last: when it has failed for the first and the last time, seconds since 1970.
        kept: its record.
    """

    id: int
    pipeline: str
    step: str
    kind: Any
    error_type: str
    message: str
    traceback: str
    child: tuple[int, ...] | None
    attempts: int
    first: float
    last: float
    kept: Kept = field(repr=False)
    log: str = ""

    def record(self, *, trust: bool = False) -> Any:
        """The record as it was fed; `trust`: also where it is kept as a pickle, which can run any code.

        Raises:
            StateError: it is a pickle, and is not trusted; or could not be kept.
        """
        return given_back(self.kept, trust=trust)

    def as_dict(self) -> dict[str, Any]:
        """For JSON: as `Failure.as_dict` has it, with its number, its pipeline and its times."""
        record, form = shown(self.kept)
        told = asdict(self)
        del told["kept"]
        return told | {"record": record, "record_form": form}

    def failure(self) -> AnyFailure:
        """As a value, without its record."""
        child = None if self.child is None else Child(self.child, None)
        told = self.step, self.kind, self.error_type, self.message, self.traceback, self.attempts, child, self.log
        return Failure(None, *told)


class Letters:
    """The file, open or not yet made.

    Args:
        path: of it.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._database: sqlite3.Connection | None = None
        self._file: os.stat_result | None = None  # that it is of
        self._place = ""  # of that, wherever the program goes meanwhile

    def add(self, failures: Iterable[AnyFailure], *, pipeline: str, writer: str) -> None:
        """Keep failures: all of them, or none.

        Raises:
            OSError: it cannot be written.
        """
        now = time.time()
        rows = [
            (writer, pipeline, *_told(failure), failure.attempts, now, now, *kept(failure.record), _log(failure))
            for failure in failures
        ]
        with self._changing(create=True) as database:
            database.executemany(
                "INSERT INTO letters (writer, pipeline, step, kind, error_type, message, traceback, child, attempts, "
                "first, last, form, record, log) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                rows,
            )

    def settle(self, handled: Iterable[int], failed: Iterable[tuple[int, AnyFailure]]) -> None:
        """Entries have been replayed, by their numbers: those that were handled are removed, the others count on.

        Raises:
            OSError: it cannot be written: nothing has changed.
        """
        now = time.time()
        rows = [(*_told(failure), failure.attempts, now, _log(failure), number) for number, failure in failed]
        with self._changing() as database:
            database.executemany("DELETE FROM letters WHERE id = ?", [(number,) for number in handled])
            database.executemany(
                "UPDATE letters SET step = ?, kind = ?, error_type = ?, message = ?, traceback = ?, child = ?, "
                "attempts = attempts + ?, last = ?, log = ? WHERE id = ?",
                rows,
            )

    def drop(self, wanted: Wanted) -> int:
        """Remove those; returns how many there were."""
        clause, values = wanted.clause()
        with self._changing() as database:
            return database.execute(f"DELETE FROM letters WHERE {clause}", values).rowcount

    def drop_later(self, writer: str, number: int) -> None:
        """Remove what one writer has added behind this number."""
        with self._changing() as database:
            database.execute("DELETE FROM letters WHERE writer = ? AND id > ?", (writer, number))

    @property
    def newest(self) -> int:
        """The number of the entry that was added last, ever; 0 where there was none."""
        with self._looking() as database:
            row = database.execute("SELECT seq FROM sqlite_sequence WHERE name = 'letters'").fetchone()
        return 0 if row is None else int(row[0])

    def count(self, wanted: Wanted = EVERY, *, form: str | None = None) -> int:
        """How many there are; `form`: whose records are kept so."""
        clause, values = wanted.clause()
        only = ("", []) if form is None else (" AND form = ?", [form])
        with self._looking() as database:
            query = f"SELECT count(*) FROM letters WHERE {clause}{only[0]}"
            return int(database.execute(query, [*values, *only[1]]).fetchone()[0])

    def find(self, wanted: Wanted = EVERY, *, most: int = -1, after: int = 0, until: int | None = None) -> list[Letter]:
        """Entries, oldest first: at most so many, behind a number, and up to one."""
        clause, values = wanted.clause()
        last = self.newest if until is None else until
        with self._looking() as database:
            fields = FIELDS if _has_log(database) else NO_LOG
            rows = database.execute(
                # By their numbers, from there on: by the index all that are wanted would be sorted for each look.
                f"SELECT {fields} FROM letters NOT INDEXED WHERE {clause} AND id > ? AND id <= ? ORDER BY id LIMIT ?",
                [*values, after, last, most],
            )
            return [_letter(row) for row in rows]

    def groups(self, wanted: Wanted = EVERY) -> list[Group]:
        """They, by how they have failed; those of which there are most first."""
        clause, values = wanted.clause()
        grouped = "pipeline, step, kind, error_type"
        query = f"SELECT {grouped}, count(*), max(last), max(id) FROM letters WHERE {clause} GROUP BY {grouped}"
        with self._looking() as database:
            found = database.execute(f"{query} ORDER BY count(*) DESC, max(id) DESC", values).fetchall()
        newest = {letter.id: letter for letter in self.find(Wanted(ids=tuple(row[6] for row in found)))}
        return [Group(*row[:6], newest[row[6]]) for row in found]  # type: ignore[call-arg]  # of the query

    def close(self) -> None:
        """Nothing more comes."""
        self._put_away()
        self._place = ""

    def _put_away(self) -> None:
        database, self._database, self._file = self._database, None, None
        if database is not None:
            database.close()

    @contextmanager
    def _changing(self, *, create: bool = False) -> Iterator[sqlite3.Connection]:
        """A transaction: all of it, or nothing. Of a file that is not there nothing is changed."""
        with self._looking(create=create) as database:
            database.execute("BEGIN IMMEDIATE")
            try:
                if not _has_log(database):
                    database.execute(LOG)
                yield database
            except BaseException:
                database.execute("ROLLBACK")
                raise
            database.execute("COMMIT")

    @contextmanager
    def _looking(self, *, create: bool = False) -> Iterator[sqlite3.Connection]:
        """The file; where none is, and none is to be made, one without entries."""
        with LETTERS.told_of(self.path):
            if create or os.path.exists(self.path if self._database is None else self._place):
                yield self._open()
            else:
                with closing(_empty()) as database:
                    yield database

    def _open(self) -> sqlite3.Connection:
        if self._database is not None and self._file is not None and not is_in_its_place(self._place, self._file):
            with suppress(sqlite3.Error):
                self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # else only its closing would, and does not
            self._put_away()
        if self._database is None:
            place = self._place or os.path.abspath(self.path)
            database = LETTERS.opened(place)
            try:
                if not database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                    _make(database)  # who only looks at one that is there writes nothing
            except BaseException:
                database.close()
                raise
            self._database, self._file, self._place = database, os.stat(place), place
        return self._database


def _make(database: sqlite3.Connection) -> None:
    database.execute("BEGIN IMMEDIATE")
    LETTERS.mark(database)
    database.execute(TABLE)
    database.execute(INDEX)
    database.execute("COMMIT")


def _empty() -> sqlite3.Connection:
    """A file without entries, where none is."""
    database = sqlite3.connect(":memory:", isolation_level=None)
    database.execute(TABLE)
    return database


def _has_log(database: sqlite3.Connection) -> bool:
    return bool(database.execute("SELECT 1 FROM pragma_table_info('letters') WHERE name = 'log'").fetchone())


def _log(failure: AnyFailure) -> str:
    return failure.log.encode("utf-8", "backslashreplace").decode()


def _told(failure: AnyFailure) -> Sequence[Any]:
    child = None if failure.child is None else json.dumps(failure.child.path)
    texts = (failure.step, failure.kind, failure.error_type, failure.message, failure.traceback)
    return [*(text.encode("utf-8", "backslashreplace").decode() for text in texts), child]


def _letter(row: Sequence[Any]) -> Letter:
    values = dict(zip(FIELDS.split(", "), row, strict=True))
    kept_as = Kept(values.pop("form"), values.pop("record"))
    child, log = values.pop("child"), values.pop("log") or ""
    return Letter(**values, log=log, child=None if child is None else tuple(json.loads(child)), kept=kept_as)
