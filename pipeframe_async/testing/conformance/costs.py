"""Cases: one bad record among good ones, and what it costs."""

from __future__ import annotations

import signal
import threading
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any, Final

from pipeframe_async.errors import PipeFrameError
from pipeframe_async.model import FailureKind
from pipeframe_async.steps import vectorize
from pipeframe_async.testing.conformance.records import Bad, NotRead, NotWritten, act, act_on_all, marks, note
from pipeframe_async.testing.conformance.rig import (
    Case,
    Kept,
    NotApplicable,
    NotHeld,
    Rig,
    expect_balance,
    expect_failure,
    expect_records,
    finished,
)

RECORDS: Final = 96
BATCH: Final = Kept.batch_size
PLACE: Final = 40
"""Of the bad record: in the middle of the third of six batches, so that it has mates on both sides."""

TIME_LIMIT: Final = 0.5
"""Seconds. Shorter blames good records on a busy machine; the hanging one takes six times as long."""


MANY: Final = vectorize(act_on_all, BATCH)
"""The bad record meets it with all its mates."""


def fed(bad: Any) -> list[Any]:
    """Good records around a bad one."""
    return [*range(PLACE), bad, *range(PLACE + 1, RECORDS)]


def good() -> list[int]:
    """What is to come out of it."""
    return [n for n in range(RECORDS) if n != PLACE]


def mates() -> list[int]:
    """The good records in the batch of the bad one."""
    first = PLACE - PLACE % BATCH
    return [n for n in range(first, first + BATCH) if n != PLACE]


def costs_itself(
    kind: FailureKind,
    bads: Callable[[], Sequence[Any]],
    time_limit: float | None = None,
    step: Callable[..., Any] = act,
) -> Callable[[Rig], Coroutine[Any, Any, None]]:
    """A case: each of these records fails as `kind`, in a run of its own, and all else is delivered."""

    async def check(rig: Rig) -> None:
        async with rig.frame() as frame:
            for bad in bads():
                pipeline = Kept(step, time_limit=time_limit)
                await finished(frame, pipeline, fed(bad))
                if kind == "timeout" and not pipeline.dead:
                    raise NotHeld("not ended")
                if kind == "unpicklable" and not pipeline.dead and len(pipeline.taken) == RECORDS:
                    raise NotApplicable("records and results are handed over as they are")
                expect_records(pipeline.taken, good())
                expect_failure(pipeline.dead, bad, kind)

    return check


def ways(*names: str) -> Callable[[], list[Bad]]:
    """Records that are bad in these ways."""
    return lambda: [Bad(name) for name in names]


def killed_by_signal() -> list[Bad]:
    """A record that SIGKILLs its worker, where there is such a thing."""
    if not hasattr(signal, "SIGKILL"):
        raise NotApplicable("there is no SIGKILL on this system")
    return [Bad("SIGKILL")]


async def _after_a_death(rig: Rig) -> Kept:
    """A run in which a record kills its worker, however it ended."""
    pipeline = Kept(partial(note, rig.marks), act)
    await finished(rig.frame(), pipeline, fed(Bad("os._exit")))
    return pipeline


async def mates_are_delivered(rig: Rig) -> None:
    """The good records of a batch whose worker died are delivered."""
    pipeline = await _after_a_death(rig)
    expect_records([record for record in pipeline.taken if record in mates()], mates())


async def other_batches_run_once(rig: Rig) -> None:
    """What was not in the batch of a worker that died is run once and delivered."""
    pipeline = await _after_a_death(rig)
    others = [record for record in good() if record not in mates()]
    expect_records([record for record in pipeline.taken if record in others], others)
    runs = Counter(marks(rig.marks))
    if again := [record for record in others if runs[repr(record)] != 1]:
        raise NotHeld("ran twice", f"{len(again)}, {again[0]!r} first")


async def books_balance_after_a_death(rig: Rig) -> None:
    """A death is survived, or ends the run with an error of ours; every record has its outcome."""
    pipeline = Kept(act)
    try:
        report = await rig.frame().run(pipeline, fed(Bad("os._exit")))
    except PipeFrameError as error:
        expect_balance(error.report, pipeline.taken)
    else:
        expect_balance(report, pipeline.taken)


CASES: Final = (
    Case("a record that raises costs itself", costs_itself("raised", ways("ValueError", "StopIteration"))),
    Case(
        "a record that raises SystemExit, KeyboardInterrupt or CancelledError costs itself",
        costs_itself("raised", ways("SystemExit", "KeyboardInterrupt", "CancelledError", "GeneratorExit")),
    ),
    Case("a record that raises what cannot be pickled costs itself", costs_itself("raised", ways("unpicklable error"))),
    Case(
        "a result of the wrong shape costs its record",
        costs_itself("raised", ways("returns None", "returns a bare value")),
    ),
    Case(
        "a record that cannot be pickled costs itself",
        costs_itself("unpicklable", lambda: [threading.Lock(), NotWritten()]),
    ),
    Case("a record that cannot be unpickled costs itself", costs_itself("unpicklable", lambda: [NotRead()])),
    Case(
        "a result that cannot be pickled or unpickled costs its record",
        costs_itself("unpicklable", ways("returns a lock", "returns what cannot be read")),
    ),
    Case("a record that ends its worker by os._exit costs itself", costs_itself("crashed", ways("os._exit"))),
    Case("a record that ends its worker by SIGKILL costs itself", costs_itself("crashed", killed_by_signal)),
    Case("a record that ends its worker by a segfault costs itself", costs_itself("crashed", ways("segfault"))),
    Case(
        "a record that raises in a vectorized step costs itself",
        costs_itself("raised", ways("ValueError", "SystemExit"), step=MANY),
    ),
    Case(
        "a record that ends its worker in a vectorized step costs itself",
        costs_itself("crashed", ways("os._exit"), step=MANY),
    ),
    Case("the batch-mates of a record that ends its worker are delivered", mates_are_delivered),
    Case("batches beside that of a worker's death are delivered and run once", other_batches_run_once),
    Case("the books balance after a worker's death", books_balance_after_a_death),
    Case(
        "a record over its time_limit is ended and costs itself",
        costs_itself("timeout", ways("sleeps"), TIME_LIMIT),
    ),
    Case(
        "a record over its time_limit in C code that holds the GIL is ended too",
        costs_itself("timeout", ways("holds the GIL"), TIME_LIMIT),
    ),
)
