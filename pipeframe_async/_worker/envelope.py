"""The envelope: one batch in as bytes, one `Reply` out. It never raises, whatever a record does.

Chains are loaded once per process and kept by key, for a worker of a warm frame serves many runs.
"""

from __future__ import annotations

import gc
import logging
import os
from collections import OrderedDict
from collections.abc import Sequence
from threading import Lock, get_ident, local
from time import monotonic, perf_counter, thread_time
from typing import Any

from pipeframe_async import counting, shared
from pipeframe_async._worker import codec, forks, forwarding, making, standin
from pipeframe_async._worker.batch import Batch, Dumps, reply_of
from pipeframe_async._worker.chain import Chain
from pipeframe_async._worker.cursor import STEP, Cursor
from pipeframe_async._worker.memory import resident_bytes
from pipeframe_async._worker.standin import Parcel, StandIns
from pipeframe_async._worker.waiting import Stretch
from pipeframe_async.failures import failure_of
from pipeframe_async.wire import (
    BROKEN_CHAIN,
    GONE,
    PAUSED,
    SEGMENT,
    STATE,
    UNKNOWN_CHAIN,
    UNREADABLE,
    WANTED,
    ChainSpec,
    Live,
    Payload,
    Phase,
    Portions,
    Refusal,
    Reply,
)

logger = logging.getLogger("pipeframe_async")

MAX_CHAINS = 32
"""Chains a process keeps that nobody uses. Fewer would reload between runs of a warm frame; more would hold models."""
UNUSED_SECONDS = 60.0
"""Seconds after which nobody uses a chain. Shorter sets up again what takes turns, longer holds models."""
MOST_CHAINS = 1024
"""Chains a process keeps, used or not: more is a program that makes a pipeline for each run."""

_chains: OrderedDict[str, Chain] = OrderedDict()  # those that travelled here, the least used first
_standins: dict[str, StandIns] = {}  # where their definitions are, of those that came from another process
_installed: dict[str, Chain] = {}  # those that are here because the parent is
_returned: dict[str, list[Any]] = {}  # by the teardown of as many that are here no more, until it is asked for
_inherited: list[Any] = []  # in a fork, the same of its parent: kept, for what is dropped may close what both have
_loading = Lock()  # threads of one process share its chains, and `setup` runs once
_cursor: Cursor | None = None
_at_work: Batch | None = None  # in the worker of a lane, the batch whose records are in their steps
_suspended: dict[int, Batch] = {}  # that go on when the portion of them that has left was taken
_last = local()  # when the last batch of this thread has ended


def _begin_anew() -> None:
    """In a fork: what was set up before it is its parent's, and whoever was loading there is not here."""
    global _chains, _standins, _installed, _loading
    _inherited.append((_chains, _standins, _installed))
    _chains, _standins, _installed, _loading = OrderedDict(), {}, {}, Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)


def attach_cursor(cursor: Cursor) -> None:
    """Use this cursor for every batch of this process from now on (called once, by a lane's worker)."""
    global _cursor
    _cursor = cursor
    counting.count_in_process()


