"""Who of those that share workers goes first: calls; and behind them bulk calls and runs, which keep a share.

Comes in: who wants a lane, and what each has had, in worker seconds. Goes out: whether one may go, or in whose favour
it may not. While calls make the others wait, these earn a part of what calls take; when that is enough for a batch, it
is their turn. Where nothing waits in front, nobody is counted.

Among equals the one that has had less goes first. For any lane, and whoever wants it, there is one who may go.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import inf

KEPT = 0.1
"""Of the worker seconds, what runs and bulk calls have while calls wait. With less a run hardly ends beside a busy
app; each call waits longer by as much as this is more."""
MOST_EARNED = 1.0
"""Worker seconds that are earned before a batch goes, and most that are saved up. A longer batch goes then, and what it
takes above this is paid afterwards: with more its run would seem to stand still, with less calls wait for it earlier.
"""
MEMORY = 0.8
"""Weight that measured batches keep when the next one comes: about five are remembered."""


@dataclass(slots=True, eq=False)
class Share:
    """One of those that share.

    Attributes:
        first: it goes before those that are not.
        patient: it takes workers with nothing to do only, and has nothing queued behind others.
        had: worker seconds, since those of its kind were level.
        seconds: worker seconds in all.
        batch_seconds: of one batch, lately; 0 before the first.
    """

    first: bool = False
    patient: bool = False
    had: float = 0.0
    seconds: float = 0.0
    batch_seconds: float = 0.0

    def worked(self, seconds: float) -> None:
        """A batch of it took so many worker seconds."""
        self.had += seconds
        self.seconds += seconds
        before = self.batch_seconds
        self.batch_seconds = MEMORY * before + (1 - MEMORY) * seconds if before else seconds


class Sharing:
    """The account between those that go first and those behind.

    Attributes:
        earned: worker seconds that those behind may have although others wait in front; below 0 what they owe.
    """

    def __init__(self) -> None:
        self.earned = 0.0

    def favoured(self, one: Share, rivals: Sequence[Share]) -> Share | None:
        """In whose favour this one may not have a lane; None where it may.

        Args:
            one: it asks.
            rivals: the others that want the lane.
        """
        turn = self._turn_of_those_behind([one, *rivals])
        for rival in rivals:
            if rival.first != one.first:
                if one.first == turn:
                    return rival
            elif rival.patient and (rival.had < one.had or (not one.patient and rival.had == one.had)):
                return rival
        return None

    def _turn_of_those_behind(self, all_of_them: Iterable[Share]) -> bool:
        """Whether they have earned a batch: the shortest, so that all who ask are told the same."""
        needed = min((min(share.batch_seconds, MOST_EARNED) for share in all_of_them if not share.first), default=inf)
        return self.earned > 0 and self.earned >= needed

    def spend(self, seconds: float) -> None:
        """Those behind have had so much although others waited in front; or less than was thought, where negative."""
        self.earned -= seconds

    def earn(self, seconds: float) -> None:
        """Those in front have had so much, and others waited for it."""
        self.earned = min(MOST_EARNED, self.earned + seconds * KEPT / (1 - KEPT))


def level(one: Share, others: Iterable[Share]) -> None:
    """It wants something after it had nothing to do: what was had before counts for nobody of its kind any more."""
    equals = [one, *(other for other in others if other.first == one.first)]
    most = max(share.had for share in equals)
    for share in equals:
        share.had = most
