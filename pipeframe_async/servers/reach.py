"""A server that may be away for a while: calls are tried again until it is back, with backoff and jitter.

Who waits for it is told once that it is away, and once that it is back, however many calls wait.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable
from importlib import import_module
from types import ModuleType
from typing import Any, TypeVar

from pipeframe_async.errors import ConfigError, text_of

logger = logging.getLogger("pipeframe_async")

T = TypeVar("T")

FIRST_WAIT = 0.05
"""Seconds before the second try. Longer makes a restart of a server felt, shorter floods one that is starting."""
LONGEST_WAIT = 3.0
"""Seconds between two tries at most. Longer leaves work lying when it is back, shorter keeps a dead one busy."""

AGAIN = 1.0
"""Seconds after which a cancel that was swallowed is repeated. Shorter hits clean-ups, longer holds up an end."""


def needed(module: str, extra: str) -> ModuleType:
    """A library that comes with an extra.

    Raises:
        ConfigError: it is not installed; the message says how.
    """
    try:
        return import_module(module)
    except ImportError as error:
        if error.name is not None and error.name.partition(".")[0] != module.partition(".")[0]:
            raise
        raise ConfigError(
            f"{module} is not installed, and what you use needs it: pip install 'pipeframe_async[{extra}]'"
        ) from error


def positive(name: str, option: str, value: float) -> float:
    """An option of what messages call so, which is a number above 0.

    Raises:
        ConfigError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
        raise ConfigError(f"{name}: {option}={value!r}: must be a number above 0")
    return value


async def ended(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks, and wait for their end; again, where a client library swallows a cancel."""
    while left := [task for task in tasks if not task.done()]:
        for task in left:
            task.cancel()
        await asyncio.wait(left, timeout=AGAIN)


async def _alone(call: Callable[[], Awaitable[T]]) -> T:
    """What a call gives, in a task of its own: a cancel that a client library swallows would be lost to the run."""

    async def made() -> T:
        return await call()  # the client's

    task = asyncio.create_task(made(), name="pipeframe-call")
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task], timeout=None if cancelled is None else AGAIN)
        except asyncio.CancelledError as error:
            cancelled = error  # passed on when the call has ended, however often it comes
        if cancelled is not None:
            task.cancel()
    if cancelled is None:
        return task.result()
    if not task.cancelled():
        task.exception()  # nobody else asks for it
    raise cancelled


class Reach:
    """Whether a server is there, for all that call it.

    Args:
        name: what messages call it.
        away: whether an error means that it is not there, and may be later.
        extra: that has brought its client.

    Attributes:
        returns: how often it has come back.
    """

    def __init__(self, name: str, away: Callable[[BaseException], bool], *, extra: str) -> None:
        self._name = name
        self._away = away
        self._tenacity = needed("tenacity", extra)
        self._since: float | None = None
        self.returns = 0

    @property
    def away(self) -> bool:
        """Whether the last call did not reach it."""
        return self._since is not None

    async def reached(self, call: Callable[[], Awaitable[T]], timeout: float | None = None) -> T:
        """What a call gives, as soon as the server is there.

        Args:
            call: is begun anew for each try, so it must bear to be done twice.
            timeout: seconds for all tries, of which one may get no answer at all; None: for as long as it takes.

        Raises:
            Exception: what the call raised that does not mean that the server is away; or, when time is up, does.

        Cancellation: the try that is under way is cancelled.
        """
        tenacity = self._tenacity
        said: deque[BaseException] = deque(maxlen=1)
        trying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception(self._away),
            wait=tenacity.wait_random_exponential(multiplier=FIRST_WAIT, max=LONGEST_WAIT, min=FIRST_WAIT),
            stop=tenacity.stop_never if timeout is None else tenacity.stop_before_delay(timeout),
            before_sleep=lambda state: said.append(self._is_away(state.outcome.exception())),
            reraise=True,
        )

        async def once() -> T:
            return await _alone(call)  # it ends with the try

        limit = asyncio.timeout(timeout)
        try:
            async with limit:
                value: T = await trying(once)
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise (said[0] if said else TimeoutError(f"{self._name} has not answered within {timeout:g} s")) from error
        self._is_back()
        return value

    def _is_away(self, error: BaseException) -> BaseException:
        if self._since is None:
            self._since = time.monotonic()
            logger.warning(
                "%s is away (%s: %s), and is tried again until it is back",
                self._name,
                type(error).__name__,
                text_of(error),
            )
        return error

    def _is_back(self) -> None:
        if self._since is not None:
            logger.warning("%s is back after %.1f s", self._name, time.monotonic() - self._since)
            self._since = None
            self.returns += 1
