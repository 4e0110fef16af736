"""What the suite has found: a verdict a case, and all verdicts on one executor."""

from __future__ import annotations

import textwrap
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from pipeframe_async.errors import ConfigError

WIDTH: Final = 80
"""Columns of a table on a terminal; longer names of cases are wrapped."""

DETAIL: Final = 160
"""Characters of a detail that are shown."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one case.

    Attributes:
        case: the guarantee, as a sentence.
        held: True, False, or None where it does not apply.
        reason: a few words that are the same each time; empty where it held.
        detail: figures and messages of this time.
        seconds: how long it took.
    """

    case: str
    held: bool | None
    reason: str = ""
    detail: str = ""
    seconds: float = 0.0

    def __str__(self) -> str:
        return {True: "yes", None: "–"}.get(self.held, f"no: {self.reason}")


@dataclass(frozen=True, slots=True)
class Conformance:
    """What holds with one executor, source or sink. Prints as a table.

    Attributes:
        name: of what was tried.
        verdicts: one a case, in the order of the suite.
    """

    name: str
    verdicts: tuple[Verdict, ...]

    def __getitem__(self, case: str) -> Verdict:
        """The verdict of a case.

        Raises:
            KeyError: it was not run.
        """
        for verdict in self.verdicts:
            if verdict.case == case:
                return verdict
        raise KeyError(case)

    @property
    def broken(self) -> tuple[Verdict, ...]:
        """The verdicts that say no."""
        return tuple(verdict for verdict in self.verdicts if verdict.held is False)

    def check(self, *, but: Collection[str] = ()) -> None:
        """Pass where everything holds that applies.

        Args:
            but: cases that are known not to hold. One that holds all the same has to be taken off the list.

        Raises:
            AssertionError: lists what does not hold, and what was listed for nothing.
            ConfigError: `but` has a name that is no case of these.
        """
        if unknown := set(but) - {verdict.case for verdict in self.verdicts}:
            raise ConfigError(f"but={sorted(unknown)}: no such cases were run")
        lines = [_line(verdict) for verdict in self.broken if verdict.case not in but]
        lines += [f"holds, and is listed in but=: {case}" for case in but if self[case].held]
        if lines:
            raise AssertionError("\n".join([f"{self.name} does not conform:", *lines]))

    def markdown(self) -> str:
        """The table in Markdown."""
        return markdown([self])

    def __str__(self) -> str:
        held = sum(verdict.held is True for verdict in self.verdicts)
        rows = [f"{self.name}: {held} held, {len(self.broken)} did not"]
        for verdict in self.verdicts:
            first, *rest = textwrap.wrap(verdict.case, WIDTH - 12)
            rows.append(f"  {_WORD[verdict.held]:<4} {first:<{WIDTH - 12}} {verdict.seconds:>5.1f} s")
            rows += [f"       {line}" for line in rest]
            if verdict.held is not True:
                rows.append(textwrap.indent(_why(verdict), " " * 9))
        return "\n".join(rows)


_WORD: Final = {True: "yes", False: "NO", None: "–"}


def _why(verdict: Verdict) -> str:
    detail = textwrap.shorten(verdict.detail, DETAIL, placeholder=" …")
    return f"{verdict.reason} ({detail})" if detail else verdict.reason


def _line(verdict: Verdict) -> str:
    return f"does not hold: {verdict.case}: {_why(verdict)}"


def markdown(found: Collection[Conformance]) -> str:
    """Several executors side by side, a row a case."""
    cases = list(dict.fromkeys(verdict.case for one in found for verdict in one.verdicts))
    head = ["guarantee", *(one.name for one in found)]
    rows = [[case, *(_cell(one, case) for one in found)] for case in cases]
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows])


def _cell(one: Conformance, case: str) -> str:
    try:
        return str(one[case])
    except KeyError:
        return ""
