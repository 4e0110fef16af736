"""What the records of a chain name and workers cannot import: defined when a worker asks, in the parent.

A chain that is loaded again in the same process is supplied from the start with what it was asked for before, as it
is then: so a class that has changed between two runs is seen, though the chain is the same.
"""

from __future__ import annotations

import hashlib
import sys
from collections import OrderedDict
from typing import Any

from pipeframe_async._worker import standin
from pipeframe_async._worker.standin import UNNAMED, Name
from pipeframe_async.errors import ConfigError
from pipeframe_async.executors.blaming import Blamed, culprit
from pipeframe_async.executors.defining.definer import define
from pipeframe_async.executors.defining.modules import by_value, shipping

MOST_CHAINS = 256
"""Chains of which it is known what they were asked for. Those beyond are asked again, in a batch's time."""

_asked: OrderedDict[str, list[tuple[Name, ...]]] = OrderedDict()


class Supplies:
    """The definitions that workers were sent beyond a chain's own.

    Args:
        key: the chain's.
        there: the names that it brings.
        shipped: the modules that go by value with it.
    """

    def __init__(self, key: str, there: frozenset[Name], shipped: frozenset[str] = frozenset()) -> None:
        self.key = key
        self._shipped = shipped
        self.tag = ""
        self._there = there
        self._more: list[tuple[Name, bytes]] = []
        self._refused: dict[Name, str] = {}
        self._had: set[Name] = set()
        self._alive: list[Any] = []  # classes that only records and we know of
        self._groups = _asked.setdefault(key, [])
        _asked.move_to_end(key)
        while len(_asked) > MOST_CHAINS:
            _asked.popitem(last=False)
        for group in self._groups:
            self._add(group)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Supplies) and (self.key, self.tag) == (other.key, other.tag)

    def __hash__(self) -> int:
        return hash(self.key)

    def parcel(self) -> tuple[Any, ...]:
        """The tag, the definitions, and what cannot be sent."""
        return self.tag, tuple(self._more), self._refused

    def ask(self, wanted: str) -> bool:
        """A worker has missed these names: a line each, of a module and a name."""
        names = (line.partition("\t")[::2] for line in wanted.splitlines())
        group = tuple(name for name in names if name not in self._had)
        if group:
            self._groups.append(group)
            self._add(group)
        return True

    def _add(self, group: tuple[Name, ...]) -> None:
        with shipping(self._shipped):
            self._define(group)
        digest = hashlib.blake2b(repr(sorted(self._refused.items())).encode(), digest_size=8)
        for _, data in self._more:
            digest.update(data)
        self.tag = digest.hexdigest()

    def _define(self, group: tuple[Name, ...]) -> None:
        for name in group:
            self._had.add(name)
            try:
                value = _value(*name)
                defined = define({name: value}, there=self._there - {name})
            except (KeyboardInterrupt, SystemExit):
                raise
            except BaseException as error:
                self._refused[name] = refusal(name, error)
                continue
            self._there |= defined.names | {name}
            self._more.append((name, defined.data))
            self._alive.append(value)


def _value(module: str, name: str) -> Any:
    if not name:
        if by_value(module):
            return None
        raise ConfigError(f"workers cannot import the module {module!r}")
    if name.startswith(UNNAMED):
        return standin.find(module, name)
    return vars(sys.modules[module])[name]


def refusal(name: Name, error: BaseException) -> str:
    """Why something that records need cannot be sent, and what can be done."""
    module, called = name
    if isinstance(error, ConfigError):
        return str(error)
    if isinstance(error, KeyError) and called not in vars(sys.modules.get(module, standin)):
        return f"{module} has no {called!r}"
    found = culprit(vars(sys.modules[module]).get(called), "") or Blamed("", error)
    where = f" because of {found.path}" if found.path else ""
    return (
        f"{called} of {module} cannot be sent to the workers{where}: {type(found.error).__name__}: {found.error}. "
        "Workers do not import the module: move it to one of its own beside the script, which they can"
    )
