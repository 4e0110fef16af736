"""Which records are final: what is settled, followed as positions in the job's feed, in this life and those before it.

Comes in: each settlement. Goes out: how far everything is final, to whom `on_progress` tells it and to the checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet

from pipeframe_async._engine.bell import Bell
from pipeframe_async._engine.settling.answer import Answer
from pipeframe_async._rules.resume import Places
from pipeframe_async._rules.watermark import Watermark
from pipeframe_async.checkpoint import Done


class Finals:
    """Follows what is settled.

    Args:
        done: what was final before this life.
        borne: whether failures that nobody has are few enough for the run to go on.

    Attributes:
        bell: rings when something has become final.
        sound: nothing was settled that is to be done again.
    """

    def __init__(self, done: Done | None = None, *, borne: Callable[[], bool] = lambda: True) -> None:
        self.bell = Bell()
        self.sound = True
        self._borne = borne
        self._places = Places(done or Done())
        self._watermark = Watermark(done)
        self._spoilt: set[int] = set()  # numbers of records under way of which a child has failed for good
        self._partly: set[int] = set()  # of those of which something was handed on, and not all

    @property
    def watermark(self) -> int:
        """How many records from the first on are final."""
        return self._watermark.value

    @property
    def done(self) -> Done:
        """All that is final."""
        return self._watermark.done

    @property
    def whole(self) -> bool:
        """What was handed on is what is final, no more: no record is final in part, or was lost behind one that is."""
        return self.sound and not self._partly

    def settled(self, answer: Answer, *, aborted: bool) -> None:
        """Records are final. Some were given up, and nobody says which, where `aborted`: then none is.

        Nor is a failed one that nobody has, from the one on that was too many.
        """
        lost = set[int]() if self._borne() else {answer.first + index for index, _ in answer.failures}
        lost |= self._spoilt
        behind = answer.first + answer.count
        if behind in lost:
            self._spoilt.add(behind)
        if self._partly:
            self._partly = {number for number in self._partly if not answer.first <= number < behind}
        if answer.then is not None:
            self._partly.add(behind)
        if lost or aborted:
            self.sound = False
        if not aborted:
            for number, count in _between(answer, lost):
                for first, records in self._places.stretches(number, count):
                    self._watermark.final(first, records)
                self.bell.ring()


def _between(answer: Answer, lost: AbstractSet[int]) -> Iterator[tuple[int, int]]:
    """The stretches of an answer's records, each its first and how many, that have none of those in them."""
    if not lost:
        if answer.count:
            yield answer.first, answer.count
        return
    start = answer.first
    for number in range(answer.first, answer.first + answer.count + 1):
        if number == answer.first + answer.count or number in lost:
            if start < number:
                yield start, number - start
            start = number + 1
