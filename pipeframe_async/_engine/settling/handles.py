"""The handles of deliveries: they stay here, by feed position, while their records travel.

Each is answered once: `ack` when its record's outcome is final, `nack` when it failed and no dead letter has it, or it
was given up. Async answers begin in the order in which outcomes became final, a bounded number at a time; each holds
its record's permit until it has returned, so a source that is slow to take answers is asked for less.
A handle that raises is counted and logged, and stops nothing.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import math
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from functools import partial
from typing import Any

from pipeframe_async._engine.settling.answer import Answer
from pipeframe_async._engine.settling.traces import Traces
from pipeframe_async._engine.supervise import spawn
from pipeframe_async.model import AnyFailure, Delivery
from pipeframe_async.wire import owners

logger = logging.getLogger("pipeframe_async")


MOST_ANSWERING = 64
"""Async answers under way at a time. More exhaust the connection pools of clients; with fewer, those that are sent many
at once would wait for each other."""
PUT_OFF_AT_ONCE = 1_000
"""Answers that were put off and are begun in one turn of the loop, and then waited for. More hold up the loop and
are memory, as coroutines; with fewer, those that are sent many at once come in smaller requests."""


class Handles:
    """Holds deliveries from intake until their records' outcomes are final.

    Args:
        released: called when an async answer has returned that has held its record's permit.
        forgiving: failures are taken by a dead letter, so their records are done with.
        puts_off: acks wait until `conclude`.
        traces: of records that come with a context.

    Attributes:
        errors: answers that raised, or did not return in time.
        refused: by position, failures of records that are held and had failed before any step had them.
    """

    def __init__(
        self,
        released: Callable[[], None] = lambda: None,
        *,
        forgiving: bool = False,
        puts_off: bool = False,
        traces: Traces | None = None,
    ) -> None:
        self._traces = traces or Traces()
        self._forgiving = forgiving
        self._puts_off = puts_off
        self._put_off: deque[Delivery[Any]] = deque()  # without their records
        self._held: dict[int, Delivery[Any]] = {}
        self._spoilt: dict[int, AnyFailure] = {}  # by position, the first failure of a record that is under way
        self._came: dict[int, list[Any]] = {}  # and its results, where its source wants them
        self._released = released
        self._queue: deque[tuple[Awaitable[Any], bool]] = deque()  # in the order in which outcomes became final
        self._answering: dict[asyncio.Task[None], bool] = {}  # and whether each holds a permit
        self.refused: dict[int, AnyFailure] = {}
        self.errors = 0

    @property
    def waiting(self) -> int:
        """Async answers that have not returned."""
        return len(self._queue) + len(self._answering)

    @property
    def unanswered(self) -> int:
        """Deliveries that have no answer, or one that has not returned."""
        return len(self._held) + len(self._put_off) + self.waiting

    def hold(self, position: int, delivery: Delivery[Any]) -> None:
        """Keep the handle of the record at this feed position."""
        self._held[position] = delivery
        if delivery.context is not None:
            self._traces.delivered(position, delivery.context)
        if delivery.failure is not None:
            self.refused[position] = delivery.failure

    def keys_of(self, answer: Answer) -> list[object]:
        """For each result, the key its record was delivered with; None where it came without."""
        of = owners(0, answer.count + 1, {answer.count: 0, **answer.spans})  # of a portion, the record under way too
        held = [self._held.get(answer.first + index) for index in of]
        return [None if delivery is None else delivery.key for delivery in held]

    def settled(self, answer: Answer, taken: int | None = None) -> int:
        """Records are final. `taken`: only so many of the results were; the records of the others are given up.

        Returns:
            How many async answers that makes; each holds a permit until it has returned.
        """
        if not self._held:
            return 0
        failed = dict(reversed(answer.failures))  # the first failure of a record whose children failed
        opened = answer.first + answer.count  # of a portion, the record that is under way
        if opened in self._held:
            self._goes_on(opened, answer, failed.get(answer.count))
        lost = set() if taken is None else set(owners(0, answer.count, answer.spans)[taken:])
        aborted = answer.outcome.aborted > 0
        begun = end = 0
        for index in range(answer.count):
            at, end = end, end + answer.spans.get(index, 1)  # where its results are
            if (delivery := self._held.pop(position := answer.first + index, None)) is None:
                continue
            failure = failed.get(index) if failed else None
            if self._spoilt:
                failure = self._spoilt.pop(position, None) or failure
            if self.refused:
                self.refused.pop(position, None)
            if index in lost or aborted:
                self._came.pop(position, None)
                begun += self._nack(delivery, None, holds=True)
                continue
            if delivery.outcome is not None:
                before = self._came.pop(position, [])
                self._tell(delivery.outcome, [*before, *answer.results[at:end]], failure)
            if failure is None or self._forgiving:
                begun += self._ack(delivery)
            else:
                begun += self._nack(delivery, failure, holds=True)
        return begun

    def _goes_on(self, position: int, answer: Answer, failure: AnyFailure | None) -> None:
        """Something of a record is final, and the rest of it is under way."""
        if failure is not None:
            self._spoilt.setdefault(position, failure)
        if self._held[position].outcome is not None:
            its = answer.spans.get(answer.count, 0)  # the last ones
            self._came.setdefault(position, []).extend(answer.results[len(answer.results) - its :])

    def _tell(self, outcome: Callable[[list[Any], Any], None], results: list[Any], failure: AnyFailure | None) -> None:
        try:
            outcome(results, failure)
        except Exception as error:
            self._failed(error)

    def refuse(self, records: Iterable[Any]) -> None:
        """Deliveries that were handed over when the run took no more."""
        for record in records:
            if isinstance(record, Delivery):
                self._nack(record, None)

    def done_before(self, records: Iterable[Any]) -> None:
        """Records that were final in an earlier life, which have no permits: their source, it seems, has not heard."""
        for record in records:
            if isinstance(record, Delivery):
                self._ack(record, holds=False)

    def give_up(self, positions: Iterable[int]) -> None:
        """Nothing is done any more with the records at these feed positions, which have no permits."""
        if self._held:
            for position in positions:
                self.refused.pop(position, None)
                if (delivery := self._held.pop(position, None)) is not None:
                    self._nack(delivery, None)

    def abort_rest(self) -> None:
        """Whatever has no outcome is given up."""
        self.give_up([*self._held])

    async def answered(self, timeout: float) -> bool:
        """Wait for async acks and nacks, for `timeout` seconds at most; the rest is cut short, and counted as errors.

        Returns:
            Whether all have returned.

        Cancellation: they are still waited for, so that none is cut short; the cancel is passed on at the end.
        """
        cancelled: asyncio.CancelledError | None = None
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout
        while self.waiting and (left := until - loop.time()) > 0:
            try:
                await asyncio.wait([*self._answering], timeout=left)  # each leaves by `_done`, which begins the next
            except asyncio.CancelledError as error:
                cancelled = error
        if late := self.waiting > 0:
            self._give_up(TimeoutError(f"no answer within {timeout:g} s"))
        if cancelled is not None:
            raise cancelled
        return not late

    def _give_up(self, error: Exception) -> None:
        """Those that have not returned are cut short, and those that have not begun never do."""
        answering, self._answering = self._answering, {}
        for call, holds in answering.items():
            call.cancel()
            self._over(holds, error)
        while self._queue:
            unbegun, holds = self._queue.popleft()
            if isinstance(unbegun, Coroutine):
                unbegun.close()
            elif isinstance(unbegun, asyncio.Future):
                unbegun.cancel()
            self._over(holds, error)

    async def conclude(self, timeout: float, *, kept: bool) -> None:
        """Answer those that were put off; `kept`: what came of them is there.

        They are as many as the run had records, so `timeout` is the time that some of them have, and then the next.
        Where those are late, the rest is given up, and counted as errors.

        Cancellation: they are still answered, for so many seconds more; the cancel is passed on at the end.
        """
        cancelled: asyncio.CancelledError | None = None
        loop, until = asyncio.get_running_loop(), math.inf
        while self._put_off and (left := until - loop.time()) > 0:
            try:
                await asyncio.sleep(0)  # whatever else is to be done has its turn
                self._answer_some(kept=kept)
                if not await self.answered(min(timeout, left)):
                    break
            except asyncio.CancelledError as error:
                cancelled, until = error, min(until, loop.time() + timeout)
        if self._put_off:
            self.errors += len(self._put_off)
            logger.error("%d records were not answered: others took more than %g s", len(self._put_off), timeout)
            self._put_off.clear()
        if cancelled is not None:
            raise cancelled

    def _answer_some(self, *, kept: bool) -> None:
        for _ in range(min(PUT_OFF_AT_ONCE, len(self._put_off))):
            delivery = self._put_off.popleft()
            if kept:
                self._call(delivery.ack)
            else:
                self._nack(delivery, None)
            self._call(delivery.crowd)

    def _ack(self, delivery: Delivery[Any], *, holds: bool = True) -> bool:
        if self._puts_off:
            self._put_off.append(delivery.without_record())
            return False
        return self._call(delivery.ack, holds=holds)

    def _nack(self, delivery: Delivery[Any], failure: AnyFailure | None, *, holds: bool = False) -> bool:
        return False if delivery.nack is None else self._call(partial(delivery.nack, failure), holds=holds)

    def _call(self, handle: Callable[[], Any] | None, *, holds: bool = False) -> bool:
        """Answer a handle; whether that goes on by itself."""
        if handle is None:
            return False
        try:
            outcome = handle()
        except (Exception, asyncio.CancelledError) as error:
            self._failed(error)
            return False
        if outcome is None or not inspect.isawaitable(outcome):
            return False
        self._queue.append((outcome, holds))
        self._go_on()
        return True

    def _go_on(self) -> None:
        """Begin as many as may be under way; the rest goes on as these return."""
        while self._queue and len(self._answering) < MOST_ANSWERING:
            outcome, holds = self._queue.popleft()
            call = spawn(_awaited(outcome), "pipeframe-answer")  # one each, also where several share a future
            self._answering[call] = holds
            call.add_done_callback(self._done)

    def _done(self, call: asyncio.Task[None]) -> None:
        error = None if call.cancelled() else call.exception()
        if (holds := self._answering.pop(call, None)) is None:
            return  # it was given up, and counted
        self._over(holds, error)
        self._go_on()

    def _over(self, holds: bool, error: BaseException | None) -> None:
        if error is not None:
            self._failed(error)
        if holds:
            self._released()

    def _failed(self, error: BaseException) -> None:
        self.errors += 1
        logger.error("an ack or nack raised %s: %s", type(error).__name__, error, exc_info=error)


async def _awaited(outcome: Awaitable[Any]) -> None:
    await outcome  # the user's; in a task that ends by itself, or is given up by `answered`
