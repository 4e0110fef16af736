"""The watermark told to the pipeline's `on_progress`: one call at a time, with the newest value there is.

Task: one per run that has the hook. A call that raises is counted and logged, and stops nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from pipeframe_async._engine.bell import Bell
from pipeframe_async._rules.watermark import Watermark
from pipeframe_async.errors import SinkError

logger = logging.getLogger("pipeframe_async")


class WatermarkReporter:
    """Follows what is settled, and tells how far everything is final.

    Args:
        tell: calls the pipeline's hook; raises SinkError where that raises.

    Attributes:
        errors: calls that raised.
    """

    def __init__(self, tell: Callable[[int], Awaitable[None]]) -> None:
        self._tell = tell
        self._watermark = Watermark()
        self._told = 0
        self._bell = Bell()
        self._ended = False
        self.errors = 0

    def settled(self, first: int, count: int, aborted: int) -> None:
        """Records are final; of these so many were given up, and nobody says which: none is past them."""
        if not aborted and self._watermark.final(first, count):
            self._bell.ring()

    def end(self) -> None:
        """Nothing more will be final."""
        self._ended = True
        self._bell.ring()

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
