"""Single records from many callers, through one run: its feed at one end, its consumer at the other.

Callers share batches, since the run cuts them as it does for any feed: an idle lane takes what is there at once, and
what comes while all are busy goes together.

Task: none; callers wait for a future each, in theirs.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator, Callable
from contextvars import Context, copy_context
from dataclasses import dataclass
from typing import Any, NamedTuple

from pipeframe_async._engine.bell import Bell
from pipeframe_async._engine.settling.answer import Answer
from pipeframe_async.errors import PipeFrameError, StateError, StepError
from pipeframe_async.model import DROP


@dataclass(slots=True, eq=False)
class _Call:
    """One caller's; `position` is its record's in the feed, None while it has none; `context` is its caller's."""

    record: Any
    result: asyncio.Future[Any]
    context: Context
    position: int | None = None


class _Joined(NamedTuple):
    """What calls ask of their run."""

    settle: Callable[[Answer], None]
    withdraw: Callable[[int], None]
    position: Callable[[], int]


class Calls:
    """The calls of one pipeline.

    Args:
        fans_out: a result is a list, whatever it has.
    """

    def __init__(self, *, fans_out: bool) -> None:
        self._fans_out = fans_out
        self._waiting: dict[_Call, None] = {}  # not fed yet, in order; a dict, for they leave from anywhere
        self._fed: dict[int, _Call] = {}  # by feed position
        self._bell = Bell()
        self._run: _Joined | None = None

    @property
    def idle(self) -> bool:
        """Whether nobody waits for anything."""
        return not self._waiting and not self._fed

    def join(
        self,
        *,
        settle: Callable[[Answer], None],
        withdraw: Callable[[int], None],
        position: Callable[[], int],
    ) -> None:
        """The run they go through is there.

        Args:
            settle: a caller has its answer.
            withdraw: nobody wants the record at this feed position any more.
            position: the feed position of the next record that is fed.
        """
        self._run = _Joined(settle, withdraw, position)

    async def call(self, record: Any) -> Any:
        """One record's result.

        Returns:
            The result; `DROP` where it was filtered; a list of results where it was fanned out.

        Raises:
            StepError: it failed; its `failure` says how.
            PipeFrameError: the run it was in has ended.

        Cancellation: the record gives up its place.
        """
        call = _Call(record, asyncio.get_running_loop().create_future(), copy_context())
        self._waiting[call] = None
        self._bell.ring()
        try:
            return await call.result  # set by `take`, in the delivery task, or by `close`; a cancel withdraws it
        finally:
            if call.result.cancelled():
                self._withdraw(call)

    def _withdraw(self, call: _Call) -> None:
        if call.position is None:
            self._waiting.pop(call, None)  # the run may have ended in the turn of the cancel, and let all go
        elif call.position in self._fed and self._run is not None:
            self._run.withdraw(call.position)

    async def feed(self) -> AsyncIterator[Any]:
        """The records of callers, as they call.

        Yields:
            One after the other, for as long as the run lasts.
        """
        assert self._run is not None
        while True:
            while self._waiting:
                del self._waiting[call := next(iter(self._waiting))]
                if call.result.done():
                    continue  # its caller has left while it was handed on from another run
                call.position = self._run.position()  # intake appends what is yielded before anything else runs
                self._fed[call.position] = call
                yield call.record
            await self._bell.wait()  # a call that comes meanwhile rings; callers that leave take theirs along

    def context(self, position: int) -> Context | None:
        """The context variables of whoever has called with the record at this feed position."""
        call = self._fed.get(position)
        return None if call is None else call.context

    async def take(self, answers: list[Answer]) -> None:
        """Give each caller what became of its record."""
        assert self._run is not None
        for answer in answers:
            self._run.settle(answer)
            call = self._fed.pop(answer.first).result
            if call.done():
                continue
            if answer.failures:
                call.set_exception(StepError.of(answer.failures[0][1]))
            elif answer.outcome.aborted:
                call.set_exception(StateError("the call was given up: its frame was stopped or closed"))
            else:
                call.set_result(self._result(answer))

    def _result(self, answer: Answer) -> Any:
        if self._fans_out or len(answer.results) > 1:
            return answer.results
        return answer.results[0] if answer.results else DROP

    def queued(self) -> list[_Call]:
        """Remove those that have not been fed, in order."""
        waiting, self._waiting = [*self._waiting], {}
        return waiting

    def take_over(self, calls: list[_Call]) -> None:
        """They have waited elsewhere before, for a run that has ended."""
        self._waiting.update((call, None) for call in calls if not call.result.done())
        self._bell.ring()

    def close(self, error: BaseException | None) -> None:
        """The run has ended: whoever still waits gets an error of its own."""
        for call in [*self._fed.values(), *self._waiting]:
            if not call.result.done():
                call.result.set_exception(_copied(error))
        self._fed.clear()
        self._waiting.clear()


def _copied(error: BaseException | None) -> BaseException:
    """One for each caller: a shared one would gather the tracebacks of all."""
    if not isinstance(error, PipeFrameError):
        return StateError("the call was given up: its frame was stopped or closed")
    copied = copy.copy(error)
    copied.__cause__ = error.__cause__
    return copied
