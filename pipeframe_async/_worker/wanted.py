"""Which log lines and warnings the parent wants, as it has set up `logging` and `warnings`: taken there, adopted here.

So that what nobody wants is not made in a worker, let alone sent. Comes in: nothing. Goes out: a value of plain data.

Process: `Wanted.here` runs in the parent; `Mirror` is in the worker.
"""

from __future__ import annotations

import logging
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final, NamedTuple, TypeGuard

NEVER: Final = 2**31
"""A level that no line has."""
ROOT: Final = ""
"""The name of the root logger in here."""

Filter = tuple[str, str, tuple[str, str], str, int]
"""Of `warnings`: the action, what a message matches, a category's module and name, what a module matches, a line."""


class LoggerWants(NamedTuple):
    """One logger of the parent: its own level, the least that any handler it reaches takes, and whether it is off."""

    name: str
    level: int
    least: int
    off: bool


class Wanted(NamedTuple):
    """What the parent wants.

    Attributes:
        disabled: the level of `logging.disable`.
        loggers: those that differ from the one above them, the root first.
        filters: those of `warnings`. An action of `error` is `default`, unless it is said to the interpreter
            (`-W error`): a step is not made to raise by what a program has set for itself, its tests for instance.
    """

    disabled: int
    loggers: tuple[tuple[Any, ...], ...]
    filters: tuple[Filter, ...]

    @classmethod
    def here(cls) -> Wanted:
        """What this process wants now."""
        known = [*logging.root.manager.loggerDict.items()]
        loggers = [_wants(ROOT, logging.root)]
        loggers += [_wants(name, logger) for name, logger in known if _tells(logger)]
        return cls(logging.root.manager.disable, tuple(map(tuple, loggers)), tuple(_filters()))


def _tells(logger: Any) -> TypeGuard[logging.Logger]:
    """Whether it is anything but what the one above it is. Libraries have hundreds that are not, with a handler each
    that does nothing, which counts only where there is no other.
    """
    if not isinstance(logger, logging.Logger):
        return False
    if logger.level or logger.disabled or not logger.propagate:
        return True
    handlers = logger.handlers
    return bool(handlers) and not (logging.root.handlers and all(type(at) is logging.NullHandler for at in handlers))


def _wants(name: str, logger: logging.Logger) -> LoggerWants:
    """What plain Python does with a line of this logger: each handler it reaches gets it, or the last resort."""
    least, found, at = NEVER, False, logger
    while True:
        for handler in [*at.handlers]:
            found = True
            if not isinstance(handler, logging.NullHandler):
                least = min(least, handler.level)
        if not at.propagate or at.parent is None:
            break
        at = at.parent
    if not found and logging.lastResort is not None:
        least = logging.lastResort.level
    return LoggerWants(name, logger.level, max(least, logger.getEffectiveLevel()), bool(logger.disabled))


def _filters() -> Iterator[Filter]:
    filters: list[Any] = [*warnings.filters]
    error = "error" if any(option.startswith("error") for option in sys.warnoptions) else "default"
    for action, message, category, module, line in filters:
        where = category.__module__, category.__qualname__
        yield error if action == "error" else action, _pattern(message), where, _pattern(module), line


def _pattern(matched: Any) -> str:
    if matched is None:
        return ""
    return rf"{re.escape(matched)}\Z" if isinstance(matched, str) else str(matched.pattern)


class Mirror:
    """The levels and filters of the parent in this process; what `setup` or a step has set itself is left as it is."""

    def __init__(self) -> None:
        self._loggers: dict[str, LoggerWants] = {}
        self._least: dict[str, int] = {}  # of every logger that was asked about
        self._set: dict[str, int] = {ROOT: logging.root.level}
        self._filters: tuple[Filter, ...] | None = None
        self._made: list[Any] = [*warnings.filters]

    def takes(self, name: str, level: int) -> bool:
        """Whether the parent wants a line of this logger."""
        least = self._least.get(name)
        if least is None:
            least = self._least[name] = self._look(name)
        return level >= least

    def adopt(self, wanted: Wanted) -> None:
        """Have from now on what the parent wants now."""
        self._loggers = {wants[0]: LoggerWants(*wants) for wants in wanted.loggers}
        self._least.clear()
        logging.root.manager.disable = wanted.disabled
        self._level(keep=True)
        if wanted.filters != self._filters:
            self._filters = wanted.filters
            if warnings.filters == self._made:
                self._filter(wanted.filters)

    @contextmanager
    def importing(self) -> Iterator[None]:
        """In this block modules are imported, and may set levels as they did in the parent, whose levels hold."""
        own = {name for name in self._set if _named(name).level != self._set[name]}
        unchanged = warnings.filters == self._made
        try:
            yield
        finally:
            self._level(keep=False, own=own)
            if unchanged and self._filters is not None and warnings.filters != self._made:
                self._filter(self._filters)

    def _level(self, *, keep: bool, own: set[str] | frozenset[str] = frozenset()) -> None:
        """Give each logger its level of the parent; `keep`: but those that somebody has given another one here."""
        levels = {name: wants.level for name, wants in self._loggers.items() if name == ROOT or wants.level}
        for name in {**self._set, **levels}:
            logger, level = _named(name), levels.get(name, logging.NOTSET)
            changed = logger.level != self._set.get(name, logging.NOTSET)
            if name in own or (keep and changed):
                continue
            self._set[name] = level
            if logger.level != level:
                logger.setLevel(level)
        logging.root.manager._clear_cache()  # type: ignore[attr-defined]  # also for `disable`

    def _look(self, name: str) -> int:
        wants = self._loggers.get(ROOT if name == "root" else name)
        if wants is not None:
            return NEVER if wants.off else wants.least
        while name:
            name = name.rpartition(".")[0]
            if (wants := self._loggers.get(name)) is not None:
                return wants.least
        return NEVER  # nothing was heard of the parent yet

    def _filter(self, filters: tuple[Filter, ...]) -> None:
        warnings.resetwarnings()
        for action, message, (module, name), where, line in filters:
            category = getattr(sys.modules.get(module), name, None)  # one that is not here is raised by nobody here
            if isinstance(category, type):
                with suppress(Exception):
                    warnings.filterwarnings(action, message, category, where, line, append=True)  # type: ignore[arg-type]
        self._made = [*warnings.filters]


def _named(name: str) -> logging.Logger:
    return logging.getLogger(name) if name else logging.root
