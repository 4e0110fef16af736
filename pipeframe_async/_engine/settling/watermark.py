"""The watermark told to the pipeline's `on_progress`: one call at a time, with the newest value there is.

Task: one per run that has the hook. A call that raises is counted and logged, and stops nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from pipeframe_async._engine.settling.finals import Finals
from pipeframe_async.errors import SinkError

logger = logging.getLogger("pipeframe_async")


class WatermarkReporter:
    """Tells how far everything is final.

    Args:
        tell: calls the pipeline's hook; raises SinkError where that raises.
        finals: what it follows.

    Attributes:
        errors: calls that raised.
    """

    def __init__(self, tell: Callable[[int], Awaitable[None]], finals: Finals) -> None:
        self._tell = tell
        self._finals = finals
        self._told = finals.watermark
        self._ended = False
        self.errors = 0

    def end(self) -> None:
        """Nothing more will be final."""
        self._ended = True
        self._finals.bell.ring()

    async def run(self) -> None:
        """Tell it until the end, the last value included.

        Cancellation: the call under way is cancelled with it; the value it was to be told is not told again.
        """
        while True:
            if (value := self._finals.watermark) > self._told:
                self._told = value
                try:
                    await self._tell(value)  # it may rise meanwhile: then it is told once more, and not in between
                except SinkError as error:
                    self.errors += 1
                    logger.error("%s", error, exc_info=error)
            elif self._ended:
                return
            else:
                await self._finals.bell.wait()  # rung by what becomes final and `end`, on this loop: nothing is missed
