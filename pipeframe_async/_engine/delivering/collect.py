"""Answers from all lanes → one queue, in the order wanted. Synchronous: permits bound what can be here."""

from __future__ import annotations

import time
from collections.abc import Callable

from pipeframe_async._engine.bell import Bell
from pipeframe_async._engine.settling.answer import Answer
from pipeframe_async._rules.budget import FailureBudget
from pipeframe_async._rules.failure_groups import FailureGroups
from pipeframe_async._rules.ordering import Sequencer
from pipeframe_async.model import AnyFailure

MOST_TAKEN = 100
"""Answers handed on at once. Those of single records come by the thousand, and each costs the loop microseconds."""
MOST_RESULTS = 10_000
"""And so many results, by default: a fan-out can make any number of them."""
KEPT_FAILURES = 1_000
"""Failures a `PipelineFailed` carries. More would let a bad feed fill the memory, fewer hide the pattern."""


class Collect:
    """Puts answers in order, counts failures, and holds what delivery takes.

    Args:
        sequencer: the order in which answers leave.
        budget: how many failures are borne.
        tripped: called once when they were too many, while whoever has brought the answer is at work.
        kept: failures that are kept for the error that says so; none where nothing can be too many.
        most: results and failures that are handed on at once, if more than one answer has them.

    Attributes:
        groups: what has failed, by step, kind and type.
    """

    def __init__(
        self,
        *,
        sequencer: Sequencer[Answer],
        budget: FailureBudget,
        tripped: Callable[[], None],
        kept: int = KEPT_FAILURES,
        most: int = MOST_RESULTS,
    ) -> None:
        self._most = most
        self._sequencer = sequencer
        self._budget = budget
        self._tripped = tripped
        self._kept = kept
        self._ready: list[Answer] = []
        self._bell = Bell()
        self._ended = False
        self.groups = FailureGroups()
        self.failures: list[AnyFailure] = []
        self.failed = False

    def add(self, answer: Answer) -> bool:
        """An answer came in; whether it, or one that it was waited for, may leave."""
        if answer.failures:
            self.groups.add((failure for _, failure in answer.failures), time.time())
        if answer.failures and len(self.failures) < self._kept:
            self.failures += [failure for _, failure in answer.failures[: self._kept - len(self.failures)]]
        outcomes = answer.outcome.delivered + answer.outcome.filtered + answer.outcome.failed
        if self._budget.spend(answer.outcome.failed, outcomes) and not self.failed:
            self.failed = True
            self._tripped()
        if ready := self._sequencer.offer(answer.first, answer.count, answer):
            self._ready += ready
            self._bell.ring()
        return bool(ready)

    def end(self) -> None:
        """No more answers come."""
        self._ended = True
        self._bell.ring()

    async def take(self) -> list[Answer]:
        """Answers that are ready, at least one; none when there will be no more."""
        while not self._ready and not self._ended:
            await self._bell.wait()  # the delivery task alone; `add` and `end` ring, from slots and stages
        taken, results = 0, 0
        for answer in self._ready[:MOST_TAKEN]:
            results += len(answer.results) + len(answer.failures)
            if taken and results > self._most:
                break
            taken += 1
        ready, self._ready = self._ready[:taken], self._ready[taken:]
        return ready

    @property
    def more(self) -> bool:
        """Whether there are more."""
        return bool(self._ready)
