"""The watermark told to the pipeline's `on_progress`: one call at a time, with the newest value there is.

Task: one per run that has the hook. A call that raises is counted and logged, and stops nothing.
"""

from __future__ import annotations

import logging

from pipeframe_async._engine.batch import Answer
from pipeframe_async._engine.bell import Bell
from pipeframe_async._engine.deliver import HookCaller
from pipeframe_async._rules.watermark import Watermark
from pipeframe_async.errors import SinkError

logger = logging.getLogger("pipeframe_async")


class Progress:
    """Follows what is settled, and tells how far everything is final.

    Args:
        hook: the pipeline's.

    Attributes:
        errors: calls that raised.
    """

    def __init__(self, hook: HookCaller) -> None:
        self._hook = hook
        self._watermark = Watermark()
        self._told = 0
        self._bell = Bell()
        self._ended = False
        self.errors = 0

    @property
    def busy(self) -> bool:
        """Whether the hook is at work."""
        return self._hook.busy

    def settled(self, answer: Answer, aborted: int) -> None:
        """An answer is final; of its records so many were given up, and nobody says which: none is past them."""
        if not aborted and self._watermark.final(answer.first, answer.count):
            self._bell.ring()

    def end(self) -> None:
        """Nothing more will be final."""
        self._ended = True
        self._bell.ring()

    def close(self) -> None:
        """Let the hook's thread go."""
        self._hook.close()

    async def run(self) -> None:
        """Tell it until the end, the last value included."""
        while True:
            if (value := self._watermark.value) > self._told:
                self._told = value
                try:
                    await self._hook(value)
                except SinkError as error:
                    self.errors += 1
                    logger.error("%s", error, exc_info=error)
            elif self._ended:
                return
            else:
                await self._bell.wait()
