"""The ledger at work: the one place where outcomes become final, in this order: permits are released, handles
answered, the watermark moved, which the checkpoint follows. Where an answer takes time, its record's permit is released
when it has returned.

Comes in: an answer whose results have been taken, or given up. Whoever waits for what came free is rung here.
Runs on the loop, within one turn of it: nobody sees books that are half written.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from pipeframe_async._engine.bell import Bell
from pipeframe_async._engine.settling.answer import Answer
from pipeframe_async._engine.settling.finals import Finals
from pipeframe_async._engine.settling.handles import Handles
from pipeframe_async._engine.settling.traces import Traces
from pipeframe_async._rules.ledger import Ledger, Outcome


class Books:
    """The books of one run, for the parts that move its records.

    Args:
        ledger: the counts, and how many permits and bytes are free.
        work: the bell of those who look for work.
        settled: called after each settlement.
        finals: follows what is final, where somebody asks.
        forgiving: failures are taken by a dead letter.
        puts_off: acks wait until the sink has been closed.
        traces: of records that are in one.

    Attributes:
        handles: of deliveries.
        freed: rings when permits were released.
        answering: seconds in which handles were called, or records waited for nothing but async answers.
    """

    def __init__(
        self,
        ledger: Ledger,
        *,
        work: Bell,
        settled: Callable[[], object],
        finals: Finals | None = None,
        forgiving: bool = False,
        puts_off: bool = False,
        traces: Traces | None = None,
    ) -> None:
        self.ledger = ledger
        self.traces = traces or Traces()
        self.handles = Handles(self._released, forgiving=forgiving, puts_off=puts_off, traces=self.traces)
        self.freed = Bell()
        self.answering = 0.0
        self._answering_since: float | None = None  # when nothing else was in flight any more
        self._work = work
        self._wanted = False
        self._quiet: Callable[[], object] | None = None
        self._settled = settled
        self._finals = finals

    def when_quiet(self, call: Callable[[], object]) -> None:
        """Call this, once, when nothing is in flight; now, if that is so."""
        self._quiet = call
        self._look()

    def want_room(self) -> None:
        """Somebody who looked for work found some, but no permits or bytes for it: ring when there are more."""
        self._wanted = True

    def settle(self, answer: Answer, outcome: Outcome | None = None, taken: int | None = None) -> None:
        """Records are final.

        Args:
            answer: what came of them.
            outcome: where it differs from the answer's, because its results were not all taken.
            taken: then, how many of them were.
        """
        outcome = outcome or answer.outcome
        if answer.count:
            self.ledger.settle(answer.first, outcome)
        else:
            self.ledger.emit(answer.first, outcome, answer.nbytes)
        began = time.perf_counter()
        self.ledger.hold(self.handles.settled(answer, taken))
        self.answering += time.perf_counter() - began
        self.traces.settled(answer, aborted=outcome.aborted > 0)
        if self._finals is not None:
            self._finals.settled(answer, aborted=outcome.aborted > 0)
        self._tell()
        self._settled()
        if answer.then is not None:
            answer.then()

    def give_up_waiting(self, first: int, end: int) -> None:
        """The records from position `first` up to `end`, which are all that wait, are aborted."""
        self.ledger.abort_waiting()
        self.given_up(first, end)
        self._tell()

    def given_up(self, first: int, end: int) -> None:
        """The records from position `first` up to `end` were aborted before anything was done with them."""
        self.handles.give_up(range(first, end))

    def refuse(self, records: Sequence[Any]) -> None:
        """Records were handed over, and nobody takes any more: fed and aborted at once."""
        self.ledger.refuse(len(records))
        self.handles.refuse(records)

    def skip(self, records: Sequence[Any]) -> None:
        """Records came that were done in an earlier life: fed and skipped at once, and their source hears of it."""
        self.ledger.skip(len(records))
        self.handles.done_before(records)

    def _released(self) -> None:
        """An async answer has returned: its permit is free."""
        if self._answering_since is not None and not self.ledger.in_flight:  # nor has anything been fed meanwhile
            self.answering += time.perf_counter() - self._answering_since
        self.ledger.release()
        self._tell()

    def _tell(self) -> None:
        """There may be room."""
        self.freed.ring()
        if self._wanted:
            self._wanted = False
            self._work.ring()
        self._answering_since = time.perf_counter() if self.ledger.unanswered and not self.ledger.in_flight else None
        self._look()

    def _look(self) -> None:
        if self._quiet is not None and not self.ledger.in_flight:
            call, self._quiet = self._quiet, None
            call()

    async def close(self, timeout: float) -> None:
        """Whatever has no outcome yet is aborted; then wait, so many seconds at most, for handles to be answered.

        Runs in the run's own task, after all that moved records has ended: nothing is settled across the await.
        """
        self.ledger.abort_rest()
        self.handles.abort_rest()  # what was refused or given up so has no permit to hold
        await self.handles.answered(timeout)
