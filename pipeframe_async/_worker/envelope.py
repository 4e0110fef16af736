"""The envelope: one batch in as bytes, one `Reply` out. It never raises, whatever a record does.

Every way to cross is tried for the whole batch first, and record by record only after that has failed, so
a record that cannot be read or written costs itself and nothing else.

Chains are loaded once per process and kept by key, for a worker of a warm frame serves many runs.
"""

from __future__ import annotations

import logging
import os
from collections import OrderedDict
from collections.abc import Callable
from operator import attrgetter
from threading import Lock
from time import monotonic, perf_counter, process_time, thread_time
from typing import Any

from pipeframe_async._worker import codec, forks, making, standin
from pipeframe_async._worker.chain import Chain
from pipeframe_async._worker.cursor import INDEX, NO_STEP, STEP, Cursor
from pipeframe_async._worker.memory import resident_bytes
from pipeframe_async._worker.standin import Parcel, StandIns
from pipeframe_async._worker.tally import Tally
from pipeframe_async.failures import failure_of
from pipeframe_async.wire import (
    BROKEN_CHAIN,
    GONE,
    SEGMENT,
    STATE,
    UNKNOWN_CHAIN,
    UNREADABLE,
    WANTED,
    ChainSpec,
    Frames,
    Live,
    OutOfBand,
    Payload,
    Phase,
    Portions,
    Refusal,
    Reply,
    WireFailure,
    owners,
)

logger = logging.getLogger("pipeframe_async")

MAX_CHAINS = 32
"""Chains a process keeps that nobody uses. Fewer would reload between runs of a warm frame; more would hold models."""
UNUSED_SECONDS = 60.0
"""Seconds after which nobody uses a chain. Shorter sets up again what takes turns, longer holds models."""
MOST_CHAINS = 1024
"""Chains a process keeps, used or not: more is a program that makes a pipeline for each run."""

WAITING = 4
"""Steps that take this many times the CPU seconds of their process, and `WAITING_SECONDS`, wait rather than compute.
Smaller takes steps for waiting that share a core with others; larger misses some that wait."""
WAITING_SECONDS = 0.001
"""Shorter than this and it may as well have been the scheduler that let them wait."""

GIL_SECONDS = 0.02
"""Four turns of the GIL: shorter than this, and it may have been for those that they waited. A step that lets go of the
GIL for each record beside a loop that is always busy waits longer, and is as well off in a worker."""

_Dumps = Callable[[Any], Payload]

_chains: OrderedDict[str, Chain] = OrderedDict()  # those that travelled here, the least used first
_standins: dict[str, StandIns] = {}  # where their definitions are, of those that came from another process
_installed: dict[str, Chain] = {}  # those that are here because the parent is
_loading = Lock()  # threads of one process share its chains, and `setup` runs once
_cursor: Cursor | None = None
_at_work: _Batch | None = None  # in the worker of a lane, the batch whose records are in their steps
_suspended: dict[int, _Batch] = {}  # that go on when the portion of them that has left was taken


def attach_cursor(cursor: Cursor) -> None:
    """Use this cursor for every batch of this process from now on (called once, by a lane's worker)."""
    global _cursor
    _cursor = cursor


def work(
    key: str,
    chain: tuple[Any, ...] | bytes | None,
    number: int,
    data: Payload,
    ship: bool,
    stretch: tuple[int, int] | None = None,
    weigh: bool = False,
    portions: Portions | tuple[int, int, int, int] | None = None,
    *,
    out_of_band: bool = False,
    live: bool = False,
) -> Reply:
    """Run one batch. The function a lane calls in its worker.

    Args:
        key: names the chain: its `ChainRef.label`.
        chain: its `ChainRef.parcel`, or None where this process has it already.
        number: the batch's number, for the cursor.
        data: the records, as one pickle or as frames.
        ship: whether the results are wanted back.
        stretch: where only some of the records of one pickle are to be run: the index of the first, and how many.
        weigh: whether the parent wants to know how much memory this process holds.
        portions: how much may come back at once while a fan-out is under way, and which batch it is that goes on;
            None where all comes at once.
        out_of_band: whether large buffers among the results may stand beside their pickle.
        live: the results are wanted as they are, in a thread beside the loop.

    Returns:
        A `Reply`; its `refusal` is set where the chain or the batch could not be loaded.
    """
    cursor = _cursor or Cursor()
    cursor.enter(number)
    process = os.getpid()
    try:
        loaded, standins = _chain(key, chain)
        if isinstance(loaded, Refusal):
            return Reply(0, refusal=loaded)
        dumps: _Dumps = codec.dumps_out_of_band if out_of_band else codec.dumps
        if live or isinstance(data, Live):
            dumps = Live
        if portions is not None and (portions := Portions(*portions)).resume:
            batch = _suspended.pop(portions.resume, None)
            if batch is None:
                return Reply(0, refusal=Refusal(GONE, "the batch is not here"))
            batch.goes_on(cursor)
        else:
            batch = _Batch(loaded, data, stretch, ship, cursor, standins, portions)
        with standin.at_work(standins, keep=_cursor is not None):
            reply = _run(batch, dumps)
        return reply._replace(rss=resident_bytes()) if weigh else reply
    except BaseException as error:  # the last net: a worker always answers
        failure = failure_of(0, 0, error)
        return Reply(0, refusal=Refusal("envelope", f"{failure.error_type}: {failure.message}", failure.traceback))
    finally:
        forks.end_if_forked(process)  # a record that forks as it is read or written; the cursor is the worker's
        cursor.leave()


