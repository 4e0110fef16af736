"""What a user's code did wrong, as plain data: an exception as a failure, a step's outcome of the wrong shape.

Used wherever steps run, in workers and on the loop. A traceback shows the user's frames and none of ours.
"""

from __future__ import annotations

import inspect
import os
import pickle
import reprlib
import traceback
from collections.abc import Collection, Mapping, Set
from types import TracebackType
from typing import Any

from pipeframe_async.errors import text_of
from pipeframe_async.model import FailureKind
from pipeframe_async.wire import WireFailure

MESSAGE_LIMIT = 8 * 1024
"""Characters of an exception's message that travel. Smaller loses the cause, larger lets one record flood the pipe."""
TRACEBACK_LIMIT = 64 * 1024
"""Characters of traceback that travel; of a longer one the innermost frames and the message, half of it each."""
SHORT_FRAMES = 20
"""The innermost frames of a traceback that is made where there is no memory for a whole one."""
RAISED_LIMIT = 64 * 1024
"""Bytes of an exception's pickle that travel: one that holds its whole record would double what a failure weighs."""
_PACKAGE = os.path.dirname(__file__)
OUR_ROOM = os.path.join(_PACKAGE, "_worker") + os.sep
"""Where the frames of a worker are that a user's traceback does not show."""
UNROLLED = os.path.join(OUR_ROOM, "<unrolled>")
"""Stands for the file of loops that are written out for their steps; it does not exist, or lines of it would show."""
WRAPPERS = os.path.join(_PACKAGE, "steps.py")
CALLERS = (UNROLLED, WRAPPERS)
"""From where the user's functions are called, in a worker."""
OUR_FILES = (OUR_ROOM, WRAPPERS)


NUMPY_BOOLS = ("bool", "bool_")
"""What numpy calls its own, since 2.0 and before; it need not be imported to know one."""

SHOWN = 120
"""Characters of a wrong outcome that are shown. A wrong one may be of millions of items: no more of it is looked at."""


class WrongShape(Exception):
    """A step returned something that is not one of the allowed forms; shown to the user as a StepError."""


def wrong_shape(name: str, outcome: object, verb: str) -> str:
    """The message for a step that returned, or yielded, something else than it may."""
    try:
        shown = _shown(outcome)
    except Exception:
        shown = "<unprintable>"
    shown = shown if len(shown) <= SHOWN else shown[: SHOWN - 3] + "..."
    return (
        f"step {name!r} {verb} {shown} ({type(outcome).__name__}); expected (record, True) to go on, "
        f"(record, False) to bypass the other steps, DROP to filter, or a generator of such pairs"
        f"{_remedy(name, outcome)}"
    )


def _remedy(name: str, outcome: object) -> str:
    """What may be meant by a wrong outcome, and what to write."""
    function = name if name.isidentifier() else "function"
    if inspect.iscoroutine(outcome):
        outcome.close()  # nobody will await it, and that has been said
        return ". It is a coroutine: a step that awaits is written as `async def`, and so is what decorates it"
    if inspect.isasyncgen(outcome):
        return ". It is an async generator: a step that awaits is written as `async def`, and so is what decorates it"
    if isinstance(outcome, bool):
        return f". Does it say yes or no? Then write keep_if({function})"
    if isinstance(outcome, tuple) and len(outcome) == 2:
        return f". The second of the pair is of type {type(outcome[1]).__name__}, and must be True or False"
    return f". Does it return the next record? Then write apply({function})"


def pair_of(name: str, outcome: object, verb: str) -> tuple[Any, bool]:
    """What a step returned, or yielded, as `(record, keep_going)`; a comparison of numpy's may say whether.

    Raises:
        WrongShape: it is no such pair.
    """
    if isinstance(outcome, tuple) and len(outcome) == 2:
        record, keep_going = outcome
        kind = type(keep_going)
        if isinstance(keep_going, bool) or (kind.__module__ == "numpy" and kind.__name__ in NUMPY_BOOLS):
            return record, bool(keep_going)
    raise WrongShape(wrong_shape(name, outcome, verb))


