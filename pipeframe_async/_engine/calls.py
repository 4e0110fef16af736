"""Single records from many callers, through one run: its feed at one end, its consumer at the other.

Callers share batches, since the run cuts them as it does for any feed: an idle lane takes what is there at once, and
what comes while all are busy goes together. One that has a deadline and was not begun by then is withdrawn; what has
begun goes on, and its caller has its answer.

Task: none; callers wait for a future each, in theirs.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator, Callable
from contextvars import Context, copy_context
from dataclasses import dataclass
from math import inf
from typing import Any, NamedTuple

from pipeframe_async._engine.bell import Bell
from pipeframe_async._engine.load import Load
from pipeframe_async._engine.settling.answer import Answer
from pipeframe_async._rules.admission import DEADLINE_PART, Lately, Pace, late
from pipeframe_async.errors import PipeFrameError, StateError, StepError
from pipeframe_async.model import DROP


@dataclass(slots=True, eq=False)
class _Call:
    """One caller's.

    Attributes:
        context: its caller's.
        deadline: seconds after which it is not begun any more; None: at any time.
        position: its record's in the feed, None while it has none.
        begun: a step has its record, or had.
        gone: nobody waits for it, and no step has had it.
        timer: ends it at its deadline.
    """

    record: Any
    result: asyncio.Future[Any]
    context: Context
    deadline: float | None = None
    position: int | None = None
    begun: bool = False
    gone: bool = False
    timer: asyncio.TimerHandle | None = None

    @property
    def late(self) -> bool:
        """Its deadline has come; the loop may have been too busy to say so."""
        return self.timer is not None and self.timer.when() <= asyncio.get_running_loop().time()

    def still(self) -> None:
        """Its deadline is nothing to it any more."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


class _Joined(NamedTuple):
    """What calls ask of their run."""

    settle: Callable[[Answer], None]
    withdraw: Callable[[int], None]
    position: Callable[[], int]
    load: Load | None
    traced: Callable[[int, Context], None]


