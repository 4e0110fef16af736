"""How far a partition is final: what of it may be committed. Comes in: offsets given out, and answered in any order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Generic, TypeVar

R = TypeVar("R")


class Offsets(Generic[R]):
    """Those of one partition, from where its consumer began.

    Kept is what is not final, so no more than is in flight, however long one record takes: the first of those is how
    far all before is final. Offsets that no record has, of compacted topics and of transactions, are never waited for.

    Args:
        begin: the first offset that may be given out.

    Attributes:
        open: what was given out and is not final, in the order of the partition.
        ahead: the offset behind all that were given out, or are known to have no record.
        committed: what the server has been told last.
    """

    def __init__(self, begin: int) -> None:
        self.open: dict[int, R] = {}
        self.ahead = begin
        self.committed = -1

    def given(self, records: Mapping[int, R]) -> None:
        """These are given out, in order, and none of them before one that was."""
        self.open.update(records)
        self.ahead = max(self.ahead, next(reversed(self.open), -1) + 1)

    def passed(self, position: int) -> None:
        """What is before it has been given out, or has no record."""
        self.ahead = max(self.ahead, position)

    def final(self, offset: int) -> None:
        """It is answered for; once more is no matter."""
        self.open.pop(offset, None)

    @property
    def watermark(self) -> int:
        """All before it is final; what a consumer that comes after begins with."""
        return next(iter(self.open), self.ahead)
