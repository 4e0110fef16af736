"""What stands in for an object at an end of a pipeline: it is opened, closed and asked as that one is, and a test sees
what goes through it.

What a run finds out about such an object it finds by its class, so each double gets a class of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from inspect import iscoroutinefunction
from typing import Any, Final, Protocol

from pipeframe_async._rules.edges import wants_keys, writes
from pipeframe_async.testing.copies import stays_at_home

PASSED_ON: Final = ("__aenter__", "__aexit__", "__enter__", "__exit__", "seek")


class Double:
    """Has what the one behind it has, but for what its class says."""

    __reduce__ = stays_at_home

    def __init__(self, behind: Any) -> None:
        self._behind = behind

    def __getattr__(self, name: str) -> Any:
        return getattr(self._behind, name)

    def __repr__(self) -> str:
        return repr(self._behind)


def class_of_double(behind: Any, base: type[Any], told: dict[str, Any]) -> type[Any]:
    """A class for a double of this object: with its life, and with what is told."""
    kind = type(behind)
    life: dict[str, Any] = {name: _passed_on(name) for name in PASSED_ON if hasattr(kind, name)}
    if hasattr(behind, "pipeline_name"):
        life["pipeline_name"] = property(_pipeline_name, _set_pipeline_name)
    return type(kind.__name__, (base,), {**life, **told})


def _pipeline_name(self: Double) -> Any:
    return self._behind.pipeline_name


def _set_pipeline_name(self: Double, name: str) -> None:
    self._behind.pipeline_name = name


def _passed_on(name: str) -> Callable[..., Any]:
    return lambda self, *arguments: getattr(self._behind, name)(*arguments)


class Sees(Protocol):
    """Sees what is given to a sink, or to a dead letter: then `keys` are None."""

    def given(self, items: list[Any], keys: Sequence[Any] | None) -> tuple[list[Any], Sequence[Any] | None]:
        """What is passed on in their place; what it raises, the sink raises."""

    def taken(self, items: list[Any], keys: Sequence[Any] | None) -> None:
        """The one behind has taken them."""


class _TakerDouble(Double):
    def __init__(self, behind: Any, role: str, sees: Sees) -> None:
        super().__init__(behind)
        self._write = _nobody if behind is None else writes(behind, role) or behind
        self._keys = role == "sink" and wants_keys(self._write)
        self._sees = sees

    def _given(self, items: list[Any], keys: Sequence[Any] | None) -> tuple[Any, ...]:
        passed_on, own_keys = self._sees.given(items, keys)
        return (passed_on, own_keys) if self._keys else (passed_on,)


async def _nobody(items: Sequence[Any]) -> None:
    """Takes them, and does nothing."""


def taker_double(behind: Any, role: str, sees: Sees) -> Any:
    """A sink, or a dead letter, in place of this one, which may be a function, an object or None; `sees` what it takes.

    One that blocks is one that blocks: it is called in a thread.
    """
    write = _nobody if behind is None else writes(behind, role) or behind
    awaits = iscoroutinefunction(write) or iscoroutinefunction(type(write).__call__)
    forms: dict[tuple[bool, bool], Callable[..., Any]] = {
        (True, True): _write_with_keys,
        (True, False): _write,
        (False, True): _block_with_keys,
        (False, False): _block,
    }
    told = {"write": forms[awaits, role == "sink"]}
    return class_of_double(behind, _TakerDouble, told)(behind, role, sees)


async def _write_with_keys(self: _TakerDouble, items: list[Any], keys: Sequence[Any]) -> None:
    await self._write(*self._given(items, keys))
    self._sees.taken(items, keys)


async def _write(self: _TakerDouble, items: list[Any]) -> None:
    await self._write(*self._given(items, None))
    self._sees.taken(items, None)


def _block_with_keys(self: _TakerDouble, items: list[Any], keys: Sequence[Any]) -> None:
    self._write(*self._given(items, keys))
    self._sees.taken(items, keys)


def _block(self: _TakerDouble, items: list[Any]) -> None:
    self._write(*self._given(items, None))
    self._sees.taken(items, None)
