"""What steps log in a worker, on its way to the parent: caught, made plain data, kept until it is sent.

It goes with the next reply, or by a thread of its own while a step takes long. Nothing here waits for the parent: where
that does not read, lines are dropped and counted.

Caught where loggers call their handlers, and not by a handler: one would keep `logging.basicConfig` from doing
anything, and be removed by whoever sets up logging anew. Handlers of this process still get their lines. Those that
came as the steps were imported, for the parent has imported the same, and those that write to standard output or error,
get only what is not sent: so nobody sees a line twice.

Process: the worker's. `caught` is called in any thread that logs; `chunks` under the lock of whoever sends.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import sys
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, NamedTuple
from weakref import WeakSet

from pipeframe_async._worker.codec import PROTOCOL
from pipeframe_async._worker.cursor import BATCH, Cursor
from pipeframe_async._worker.lastlog import LastLog
from pipeframe_async._worker.logged import FIELD_LIMIT, MESSAGE_LIMIT, Logged, Place, logged
from pipeframe_async._worker.wanted import Mirror, Wanted
from pipeframe_async._worker.whereabouts import whereabouts

FLUSH_SECONDS: Final = 0.1
"""How long a line waits in a step that takes long. Shorter wakes the parent more often, longer looks as if it hung."""
MANY: Final = 200
"""Lines of one message, and so many do not wait: fewer wake the parent more often, more hold up what comes behind."""
MOST_LINES: Final = 10_000
"""Lines that wait to be sent, at most: a second of a step that logs as fast as it should ever. More holds memory for a
parent that does not read, fewer drops what is logged in a burst."""
MOST_BYTES: Final = 8 * 2**20
"""And so many bytes of them, about."""
LINE_BYTES: Final = 400
"""Of a line, beside its texts."""


class Warned(NamedTuple):
    """A warning: its text, the names of its category and of those that one is derived from, and where it was raised.

    `line`: nothing, and what tells it from a `Logged`.
    """

    line: None
    text: str
    categories: tuple[tuple[str, str], ...]
    filename: str
    lineno: int
    place: tuple[Any, ...]


class Chunk(NamedTuple):
    """Some lines: how many, how many have been dropped before them, and a pickle of a list of `Logged` and `Warned`."""

    lines: int
    dropped: int
    data: bytes


class Forwarding:
    """Lines that wait to be sent.

    Args:
        cursor: says which batch is at work.
        last: keeps the last lines for the parent to read after this process has died.
    """

    def __init__(self, cursor: Cursor, last: LastLog) -> None:
        self.mirror = Mirror()
        self._cursor = cursor
        self._last = last
        self._waiting: deque[tuple[int, Logged | Warned]] = deque()
        self._unsent: deque[Chunk] = deque()
        self._nbytes = self._dropped = 0
        self._aside: WeakSet[logging.Handler] = WeakSet()
        self._some, self._many = threading.Event(), threading.Event()
        self._send: Callable[[], None] | None = None
        self._flusher: threading.Thread | None = None
        self._plain = logging.Logger.callHandlers, warnings.showwarning
        self._on = False

    def install(self) -> None:
        """Catch what is logged from here on."""
        forwarding = self

        def call_handlers(self: logging.Logger, record: logging.LogRecord) -> None:
            forwarding.caught(self, record)

        logging.Logger.callHandlers = call_handlers  # type: ignore[method-assign]
        warnings.showwarning = self._warned
        self._on = True
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self.leave)  # of a process a step forks: the talk is ours

    def leave(self) -> None:
        """Catch nothing any more."""
        if self._on:
            self._on = False
            logging.Logger.callHandlers = self._plain[0]  # type: ignore[method-assign]
            warnings.showwarning = self._plain[1]

    def sent_by(self, send: Callable[[], None]) -> None:
        """Have what waits sent so, in a thread, while a step takes long."""
        self._send = send

    @contextmanager
    def importing(self) -> Iterator[None]:
        """In this block steps are loaded: what their modules set up, the parent has set up as well."""
        before = {*_handlers()}
        with self.mirror.importing():
            yield
        for handler in {*_handlers()} - before:
            self._aside.add(handler)

    def adopt(self, wanted: Wanted) -> None:
        """What the parent wants now."""
        self.mirror.adopt(wanted)

    def caught(self, logger: logging.Logger, record: logging.LogRecord) -> None:
        """A line was logged: it is sent, where the parent wants it, and handled here by those it is not sent for."""
        sent = self.mirror.takes(logger.name, record.levelno)
        if sent:
            self._line(logged(record, place := self._place()), place)
        at: logging.Logger | None = logger
        while at is not None:
            for handler in at.handlers:
                if record.levelno >= handler.level and not (sent and self._is_aside(handler)):
                    handler.handle(record)
            at = at.parent if at.propagate else None

    def _line(self, line: Logged, place: Place) -> None:
        says = f"{line.levelname} {line.name}: {line.message}"
        texts = len(line.message) + len(line.exc_text or "") + len(line.stack_info or "")
        if line.exc_text:
            says = f"{says} ({line.exc_text.rpartition(chr(10))[2]})"
        self._put(line, says, texts + (LINE_BYTES * len(line.extra) if line.extra else 0), place)

    def _is_aside(self, handler: logging.Handler) -> bool:
        if handler in self._aside:
            return True
        streams = sys.stderr, sys.stdout, sys.__stderr__, sys.__stdout__
        return isinstance(handler, logging.StreamHandler) and any(handler.stream is stream for stream in streams)

    def _warned(
        self,
        message: Any,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: Any = None,
        line: str | None = None,
    ) -> None:
        """In place of `warnings.showwarning`: the parent shows it, as its own."""
        if file is not None:
            self._plain[1](message, category, filename, lineno, file, line)
            return
        try:
            text = str(message)[:MESSAGE_LIMIT]
        except Exception as error:
            text = f"<a {category.__name__} that cannot be shown: {type(error).__name__}>"
        categories = tuple((kind.__module__, kind.__qualname__) for kind in category.__mro__[:-3])
        place = self._place()
        warned = Warned(None, text, categories, str(filename)[:FIELD_LIMIT], int(lineno), tuple(place))
        self._put(warned, f"{category.__name__}: {text}", len(text), place)

    def _place(self) -> Place:
        batch = self._cursor.cells[BATCH]
        if (at := whereabouts(3)) is None:
            return Place(batch)
        return Place(batch, at.at, at.step, at.pipeline)

    def _put(self, line: Logged | Warned, says: str, texts: int, place: Place) -> None:
        self._last.say(says, place.batch, place.at)
        if len(self._waiting) >= MOST_LINES or self._nbytes >= MOST_BYTES:
            self._dropped += 1
            return
        nbytes = texts + LINE_BYTES
        self._waiting.append((nbytes, line))
        self._nbytes += nbytes
        if not self._some.is_set():
            if self._flusher is None and self._send is not None:
                self._flusher = threading.Thread(target=self._flush, name="pipeframe-logs", daemon=True)
                with contextlib.suppress(RuntimeError):  # no more threads: lines go with the replies
                    self._flusher.start()
            self._some.set()
        if len(self._waiting) >= MANY and not self._many.is_set():
            self._many.set()

    def _flush(self) -> None:
        """The flusher's: what has waited for long, or is much, is sent."""
        assert self._send is not None
        while True:
            self._some.wait()
            self._some.clear()
            self._many.wait(FLUSH_SECONDS)
            self._many.clear()
            try:
                self._send()
            except OSError:
                return  # the talk is over

    def chunks(self) -> list[Chunk]:
        """All that waits, in order, taken out."""
        chunks = []
        while self._unsent:
            chunks.append(self._unsent.popleft())
        left = len(self._waiting)  # and not what others log meanwhile
        while left or self._dropped:
            lines: list[tuple[Any, ...]] = []
            for _ in range(min(left, MANY)):
                nbytes, line = self._waiting.popleft()
                self._nbytes -= nbytes
                lines.append(tuple(line))
            left -= len(lines)
            dropped, self._dropped = self._dropped, 0
            chunks.append(Chunk(len(lines), dropped, pickle.dumps(lines, PROTOCOL)))
        if not self._waiting:
            self._nbytes = 0  # threads that add to it at once may have lost some
        return chunks

    def put_back(self, chunks: list[Chunk]) -> None:
        """They could not be sent: they are the first again."""
        self._unsent.extendleft(reversed(chunks))


def _handlers() -> Iterator[logging.Handler]:
    for logger in [logging.root, *logging.root.manager.loggerDict.values()]:
        if isinstance(logger, logging.Logger):
            yield from logger.handlers


_forwarding: Forwarding | None = None


def attach(forwarding: Forwarding) -> None:
    """Use this one (called once, when the worker begins)."""
    global _forwarding
    _forwarding = forwarding
    forwarding.install()


@contextmanager
def importing() -> Iterator[None]:
    """In this block steps are loaded."""
    if _forwarding is None:
        yield
    else:
        with _forwarding.importing():
            yield
