"""The file in which the state of a job is kept: one row of a SQLite database, replaced by one transaction each time.

It is one process's at a time, by a lock on a file beside it, which the system takes back when that process has ended. A
lock that is left to a child of one that is gone is nobody's: who has the state is told by process, its start and the
boot of the machine. Blocks: it is called in a thread.
"""

from __future__ import annotations

import json
import os
import platform
import sqlite3
import time
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

from pipeframe_async.checkpoint import Done, JobState, Mark
from pipeframe_async.databases import Kind, address, connected, is_in_its_place
from pipeframe_async.errors import CheckpointMismatch, StateError
from pipeframe_async.locks import Lock

REMEDY = "begin anew with restart=True (--restart), or name another file"
STATE = Kind("state of a job", 0x50664A73, format=1, remedy=REMEDY, error=CheckpointMismatch)  # `PfJs`


class StateFile:
    """A state file that is this process's until it is closed.

    Args:
        path: of the file; it is made where there is none.
        restart: what is in it does not count.

    Attributes:
        state: what was in it; None of a job that begins.

    Raises:
        CheckpointMismatch: it is damaged, newer, or something else.
        StateError: a living process has it.
        OSError: it cannot be made or written.
    """

    def __init__(self, path: str, *, restart: bool = False) -> None:
        self.path = path = os.path.abspath(path)  # wherever the program goes meanwhile
        self._lock = Lock(f"{path}.lock")  # SQLite's own are gone when anybody in this process closes that file
        try:
            if restart and self._lock.mine and _is_of_no_use(path):
                _remove(path)
            self._open()
            try:
                with STATE.told_of(path):
                    self.state = None if restart else _read(self._database, path)
                    self._claim()
            except BaseException:
                self._database.close()
                raise
        except BaseException:
            self._lock.release()
            raise

    def _open(self) -> None:
        self._database = STATE.opened(self.path)
        self._file = os.stat(self.path)

    def save(self, state: JobState) -> None:
        """Replace what is in it; where somebody has removed it, or moved it away, it is made again.

        Raises:
            OSError: it could not be written: what was in it is there still.
        """
        with STATE.told_of(self.path):
            if not is_in_its_place(self.path, self._file):
                self._database.close()
                self._open()
                self._claim()
            self._database.execute(
                "UPDATE job SET state = ?, updated = ? WHERE id = 1", (json.dumps(asdict(state)), time.time())
            )

    def close(self) -> None:
        """It is nobody's any more."""
        try:
            with suppress(sqlite3.Error):  # what was saved is saved
                self._database.execute("UPDATE job SET holder = NULL WHERE id = 1")
                self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self._database.close()
        finally:
            self._lock.release()

    def _claim(self) -> None:
        """Say whose it is, unless it is somebody's; of two that come at once only one finds it free."""
        self._database.execute("BEGIN IMMEDIATE")
        try:
            _make(self._database)
            holder = _holder(self._database)
            if not self._lock.mine and holder is not None and not is_alive(holder):
                self._lock.take_over()  # or it would be anybody's when those have ended to whom it was handed down
            if not self._lock.mine:
                raise StateError(f"{self.path} is in use{_by(holder)}: that job is running, or another of its name is")
            self._database.execute("UPDATE job SET holder = ? WHERE id = 1", (json.dumps(this_process()),))
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")


def look(path: str) -> tuple[JobState | None, float, dict[str, Any] | None]:
    """What is in a state file, when that was written (seconds since 1970), and the living process that has it.

    Raises:
        CheckpointMismatch: it is damaged, newer, or something else.
        OSError: there is none, or it cannot be read.
    """
    if not os.path.exists(path):
        raise FileNotFoundError(f"there is no {path}")
    with STATE.told_of(path), closing(connected(f"{address(path)}?mode=ro")) as database:
        state = _read(database, path)
        if state is None:
            return None, os.path.getmtime(path), None
        holder = _holder(database)
        (updated,) = database.execute("SELECT updated FROM job WHERE id = 1").fetchone()
    lives = holder is not None and is_alive(holder) and not is_of_an_earlier_boot(holder)
    return state, updated, holder if lives else None


