"""Collect → sink, dead letters, or the one who iterates. An outcome is final when they have taken it.

Task: one per run. Hands over what is ready while the consumer was busy as one list, so that a slow sink gets
fewer, longer lists.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from pipeframe_async._engine.delivering.collect import Collect
from pipeframe_async._engine.delivering.hooks import Hook
from pipeframe_async._engine.settling.answer import Answer
from pipeframe_async._engine.settling.books import Books


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
    """The pipeline's `sink`: what it has returned from is delivered.

    Args:
        hook: the sink.
        books: of the run.
        keys: it is given the deliveries' keys too.
    """

    def __init__(self, hook: Hook, books: Books, *, keys: bool = False) -> None:
        self._hook = hook
        self._books = books
        self._keys = keys

    async def take(self, answers: list[Answer]) -> None:
        """Call the sink with all results, then settle."""
        if results := [result for answer in answers for result in answer.results]:
            keys = ([key for answer in answers for key in self._books.handles.keys_of(answer)],) if self._keys else ()
            await self._hook(results, *keys)  # the answers stay unsettled meanwhile, and hold their permits
        for answer in answers:
            self._books.settle(answer)


class Deliver:
    """Moves answers from collect to the consumer, and failures to `dead_letter`.

    Args:
        collect: where answers come from.
        consumer: who takes results.
        dead_letter: who takes failures, or None.
        turn: entered around each hand-over, whole: between two of them somebody else may look. What is all there of its
            records is then handed over before what is not.
        taken: waits, in a turn, until the consumer has taken all it was given; called behind failures.
    """

    def __init__(
        self,
        collect: Collect,
        consumer: Consumer,
        dead_letter: Hook | None,
        turn: Callable[[], AbstractAsyncContextManager[None]] | None = None,
        taken: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._collect = collect
        self._consumer = consumer
        self._dead_letter = dead_letter
        self._turn = turn
        self._taken = taken

    async def run(self) -> None:
        """Deliver until no more answers come.

        Cancellation: the answers in hand are not settled; whoever closes the books counts their records as aborted.
        """
        while answers := await self._collect.take():  # they are this task's, until the consumer has settled them
            if self._turn is None:
                await self._hand_over(answers)
            else:
                for some in _complete_first(answers):
                    async with self._turn():
                        await self._hand_over(some)
            if self._collect.more:
                await asyncio.sleep(0)  # a consumer that does not wait lets nobody else have a turn

    async def _hand_over(self, answers: list[Answer]) -> None:
        failures = [failure for answer in answers for _, failure in answer.failures]
        if failures and self._dead_letter is not None:
            await self._dead_letter(failures)  # the user's; the run may be stopped or given up meanwhile
        await self._consumer.take(answers)  # and this one settles
        if failures and self._taken is not None:
            await self._taken()  # until then `dead_letter` has what is not final


def _complete_first(answers: list[Answer]) -> list[list[Answer]]:
    """Those up to the last behind which no record is there in part, and the others."""
    end = len(answers)
    while end and answers[end - 1].then is not None:
        end -= 1
    return [some for some in (answers[:end], answers[end:]) if some]
