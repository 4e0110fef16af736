"""Collect → sink, dead letters, or the one who iterates. An outcome is final when they have taken it.

Task: one per run. Hands over what is ready while the consumer was busy as one list, so that a slow sink gets
fewer, longer lists.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

from pipeframe_async._engine.batch import Answer
from pipeframe_async._engine.books import Books
from pipeframe_async._engine.collect import Collect
from pipeframe_async.errors import SinkError, text_of

Hook = Callable[[Any], Any]


class Consumer(Protocol):
    """Who takes results."""

    async def take(self, answers: list[Answer]) -> None:
        """Take the results of some answers, and settle each when it has been taken."""


class Counting:
    """Nobody takes results: they are counted, and are final at once."""

    def __init__(self, books: Books) -> None:
        self._books = books

    async def take(self, answers: list[Answer]) -> None:
        """Settle."""
        for answer in answers:
            self._books.settle(answer)


class Sink:
    """The pipeline's `sink`: what it has returned from is delivered."""

    def __init__(self, hook: HookCaller, books: Books) -> None:
        self._hook = hook
        self._books = books

    async def take(self, answers: list[Answer]) -> None:
        """Call the sink with all results, then settle."""
        if results := [result for answer in answers for result in answer.results]:
            await self._hook(results)
        for answer in answers:
            self._books.settle(answer)


class HookCaller:
    """A user's `sink`, `dead_letter` or `on_progress`: awaited on the loop, or called in a thread where it is `def`.

    Args:
        hook: the bound method.
        name: for the message when it raises.
    """

    def __init__(self, hook: Hook, name: str) -> None:
        self._hook = hook
        self._name = name
        self._thread: ThreadPoolExecutor | None = None
        if not inspect.iscoroutinefunction(hook) and not inspect.iscoroutinefunction(type(hook).__call__):
            self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"pipeframe-{name}")
        self.seconds = 0.0
        self.busy = False

    async def __call__(self, values: Any) -> None:
        """Call it.

        Raises:
            SinkError: it raised; that error is the cause.
        """
        started, self.busy = time.perf_counter(), True
        try:
            if self._thread is None:
                await self._hook(values)
            else:
                outcome = await asyncio.get_running_loop().run_in_executor(self._thread, self._hook, values)
                if inspect.isawaitable(outcome):  # a plain function that hands on what an async one returned
                    await outcome
        except asyncio.CancelledError as error:
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise  # ours; otherwise it is of something the hook has waited for
            raise SinkError(f"{self._name} raised CancelledError: what it waited for was cancelled") from error
        except Exception as error:
            raise SinkError(f"{self._name} raised {type(error).__name__}: {text_of(error)}") from error
        finally:
            self.seconds += time.perf_counter() - started
            self.busy = False

    def close(self) -> None:
        """Let the thread go; a call that still runs in it ends by itself."""
        if self._thread is not None:
            self._thread.shutdown(wait=False)


class Deliver:
    """Moves answers from collect to the consumer, and failures to `dead_letter`.

    Args:
        collect: where answers come from.
        consumer: who takes results.
        dead_letter: who takes failures, or None.
    """

    def __init__(self, collect: Collect, consumer: Consumer, dead_letter: HookCaller | None) -> None:
        self._collect = collect
        self._consumer = consumer
        self._dead_letter = dead_letter

    async def run(self) -> None:
        """Deliver until no more answers come."""
        while answers := await self._collect.take():
            failures = [failure for answer in answers for _, failure in answer.failures]
            if failures and self._dead_letter is not None:
                await self._dead_letter(failures)
            await self._consumer.take(answers)
            if self._collect.more:
                await asyncio.sleep(0)  # a consumer that does not wait lets nobody else have a turn
