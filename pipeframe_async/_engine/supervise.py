"""Tasks watched and ended together: the first error counts, and none is left running."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from contextvars import Context
from typing import Any

Task = asyncio.Task[Any]

logger = logging.getLogger("pipeframe_async")

BREATH = 0.003
"""Seconds that a feed which never awaits, or one who takes results without waiting for any, may keep the loop. Longer
shows as lag; a breath costs about 20 µs."""
PUNCTUAL = 0.05
"""Seconds a timer may come late on a loop that is not kept; of short times a tenth. Less, and the turns of a busy loop
put off what it is for; more, and what could not go on while the loop was kept has lost that time."""
END_TIMEOUT = 1.5
"""Seconds a cancelled task has to end. Less cuts off what cleans up; more holds up the end of every stuck run."""


def spawn(work: Coroutine[Any, Any, Any], name: str, context: Context | None = None) -> Task:
    """Start a task; it begins in a later turn of the loop, also where the loop's task factory is an eager one.

    Args:
        work: what it does.
        name: for people.
        context: its context variables; a copy of the caller's by default.
    """
    return asyncio.Task(work, loop=asyncio.get_running_loop(), name=name, context=context)


async def finished(tasks: Sequence[Task], give_up: Task, watched: Sequence[asyncio.Future[Any]] = ()) -> None:
    """Wait until the tasks are done, or `give_up` is.

    Args:
        tasks: waited for.
        give_up: ends the waiting when it is done.
        watched: not waited for; but an error of one of them counts like one of the tasks'.

    Raises:
        Exception: the first error of a task.
    """
    waiting: set[asyncio.Future[Any]] = {*tasks}
    others: set[asyncio.Future[Any]] = {*watched}
    while waiting and not give_up.done():
        # The caller's task owns them all; a cancel of it ends the wait and none of them: `ended` is for that.
        done, _ = await asyncio.wait([*waiting, *others, give_up], return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
        waiting -= done
        others -= done


async def ended(tasks: Sequence[Task], *, patience: float = 0.0) -> None:
    """Cancel tasks and wait until they have ended. An outer cancel that comes meanwhile is passed on at the end.

    A task that does not end, because a user's code in it swallows every cancel, is left behind and named.

    Args:
        tasks: some may have ended already.
        patience: seconds to let them end by themselves first.
    """
    cancelled = await _awaited(tasks, patience)
    for task in tasks:
        task.cancel()
    loop = asyncio.get_running_loop()
    until = loop.time() + END_TIMEOUT
    while (left := until - loop.time()) > 0 and not all(task.done() for task in tasks):
        cancelled = await _awaited(tasks, left) or cancelled
    for task in tasks:
        if not task.done():
            logger.error("%s did not end within %g s of its cancel and was left behind", task.get_name(), END_TIMEOUT)
        elif not task.cancelled():
            task.exception()  # looked at, so that asyncio does not report it as never retrieved
    if cancelled is not None:
        raise cancelled


async def _awaited(tasks: Sequence[Task], seconds: float) -> asyncio.CancelledError | None:
    """Wait for the tasks, so many seconds at most; returns the cancel that cut it short, if one did."""
    pending = [task for task in tasks if not task.done()]
    if not pending or seconds <= 0:
        return None
    try:
        await asyncio.wait(pending, timeout=seconds)  # they are the caller's, and stay so after a cancel of it
    except asyncio.CancelledError as error:
        return error
    return None
