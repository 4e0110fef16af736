"""The handles of deliveries: they stay here, by feed position, while their records travel.

Each is answered once: `ack` when its record's outcome is final, `nack` when it failed or was given up. Async answers
begin in the order in which outcomes became final, a bounded number at a time; each holds its record's permit until it
has returned, so a source that is slow to take answers is asked for less.
A handle that raises is counted and logged, and stops nothing.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any

from pipeframe_async._engine.settling.answer import Answer
from pipeframe_async.model import AnyFailure, Delivery
from pipeframe_async.wire import owners

logger = logging.getLogger("pipeframe_async")


MOST_ANSWERING = 16
"""Async answers under way at a time. More exhaust the connection pools of clients, fewer wait for round trips."""


class Handles:
    """Holds deliveries from intake until their records' outcomes are final.

    Args:
        answered: called when an async answer has returned, with how many.

    Attributes:
        errors: answers that raised.
    """

    def __init__(self, answered: Callable[[int], None] = lambda answers: None) -> None:
        self._held: dict[int, Delivery[Any]] = {}
        self._answered = answered
        self._queue: deque[Awaitable[Any]] = deque()  # in the order in which outcomes became final
        self._answering: set[asyncio.Future[Any]] = set()
        self.errors = 0

    @property
    def waiting(self) -> int:
        """Async answers that have not returned."""
        return len(self._queue) + len(self._answering)

    def hold(self, position: int, delivery: Delivery[Any]) -> None:
        """Keep the handle of the record at this feed position."""
        self._held[position] = delivery

    def settled(self, answer: Answer, taken: int | None = None) -> None:
        """A batch is final. `taken`: only so many of its results were; the records of the others are given up."""
        if not self._held:
            return
        failed = dict(reversed(answer.failures))  # the first failure of a record whose children failed
        lost = set() if taken is None else set(owners(answer.count, answer.spans)[taken:])
        for index in range(answer.count):
            if (delivery := self._held.pop(answer.first + index, None)) is None:
                continue
            if index in failed:
                self._nack(delivery, failed[index])
            elif index in lost or answer.outcome.aborted:
                self._nack(delivery, None)
            else:
                self._call(delivery.ack)

    def refuse(self, records: Iterable[Any]) -> None:
        """Deliveries that were handed over when the run took no more."""
        for record in records:
            if isinstance(record, Delivery):
                self._nack(record, None)

    def give_up(self, positions: Iterable[int]) -> None:
        """Nothing is done any more with the records at these feed positions."""
        if self._held:
            for position in positions:
                if (delivery := self._held.pop(position, None)) is not None:
                    self._nack(delivery, None)

    def abort_rest(self) -> None:
        """Whatever has no outcome is given up."""
        held, self._held = self._held, {}
        for delivery in held.values():
            self._nack(delivery, None)

    async def all_answered(self) -> None:
        """Wait until all that have been asked for have returned."""
        while self.waiting:
            await asyncio.wait([*self._answering])  # each is a task of its own, and leaves by `_done`

    async def answered(self, timeout: float) -> None:
        """Wait for async acks and nacks that are under way, for `timeout` seconds at most.

        Cancellation: they are still waited for, so that none is cut short; the cancel is passed on at the end.
        """
        cancelled: asyncio.CancelledError | None = None
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout
        while self.waiting and (left := until - loop.time()) > 0:
            try:
                await asyncio.wait(self._answering, timeout=left)  # each is a task of its own, and leaves by `_done`
            except asyncio.CancelledError as error:
                cancelled = error
        self._give_up(TimeoutError(f"no answer within {timeout:g} s"))
        if cancelled is not None:
            raise cancelled

    def _give_up(self, error: Exception) -> None:
        """Those that have not returned are cut short, and those that have not begun never do."""
        for call in tuple(self._answering):
            call.cancel()
            self._failed(error)
        while self._queue:
            if isinstance(unbegun := self._queue.popleft(), Coroutine):
                unbegun.close()
            self._failed(error)
            self._answered(1)

    def _nack(self, delivery: Delivery[Any], failure: AnyFailure | None) -> None:
        if (nack := delivery.nack) is not None:
            self._call(lambda: nack(failure))

    def _call(self, handle: Callable[[], Any] | None) -> None:
        if handle is None:
            return
        try:
            outcome = handle()
        except (Exception, asyncio.CancelledError) as error:
            self._failed(error)
            return
        if inspect.isawaitable(outcome):
            self._queue.append(outcome)
            self._go_on()

    def _go_on(self) -> None:
        """Begin as many as may be under way; the rest goes on as these return."""
        while self._queue and len(self._answering) < MOST_ANSWERING:
            call = asyncio.ensure_future(self._queue.popleft())
            self._answering.add(call)
            call.add_done_callback(self._done)

    def _done(self, call: asyncio.Future[Any]) -> None:
        self._answering.discard(call)
        self._answered(1)
        self._go_on()
        if not call.cancelled() and (error := call.exception()) is not None:
            self._failed(error)

    def _failed(self, error: BaseException) -> None:
        self.errors += 1
        logger.error("an ack or nack raised %s: %s", type(error).__name__, error, exc_info=error)
