"""A job that dies at a chosen moment: `python -m tests.process.jobs PLACE ORDER DIE_AT` in a process of its own.

Moments are counted: before and after each call that changes a file, and in the middle of each write. It prints how many
there were, if it comes to its end.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pipeframe_async import DROP, Checkpoint, PipelineEngine, expand, run
from pipeframe_async.feeds import JsonLines as JsonLinesIn
from pipeframe_async.sinks import DeadLetters, JsonLines
from pipeframe_async.sinks.letters import Letters
from pipeframe_async.sinks.owned import Owned
from pipeframe_async.state_file import StateFile

RECORDS = 600
BATCH = 50

moments = 0
die_at = -1


def moment() -> bool:
    """One more; whether it is the last one."""
    global moments
    moments += 1
    return moments == die_at


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def between(owner: Any, name: str) -> None:
    """Moments before and after each call."""
    original = getattr(owner, name)

    def called(*args: Any, **kwargs: Any) -> Any:
        if moment():
            die()
        outcome = original(*args, **kwargs)
        if moment():
            die()
        return outcome

    setattr(owner, name, called)


def torn(append: Callable[[Owned, bytes], None]) -> Callable[[Owned, bytes], None]:
    """A moment in the middle of a write."""

    def appended(self: Owned, data: bytes) -> None:
        if moment():
            self._file.write(data[: len(data) // 2])
            die()
        append(self, data)

    return appended


def watch() -> None:
    """Count moments from here on."""
    Owned.append = torn(Owned.append)  # type: ignore[assignment,method-assign]
    for owner, name in (
        (Owned, "append"),
        (Owned, "cut"),
        (os, "replace"),
        (os, "fsync"),
        (StateFile, "save"),
        (StateFile, "close"),
        (Letters, "add"),
        (Letters, "drop_later"),
    ):
        between(owner, name)
    connect = sqlite3.connect

    class Watched(sqlite3.Connection):
        def execute(self, statement: str, *args: Any) -> Any:
            if statement.startswith(("BEGIN", "COMMIT")) and moment():
                die()
            return super().execute(statement, *args)

    setattr(sqlite3, "connect", lambda *args, **kwargs: connect(*args, factory=Watched, **kwargs))  # noqa: B010


def checked(record: dict[str, int]) -> Any:
    if record["id"] % 50 == 7:
        raise ValueError(f"no {record['id']}")
    return DROP if record["id"] % 11 == 3 else (record, True)


def children(record: dict[str, int]) -> Iterator[dict[str, int]]:
    for child in range(record["id"] % 3 + 1):
        yield {**record, "child": child}


class Job(PipelineEngine[Any, Any]):
    """Lines from a file to a file, with dead letters."""

    steps: Any = (checked, expand(children))
    batch_size = BATCH

    def __init__(self, place: Path, order: str, end: str = "") -> None:
        self.feed = JsonLinesIn(place / "in.jsonl")
        self.sink = JsonLines(place / f"out.jsonl{end}")
        self.dead_letter = DeadLetters(place / "dead")
        self.order = (lambda record: record["id"] % 3) if order == "key" else order
        self.checkpoint = Checkpoint(place / "state", every=0.0)


def main() -> None:
    global die_at
    place, order, end = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    die_at = int(sys.argv[4])
    watch()
    report = run(Job(place, order, end), executor="inline")
    print(json.dumps({"moments": moments, "fed": report.fed, "skipped": report.skipped}))


if __name__ == "__main__":
    main()