def rows_of(name: str, outcome: Any, count: int) -> list[Any]:
    """What a vectorized step has returned, item by item: along its first axis, where it is an array.

    Raises:
        WrongShape: it has not one for each of so many records.
    """
    try:
        length = None if _is_no_list(outcome) else len(outcome)
    except TypeError:  # a generator, a number, an array without axes
        length = None
    if length is None:
        raise WrongShape(
            f"vectorized step {name!r} returned a value of type {type(outcome).__name__} for "
            f"{_counted(count, 'record')}; expected a list, or an array, of as many{_rows_remedy(outcome)}"
        )
    rows = list(outcome) if length == count else []
    if len(rows) != count:
        raise WrongShape(
            f"vectorized step {name!r} returned {_counted(length if length != count else len(rows), 'item')} for "
            f"{_counted(count, 'record')}; expected one for each, in their order, with DROP for those that are to be "
            "filtered"
        )
    return rows


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _is_no_list(outcome: Any) -> bool:
    """Whether it has a length, and that is not one of items in an order: text, a mapping, a table of columns."""
    return isinstance(outcome, (str, bytes, bytearray, Mapping, Set)) or hasattr(type(outcome), "columns")


def _rows_remedy(outcome: Any) -> str:
    return ". Of a table, return its rows: `.to_dict('records')`" if hasattr(type(outcome), "columns") else ""


def _shown(outcome: object) -> str:
    if isinstance(outcome, (str, bytes, bytearray)):
        return repr(outcome[: SHOWN + 1])
    return reprlib.repr(outcome) if isinstance(outcome, Collection) else repr(outcome)


def failure_of(
    index: int, step: int, error: BaseException, kind: FailureKind = "raised", *, caller: str = UNROLLED
) -> WireFailure:
    """An exception as plain data, without the frames of this library.

    Args:
        index: the record's, in its batch.
        step: the number of its step.
        error: what was raised.
        kind: what to call it.
        caller: the file of ours from which the user's function was called; in a worker it is known.
    """
    shape = isinstance(error, WrongShape)
    return WireFailure(
        at=index,
        step=step,
        kind=kind,
        error_type="StepError" if shape else type(error).__name__,
        message=str.__getitem__(text_of(error), slice(MESSAGE_LIMIT)),
        traceback="" if shape else _trace(error, caller),
        record=None,
        raised=None if shape else _pickled(error),
    )


class _Bounded:
    """Takes so much of a pickle and no more."""

    def __init__(self) -> None:
        self.data = bytearray()

    def write(self, piece: bytes) -> int:
        """Append it."""
        if len(self.data) + len(piece) > RAISED_LIMIT:
            raise ValueError("it is too large")
        self.data += piece
        return len(piece)


def _pickled(error: BaseException) -> bytes | None:
    """An exception's pickle; None where it has none of a reasonable size that can be read again."""
    try:
        pickle.Pickler(bounded := _Bounded(), 5).dump(error)
        return bytes(bounded.data) if type(pickle.loads(bounded.data)) is type(error) else None  # noqa: S301 - just made
    except BaseException:
        return None


def _trace(error: BaseException, caller: str) -> str:
    try:
        frames = _users_frames(error.__traceback__, caller)
        text = "".join(traceback.format_exception(type(error), error, frames))
        if len(text) <= TRACEBACK_LIMIT:
            return text
        last = "".join(traceback.format_exception_only(type(error), error))
        return "".join(traceback.format_tb(frames))[-TRACEBACK_LIMIT // 2 :] + last[: TRACEBACK_LIMIT // 2]
    except MemoryError:  # its frames still hold what has filled that, and lines of source take more than there is
        return _without_source(error)
    except BaseException as problem:
        return f"<the traceback could not be made: {type(problem).__name__}>"


def _without_source(error: BaseException) -> str:
    """The last places it came through, as a traceback has them, and its type."""
    try:
        places = [(frame.f_code, line) for frame, line in traceback.walk_tb(error.__traceback__)][-SHORT_FRAMES:]
        lines = [f'  File "{code.co_filename}", line {line}, in {code.co_name}\n' for code, line in places]
        return "".join(["Traceback (most recent call last):\n", *lines, type(error).__name__, "\n"])
    except BaseException as problem:
        return f"<the traceback could not be made: {type(problem).__name__}>"


def _users_frames(tb: TracebackType | None, caller: str) -> TracebackType | None:
    """The traceback from the first frame that is not of this library.

    Where there is none: nothing, if a function without frames was called; else all of it, for the error is ours.
    """
    ours, last = tb, ""
    while tb is not None and (file := tb.tb_frame.f_code.co_filename).startswith((*OUR_FILES, caller)):
        tb, last = tb.tb_next, file
    return tb if tb is not None or last in (*CALLERS, caller) else ours
