"""`Checkpoint`, how a job is kept, and `JobState`, what is kept of it: plain values.

The rules about them are in `_rules/resume.py`; the file they are in is `state_file.py`'s.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

from pipeframe_async.errors import ConfigError

EVERY = 1.0
"""Seconds between two states. Longer is more work that is done again after a kill, shorter costs transactions."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Keeps how far a job has come, so that it goes on there after a kill: `checkpoint = Checkpoint("job.state")`.

    Args:
        path: of the state, a SQLite file; two more may be beside it while the job runs. On a local file system.
        every: seconds between two states, ≥ 0; after a kill no more work than that is done again.
        version: of what the steps do. Another one than that of the state is refused: the job would be of two halves.

    Raises:
        ConfigError: a value is wrong.
    """

    path: str | os.PathLike[str]
    every: float = EVERY
    version: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.path, (str, os.PathLike)) or not os.fspath(self.path):
            raise ConfigError(f"Checkpoint(path={self.path!r}): must be the path of a file")
        number = isinstance(self.every, (int, float)) and not isinstance(self.every, bool)
        if not number or not isfinite(self.every) or self.every < 0:
            raise ConfigError(f"Checkpoint(every={self.every!r}): must be seconds, 0 or more")
        if self.version is not None and not isinstance(self.version, str):
            raise ConfigError(f"Checkpoint(version={self.version!r}): must be a string, or None")

    @property
    def writes(self) -> tuple[str, ...]:
        """Files that change while the job runs."""
        path = os.fspath(self.path)
        return (path, f"{path}.lock", f"{path}-wal", f"{path}-shm")


@dataclass(frozen=True, slots=True)
class Done:
    """Which records of a feed are final: those at positions below `watermark`, and above it those of `above`.

    `above`: stretches, each its first position and the one behind its last, in order, with gaps between them.
    """

    watermark: int = 0
    above: tuple[tuple[int, int], ...] = ()

    @property
    def records(self) -> int:
        """How many that are."""
        return self.watermark + sum(end - first for first, end in self.above)


@dataclass(frozen=True, slots=True)
class Mark:
    """Where a feed was when it had yielded so many records: `position` is the feed's own, a JSON value."""

    records: int
    position: Any


@dataclass(frozen=True, slots=True)
class JobState:
    """How far a job has come, in all its lives.

    Attributes:
        fingerprint: what makes it this job, by name.
        done: which records are final.
        totals: what became of them: `delivered`, `bypassed`, `filtered`, `failed` and `emitted`, as a report has them.
        feed: where the feed can begin again; None where that is at its beginning.
        sink: the sink's position; None where it has none.
        dead_letter: the dead letter's.
        finished: nothing is left of it.
        lives: how often it was begun or gone on with.
    """

    fingerprint: Mapping[str, Any]
    done: Done = Done()
    totals: Mapping[str, int] = field(default_factory=dict)
    feed: Mark | None = None
    sink: Any = None
    dead_letter: Any = None
    finished: bool = False
    lives: int = 0
