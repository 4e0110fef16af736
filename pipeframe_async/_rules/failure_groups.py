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
"""Characters that are kept of a traceback's frames, the last ones. Enough for some fifty of them."""

_FRAME = re.compile(r'^([\s|+-]+)File ".*", line \d+, in ')  # without "in" the source may be a record
_MARKS = re.compile(r"^[\s|+-]*[\^~]+$")
_ERROR = re.compile(r"^(?:\s*[|+] ?)*([\w.<>]+)(?::.*)?$")
_MEMBER = re.compile(r"^[\s|]*\+[-+]+ (\d+|\.\.\.) -+$")  # of a group
_BEGINS = ("Traceback (most recent call last):", "Exception Group Traceback (most recent call last):")
_LINKS = (
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
    due = True  # a traceback may begin here
    within = True  # in one: else this is what an error says, and that may be a traceback too
    source = ""  # how the line after a frame's begins where it is its source, which is not always known
    marks = False  # below a source may be some
    for line in traceback.splitlines():
        of_source, source = bool(source) and line.startswith(source), ""
        under_source, marks = marks, of_source
        bare = line.strip(" |+-")
        if of_source and within:
            kept.append(line)
        elif (frame := _FRAME.match(line)) is not None and within:
            kept.append(line)
            source = f"{frame[1]}  "
        elif under_source and _MARKS.match(line):
            kept.append(line)
        elif bare in _LINKS:
            kept.append(line)
            due = True
        elif bare in _BEGINS and due:
            kept.append(line)
            due, within = False, True
        elif _MEMBER.match(line):
            due = True
        elif within and kept and (error := _ERROR.match(line)) is not None and _names_error(error[1]):
            kept.append(error[1])
            within = False
        elif bare:
            due = False
    return _end_of(kept)


def _end_of(lines: list[str]) -> str:
    """As many of the last ones as may be kept."""
    room, at = MOST_TRACEBACK + 1, len(lines)
    while at and (room := room - len(lines[at - 1]) - 1) >= 0:
        at -= 1
    return "\n".join(lines[at:])


def _names_error(word: str) -> bool:
    """Whether it is the dotted name of a class, as the last line of a traceback has it, and no line of a message."""
    *path, name = word.split(".")
    return name.isidentifier() and name[0].isupper() and all(part.isidentifier() or part == "<locals>" for part in path)
