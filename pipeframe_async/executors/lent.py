"""An executor of this library's own kind that the caller has made: used as it is, and left open.

It is `contracts.Executor` in all its parts, so nothing is translated; only its end is not the frame's to bring about.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from pipeframe_async.contracts import Codec, Executor, Lane, Logs, Threaded
from pipeframe_async.wire import ChainRef, ChainSpec


def _parts(contract: type) -> tuple[str, ...]:
    """What a contract asks for, by name."""
    return tuple(name for name in [*contract.__annotations__, *vars(contract)] if not name.startswith("_"))


MEMBERS, LANE_PARTS = _parts(Executor), _parts(Lane)


def missing(executor: object) -> list[str]:
    """The parts of `contracts.Executor` that something lacks, those of its lanes too. Starts nothing."""
    if lacks := [name for name in MEMBERS if not hasattr(executor, name)]:
        return lacks
    lanes = cast(Executor, executor).lanes
    if not isinstance(lanes, Sequence) or not lanes:
        return ["lanes, of which there must be one"]
    return [f"lanes[{n}].{name}" for n, lane in enumerate(lanes) for name in LANE_PARTS if not hasattr(lane, name)]


class LentExecutor:
    """Somebody's executor for as long as a frame uses it. It is never closed here: who made it closes it."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self.where = executor.where
        self.codec: Codec = executor.codec
        self.lanes: Sequence[Lane] = executor.lanes
        self.beside: Executor | None = executor.beside
        self.threads: Sequence[Executor] = executor.threads if isinstance(executor, Threaded) else ()

    @property
    def restarts(self) -> int:
        """Workers replaced so far, for whomever."""
        return self._executor.restarts

    @property
    def logs_dropped(self) -> int:
        """Log lines that were not handled, for whomever."""
        return self._executor.logs_dropped if isinstance(self._executor, Logs) else 0

    async def logs_handled(self) -> None:
        """Wait until those that have come are handled, where it sends any."""
        if isinstance(self._executor, Logs):
            await self._executor.logs_handled()

    def load(self, chain: ChainSpec) -> ChainRef:
        """Make a chain ready there."""
        return self._executor.load(chain)

    async def close(self, *, kill: bool, timeout: float) -> None:
        """Nothing but to hear its log lines out: the executor belongs to somebody else."""
        await self.logs_handled()
