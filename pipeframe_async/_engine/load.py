"""What the calls of one run have before them: how many wait between their stages, and what all take, of which places.

Comes in: the stages, and what the run has had of the lanes. Goes out: numbers, for whoever lets calls in. Looks only.

Kinds of place: the lanes are the first, each run of async steps is one more.
"""

from __future__ import annotations

from collections.abc import Sequence

from pipeframe_async._engine.journeys.async_stage import AsyncStage
from pipeframe_async._engine.lanes.stage import DefStage
from pipeframe_async._engine.lanes.workforce import Workforce
from pipeframe_async._rules.sharing import Share


class Load:
    """The load of one run.

    Args:
        stages: in order.
        share: of the lanes, as the run has it.
        workforce: whose lanes these are.
    """

    def __init__(self, stages: Sequence[DefStage | AsyncStage], share: Share, workforce: Workforce) -> None:
        self._later = [stage for stage in stages[1:] if isinstance(stage, DefStage)]
        last = max((at for at, stage in enumerate(stages) if isinstance(stage, DefStage)), default=0)
        self._on_the_way = [stage for stage in stages[:last] if isinstance(stage, AsyncStage)]
        self._on_the_loop = [stage for stage in stages if isinstance(stage, AsyncStage)]
        self._first = stages[0]
        self._share = share
        self.workforce = workforce

    @property
    def midway(self) -> int:
        """Parts that have been through a stage and wait for a lane."""
        return sum(stage.line for stage in self._later) if self._later else 0

    @property
    def spent(self) -> list[float]:
        """Seconds that records were at work, since the run began, by kind of place."""
        return [self._share.seconds, *(stage.seconds for stage in self._on_the_loop)]

    def lane_seconds(self, waiting: int, each: Sequence[float]) -> float:
        """Worker seconds for what is not in a lane yet.

        Args:
            waiting: calls that have not begun.
            each: what a call takes, by kind of place.
        """
        if not each:
            return 0.0
        return each[0] * (waiting + self.midway + sum(stage.at_work for stage in self._on_the_way))

    def loop_seconds(self, waiting: int, each: Sequence[float]) -> float:
        """Seconds until a call that comes now has its turn in the run of async steps that has most to do."""
        longest = 0.0
        for stage, seconds in zip(self._on_the_loop, each[1:], strict=False):
            ahead = waiting + (0 if stage is self._first else stage.line)
            longest = max(longest, seconds * ahead / stage.concurrency)
        return longest
