"""A chain to bytes: what is importable goes by reference, all else by value.

The bytes are the same for the same chain, so their digest names it: a warm frame loads it once a worker.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from inspect import isasyncgenfunction, iscoroutinefunction
from types import FunctionType
from typing import Any
from weakref import WeakValueDictionary

from pipeframe_async.errors import ConfigError
from pipeframe_async.executors.blaming import Blamed, culprit
from pipeframe_async.executors.defining.definer import define
from pipeframe_async.executors.defining.modules import shipping
from pipeframe_async.executors.supplying import Supplies
from pipeframe_async.wire import ChainRef, ChainSpec

HOOKS_OF_THE_LOOP = ("feed", "sink", "dead_letter", "on_progress", "order")
"""Methods of a pipeline that never run in a worker, as its `async def` steps. A class that travels by value goes
without them: what they use, a client or a socket, need not be picklable."""


_at_home: WeakValueDictionary[str, FunctionType] = WeakValueDictionary()


def ship(chain: ChainSpec) -> ChainRef:
    """Pickle a chain.

    Raises:
        ConfigError: something in it cannot be pickled; the message names the step.
    """
    with shipping(chain.by_value):
        try:
            defined = define(tuple(chain._replace(by_value=frozenset())), hooks=_hooks_of(chain.pipeline))
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a __reduce__ may do anything, sys.exit included
            raise ConfigError(_blame(chain, error)) from error
    key = hashlib.blake2b(defined.data, digest_size=16).hexdigest()
    supplies = Supplies(key, frozenset(defined.names), chain.by_value)
    return ChainRef(key, defined.data, chain.time_limit, supplies, defined.needs)


def _blame(chain: ChainSpec, error: BaseException) -> str:
    hooks = _hooks_of(chain.pipeline)
    if chain.pipeline is not None and (found := culprit(chain.pipeline, "", hooks)):
        return (
            f"{chain.pipeline_name} cannot be sent to the workers, which need it for its methods, "
            f"setup or teardown: {_cause(found)}. {_remedy(found, 'Open what does not pickle', 'instead of __init__')}"
        )
    for name, step in zip(chain.names, chain.steps, strict=True):
        if found := culprit(step, "", hooks):
            remedy = _remedy(found, "Open what it holds on to", "")
            return f"step {name!r} cannot be sent to the workers: {_cause(found)}. {remedy}, or use executor='threads'"
    return f"the steps cannot be sent to the workers: {type(error).__name__}: {error}"


def _cause(found: Blamed) -> str:
    text = f"{type(found.error).__name__}: {found.error}"
    return f"{text} ({found.path})" if found.path else text


def _remedy(found: Blamed, what: str, where: str) -> str:
    if found.held:
        return f"Make {found.path} in setup(self), or move it and what uses it to a module, which workers import"
    return f"{what} in setup(self) {where}".rstrip()


def _hooks_of(pipeline: Any) -> Callable[[FunctionType], Any] | None:
    """Says what stands in a worker for the hooks of the loop of this pipeline's classes."""
    if pipeline is None:
        return None
    attributes = [item for cls in type(pipeline).__mro__ for item in vars(cls).items()]
    attributes += [("", step) for step in pipeline.steps]
    hooks = {
        id(getattr(value, "__func__", value))
        for name, value in attributes
        if name in HOOKS_OF_THE_LOOP or iscoroutinefunction(value) or isasyncgenfunction(value)
    }

    def instead(obj: FunctionType) -> Any:
        if id(obj) not in hooks:
            return None
        key = f"{os.getpid()}-{id(obj)}"
        _at_home[key] = obj
        return _left_at_home, (key,)

    return instead


def _left_at_home(key: str) -> FunctionType | None:
    """What stands in a worker for a method that runs on the loop: nothing. In its own process it is what it was."""
    return _at_home.get(key)