def finished_part() -> Reply | None:
    """What the records before the one this worker is at came to; None where it is at no record.

    For a worker that is about to be ended in the middle of a record: called in its main thread, which stands there.
    """
    if (batch := _at_work) is None or _cursor is None or (at := _cursor.read().at) is None or batch.gaps:
        return None
    return _reply(batch, batch.tally.before(at), at - batch.tally.first, _spare_cells())


def drop(token: int) -> None:
    """Nobody wants the rest of a batch that is suspended: its generators are closed."""
    if (batch := _suspended.pop(token, None)) is not None:
        _close(batch)


def _close(batch: _Batch) -> None:
    with standin.at_work(batch.standins, keep=_cursor is not None), forks.kept():
        if batch.tally.under_way is not None:
            batch.tally.under_way.close()


def install(key: str, spec: ChainSpec) -> None:
    """Give this process a chain as it is: for executors that work in the parent's own process.

    Its `setup` runs with its first batch, where that batch is run.
    """
    with _loading:
        _installed[key] = Chain(spec)


def forget(key: str | None = None) -> list[str]:
    """Drop one chain, or all, and run their `teardown`; returns the traceback of each that raised."""
    with _loading:
        keys = [*_chains, *_installed] if key is None else [key]
        forgotten = [(key, chain) for key in keys if (chain := _chains.pop(key, None) or _installed.pop(key, None))]
        return [text for key, chain in forgotten if (text := _teardown(key, chain))]


def _chain(label: str, data: tuple[Any, ...] | bytes | None) -> tuple[Chain | Refusal, StandIns | None]:
    label, _, tag = label.partition(STATE)
    key, _, segment = label.partition(SEGMENT)
    parcel = Parcel(*data) if isinstance(data, tuple) else Parcel(data)
    chain = _whole_chain(key, tag, parcel)
    return (chain, None) if isinstance(chain, Refusal) else (chain.segments[int(segment or 0)], _standins.get(key))


def _whole_chain(key: str, tag: str, parcel: Parcel) -> Chain | Refusal:
    with _loading:
        chain = _chains.get(key) or _installed.get(key)
        standins = _standins.get(key)
        if chain is None:
            if parcel.chain is None:
                return Refusal(UNKNOWN_CHAIN, key)
            standins = making.standins_for(parcel.chain)
        elif standins is not None and standins.tag != tag != parcel.tag:
            return Refusal(UNKNOWN_CHAIN, key)
        with standin.at_work(standins, keep=_cursor is not None):
            try:
                if chain is None:
                    chain = Chain(ChainSpec(*making.load(parcel.chain or b"", standins)))
                if standins is not None and standins.tag != tag:
                    making.supply(standins, parcel)
            except BaseException as error:
                return _broken("the steps could not be loaded in a worker", error)
            try:
                chain.setup()
            except BaseException as error:
                return _broken("setup raised in a worker", error)
        if key not in _installed:
            _chains[key] = chain
            _chains.move_to_end(key)
            if standins is not None:
                _standins[key] = standins
        chain.used = monotonic()
        while len(_chains) > MOST_CHAINS or (len(_chains) > MAX_CHAINS and _unused(next(iter(_chains.values())))):
            if problem := _teardown(*_chains.popitem(last=False)):
                logger.error("teardown raised in a worker:\n%s", problem)
        return chain


def _unused(chain: Chain) -> bool:
    return monotonic() - chain.used > UNUSED_SECONDS


def _broken(what: str, error: BaseException) -> Refusal:
    failure = failure_of(0, 0, error)
    return Refusal(BROKEN_CHAIN, f"{what}: {failure.error_type}: {failure.message}", failure.traceback)


def _teardown(key: str, chain: Chain) -> str:
    for token, batch in [*_suspended.items()]:
        if batch.chain in chain.segments:
            drop(token)
    try:
        with standin.at_work(_standins.pop(key, None), keep=_cursor is not None):
            chain.teardown()
    except BaseException as error:
        return failure_of(0, 0, error).traceback
    return ""


