"""An executor's lanes, and how many batches each has, of all the runs that share them.

One for each executor, made by the frame that made or was given it; every run's dispatch says what it gives and gets
back. Used on one loop only.
"""

from __future__ import annotations

from pipeframe_async.contracts import Executor, Lane


class Workforce:
    """Who works, and who has something to do.

    Args:
        executor: whose lanes they are.
    """

    def __init__(self, executor: Executor) -> None:
        self.executor = executor
        self._batches: dict[Lane, int] = dict.fromkeys(executor.lanes, 0)

    def gave(self, lane: Lane) -> None:
        """A lane has one batch more."""
        self._batches[lane] += 1

    def got_back(self, lane: Lane) -> None:
        """A lane has one batch less."""
        self._batches[lane] -= 1

    def busy(self, lane: Lane) -> bool:
        """Whether all its workers have something to do."""
        return self._batches[lane] >= lane.workers
