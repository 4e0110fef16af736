"""One batch in a worker: its bytes to records, and what came of them to bytes.

Every way to cross is tried for the whole batch first, and record by record only after that has failed, so
a record that cannot be read or written costs itself and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from threading import get_ident
from typing import Any

from pipeframe_async._worker import codec
from pipeframe_async._worker.chain import Chain
from pipeframe_async._worker.cursor import BEGUN, END, INDEX, NO_STEP, STEP, Cursor
from pipeframe_async._worker.standin import StandIns
from pipeframe_async._worker.tally import Tally
from pipeframe_async.failures import failure_of
from pipeframe_async.wire import (
    Frames,
    Live,
    OutOfBand,
    Payload,
    Phase,
    Portions,
    Reply,
    StepTrace,
    WireFailure,
    owners,
)

Dumps = Callable[[Any], Payload]


class Batch:
    """A batch at work. `indices`: where its readable records stand in it; `gaps`: whether others do not; `begun`: it
    has been read, and goes on; `live`: what comes of it stays in this process.
    """

    def __init__(
        self,
        chain: Chain,
        data: Payload,
        stretch: tuple[int, int] | None,
        ship: bool,
        cursor: Cursor,
        standins: StandIns | None = None,
        portions: Portions | None = None,
        traced: Sequence[tuple[int, str]] = (),
        *,
        live: bool = False,
    ):
        self.begun = False
        self.thread = get_ident()  # where its generators go on
        self.standins = standins
        self.chain = chain
        self.data = data
        self.stretch = stretch
        self.ship = ship
        self.cursor = cursor
        self.records: list[Any] = []
        self.indices: list[int] = []
        self.unreadable: list[WireFailure] = []
        self.live = live
        self.tally = Tally(len(chain.names), portions, live=live)
        self.tally.traced = dict(traced)
        if not isinstance(data, tuple):
            self.tally.claim = cursor.claim

    def goes_on(self, cursor: Cursor) -> None:
        """What has come of it so far has left; what is left is its own."""
        self.begun, self.cursor = True, cursor
        self.tally.claim = None

    @property
    def end(self) -> int:
        """The index behind the last of its readable records that is not ceded."""
        return len(self.records) if self.tally.stop is None else self.tally.stop

    @property
    def framed(self) -> bool:
        return isinstance(self.data, tuple)

    @property
    def gaps(self) -> bool:
        return bool(self.unreadable)

    @property
    def cells(self) -> Any:
        """The cursor's, which get indices in the batch."""
        return _Renumbered(self.cursor.cells, self.indices) if self.gaps else self.cursor.cells

    def read(self) -> None:
        """Unpickle the records; raises where they came as one pickle that cannot be read."""
        if self.begun:
            return
        if isinstance(self.data, tuple):
            self.records, self.indices, self.unreadable = _read_frames(self.data, self.cursor, self.standins)
            if self.gaps:
                traced = self.tally.traced
                # In one piece: it is rare, and indices are not the same.
                self.tally = Tally(len(self.chain.names), live=self.live)
                self.tally.traced = {at: traced[index] for at, index in enumerate(self.indices) if index in traced}
            return
        self.cursor.phase(Phase.READING)
        self.records = _stretch(codec.loads(self.data), self.stretch)


def reply_of(batch: Batch, tally: Tally, count: int, cells: Any, *, whole: Dumps = codec.dumps) -> Reply:
    """What so many of the batch's readable records came to, and those that could not be read."""
    at_once = None if batch.framed and not batch.live else whole
    owned = tally.first, count + (tally.under_way is not None)
    results = _write(tally, owned, len(batch.chain.names) - 1, at_once, cells) if batch.ship else None
    times = tally.times()
    if batch.gaps:
        _renumber(tally, batch.indices)
        times = tuple(step._replace(slowest=batch.indices[step.slowest] if step.timed else 0) for step in times)
    trace = _trace(batch, tally) if tally.trace else ()
    failures = [*batch.unreadable, *_with_originals(tally.failures, batch.data, batch.stretch)]
    return Reply(
        records=count + len(batch.unreadable),
        delivered=len(tally.results),
        bypass_at=tuple(tally.bypass_at),
        filtered=tally.filtered,
        grown=tally.grown,
        results=results,
        spans={**tally.spans, **{failure.at: 0 for failure in batch.unreadable}},
        failures=tuple(sorted(failures, key=attrgetter("at"))),
        steps=times,
        first=tally.first,
        gone=tally.gone,
        trace=trace,
    )


