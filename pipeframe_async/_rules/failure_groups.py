"""Failures by step, kind and error type: how many, when the last one came, and where in the code the first was.

In fixed memory, whatever a feed brings. Nothing of a record is kept: of a traceback what its errors said is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from pipeframe_async.model import AnyFailure
from pipeframe_async.stats import FailureGroup

MOST_GROUPS: Final = 500
"""Groups that are told apart. A class of error that is made anew for each record would fill the memory with more."""
MOST_TRACEBACK: Final = 8_000
"""Characters of a traceback that are kept, its end. Enough for some fifty frames."""

_FRAME = re.compile(r'^[\s|+-]+File ".*", line \d+, in ')  # without "in" the source may be a record
_MARKS = re.compile(r"^[\s|+-]*[\^~]+$")
_ERROR = re.compile(r"^(?:\s*[|+] ?)*([\w.<>]+)(?::.*)?$")
_SAID = (
    "Traceback (most recent call last):",
    "During handling of the above exception, another exception occurred:",
    "The above exception was the direct cause of the following exception:",
)


class FailureGroups:
    """The failures of one run."""

    def __init__(self) -> None:
        self._groups: dict[tuple[str, str, str], list[float]] = {}
        self._tracebacks: dict[tuple[str, str, str], str] = {}

    def add(self, failures: Iterable[AnyFailure], now: float) -> None:
        """Some came, now: seconds since the epoch."""
        for failure in failures:
            key = failure.step, failure.kind, failure.error_type
            if (group := self._groups.get(key)) is None:
                group = self._new(key, failure.traceback)
            group[0] += 1
            group[1] = now

    def _new(self, key: tuple[str, str, str], traceback: str) -> list[float]:
        if len(self._groups) >= MOST_GROUPS:
            return self._groups.setdefault(("", "", ""), [0, 0.0])
        self._tracebacks[key] = frames_of(traceback)
        return self._groups.setdefault(key, [0, 0.0])

    def groups(self) -> tuple[FailureGroup, ...]:
        """Them all, the most frequent first."""
        seen = [
            FailureGroup(*key, count=int(count), newest=newest, traceback=self._tracebacks.get(key, ""))
            for key, (count, newest) in self._groups.copy().items()
        ]
        return tuple(sorted(seen, key=lambda group: -group.count))


def frames_of(traceback: str) -> str:
    """Where in the code it was: of the text of a traceback the frames and the types of its errors, without messages."""
    kept: list[str] = []
    source = marks = False  # the line after a frame's is its source, and below it may be marks
    for line in traceback[-MOST_TRACEBACK:].splitlines():
        if _FRAME.match(line):
            kept.append(line)
            source = marks = True
        elif (source and line.startswith("  ")) or (marks and _MARKS.match(line)):
            kept.append(line)
            source = False
        elif line.strip(" |+-") in _SAID:
            kept.append(line)
        elif (error := _ERROR.match(line)) is not None and source is False and marks and _names_error(error[1]):
            kept.append(error[1])
            marks = False
    return "\n".join(kept)


def _names_error(word: str) -> bool:
    """Whether it is the dotted name of a class, as the last line of a traceback has it, and no line of a message."""
    *path, name = word.split(".")
    return name.isidentifier() and name[0].isupper() and all(part.isidentifier() or part == "<locals>" for part in path)