def _make(database: sqlite3.Connection) -> None:
    """Its one table, where there is none; in the caller's transaction."""
    STATE.mark(database)
    database.execute("CREATE TABLE IF NOT EXISTS job (id INTEGER PRIMARY KEY, state TEXT, updated REAL, holder TEXT)")
    database.execute("INSERT OR IGNORE INTO job (id) VALUES (1)")


def _read(database: sqlite3.Connection, path: str) -> JobState | None:
    STATE.check(database, path)
    (tables,) = database.execute("SELECT count(*) FROM sqlite_master WHERE name = 'job'").fetchone()
    row = database.execute("SELECT state FROM job WHERE id = 1").fetchone() if tables else None
    if row is None or row[0] is None:
        return None
    try:
        return state_of(json.loads(row[0]))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise CheckpointMismatch(f"{path} is damaged, its state makes no sense ({error}): {REMEDY}") from error


def state_of(values: Mapping[str, Any]) -> JobState:
    """A state as it was before it became JSON.

    Raises:
        ValueError, TypeError, KeyError: it is none.
    """
    done = Done(int(values["done"]["watermark"]), tuple((int(a), int(b)) for a, b in values["done"]["above"]))
    edges = [done.watermark, *(edge for stretch in done.above for edge in stretch)]
    if edges[0] < 0 or any(a >= b for a, b in pairwise(edges)):
        raise ValueError("its records are in no order")
    totals = {str(name): int(count) for name, count in values["totals"].items()}
    counted = sum(totals.get(name, 0) for name in ("delivered", "filtered", "failed")) - totals.get("emitted", 0)
    if counted != done.records:
        raise ValueError(f"its books do not balance: {done.records:,} records are done, and {counted:,} are counted")
    feed = values["feed"]
    return JobState(
        fingerprint=dict(values["fingerprint"]),
        done=done,
        totals=totals,
        feed=None if feed is None else Mark(int(feed["records"]), feed["position"]),
        sink=values["sink"],
        dead_letter=values["dead_letter"],
        finished=bool(values["finished"]),
        lives=int(values["lives"]),
    )


def _is_of_no_use(path: str) -> bool:
    """Whether a job that begins anew cannot write over what is there. What no job has made is left alone."""
    try:
        with closing(connected(address(path))) as database:
            if not STATE.is_something_else(database):
                _read(database, path)
    except (sqlite3.DatabaseError, CheckpointMismatch):
        return STATE.has_made(path)
    return False


def _remove(path: str) -> None:
    for one in (path, f"{path}-wal", f"{path}-shm"):
        with suppress(FileNotFoundError):
            os.unlink(one)


def _holder(database: sqlite3.Connection) -> dict[str, Any] | None:
    row = database.execute("SELECT holder FROM job WHERE id = 1").fetchone()
    return None if row is None or row[0] is None else json.loads(row[0])


def _by(holder: Mapping[str, Any] | None) -> str:
    return "" if holder is None else f" by process {holder.get('pid')}"


def this_process() -> dict[str, Any]:
    """Who has a state: a number alone is given to others later. What the system does not tell is empty."""
    boot, namespace = _boot()
    return {
        "pid": os.getpid(),
        "started": _started(os.getpid()),
        "boot": boot,
        "namespace": namespace,
        "host": platform.node(),
    }


def is_alive(holder: Mapping[str, Any]) -> bool:
    """Whether a process that has a state is there still. True where that cannot be known."""
    boot, namespace = _boot()
    if not boot or not holder.get("started") or (holder.get("boot"), holder.get("namespace")) != (boot, namespace):
        return True
    return bool(_started(holder["pid"]) == holder["started"])


def is_of_an_earlier_boot(holder: Mapping[str, Any]) -> bool:
    """Whether it was a process of this machine, before that was started anew. Only for people: names are not unique,
    and where its lock is held somebody lives.
    """
    return bool(holder.get("host") == platform.node() and holder.get("boot") not in ("", _boot()[0]))


def _started(pid: int) -> str:
    """When a process was started, in ticks of its boot; nothing where it is gone, or where that is not told."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    state, *rest = stat.rpartition(")")[2].split()
    return "" if state in ("Z", "X") else rest[18]


def _boot() -> tuple[str, str]:
    """Which boot of the machine, and which of its process namespaces."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip(), os.readlink("/proc/self/ns/pid")
    except OSError:
        return "", ""
