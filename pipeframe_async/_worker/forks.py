"""A process that a step forks does its bit in the step, and ends where it leaves it: the rest of the batch is not its.

Nothing is asked for a record. A hook that runs in the child, in the middle of the step, takes from the loop what it
needs to go on: the steps behind the one it is in, and the cells of the cursor, which it shares with its worker.

Process: whoever runs a chain, a worker or the app; `_in_child` and `end` run in what was forked there.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from threading import get_ident
from types import CellType
from typing import Any, NoReturn

_RELEASED = "operation forbidden on released memoryview object"
"""What Python says where such a cell is written."""

_at_work: dict[int, list[tuple[list[CellType], list[Any]]]] = {}  # by thread, the innermost run of a chain last


@contextmanager
def at_work(steps: Iterable[CellType], cells: Iterable[Any]) -> Iterator[None]:
    """In this block steps are called: a process that is forked in one of them does not come out of it.

    Args:
        steps: what a loop finds its steps in.
        cells: of the cursor.
    """
    runs = _at_work.setdefault(get_ident(), [])
    runs.append(([*steps], [*cells]))
    try:
        with kept():
            yield
    finally:
        runs.pop()
        if not runs:
            _at_work.pop(get_ident(), None)


@contextmanager
def kept() -> Iterator[None]:
    """A process that is forked in this block does not come out of it, by whatever way."""
    process = os.getpid()
    try:
        yield
    except BaseException as error:
        end_if_forked(process, error)
        raise
    end_if_forked(process)


def end_if_forked(process: int, error: BaseException | None = None) -> None:
    """End this process unless it is the one with this pid."""
    if os.getpid() != process:
        end(error)


def end(error: BaseException | None = None) -> NoReturn:
    """End this process with the code of its own, as if it had been a program."""
    code = _code_of(error)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    os._exit(code)


def _code_of(error: BaseException | None) -> int:
    if error is None or (isinstance(error, ValueError) and str(error) == _RELEASED):
        return 0
    if not isinstance(error, SystemExit):
        return 1
    if error.code is None or isinstance(error.code, int):
        return (error.code or 0) & 0xFF
    with contextlib.suppress(Exception):
        sys.stderr.write(f"{error.code}\n")
    return 1


def _left(record: object) -> NoReturn:
    """In place of each step, in the child."""
    end()


class _Gone:
    """In place of cells that stand in for the cursor's."""

    def __setitem__(self, which: object, value: object) -> None:
        raise ValueError(_RELEASED)

    def __getitem__(self, which: object) -> NoReturn:
        raise ValueError(_RELEASED)


def _in_child() -> None:
    for steps, cells in _at_work.get(get_ident(), ()):
        for step in steps:
            step.cell_contents = _left
        for cell in cells:
            if isinstance(cell, memoryview):
                cell.release()
            else:
                cell._cells = _Gone()
    _at_work.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
