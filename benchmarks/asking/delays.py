"""Delays of one contestant over several turns: p50, p99 and the longest, in a table, in a file and in a picture."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.asking.question import Spread, percentile

HEAD = ["p50 ms", "p99 ms", "max ms", "n"]


@dataclass(slots=True)
class Delays:
    """Delays in seconds, one list a turn. A figure is taken of each turn; its median stands for the contestant."""

    turns: list[list[float]] = field(default_factory=list)

    @property
    def p50(self) -> Spread:
        """What half of them do not exceed."""
        return Spread.of(percentile(turn, 50) for turn in self.turns)

    @property
    def p99(self) -> Spread:
        """What 99 of a hundred do not exceed."""
        return Spread.of(percentile(turn, 99) for turn in self.turns)

    @property
    def longest(self) -> Spread:
        """The longest one of each turn."""
        return Spread.of(map(max, self.turns))

    @property
    def n(self) -> int:
        """How many in all."""
        return sum(map(len, self.turns))

    def cells(self) -> list[str]:
        """For a table, below `HEAD`."""
        return [*(spread.words(1e3) for spread in (self.p50, self.p99, self.longest)), f"{self.n:,}"]

    def as_json(self) -> dict[str, Any]:
        """For a file, in seconds."""
        return {"p50": asdict(self.p50), "p99": asdict(self.p99), "max": asdict(self.longest), "n": self.n}


def words(row: dict[str, Any]) -> str:
    """For a picture: p50 and p99 of a row of the answer, in ms."""
    return " / ".join(f"{1e3 * row[name]['median']:,.2f}" for name in ("p50", "p99"))