def _trace(batch: Batch, tally: Tally) -> tuple[StepTrace, ...]:
    """What steps took over records that are traced, by their indices in the batch, and at which of them they failed."""
    failed = {(failure.at, failure.step) for failure in tally.failures}
    where = batch.indices if batch.gaps else range(len(batch.records))
    return tuple(step._replace(at=where[step.at], failed=(where[step.at], step.step) in failed) for step in tally.trace)


def _stretch(records: Any, stretch: tuple[int, int] | None) -> list[Any]:
    """Of the list in a pickle, the records that are to be run; another kind of value may not be cut."""
    if stretch is None:
        return records  # type: ignore[no-any-return]
    start, count = stretch
    return records[start : start + count]  # type: ignore[no-any-return]


def _read_frames(
    frames: Frames, cursor: Cursor, standins: StandIns | None
) -> tuple[list[Any], list[int], list[WireFailure]]:
    """Read records one by one: those that can be read, their indices in the batch, and the failures."""
    records, indices, unreadable = [], [], []
    cursor.cells[STEP] = NO_STEP
    for index, frame in enumerate(frames):
        cursor.cells[INDEX] = index
        try:
            records.append(codec.loads(frame))
        except BaseException as error:
            if standins is not None:
                standins.wanted(error)
            unreadable.append(failure_of(index, 0, error, "unpicklable")._replace(record=frame))
        else:
            indices.append(index)
    return records, indices, unreadable


def _write(
    tally: Tally, owned: tuple[int, int], last_step: int, whole: Callable[[Any], Payload] | None, cells: Any
) -> Payload:
    """The results as bytes; those that cannot be written become failures of their records.

    `owned`: of which records they are: the index of the first, and how many.
    `whole`: pickles all at once, which is tried first; None where that has been.
    """
    if whole is not None:
        try:
            return whole(tally.results)
        except BaseException:  # noqa: S110 - one of them cannot be written: find out which, one by one
            pass
    frames: list[bytes] = []
    kept: list[Any] = []
    bypass_at, bypassed = set(tally.bypass_at), []
    cells[STEP] = last_step
    for position, (owner, result) in enumerate(zip(owners(*owned, tally.spans), tally.results, strict=True)):
        cells[INDEX] = owner
        try:
            frame = codec.dumps(result)
            codec.loads(frame)  # the parent must be able to read it, and this is the place to find out
        except BaseException as error:
            tally.failures.append(failure_of(owner, last_step, error, "unpicklable"))
            tally.spans[owner] = tally.spans.get(owner, 1) - 1
            continue
        if position in bypass_at:
            bypassed.append(len(kept))
        frames.append(frame)
        kept.append(result)
    tally.results, tally.bypass_at = kept, bypassed
    return tuple(frames)


def _renumber(tally: Tally, indices: list[int]) -> None:
    """From indices among the readable records to indices in the batch."""
    tally.failures = [failure._replace(at=indices[failure.at]) for failure in tally.failures]
    tally.spans = {indices[index]: span for index, span in tally.spans.items()}
    tally.grown = {indices[index]: more for index, more in tally.grown.items()}


def _with_originals(failures: list[WireFailure], data: Payload, stretch: tuple[int, int] | None) -> list[WireFailure]:
    """Failures with their records as they were fed: read again, for a step may have changed them.

    Without them where buffers are apart, which are the records' own, or nothing was sent: the parent has the records.
    """
    if not failures or isinstance(data, (OutOfBand, Live)):
        return failures
    if isinstance(data, tuple):
        return [failure._replace(record=data[failure.at]) for failure in failures]
    try:
        originals = _stretch(codec.loads(data), stretch)
    except BaseException:  # it could be read a moment ago; the parent has the record itself
        return failures
    failed = {failure.at for failure in failures}  # children of one have the same
    again = {at: codec.attempted(originals[at]) for at in failed}
    return [failure._replace(record=again[failure.at]) for failure in failures]


class _Renumbered:
    """The cursor's cells for records of which some could not be read: writes their indices in the batch."""

    def __init__(self, cells: Any, indices: list[int]) -> None:
        self._cells = cells
        self._indices = indices

    def __setitem__(self, cell: int, value: int) -> None:
        if cell == INDEX:
            value = self._indices[value]
        elif cell in (END, BEGUN) and value:
            value = self._indices[value - 1] + 1
        self._cells[cell] = value

    def __getitem__(self, cells: slice) -> Any:
        return self._cells[cells]
