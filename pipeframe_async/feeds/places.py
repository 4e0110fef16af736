"""Where a feed of files is, and where it goes on: values, and the files that come from there on. Nothing is read here.

Comes in: what has been cut of a file so far. Goes out: a JSON value, and from one the files that are left.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain
from typing import Any, Protocol

from pipeframe_async.errors import CheckpointMismatch
from pipeframe_async.feeds.reading import Files


class Progress(Protocol):
    """What cuts a file into records."""

    @property
    def at(self) -> int:
        """Behind how many of the bytes that it was given the last record has ended."""

    @property
    def lines(self) -> int:
        """How many of the file have ended there."""

    @property
    def ended(self) -> bool:
        """All of it has been cut."""

    @property
    def inside(self) -> bool:
        """It is in a row that was too long, and was told of."""


@dataclass(frozen=True, slots=True)
class Place:
    """Between two records of a file.

    Attributes:
        path: of the file.
        turn: how often the path has come before it, where it is given several times.
        at: bytes before it, as they are when they are no longer compressed; of Parquet, rows.
        lines: before it.
        ended: the file was read to its end, whatever has come to it since.
        inside: of a row that was too long and has been told of; what is left of it is no record.
    """

    path: str
    turn: int = 0
    at: int = 0
    lines: int = 0
    ended: bool = False
    inside: bool = False

    def moved(self, progress: Progress, passed: int) -> Place:
        """Where it is now; `passed`: bytes of a byte order mark."""
        at = self.at + passed + progress.at
        return replace(self, at=at, lines=progress.lines, ended=progress.ended, inside=progress.inside)

    def as_json(self) -> dict[str, Any]:
        """As a state file has it."""
        return asdict(self)


def place_of(position: Any) -> Place:
    """A place from a state file.

    Raises:
        CheckpointMismatch: it is none.
    """
    try:
        return Place(**position)
    except TypeError:
        raise CheckpointMismatch(f"{position!r} is no position of a feed of files: it is another feed's") from None


def places(files: Files, paths: Sequence[str]) -> Iterator[Place]:
    """The beginnings of the files that are meant, as they are found."""
    times: Counter[str] = Counter()
    for path in files.found(paths):
        yield Place(path, times[path])
        times[path] += 1


def places_from(place: Place, files: Files, paths: Sequence[str], size: Callable[[str], int | None]) -> Iterator[Place]:
    """A place, and the beginnings of the files that come after its own.

    Args:
        place: where it goes on.
        files: where they are.
        paths: as they were given.
        size: how much there is in a file of what `at` counts, None where that is not known before it is read.

    Raises:
        CheckpointMismatch: its file is not among those that are found, or is shorter than it was.
    """
    found = places(files, paths)
    try:
        here = any((one.path, one.turn) == (place.path, place.turn) for one in found)
        there = size(place.path) if here else None
    except FileNotFoundError as error:
        raise CheckpointMismatch(f"{place.path}, read by the job to {place.at:,}, is gone: {error}") from error
    if not here:
        raise CheckpointMismatch(f"{place.path}, read by the job to {place.at:,}, is not among its files any more")
    if there is not None and there < place.at:
        raise CheckpointMismatch(
            f"{place.path} ends at {there:,}, and the job has read it to {place.at:,}: it is another file now"
        )
    return found if place.ended else chain([place], found)
