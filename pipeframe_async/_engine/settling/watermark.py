"""The watermark told to the pipeline's `on_progress`: one call at a time, with the newest value there is.

Task: one per run that has the hook. A call that raises is counted and logged, and stops nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from collections.abc import Set as AbstractSet

from pipeframe_async._engine.bell import Bell
from pipeframe_async._engine.settling.answer import Answer
from pipeframe_async._rules.watermark import Watermark
from pipeframe_async.errors import SinkError

logger = logging.getLogger("pipeframe_async")


class WatermarkReporter:
    """Follows what is settled, and tells how far everything is final.

    Args:
        tell: calls the pipeline's hook; raises SinkError where that raises.
        borne: whether failures that nobody has are few enough for the run to go on.

    Attributes:
        errors: calls that raised.
    """

    def __init__(self, tell: Callable[[int], Awaitable[None]], *, borne: Callable[[], bool] = lambda: True) -> None:
        self._tell = tell
        self._borne = borne
        self._spoilt: set[int] = set()  # positions of records under way of which a child has failed for good
        self._watermark = Watermark()
        self._told = 0
        self._bell = Bell()
        self._ended = False
        self.errors = 0

    def settled(self, answer: Answer, *, aborted: bool) -> None:
        """Records are final. Some were given up, and nobody says which, where `aborted`: then none is past them.

        Nor is it past a failed one that nobody has, from the one on that was too many.
        """
        lost = set[int]() if self._borne() else {answer.first + index for index, _ in answer.failures}
        lost |= self._spoilt
        opened = answer.first + answer.count
        if opened in lost:
            self._spoilt.add(opened)
        if not aborted:
            for first, count in _between(answer, lost):
                if self._watermark.final(first, count):
                    self._bell.ring()

    def end(self) -> None:
        """Nothing more will be final."""
        self._ended = True
        self._bell.ring()

    async def conclude(self, timeout: float) -> None:
        """Tell the last value alone, within so many seconds; for where `run` was not."""
        self.end()
        try:
            async with asyncio.timeout(timeout):
                await self.run()
        except TimeoutError:
            self.errors += 1
            logger.error("on_progress has not returned within %g s, and was left", timeout)

    async def run(self) -> None:
        """Tell it until the end, the last value included.

        Cancellation: the call under way is cancelled with it; the value it was to be told is not told again.
        """
        while True:
            if (value := self._watermark.value) > self._told:
                self._told = value
                try:
                    await self._tell(value)  # it may rise meanwhile: then it is told once more, and not in between
                except SinkError as error:
                    self.errors += 1
                    logger.error("%s", error, exc_info=error)
            elif self._ended:
                return
            else:
                await self._bell.wait()  # rung by `settled` and `end`, on this loop: nothing is missed between


def _between(answer: Answer, lost: AbstractSet[int]) -> Iterator[tuple[int, int]]:
    """The stretches of an answer's records, each its first and how many, that have none of those in them."""
    if not lost:
        if answer.count:
            yield answer.first, answer.count
        return
    start = answer.first
    for position in range(answer.first, answer.first + answer.count + 1):
        if position == answer.first + answer.count or position in lost:
            if start < position:
                yield start, position - start
            start = position + 1
