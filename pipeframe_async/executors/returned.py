"""What `teardown` has returned in workers that have ended, by chain. Reports have the lists, and see them fill.

Threads: lanes' threads add to a list of which the loop has handed out; each by single operations, which are whole.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pipeframe_async._worker import codec
from pipeframe_async.failures import failure_of


class Returned:
    """The lists of one executor, for as long as it is there."""

    def __init__(self) -> None:
        self._lists: dict[str, list[Any]] = {}

    def of(self, key: str) -> list[Any]:
        """The list of a chain: one value for each worker that had it and has ended."""
        return self._lists.setdefault(key, [])

    def came(self, key: str, value: Any) -> None:
        """A worker has ended."""
        self.of(key).append(value)

    def pickled(self, values: Iterable[tuple[str, bytes]]) -> list[str]:
        """A worker process has ended; the traceback of each value that cannot be read."""
        problems = []
        for key, data in values:
            try:
                self.came(key, codec.loads(data))
            except BaseException as error:
                problems.append(failure_of(0, 0, error).traceback)
        return problems
