"""Log lines of workers, handled by the loggers of this process: in a thread, for a handler may block.

Comes in: chunks, as they came over a channel, with where in the feed their batches are. Goes out: log records, to the
logger of their name, as if they had been logged here; warnings, to `warnings`. What waits is bounded: over the bound
lines are dropped and counted, and nobody waits.

Process: the parent's. `put` is called on the loop, or in a thread of a lane; all the user's code in the thread.
"""

from __future__ import annotations

import asyncio
import logging
import pickle
import sys
import threading
import time
import traceback
import warnings
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, Final, NamedTuple, Protocol

from pipeframe_async._worker.forwarding import Chunk, Warned
from pipeframe_async._worker.logged import Logged, Place, record_of
from pipeframe_async._worker.wanted import Wanted
from pipeframe_async.executors import attributes
from pipeframe_async.wire import Positions

logger = logging.getLogger("pipeframe_async")

MOST_LINES: Final = 50_000
"""Lines that wait for the handlers of this process, at most: 20 MB of them. Fewer are dropped in a burst of a few
workers, more hold memory for a handler that hangs."""
MOST_BYTES: Final = 64 * 2**20
"""And so many bytes of them."""
HANDLED_SECONDS: Final = 5.0
"""What the handlers have at a run's end for what still waits. Longer holds up a run for a log, shorter loses lines."""
IN_ONE_GO: Final = 25
"""Lines that are handled before others of this process have their turn, 0.2 ms. The loop, which waits for the GIL, else
has it after 5 ms; fewer make a thread slow that has much to do."""
BREATH_SECONDS: Final = 0.00005
"""What it waits then: to let go of the GIL and take it again at once would give it to nobody."""
LOOK_SECONDS: Final = 0.5
"""How old what is known of this process's loggers may be: a look at them costs 20 µs, or 100 where there are hundreds.
A change of a level, or of the root's handlers, is seen at once."""


class Hears(Protocol):
    """Who is given the lines of a worker: as `Handling` is, or to send them on."""

    def wanted(self) -> Wanted | None:
        """What is wanted: the same object as before where that has not changed; None where nobody has said yet."""

    def put(self, chunk: Chunk, worker: str, positions: Mapping[int, Positions | None]) -> None:
        """Lines have come. On a loop, or in a thread."""


class _Waiting(NamedTuple):
    chunk: Chunk
    worker: str
    positions: Mapping[int, Positions | None]


