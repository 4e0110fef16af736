"""What `teardown` has returned in workers that have ended, by chain. Reports have the lists, and see them fill; what
nobody has a report of is not kept, for a frame may be open for months.

Threads: lanes' threads add to a list of which the loop has handed out; each by single operations, which are whole.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from weakref import WeakValueDictionary

from pipeframe_async._worker import codec
from pipeframe_async.failures import failure_of


class Values(list[Any]):
    """A list that may be held weakly."""

    __slots__ = ("__weakref__",)


class Returned:
    """The lists of one executor, each for as long as a run or its report has it."""

    def __init__(self) -> None:
        self._lists = WeakValueDictionary[str, Values]()

    def of(self, key: str) -> list[Any]:
        """The list of a chain: one value for each worker that had it and has ended since."""
        return self._lists.setdefault(key, Values())

    def came(self, key: str, value: Any) -> None:
        """A worker has ended."""
        if (values := self._lists.get(key)) is not None:
            values.append(value)

    def pickled(self, values: Iterable[tuple[str, bytes]]) -> list[str]:
        """A worker process has ended; the traceback of each value that cannot be read."""
        problems = []
        for key, data in values:
            try:
                self.came(key, codec.loads(data))
            except BaseException as error:
                problems.append(failure_of(0, 0, error).traceback)
        return problems
