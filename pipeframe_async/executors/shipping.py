"""A chain to bytes: what is importable goes by reference, all else by value.

The bytes are the same for the same chain, so their digest names it: a warm frame loads it once a worker.
"""

from __future__ import annotations

import hashlib

import cloudpickle

from pipeframe_async.errors import ConfigError
from pipeframe_async.wire import ChainRef, ChainSpec


def ship(chain: ChainSpec) -> ChainRef:
    """Pickle a chain.

    Raises:
        ConfigError: something in it cannot be pickled; the message names the step.
    """
    try:
        data = cloudpickle.dumps(tuple(chain))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a __reduce__ may do anything, sys.exit included
        raise ConfigError(_blame(chain, error)) from error
    return ChainRef(hashlib.blake2b(data, digest_size=16).hexdigest(), data, chain.time_limit)


def _blame(chain: ChainSpec, error: BaseException) -> str:
    if chain.pipeline is not None and (cause := _problem(chain.pipeline)):
        return (
            f"{type(chain.pipeline).__name__} cannot be sent to the workers, which need it for its methods, "
            f"setup or teardown: {cause}. Open what does not pickle in setup(self) instead of __init__"
        )
    for name, step in zip(chain.names, chain.steps, strict=True):
        if cause := _problem(step):
            return (
                f"step {name!r} cannot be sent to the workers: {cause}. Open what it holds on to in "
                "setup(self), or use executor='threads'"
            )
    return f"the steps cannot be sent to the workers: {type(error).__name__}: {error}"


def _problem(value: object) -> str:
    try:
        cloudpickle.dumps(value)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return f"{type(error).__name__}: {error}"
    return ""
