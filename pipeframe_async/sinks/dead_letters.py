"""`DeadLetters`: failed records kept in a file, until they are replayed or dropped."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, TypeVar
from uuid import uuid4

from pipeframe_async.errors import CheckpointMismatch
from pipeframe_async.model import AnyFailure
from pipeframe_async.sinks.letters import Group, Letter, Letters, Wanted
from pipeframe_async.sinks.replay import Replay

R = TypeVar("R")


class DeadLetters:
    """Failures in a SQLite file: `dead_letter = DeadLetters("orders.dead")`.

    Each entry has the record as it was fed, the pipeline, step, kind, error type, message, traceback, number of
    attempts, and when it has failed first and last. A record is kept as JSON where that gives back what it was, as
    bytes where it is bytes, and as a pickle else. The file is made by the first failure. What `write` has returned from
    is on the disk. Several runs and processes may write to one file, and it may be read meanwhile.

    In a job with a checkpoint each failure is there once, however often the job is killed.

    Args:
        path: of the file, on a local file system.

    Attributes:
        pipeline_name: whose failures these are; set before it is entered.
        writes: files that become larger while it is used.

    Raises:
        ConfigError: by `write` and all that looks into it, where the file is something else.
        OSError: by them, where it cannot be read or written; none of the failures is kept then, and no record acked.

    Process: the parent, in a thread.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        self.pipeline_name = ""
        self.writes = (self.path,)
        self._letters = Letters(self.path)
        self._writer = uuid4().hex

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.path!r})"

    def __enter__(self) -> None:
        """The file is made by the first failure."""

    def __exit__(self, *error: object) -> None:
        self._letters.close()

    def write(self, failures: Sequence[AnyFailure]) -> None:
        """Keep failures: all of them, or none."""
        self._letters.add(failures, pipeline=self.pipeline_name, writer=self._writer)

    def position(self) -> dict[str, Any]:
        """Where it is, for a job's checkpoint."""
        return {"writer": self._writer, "id": self._letters.newest}

    def restore(self, position: dict[str, Any] | None) -> None:
        """Remove what this job has added behind that place.

        Raises:
            CheckpointMismatch: it is no place in such a file.
        """
        if position is None:
            return
        try:
            self._writer, number = str(position["writer"]), int(position["id"])
        except (TypeError, KeyError, ValueError):
            raise CheckpointMismatch(f"{position!r} is no position in {self.path}: it is another sink's") from None
        self._letters.drop_later(self._writer, number)

    def groups(self, **wanted: Any) -> list[Group]:
        """Entries by pipeline, step, kind and error type, with the newest of each. Blocks.

        Args:
            wanted: which, as of `replay`.

        Raises:
            ConfigError: the file is something else, or what is wanted makes no sense.
        """
        return _once(self.path, lambda letters: letters.groups(Wanted(**wanted)))

    def entries(self, *, most: int = -1, after: int = 0, **wanted: Any) -> list[Letter]:
        """Entries, oldest first. Blocks.

        Args:
            most: so many at most; −1 is all.
            after: behind the one of this number, the `id` of the last that was looked at.
            wanted: which, as of `replay`.
        """
        return _once(self.path, lambda letters: letters.find(Wanted(**wanted), most=most, after=after))

    def drop(self, **wanted: Any) -> int:
        """Remove entries for good; returns how many. Blocks.

        Args:
            wanted: which, as of `replay`.
        """
        return _once(self.path, lambda letters: letters.drop(Wanted(**wanted)))

    def replay(self, *, rate: float | None = None, trust: bool = False, **wanted: Any) -> Replay:
        """A feed of the records: `frame.run(Orders, feed=DeadLetters("orders.dead").replay(step="price"))`.

        An entry is removed when its record has been handled, and counts another attempt when it fails again: it stays
        here then, and the pipeline's own `dead_letter` is not used, nor its `max_failures` and `checkpoint`. What comes
        in while it is replayed is not replayed. What is cut short leaves the entries that have no outcome.

        Args:
            rate: records a second at most; None is as fast as they are worked on.
            trust: read records that are kept as pickles, which can run any code: only of a file that nobody else
                could write.
            wanted: which entries: `pipeline`, `step`, `kind`, `error_type` as they have them, texts; `since`, a
                datetime or seconds since 1970, those that have failed last then or later; `ids`, their numbers.

        Returns:
            A `Source`; one at a time for each file.

        Raises:
            ConfigError: `rate` is no number above 0, or what is wanted makes no sense.
        """
        return Replay(self.path, Wanted(**wanted), rate=rate, trust=trust)


def _once(path: str, look: Callable[[Letters], R]) -> R:
    letters = Letters(path)
    try:
        return look(letters)
    finally:
        letters.close()
