"""The results of a run for one who iterates: `async for record in results`, or `async for batch in results.batches()`.

A result is delivered when it has been handed over; that is one synchronous step, so a consumer cancelled
while it waits loses nothing. A batch's permits are free when its last result has been handed over.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from dataclasses import replace
from operator import length_hint
from typing import Generic

from pipeframe_async._engine.bell import Bell
from pipeframe_async._engine.settling.answer import Answer
from pipeframe_async._engine.supervise import BREATH
from pipeframe_async._rules.ledger import Outcome
from pipeframe_async.errors import StateError
from pipeframe_async.pipeline_engine import Out
from pipeframe_async.report import RunReport


class _Iteration(Generic[Out]):
    """Iterates by a generator, and by another when a cancel has closed it: that is not the end of the results.

    `__anext__` is a slot that holds the generator's own: a method that calls it would cost each result 50 ns.
    """

    __slots__ = ("__anext__", "_new")

    def __init__(self, new: Callable[[Callable[[], None]], AsyncGenerator[Out]]) -> None:
        self._new = new
        self._renew()

    def _renew(self) -> None:
        self.__anext__ = self._new(self._renew).__anext__

    def __aiter__(self) -> AsyncIterator[Out]:
        return self  # it is one, by its slot


class Results(Generic[Out], AsyncIterator[Out]):
    """An async iterator over the results of a running pipeline, in the order it keeps.

    Each result goes to exactly one consumer, also where several iterate at once. When the run has failed,
    what was delivered before comes first, and then iteration raises the run's error.

    Cancellation: of one who waits for the next result loses none.

    Process: the parent, on the run's loop.
    """

    def __init__(self, settle: Callable[[Answer, Outcome | None, int | None], None]) -> None:
        self._settle = settle
        self._answers: deque[Answer] = deque()
        self._now: Answer | None = None
        self._ahead: Iterator[Out] = iter(())  # of `_now`, all results but the last: what costs least a record
        self._bell = Bell()
        self._emptied = Bell()
        self._ended = False
        self._error: BaseException | None = None
        self._report: RunReport | None = None
        self.taken = False  # whether any result was handed over
        self._breathed = 0.0
        self.waited = 0.0  # seconds the consumer waited for results

    @property
    def report(self) -> RunReport:
        """The run's report, once it has ended.

        Raises:
            StateError: it has not ended yet.
        """
        if self._report is None:
            raise StateError("the run has not ended yet: read .report after the loop, or after the async with block")
        return self._report

    def __aiter__(self) -> AsyncIterator[Out]:
        """The results. Where a wait for one is cancelled none is lost: the next `anext` goes on."""
        return aiter(_Iteration(self._each))

    def batches(self) -> AsyncIterator[list[Out]]:
        """The same by the list: all results that are there of one batch of records, at least one, in the same order.

        How many that is, the run decides: from one, of an idle pipeline, up to the size of its batches, and what a
        fan-out makes of that. A list is the consumer's; its results are delivered when it has been handed over. Who
        iterates one by one meanwhile gets others. Cancellation: none is lost, as of a single one.

        Returns:
            An async iterator of lists. It raises what iterating one by one does.

        Process: the parent, on the run's loop.
        """
        return aiter(_Iteration(self._lists))

    async def _lists(self, cancelled: Callable[[], None]) -> AsyncGenerator[list[Out]]:
        try:
            while True:
                if (now := self._now) is not None:
                    results = [*self._ahead, now.results[-1]]
                    self._finish(now)
                    yield results
                    continue
                try:
                    await self._open()
                except StopAsyncIteration:
                    return
        except asyncio.CancelledError:  # as below
            cancelled()
            raise

    async def _each(self, cancelled: Callable[[], None]) -> AsyncGenerator[Out]:
        """One result after the other; a generator, for that costs half of what `__anext__` does."""
        try:
            while True:
                for result in self._ahead:
                    yield result
                try:
                    result = await anext(self)
                except StopAsyncIteration:
                    return
                yield result
        except asyncio.CancelledError:  # it has met a wait, in which no result was taken
            cancelled()
            raise

    async def __anext__(self) -> Out:
        """The next result.

        Raises:
            StopAsyncIteration: the run has ended and all results were taken.
            PipeFrameError: the run has failed; raised once all its results were taken.
        """
        while True:
            for result in self._ahead:
                return result
            if (now := self._now) is not None:
                self._finish(now)  # before its last result goes out: nothing of this batch is held any more
                return now.results[-1]  # type: ignore[no-any-return]
            await self._open()

    async def _open(self) -> None:
        """Look for the next answer, or wait for one; several may iterate, so each looks again whether there is one.

        Raises:
            as `__anext__`.
        """
        if self._answers:
            if time.perf_counter() - self._breathed > BREATH:
                await asyncio.sleep(0)  # nobody has waited for anything in this time
                self._breathed = time.perf_counter()
                return
            answer = self._answers.popleft()
            if not answer.results:
                self._finish(answer)
                return
            self._now, self.taken = answer, True
            self._ahead = iter(answer.results[:-1])
            return
        if self._ended:
            if (error := self._error) is not None:
                self._error = None
                raise error
            raise StopAsyncIteration
        started = time.perf_counter()
        await self._bell.wait()
        self._breathed = time.perf_counter()
        self.waited += self._breathed - started

    async def take(self, answers: list[Answer]) -> None:
        """Answers from delivery. One without results is final at once, unless portions wait that may be of it."""
        for answer in answers:
            if answer.results or any(waiting.then is not None for waiting in self._all()):
                self._answers.append(answer)
            else:
                self._settle(answer, None, None)
        self._bell.ring()

    def _all(self) -> Iterator[Answer]:
        """What nobody has taken, or not all of it."""
        if self._now is not None:
            yield self._now
        yield from self._answers

    def abandon(self) -> None:
        """The consumer has left: what it was handed is delivered, the rest of that batch is aborted."""
        if (now := self._now) is not None:
            left = 1 + length_hint(self._ahead)
            outcome = replace(now.outcome, delivered=now.outcome.delivered - left, aborted=left)
            self._now, self._ahead = None, iter(())
            outcome = replace(outcome, bypassed=min(outcome.bypassed, outcome.delivered))
            self._settle(now, outcome, len(now.results) - left)
        self._answers.clear()

    @property
    def waiting(self) -> bool:
        """Whether there is a result that nobody has taken yet."""
        return self._now is not None or bool(self._answers)

    async def drained(self) -> None:
        """Wait until everything that came has been handed over."""
        while self.waiting:
            await self._emptied.wait()  # rung when the last one is handed over; more may have come by then

    def end(self, report: RunReport | None, error: BaseException | None) -> None:
        """The run is over."""
        self._ended, self._report, self._error = True, report, error
        self._bell.ring()

    def pending_error(self) -> BaseException | None:
        """The error nobody has seen yet, handed out once."""
        error, self._error = self._error, None
        return error

    def _finish(self, answer: Answer) -> None:
        self._now = None
        self._settle(answer, None, None)
        if not self._answers:
            self._emptied.ring()
