"""What a case of the suite works with: fresh executors and frames, a pipeline that keeps what it is given, verdicts.

A case is a coroutine function. It returns where its guarantee holds, and raises `NotHeld` or `NotApplicable`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeframe_async._worker import codec
from pipeframe_async.errors import PipeFrameError
from pipeframe_async.frame import PipeFrame
from pipeframe_async.model import AnyFailure, FailureKind
from pipeframe_async.pipeline_engine import PipelineEngine
from pipeframe_async.report import RunReport
from pipeframe_async.testing.conformance.clusters import DASK, local_cluster

Make = str | Callable[[], Executor]
"""A name or address that `PipeFrame(executor=...)` takes, `"dask"` for a cluster that is started on this machine, or a
function that makes a fresh executor."""


class NotHeld(Exception):
    """The guarantee does not hold: why, in a few words that are the same each time; and the figures of this time."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


class NotApplicable(Exception):
    """The guarantee means nothing for this executor, or on this system: why."""


class NoExecutor(Exception):
    """The function that was to make an executor has not made one."""


@dataclass(frozen=True, slots=True)
class Case:
    """One guarantee. The name is a sentence, and what users call it by."""

    name: str
    check: Callable[[Rig], Coroutine[Any, Any, None]]


class Rig:
    """Makes what one case needs.

    Args:
        make: the executor under trial.
        workers: how many workers an executor named by a string gets.
        folder: for files of the case; empty.
    """

    def __init__(self, make: Make, workers: int, folder: Path) -> None:
        self._make = make
        self._workers = workers
        self.marks = str(folder / "marks")
        self.given: list[Executor] = []

    def frame(self, **options: Any) -> PipeFrame:
        """A frame with a fresh executor; a given one is in `given`."""
        if isinstance(self._make, str):
            name = self._make if self._make != DASK else local_cluster(self._workers)
            return PipeFrame(self._workers, executor=name, **options)
        try:
            executor = self._make()
        except Exception as error:
            raise NoExecutor(f"{self._make!r} raised {type(error).__name__}: {error}") from error
        if not isinstance(executor, Executor):
            raise NoExecutor(f"{self._make!r} returned {executor!r}; expected a concurrent.futures.Executor")
        self.given.append(executor)
        return PipeFrame(executor=executor, **options)

    def need_given(self) -> None:
        """Go on only where the executor is somebody else's."""
        if isinstance(self._make, str):
            raise NotApplicable("the executor is the frame's own")

    def close(self) -> None:
        """Shut down what was made, without waiting for it."""
        for executor in self.given:
            with suppress(Exception):  # it may be broken, or of a kind that cannot; the process ends soon
                executor.shutdown(wait=False)


class Kept(PipelineEngine[Any, Any]):
    """A pipeline of a few steps that keeps its results and failures."""

    batch_size = 16

    def __init__(self, *steps: Callable[..., Any], time_limit: float | None = None) -> None:
        self.steps = steps
        self.time_limit = time_limit
        self.taken: list[Any] = []
        self.dead: list[AnyFailure] = []

    async def sink(self, records: list[Any]) -> None:
        """Keep results."""
        self.taken += records

    async def dead_letter(self, failures: list[AnyFailure]) -> None:
        """Keep failures."""
        self.dead += failures


async def finished(frame: PipeFrame, pipeline: PipelineEngine[Any, Any], feed: Any) -> RunReport:
    """Run to the end; a run that ends with an error holds no guarantee."""
    try:
        return await frame.run(pipeline, feed)
    except PipeFrameError as error:
        raise NotHeld(f"run ended: {type(error).__name__}", _with_books(error)) from error


def _with_books(error: PipeFrameError) -> str:
    first = (str(error).splitlines() or [""])[0]
    report = error.report
    return first if report is None else f"{first} ({report.delivered} of {report.fed} delivered)"


def expect_records(taken: Sequence[Any], expected: Sequence[Any]) -> None:
    """Each of these exactly once, in this order."""
    counts = Counter(taken)
    if lost := [record for record in expected if not counts[record]]:
        raise NotHeld("records were lost", f"{len(lost)} of {len(expected)}, {lost[0]!r} first")
    if twice := [record for record, count in counts.items() if count > 1]:
        raise NotHeld("records were delivered twice", f"{len(twice)} of {len(expected)}, {twice[0]!r} first")
    if list(taken) != list(expected):
        raise NotHeld("results came out of order")


def expect_failure(dead: Sequence[AnyFailure], bad: Any, kind: FailureKind) -> None:
    """This record and no other has failed, as this kind."""
    if not dead:
        raise NotHeld("nothing has failed")
    if innocent := [failure for failure in dead if not _stands_for(failure.record, bad)]:
        raise NotHeld("innocent records were blamed", str(innocent[0]))
    if len(dead) > 1:
        raise NotHeld("it failed more than once", str(dead[1]))
    if dead[0].kind != kind:
        raise NotHeld(f"it failed as {dead[0].kind!r}", str(dead[0]))


def _stands_for(record: Any, bad: Any) -> bool:
    """Whether a failure's record is this one; where it cannot be read anywhere, its pickle stands for it."""
    return bool(record == bad) or (isinstance(record, bytes) and record == codec.dumps(bad))


def expect_balance(report: RunReport | None, taken: Sequence[Any]) -> None:
    """A report, in which every record fed has its outcome, and the delivered are those that came."""
    if report is None:
        raise NotHeld("the error has no report")
    outcomes = report.delivered + report.filtered + report.failed + report.aborted
    if report.fed + report.emitted != outcomes:
        raise NotHeld("the books do not balance", f"{report.fed} fed, {outcomes} outcomes")
    if report.delivered != len(taken):
        raise NotHeld("the books are wrong", f"{report.delivered} booked as delivered, {len(taken)} came")
