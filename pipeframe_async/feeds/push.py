"""`Push`: records that the program itself hands over, from a web handler for instance, with backpressure.

Comes in: records, from tasks of one event loop. Goes out: deliveries, as the run has room for them; and to those who
wait for it, what their record came to.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from functools import partial
from types import TracebackType
from typing import Any, Generic

from pipeframe_async.errors import ConfigError, StateError, StepError
from pipeframe_async.model import DROP, AnyFailure, Chunk, Delivery, T

ENDED = "the run that its records went to has ended: make another Push for the next one"


class Push(Generic[T]):
    """A feed that the program pushes to: `push = Push()`, `feed = push`, and `await push.put(record)` anywhere.

    It is a live source: the pipeline streams until `close`, without an idle timeout, delivers in order of completion
    and bears failures, unless its class says otherwise. It belongs to one run, which may begin before the first `put`
    or after it; when that has ended, whoever waits gets a `StateError`, and so do those who come later.

    Args:
        size: records that wait here until the run has room for them, ≥ 1; then `put` waits. The run itself has room for
            `buffer_size`.

    Process: the parent, in tasks of the event loop that the run is on. From another thread
    `asyncio.run_coroutine_threadsafe(push.put(record), loop)`.
    """

    streams = True
    live = True
    results = True

    def __init__(self, size: int = 1_000) -> None:
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise ConfigError(f"Push(size={size!r}): must be an int of at least 1")
        self._size = size
        self._waiting: deque[Delivery[T]] = deque()
        self._came = asyncio.Event()  # for the run: there is something, or it is closed
        self._putting: deque[asyncio.Future[None]] = deque()  # those that wait for room, in order
        self._promised = 0  # places that are kept for those of them that were woken
        self._asking: set[asyncio.Future[Any]] = set()  # those that wait for what their record comes to
        self._closed = False
        self._ended = False

    def __repr__(self) -> str:
        return f"<Push, {len(self._waiting)} waiting{', closed' if self._closed else ''}>"

    async def put(self, record: T, *, wait: bool = False) -> Any:
        """Hand over a record; waits while there is no room for it.

        Args:
            record: what the first step gets.
            wait: for what it comes to.

        Returns:
            None; with `wait` the result, once the sink has taken it: as the sink gets it, `DROP` where a step filtered
            the record, a list where it came to several.

        Raises:
            StateError: it is closed, or the run has ended; the record is not worked on, or was given up.
            StepError: with `wait`, a step failed; its `failure` says how. A `dead_letter` has it too.

        Cancellation: a record that waits for room is not handed over; one that was is worked on.
        """
        self._check()
        asked = asyncio.get_running_loop().create_future() if wait else None
        if self._full:
            room = asyncio.get_running_loop().create_future()
            self._putting.append(room)
            try:
                await room  # woken in order, each with a place that is its own
            except BaseException:
                if room in self._putting:
                    self._putting.remove(room)
                elif not room.cancelled() and room.exception() is None:
                    self._promised -= 1
                    self._let_in()  # its place is another's
                raise
            self._promised -= 1
            self._check()
        self._hand_over(record, asked)
        return None if asked is None else await asked

    def try_put(self, record: T) -> bool:
        """Hand over a record if there is room for it now; returns whether there was.

        Raises:
            StateError: as `put`.
        """
        self._check()
        if self._full:
            return False
        self._hand_over(record, None)
        return True

    def close(self) -> None:
        """No more records come: the run works off what it has, and ends. Those that wait for room are refused."""
        self._closed = True
        self._came.set()
        while self._putting:
            self._refuse(self._putting.popleft())

    async def __aenter__(self) -> None:
        if self._ended:
            raise StateError(ENDED)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
        self._ended = True
        self._waiting.clear()
        for asked in self._asking:
            self._refuse(asked)
        self._asking.clear()

    async def __aiter__(self) -> AsyncIterator[Chunk[T]]:
        while True:
            if self._waiting:
                records, self._waiting = [*self._waiting], deque()
                self._let_in()
                yield Chunk(records)  # type: ignore[arg-type]  # of deliveries
            elif self._closed:
                return
            else:
                self._came.clear()
                await self._came.wait()  # set by `_hand_over` and `close`, on this loop

    def _hand_over(self, record: T, asked: asyncio.Future[Any] | None) -> None:
        if asked is None:
            self._waiting.append(Delivery(record))
        else:
            self._asking.add(asked)
            asked.add_done_callback(self._asking.discard)
            self._waiting.append(Delivery(record, None, None, partial(self._given_up, asked), partial(_answer, asked)))
        self._came.set()

    def _given_up(self, asked: asyncio.Future[Any], failure: AnyFailure | None) -> None:
        """Its record was, unless it has failed: then that was told."""
        if failure is None:
            self._refuse(asked)

    @property
    def _full(self) -> bool:
        """Whether who comes now has to wait."""
        return bool(self._putting) or len(self._waiting) + self._promised >= self._size

    def _let_in(self) -> None:
        """Wake as many as there are places."""
        while self._putting and len(self._waiting) + self._promised < self._size:
            room = self._putting.popleft()
            if not room.done():
                room.set_result(None)
                self._promised += 1

    def _check(self) -> None:
        if self._closed:
            raise StateError(ENDED if self._ended else "the Push is closed: no more records may be put")

    def _refuse(self, waiting: asyncio.Future[Any]) -> None:
        if not waiting.done():
            waiting.set_exception(
                StateError(ENDED if self._ended else "the Push was closed meanwhile, or its run stopped")
            )


def _answer(asked: asyncio.Future[Any], results: list[Any], failure: AnyFailure | None) -> None:
    if asked.done():
        return
    if failure is not None:
        asked.set_exception(StepError.of(failure))
    elif len(results) == 1:
        asked.set_result(results[0])
    else:
        asked.set_result(results or DROP)