class _Batch:
    """A batch at work. `indices`: where its readable records stand in it; `gaps`: whether others do not; `begun`: it
    has been read, and goes on.
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
    ):
        self.begun = False
        self.standins = standins
        self.chain = chain
        self.data = data
        self.stretch = stretch
        self.ship = ship
        self.cursor = cursor
        self.records: list[Any] = []
        self.indices: list[int] | None = None
        self.unreadable: list[WireFailure] = []
        self.tally = Tally(len(chain.names), portions)

    def goes_on(self, cursor: Cursor) -> None:
        """What has come of it so far has left."""
        self.begun, self.cursor = True, cursor

    @property
    def framed(self) -> bool:
        return isinstance(self.data, tuple)

    @property
    def gaps(self) -> bool:
        return bool(self.unreadable)

    def read(self) -> None:
        """Unpickle the records; raises where they came as one pickle that cannot be read."""
        if self.begun:
            return
        if isinstance(self.data, tuple):
            self.records, self.indices, self.unreadable = _read_frames(self.data, self.cursor, self.standins)
            if self.gaps:
                self.tally = Tally(len(self.chain.names))  # in one piece: it is rare, and indices are not the same
            return
        self.cursor.phase(Phase.READING)
        self.records = _stretch(codec.loads(self.data), self.stretch)


def _run(batch: _Batch, whole: _Dumps) -> Reply:
    global _at_work
    wall, cpu = perf_counter(), thread_time()
    if batch.standins is not None:
        batch.standins.missed.clear()
    try:
        batch.read()
    except BaseException as error:
        if batch.standins is not None and (names := batch.standins.wanted(error)):
            return Reply(0, refusal=Refusal(WANTED, names))
        return Reply(0, refusal=Refusal(UNREADABLE, f"{type(error).__name__}: {error}"[:1000]))
    if batch.gaps and batch.standins is not None and (names := batch.standins.wanted()):
        return Reply(0, refusal=Refusal(WANTED, names))
    cells: Any = batch.cursor.cells
    if batch.gaps and batch.indices is not None:
        cells = _Renumbered(cells, batch.indices)
    cells[STEP] = 0
    _at_work = batch
    try:
        worked = _timed(batch, cells, shared=whole is Live)
    finally:
        _at_work = None
    batch.cursor.phase(Phase.WRITING)
    token = 0
    if (fan_out := batch.tally.under_way) is None:
        reply = _reply(batch, batch.tally, len(batch.records) - batch.tally.first, cells, whole=whole)
    else:
        portion = batch.tally.cut()
        reply = _reply(batch, portion, fan_out.index - portion.first, cells, whole=whole)
        token = 1 + int.from_bytes(os.urandom(7))  # of no other process either: it may come to the wrong one
        _suspended[token] = batch
    return reply._replace(wall=perf_counter() - wall, cpu=thread_time() - cpu, worked=worked, suspended=token)


def _timed(batch: _Batch, cells: Any, *, shared: bool) -> float:
    """Run the steps; returns the seconds of work in them.

    That is CPU time, since wall time grows when the machine or the GIL is shared; and wall time where nobody in this
    process computed for most of it, for then the steps were waiting. Where the process is `shared` with a loop that
    always computes, they were waiting if they took much longer than their turns of the GIL explain.
    """
    wall, process, thread = perf_counter(), process_time(), thread_time()
    batch.chain.run(batch.records, cells, batch.tally)
    thread, process, wall = thread_time() - thread, process_time() - process, perf_counter() - wall
    waited = wall > WAITING * process + WAITING_SECONDS or (shared and wall > WAITING * thread + GIL_SECONDS)
    return wall if waited else thread


def _reply(batch: _Batch, tally: Tally, count: int, cells: Any, *, whole: _Dumps = codec.dumps) -> Reply:
    """What so many of the batch's readable records came to, and those that could not be read."""
    at_once = None if batch.framed and whole is not Live else whole
    owned = tally.first, count + (tally.under_way is not None)
    results = _write(tally, owned, len(batch.chain.names) - 1, at_once, cells) if batch.ship else None
    if batch.gaps and batch.indices is not None:
        _renumber(tally, batch.indices)
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
        steps=tally.times(),
        first=tally.first,
    )


def _spare_cells() -> Any:
    return Cursor().cells


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
    return [failure._replace(record=_again(originals[failure.at])) for failure in failures]


def _again(record: object) -> bytes | None:
    """A record's bytes once more, or None for one that can be pickled only once: the parent has it itself."""
    try:
        return codec.dumps(record)
    except BaseException:
        return None


class _Renumbered:
    """The cursor's cells for records of which some could not be read: writes their indices in the batch."""

    def __init__(self, cells: Any, indices: list[int]) -> None:
        self._cells = cells
        self._indices = indices

    def __setitem__(self, cell: int, value: int) -> None:
        self._cells[cell] = self._indices[value] if cell == INDEX else value

    def __getitem__(self, cells: slice) -> Any:
        return self._cells[cells]
