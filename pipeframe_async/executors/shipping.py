"""A chain to bytes: what is importable goes by reference, all else by value.

The bytes are the same for the same chain, so their digest names it: a warm frame loads it once a worker.
"""

from __future__ import annotations

import hashlib
import io
import os
from inspect import isasyncgenfunction, iscoroutinefunction
from types import FunctionType
from typing import Any
from weakref import WeakValueDictionary

import cloudpickle

from pipeframe_async._worker.codec import main_by_value
from pipeframe_async.errors import ConfigError
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
    main_by_value()
    try:
        data = _dumps(tuple(chain), chain.pipeline)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a __reduce__ may do anything, sys.exit included
        raise ConfigError(_blame(chain, error)) from error
    return ChainRef(hashlib.blake2b(data, digest_size=16).hexdigest(), data, chain.time_limit)


def _blame(chain: ChainSpec, error: BaseException) -> str:
    if chain.pipeline is not None and (cause := _problem(chain.pipeline, chain.pipeline)):
        return (
            f"{type(chain.pipeline).__name__} cannot be sent to the workers, which need it for its methods, "
            f"setup or teardown: {cause}. Open what does not pickle in setup(self) instead of __init__"
        )
    for name, step in zip(chain.names, chain.steps, strict=True):
        if cause := _problem(step, chain.pipeline):
            return (
                f"step {name!r} cannot be sent to the workers: {cause}. Open what it holds on to in "
                "setup(self), or use executor='threads'"
            )
    return f"the steps cannot be sent to the workers: {type(error).__name__}: {error}"


def _problem(value: object, pipeline: Any) -> str:
    try:
        _dumps(value, pipeline)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return f"{type(error).__name__}: {error}"
    return ""


def _dumps(value: object, pipeline: Any) -> bytes:
    stream = io.BytesIO()
    _Pickler(stream, pipeline).dump(value)
    return stream.getvalue()


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    """cloudpickle's, which leaves the loop's hooks of this pipeline's classes at home."""

    def __init__(self, stream: io.BytesIO, pipeline: Any) -> None:
        super().__init__(stream)
        classes = type(pipeline).__mro__ if pipeline is not None else ()
        attributes = [item for cls in classes for item in vars(cls).items()]
        if pipeline is not None:
            attributes += [("", step) for step in pipeline.steps]
        self._hooks = {
            id(getattr(value, "__func__", value))
            for name, value in attributes
            if name in HOOKS_OF_THE_LOOP or iscoroutinefunction(value) or isasyncgenfunction(value)
        }

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, FunctionType) and id(obj) in self._hooks:
            key = f"{os.getpid()}-{id(obj)}"
            _at_home[key] = obj
            return _left_at_home, (key,)
        return super().reducer_override(obj)


def _left_at_home(key: str) -> FunctionType | None:
    """What stands in a worker for a method that runs on the loop: nothing. In its own process it is what it was."""
    return _at_home.get(key)