class Calls:
    """The calls of one pipeline.

    Args:
        fans_out: a result is a list, whatever it has.
        name: the pipeline's.
        bulk: they go behind those that are not.
        rejected: is told of each that is refused.

    Attributes:
        refused: how many were, before they waited or when their deadline came.
    """

    def __init__(
        self,
        *,
        fans_out: bool,
        name: str = "",
        bulk: bool = False,
        rejected: Callable[[str], object] = lambda name: None,
    ) -> None:
        self.name = name
        self.bulk = bulk
        self._rejected = rejected
        self.refused = 0
        self._fans_out = fans_out
        self._pace = Pace()
        self._tightest = Lately()
        self._due = inf  # no deadline comes before
        self._begun = 0  # of those that are fed
        self._gone = 0  # of those too: nobody waits for them, and they were never begun
        self._waiting: dict[_Call, None] = {}  # not fed yet, in order; a dict, for they leave from anywhere
        self._fed: dict[int, _Call] = {}  # by feed position
        self._bell = Bell()
        self._run: _Joined | None = None

    @property
    def idle(self) -> bool:
        """Whether nobody waits for anything."""
        return not self._waiting and not self._fed

    @property
    def waiting(self) -> int:
        """Calls that wait: for their first step, or between stages for a worker."""
        return self._not_begun + (0 if self.load is None else self.load.midway)

    @property
    def running(self) -> int:
        """Calls that have no answer, and do not wait."""
        return max(0, len(self._waiting) + len(self._fed) - self._gone - self.waiting)

    @property
    def _not_begun(self) -> int:
        return len(self._waiting) + len(self._fed) - self._begun - self._gone

    @property
    def load(self) -> Load | None:
        """Of the run they go through; None where there is none yet."""
        return None if self._run is None else self._run.load

    @property
    def lane_seconds(self) -> float:
        """Worker seconds that they will take, but for what is in a lane."""
        return 0.0 if self.load is None else self.load.lane_seconds(self._not_begun, self._pace.seconds)

    @property
    def loop_seconds(self) -> float:
        """Seconds until one that comes now has its turn in a run of async steps."""
        return 0.0 if self.load is None else self.load.loop_seconds(self._not_begun, self._pace.seconds)

    def within(self) -> float:
        """Seconds that the work of a batch may take: somebody has a deadline, and waits for it to end."""
        return DEADLINE_PART * self._tightest.least(asyncio.get_running_loop().time())

    def join(
        self,
        *,
        settle: Callable[[Answer], None],
        withdraw: Callable[[int], None],
        position: Callable[[], int],
        load: Load | None = None,
        traced: Callable[[int, Context], None] = lambda position, context: None,
    ) -> None:
        """The run they go through is there.

        Args:
            settle: a caller has its answer.
            withdraw: nobody wants the record at this feed position any more.
            position: the feed position of the next record that is fed.
            load: what they have before them.
            traced: the record at this feed position was called for in this context.
        """
        self._run = _Joined(settle, withdraw, position, load, traced)

    async def call(self, record: Any, deadline: float | None = None) -> Any:
        """One record's result.

        Args:
            record: for the first step.
            deadline: seconds after which that does not get it any more.

        Returns:
            The result; `DROP` where it was filtered; a list of results where it was fanned out.

        Raises:
            StepError: it failed; its `failure` says how.
            Overloaded: it was not begun by its deadline.
            PipeFrameError: the run it was in has ended.

        Cancellation: the record gives up its place.
        """
        loop = asyncio.get_running_loop()
        call = _Call(record, loop.create_future(), copy_context(), deadline)
        if deadline is not None:
            self._tightest.say(deadline, loop.time())
            self._armed(call, loop.time() + deadline)
        self._waiting[call] = None
        self._bell.ring()
        try:
            # Set by `take`, in the delivery task, by `close`, or by its deadline; a cancel withdraws it.
            return await call.result
        finally:
            call.still()
            if call.result.cancelled():
                self._withdraw(call)

    def _withdraw(self, call: _Call) -> None:
        if call.position is None:
            self._waiting.pop(call, None)  # the run may have ended in the turn of the cancel, and let all go
        elif call.position in self._fed and self._run is not None:
            if not call.begun and not call.gone:
                call.gone = True
                self._gone += 1
            self._run.withdraw(call.position)

    def _armed(self, call: _Call, until: float) -> None:
        self._due = min(self._due, until)
        call.timer = asyncio.get_running_loop().call_at(until, self._expire, call)

    def _expire(self, call: _Call) -> None:
        """Its deadline has come. What has begun is finished; else nobody begins it any more."""
        call.still()
        if call.begun or call.result.done():
            return
        assert call.deadline is not None
        wait = call.deadline if self.load is None else self.lane_seconds / self.load.workforce.workers
        call.result.set_exception(late(self.name, waiting=self.waiting, wait=wait, deadline=call.deadline))
        self.refuse()
        self._withdraw(call)

    def refuse(self) -> None:
        """One gets `Overloaded`."""
        self.refused += 1
        self._rejected(self.name)

    @property
    def overdue(self) -> bool:
        """Whether the deadline of one that waits has come. Costs next to nothing where none has."""
        if (time := asyncio.get_running_loop().time()) >= self._due:
            waits = (call.timer.when() for call in (*self._waiting, *self._fed.values()) if call.timer is not None)
            self._due = min(waits, default=inf)
        return time >= self._due

    def late(self, position: int) -> bool:
        """Whether the record at this feed position is not to begin any more, for its deadline has come."""
        if (call := self._fed.get(position)) is None or call.begun or not call.late:
            return False
        self._expire(call)
        return True

    def begun(self, position: int) -> None:
        """The first step is to have the record at this feed position, perhaps once more."""
        if (call := self._fed.get(position)) is not None and not call.begun and not call.gone:
            call.begun = True
            self._begun += 1
            call.still()

    async def feed(self) -> AsyncIterator[Any]:
        """The records of callers, as they call.

        Yields:
            One after the other, for as long as the run lasts.
        """
        assert self._run is not None
        while True:
            while self._waiting:
                del self._waiting[call := next(iter(self._waiting))]
                if call.late:
                    self._expire(call)
                if call.result.done():
                    continue  # its caller has left while it was handed on from another run
                call.position = self._run.position()  # intake appends what is yielded before anything else runs
                self._fed[call.position] = call
                self._run.traced(call.position, call.context)
                yield call.record
            await self._bell.wait()  # a call that comes meanwhile rings; callers that leave take theirs along

    def context(self, position: int) -> Context | None:
        """The context variables of whoever has called with the record at this feed position."""
        call = self._fed.get(position)
        return None if call is None else call.context

    async def take(self, answers: list[Answer]) -> None:
        """Give each caller what became of its record."""
        assert self._run is not None
        begun = self._begun
        for answer in answers:
            self._run.settle(answer)
            call = self._fed.pop(answer.first)
            self._begun -= call.begun
            self._gone -= call.gone
            if call.result.done():
                continue
            if answer.failures:
                call.result.set_exception(StepError.of(answer.failures[0][1]))
            elif answer.outcome.aborted:
                call.result.set_exception(StateError("the call was given up: its frame was stopped or closed"))
            else:
                call.result.set_result(self._result(answer))
        if self.load is not None and begun > self._begun:
            self._pace.answered(begun - self._begun, self.load.spent)

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
        for call in calls:
            if call.result.done():
                continue
            if call.timer is not None:
                until = call.timer.when()
                call.still()
                self._armed(call, until)
            self._waiting[call] = None
        self._bell.ring()

    def close(self, error: BaseException | None) -> None:
        """The run has ended: whoever still waits gets an error of its own."""
        for call in [*self._fed.values(), *self._waiting]:
            if not call.result.done():
                call.result.set_exception(_copied(error))
        self._fed.clear()
        self._waiting.clear()
        self._begun = self._gone = 0


def _copied(error: BaseException | None) -> BaseException:
    """One for each caller: a shared one would gather the tracebacks of all."""
    if not isinstance(error, PipeFrameError):
        return StateError("the call was given up: its frame was stopped or closed")
    copied = copy.copy(error)
    copied.__cause__ = error.__cause__
    return copied