class Handling:
    """The lines of all workers of one executor.

    Attributes:
        dropped: lines that were not handled, here or in their workers, because there was no room for them.
    """

    def __init__(self) -> None:
        self.dropped = 0
        self._said = 0
        self._waiting: deque[_Waiting] = deque()
        self._lines = self._nbytes = 0  # that wait, or are being handled
        self._changed = threading.Condition()  # of all that is above
        self._thread: threading.Thread | None = None
        self._done = 0  # lines of the chunk that is being handled
        self._closed = False
        self._ends: list[Callable[[], object]] = []  # to be called when nothing waits
        self._registry: dict[Any, Any] = {}  # which warnings were shown

    def wanted(self) -> Wanted:
        """What this process wants now: the same object as before where that has not changed. Costs 0.5 µs."""
        return _look.now()

    def put(self, chunk: Chunk, worker: str, positions: Mapping[int, Positions | None]) -> None:
        """Lines have come.

        Args:
            chunk: they.
            worker: who logged them, for people.
            positions: by the number of a batch, where its records are in the feed.
        """
        with self._changed:
            self.dropped += chunk.dropped
            if not chunk.lines:
                return
            room = self._lines + chunk.lines <= MOST_LINES and self._nbytes + len(chunk.data) <= MOST_BYTES
            if self._closed or not room or not self._begun():
                self.dropped += chunk.lines
                return
            self._waiting.append(_Waiting(chunk, worker, positions))
            self._lines += chunk.lines
            self._nbytes += len(chunk.data)
            self._changed.notify_all()

    def _begun(self) -> bool:
        if self._thread is None:
            self._thread = threading.Thread(target=self._handle, name="pipeframe-logs", daemon=True)
            try:
                self._thread.start()
            except RuntimeError:  # no more threads
                self._thread = None
        return self._thread is not None

    def _handle(self) -> None:
        """The thread's: one chunk after the other."""
        while True:
            with self._changed:
                while not self._waiting:
                    if self._closed:
                        return
                    self._changed.wait()
                waiting = self._waiting.popleft()
            try:
                lines = pickle.loads(waiting.chunk.data)  # noqa: S301 - of our own worker, and plain data
                for number, line in enumerate(lines, start=1):
                    if self._closed:  # whoever waited has given up, and has counted it
                        return
                    self._handled(line, waiting)
                    self._done = number
                    if not number % IN_ONE_GO:
                        time.sleep(BREATH_SECONDS)
            except Exception:  # not a line of ours
                _told()
            with self._changed:
                self._done = 0
                self._lines -= waiting.chunk.lines
                self._nbytes -= len(waiting.chunk.data)
                ends, self._ends = ([], self._ends) if self._lines else (self._ends, [])
            for end in ends:
                with suppress(RuntimeError):  # that loop has not waited
                    end()

    def _handled(self, line: tuple[Any, ...], waiting: _Waiting) -> None:
        place = Place(*line[-1])
        positions = waiting.positions.get(place.batch)
        found = attributes.found_at(positions, place.at, place.step, waiting.worker, place.pipeline)
        try:
            if line[0] is None:
                with attributes.given(found):
                    self._warn(Warned(*line))
                return
            told = Logged(*line)
            there = logging.getLogger(told.name)
            if there.isEnabledFor(told.levelno):  # a level may have been raised since
                there.handle(record_of(told, found))
        except Exception:  # a handler, or a filter, that raises: it costs this line
            _told()

    def _warn(self, warned: Warned) -> None:
        """As if it had been raised here: the filters decide, and each place is shown once, whoever it was."""
        module = warned.filename.rpartition("/")[2].removesuffix(".py")
        category = _category(warned)
        try:
            warnings.warn_explicit(warned.text, category, warned.filename, warned.lineno, module, self._registry)
        except Warning:  # an error is for who has raised it, and that is not known to be what the step wants
            key = warned.text, category, warned.lineno
            if not self._registry.get(key):
                self._registry[key] = True
                warnings.showwarning(category(warned.text), category, warned.filename, warned.lineno)

    async def handled(self, within: float | None = None) -> None:
        """Wait until all lines that have come are handled, for so long; and say how many were dropped."""
        done, loop = asyncio.Event(), asyncio.get_running_loop()
        with self._changed:
            if self._lines:
                self._ends.append(partial(loop.call_soon_threadsafe, done.set))
            else:
                done.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(HANDLED_SECONDS if within is None else within):
                await done.wait()  # set by the thread, by way of the loop; it may be stuck in a handler
        self._say()

    def _say(self) -> None:
        dropped, self._said = self.dropped - self._said, self.dropped
        if dropped:
            logger.warning("%d log lines of steps were dropped: there were more than could be handled in time", dropped)

    async def close(self) -> None:
        """No more lines come: those that are there are handled, within the bound, and the thread ends."""
        await self.handled()
        if left := self.end():
            logger.warning("%d log lines of steps were dropped: a handler has not taken them in time", left)
            self._said = self.dropped
        elif self._thread is not None:
            self._thread.join(1.0)  # it has nothing to do

    def end(self) -> int:
        """No more lines are handled, and the thread ends; returns how many were left. Anywhere."""
        with self._changed:
            left = 0 if self._closed else self._lines - self._done
            self._closed = True
            self._waiting.clear()
            self.dropped += left
            self._changed.notify_all()
        return left


class _Look:
    """Looks at the loggers of this process, no more often than it must."""

    def __init__(self) -> None:
        self._known: Wanted | None = None
        self._looked = 0.0
        self._handlers: list[logging.Handler] = []

    def now(self) -> Wanted:
        root = logging.root
        cache: dict[Any, Any] = getattr(root, "_cache", {})  # it is emptied when any level is set
        now = time.monotonic()
        if (
            self._known is not None
            and _SEEN in cache
            and root.handlers == self._handlers
            and now - self._looked < LOOK_SECONDS
        ):
            return self._known
        self._looked, self._handlers = now, [*root.handlers]
        cache[_SEEN] = True
        wanted = Wanted.here()
        if wanted != self._known:
            self._known = wanted
        assert self._known is not None
        return self._known


_look = _Look()  # one, for there is one mark
_SEEN: Final = "pipeframe_async has looked at the levels"


def _category(warned: Warned) -> type[Warning]:
    """The warning's category, or the nearest it is derived from that this process knows."""
    for module, name in warned.categories:
        found = getattr(sys.modules.get(module), name, None)
        if isinstance(found, type) and issubclass(found, Warning):
            return found
    return UserWarning


def _told() -> None:
    """As `logging` tells of a handler that raises."""
    if logging.raiseExceptions and sys.stderr is not None:
        with suppress(Exception):
            traceback.print_exc(file=sys.stderr)
