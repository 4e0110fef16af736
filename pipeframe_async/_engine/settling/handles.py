"""The handles of deliveries: they stay here, by feed position, while their records travel.

Each is answered once: `ack` when its record's outcome is final, `nack` when it failed or was given up.
A handle that raises is counted and logged, and stops nothing.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Iterable
from typing import Any

from pipeframe_async._engine.settling.answer import Answer
from pipeframe_async.model import AnyFailure, Delivery
from pipeframe_async.wire import owners

logger = logging.getLogger("pipeframe_async")


class Handles:
    """Holds deliveries from intake until their records' outcomes are final."""

    def __init__(self) -> None:
        self._held: dict[int, Delivery[Any]] = {}
        self._answering: set[asyncio.Future[Any]] = set()
        self.errors = 0

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

    def abort_rest(self) -> None:
        """Whatever has no outcome is given up."""
        held, self._held = self._held, {}
        for delivery in held.values():
            self._nack(delivery, None)

    async def answered(self, timeout: float) -> None:
        """Wait for async acks and nacks that are under way, for `timeout` seconds at most.

        Cancellation: they are still waited for, so that none is cut short; the cancel is passed on at the end.
        """
        cancelled: asyncio.CancelledError | None = None
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout
        while self._answering and (left := until - loop.time()) > 0:
            try:
                await asyncio.wait(self._answering, timeout=left)  # each is a task of its own, and leaves by `_done`
            except asyncio.CancelledError as error:
                cancelled = error
        for call in tuple(self._answering):
            call.cancel()
            self._failed(TimeoutError(f"no answer within {timeout:g} s"))
        if cancelled is not None:
            raise cancelled

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
            call = asyncio.ensure_future(outcome)
            self._answering.add(call)
            call.add_done_callback(self._done)

    def _done(self, call: asyncio.Future[Any]) -> None:
        self._answering.discard(call)
        if not call.cancelled() and (error := call.exception()) is not None:
            self._failed(error)

    def _failed(self, error: BaseException) -> None:
        self.errors += 1
        logger.error("an ack or nack raised %s: %s", type(error).__name__, error, exc_info=error)
