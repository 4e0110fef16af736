"""The runs of one frame: those under way, and what those that have ended came to, for as long as they are shown.

Used on the frame's loop, but for `stats`, which any thread may ask.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from itertools import count

from pipeframe_async._engine.bell import Bell
from pipeframe_async._engine.run import Run
from pipeframe_async._rules.merging import remembered
from pipeframe_async.gil import copied
from pipeframe_async.stats import RunStats, Stats

KEPT = 16
"""Runs that have ended and are still shown. More would hold the memory of a service that runs many, some 10 kB each."""


class Runs:
    """Runs come when they begin, and leave when they have ended.

    Attributes:
        ended: rings when one has.
    """

    def __init__(self) -> None:
        self._under_way: list[Run] = []
        self._past: deque[RunStats] = deque()  # those that have ended, as they were then
        self._before: dict[str, RunStats] = {}  # earlier ones, together by their pipelines
        self._last = Stats()
        self._numbers = count(1)
        self.ended = Bell()

    def __bool__(self) -> bool:
        return bool(self._under_way)

    def __iter__(self) -> Iterator[Run]:
        """Those under way."""
        return iter([*self._under_way])

    def number(self) -> int:
        """Of the next one."""
        return next(self._numbers)

    def add(self, run: Run) -> None:
        """One begins."""
        self._under_way.append(run)

    def forget(self, run: Run) -> None:
        """It has ended: what it came to is kept."""
        self._under_way.remove(run)
        self._last = run.stats()
        self._past.append(run.seen())
        if len(self._past) > KEPT:
            self._before = remembered(self._before, self._past.popleft())
        self.ended.ring()

    def stats(self) -> Stats:
        """The counters of all that are under way, or of the last where none is; and one by one what there is to see."""
        runs = [*self]
        counts = sum((run.stats() for run in runs[1:]), runs[0].stats()) if runs else self._last
        seen = (*copied(self._past), *(run.seen() for run in runs))
        return replace(counts, runs=seen, before=tuple(self._before.values()))
