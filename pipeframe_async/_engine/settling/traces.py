"""The records of a run that are in a trace: each has a span from its intake until its outcome is final.

Comes in: feed positions with what their records' contexts are, times measured in workers and on the loop. Goes out: to
whatever makes spans, behind a contract. Where nobody traces, or no record has a context, nothing is here and each look
is one at an empty dict.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import Context
from typing import Any

from pipeframe_async._engine.settling.answer import Answer
from pipeframe_async.contracts import RecordTrace, RunTrace
from pipeframe_async.wire import StepTrace


class Traces:
    """The traces of one run.

    Args:
        run: makes spans; None where nobody traces.
    """

    def __init__(self, run: RunTrace | None = None) -> None:
        self._run = run
        self._open: dict[int, RecordTrace] = {}  # by feed position

    @property
    def wanted(self) -> bool:
        """Whether anybody traces."""
        return self._run is not None

    @property
    def any(self) -> bool:
        """Whether any record is in a trace."""
        return bool(self._open)

    def delivered(self, position: int, context: Any) -> None:
        """A record has come with a context of its own."""
        if self._run is not None and (trace := self._run.record(position, context)) is not None:
            self._open[position] = trace

    def called(self, position: int, context: Context) -> None:
        """A record has come by a call that was made in this context."""
        if self._run is not None and (trace := context.run(self._run.record, position, None)) is not None:
            self._open[position] = trace

    def of(self, position: int) -> RecordTrace | None:
        """The trace of a record; None where it is in none."""
        return self._open.get(position) if self._open else None

    def among(self, batch: Sequence[int]) -> tuple[tuple[int, str], ...]:
        """Of records at these feed positions those that are in a trace: index, and the span for its steps."""
        if not self._open:
            return ()
        found = ((index, self._open.get(position)) for index, position in enumerate(batch))
        return tuple((index, trace.traceparent) for index, trace in found if trace is not None)

    def carried(
        self,
        position: Callable[[int], int],
        names: Sequence[str],
        steps: Sequence[StepTrace],
        *,
        records: int,
        lane: str,
        began: float,
        ended: float,
    ) -> None:
        """A batch has come back.

        Args:
            position: from the index of one of its records to its place in the feed.
            names: of its steps.
            steps: what its worker has measured of records that are traced.
            records: how many it had.
            lane: where it was.
            began: when it was sent, in seconds since the epoch.
            ended: when it has come back.
        """
        if self._run is None:
            return
        traced: dict[int, RecordTrace] = {}
        for index, step, end, spent, failed in steps:
            if (trace := self._open.get(position(index))) is not None:
                trace.step(names[step], end - spent, end, failed=failed)
                traced[index] = trace
        self._run.batch([*traced.values()], records=records, lane=lane, began=began, ended=ended)

    def settled(self, answer: Answer, *, aborted: bool) -> None:
        """Records are final."""
        if not self._open:
            return
        failures = dict(reversed(answer.failures))
        for index in range(answer.count):
            if (trace := self._open.pop(answer.first + index, None)) is not None:
                trace.ended(failures.get(index), aborted=aborted)

    def close(self) -> None:
        """The run is over: whatever is open was given up."""
        for trace in self._open.values():
            trace.ended(None, aborted=True)
        self._open.clear()