def work(
    key: str,
    chain: tuple[Any, ...] | bytes | None,
    number: int,
    data: Payload,
    ship: bool,
    stretch: tuple[int, int] | None = None,
    weigh: bool = False,
    portions: Portions | tuple[int, int, tuple[int, ...], int] | None = None,
    traced: Sequence[tuple[int, str]] = (),
    *,
    out_of_band: bool = False,
    live: bool = False,
    cursor: Cursor | None = None,
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
        traced: `Packed.traced`.
        out_of_band: whether large buffers among the results may stand beside their pickle.
        live: records and results stay in this process, and are handed over as they are.
        cursor: in a thread of the parent's process, where it looks to see how far the batch is.

    Returns:
        A `Reply`; its `refusal` is set where the chain or the batch could not be loaded.
    """
    cursor = cursor or _cursor or Cursor()
    cursor.enter(number)
    process = os.getpid()
    began = loading = perf_counter()
    try:
        loaded, standins, new = _chain(key, chain)
        loading = perf_counter() - loading if new else 0.0
        if isinstance(loaded, Refusal):
            return Reply(0, refusal=loaded)
        live = live or isinstance(data, Live)
        dumps: Dumps = codec.handed_over if live else codec.dumps_out_of_band if out_of_band else codec.dumps
        if portions is not None and (portions := Portions(*portions)).resume:
            batch = _suspended.pop(portions.resume, None)
            if batch is None:
                return Reply(0, refusal=Refusal(GONE, "the batch is not here"))
            batch.goes_on(cursor)
        elif other := _suspended_of(loaded):
            return Reply(0, refusal=Refusal(PAUSED, str(other)), setup=loading)
        else:
            batch = Batch(loaded, data, stretch, ship, cursor, standins, portions, traced, live=live)
        with standin.at_work(standins, keep=_cursor is not None):
            reply = _run(batch, dumps)
        idle = began - _last.ended if hasattr(_last, "ended") else None
        return reply._replace(idle=idle, setup=loading, rss=resident_bytes() if weigh else 0)
    except BaseException as error:  # the last net: a worker always answers
        failure = failure_of(0, 0, error)
        return Reply(0, refusal=Refusal("envelope", f"{failure.error_type}: {failure.message}", failure.traceback))
    finally:
        forks.end_if_forked(process)  # a record that forks as it is read or written; the cursor is the worker's
        cursor.leave()
        _last.ended = perf_counter()


def finished_part() -> Reply | None:
    """What the records before the one this worker is at came to, or before its group; None where it is at no record.

    For a worker that is about to be ended in the middle of a record: called in its main thread, which stands there.
    """
    if (batch := _at_work) is None or _cursor is None or (at := _cursor.read().at) is None or batch.gaps:
        return None
    if batch.tally.settled is not None:
        at = min(at, batch.tally.settled)
    reply = reply_of(batch, batch.tally.before(at), at - batch.tally.first, _spare_cells())
    return reply._replace(counters=counting.counted())


def _suspended_of(chain: Chain) -> int:
    """The number of a batch of this chain that is suspended in this thread; 0 where none is."""
    for token, batch in [*_suspended.items()]:
        if batch.thread == get_ident() and batch.chain.is_like(chain):
            return token
    return 0


def drop(token: int) -> None:
    """Nobody wants the rest of a batch that is suspended: its generators are closed."""
    if (batch := _suspended.pop(token, None)) is not None:
        _close(batch)


def _close(batch: Batch) -> None:
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


def returned(key: str | None = None) -> list[tuple[str, Any]]:
    """What the `teardown` of chains that were dropped has returned, each with its chain's key; all, or one's. Once.

    In a worker each is pickled.
    """
    with _loading:
        keys = [*_returned] if key is None else [key]
        return [(key, value) for key in keys for value in _returned.pop(key, ())]


def _chain(label: str, data: tuple[Any, ...] | bytes | None) -> tuple[Chain | Refusal, StandIns | None, bool]:
    """A chain, or a segment of one; where its definitions are; and whether it was set up just now."""
    label, _, tag = label.partition(STATE)
    key, _, segment = label.partition(SEGMENT)
    parcel = Parcel(*data) if isinstance(data, tuple) else Parcel(data)
    known = key in _chains or (key in _installed and _installed[key].ready)
    chain = _whole_chain(key, tag, parcel)
    if isinstance(chain, Refusal):
        return chain, None, False
    return chain.segments[int(segment or 0)], _standins.get(key), not known


def _whole_chain(key: str, tag: str, parcel: Parcel) -> Chain | Refusal:
    with _loading:
        chain = _chains.get(key) or _installed.get(key)
        standins = _standins.get(key)
        if new := chain is None:
            if parcel.chain is None:
                return Refusal(UNKNOWN_CHAIN, key)
            standins = making.standins_for(parcel.chain)
        elif standins is not None and standins.tag != tag != parcel.tag:
            return Refusal(UNKNOWN_CHAIN, key)
        with standin.at_work(standins, keep=_cursor is not None):
            try:
                if chain is None:
                    with forwarding.importing(), shared.noted() as handles:
                        chain = Chain(ChainSpec(*making.load(parcel.chain or b"", standins)))
                    chain.handles = handles
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
        if new:
            _drop_those_of_nobody()
        while len(_chains) > MOST_CHAINS or (len(_chains) > MAX_CHAINS and _unused(next(iter(_chains.values())))):
            _drop(next(iter(_chains)))
        return chain


def _drop(key: str) -> None:
    if problem := _teardown(key, _chains.pop(key)):
        logger.error("teardown raised in a worker:\n%s", problem)


def _drop_those_of_nobody() -> None:
    """Give up chains that have what was shared and is held nowhere else: no run can have them any more."""
    useless = [key for key, chain in _chains.items() if any(map(shared.is_let_go, chain.handles))]
    for key in useless:
        _drop(key)
    if useless:
        gc.collect()  # chains and pipelines refer to themselves, and a worker may not collect for hours


def _unused(chain: Chain) -> bool:
    return monotonic() - chain.used > UNUSED_SECONDS


def _broken(what: str, error: BaseException) -> Refusal:
    failure = failure_of(0, 0, error)
    return Refusal(BROKEN_CHAIN, f"{what}: {failure.error_type}: {failure.message}", failure.traceback, failure.raised)


def _teardown(key: str, chain: Chain) -> str:
    for token, batch in [*_suspended.items()]:
        if batch.chain in chain.segments:
            drop(token)
    try:
        with standin.at_work(_standins.pop(key, None), keep=_cursor is not None):
            for value in chain.teardown():
                _returned.setdefault(key, []).append(value if _cursor is None else codec.dumps(value))
            while len(_returned) > MOST_CHAINS:
                del _returned[next(iter(_returned))]
    except BaseException as error:
        return failure_of(0, 0, error).traceback
    return ""


def _run(batch: Batch, whole: Dumps) -> Reply:
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
    cells = batch.cells
    cells[STEP] = 0
    _at_work = batch
    counts: counting.Counts = {}
    counted = None if _cursor is not None else counting.count_in(counts)  # a worker's go with whatever it answers next
    try:
        stretch = Stretch()
        batch.chain.run(batch.records, cells, batch.tally)
        worked, waited = stretch.ended(shared=batch.live)
    finally:
        _at_work = None
        if counted is not None:
            counting.count_no_more(counted)
    batch.cursor.phase(Phase.WRITING)
    token = 0
    if (fan_out := batch.tally.under_way) is None:
        reply = reply_of(batch, batch.tally, batch.end - batch.tally.first, cells, whole=whole)
    else:
        portion = batch.tally.cut()
        reply = reply_of(batch, portion, fan_out.index - portion.first, cells, whole=whole)
        token = 1 + int.from_bytes(os.urandom(7))  # of no other process either: it may come to the wrong one
        _suspended[token] = batch
    return reply._replace(
        wall=perf_counter() - wall,
        cpu=thread_time() - cpu,
        worked=worked,
        waited=waited,
        suspended=token,
        counters=counting.counted() if counted is None else counts or None,
    )


def _spare_cells() -> Any:
    return Cursor().cells
