"""`conform_source` and `conform_sink`: what can be relied on of an object at an end of a pipeline.

Each case is a short run, inline, on an event loop of its own; what it leaves behind is looked for.
"""

from __future__ import annotations

import asyncio
import pickle
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from pipeframe_async.errors import StateError
from pipeframe_async.frame import PipeFrame
from pipeframe_async.model import Failure
from pipeframe_async.pipeline_engine import PipelineEngine
from pipeframe_async.testing.conformance.verdicts import Conformance, Verdict

PATIENCE: Final = 20.0
"""Seconds a case may take. Shorter fails servers that are slow to start, longer waits for what hangs."""
PROMPT: Final = 5.0
"""Seconds that closing may take after a cancel, or a stop."""
TIDY: Final = 1.0
"""Seconds that tasks and threads have to end by themselves."""

Make = Callable[[], Any]


class _Broken(Exception):
    """A statement does not hold."""


def conform_source(make: Make, *, records: int, name: str | None = None) -> Conformance:
    """Run a source through the cases.

    Args:
        make: makes a new one each time, which has the same `records` ready; not only what nobody has acked before.
        records: how many that are, ≥ 3.
        name: what the findings call it. Default: its class.

    Returns:
        The verdicts; see `Conformance.check`.

    Process: this one.
    """
    kept = _Source(make, records)
    return _found(name or type(make()).__name__, [(said, partial(run, kept)) for said, run in SOURCE_CASES])


def conform_sink(
    make: Make, *, records: Sequence[Any], read: Callable[[], Any] | None = None, name: str | None = None
) -> Conformance:
    """Run a sink through the cases.

    Args:
        make: makes a new one each time, all for the same place, which it empties.
        records: that it takes, 3 at least, all of them different.
        read: gives what is in that place: as many items as were written, in order.
        name: what the findings call it. Default: its class.

    Returns:
        The verdicts; see `Conformance.check`.

    Process: this one.
    """
    kept = _Sink(make, records, read)
    return _found(name or type(make()).__name__, [(said, partial(run, kept)) for said, run in SINK_CASES])


def _found(name: str, cases: Sequence[tuple[str, Callable[[], Awaitable[None]]]]) -> Conformance:
    return Conformance(name, tuple(_verdict(said, case) for said, case in cases))


def _verdict(said: str, case: Callable[[], Awaitable[None]]) -> Verdict:
    """Run a case on a loop of its own, in a thread: there may be a loop here already."""
    found: list[BaseException] = []

    async def patiently() -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                await case()
        finally:
            left = await _left()
        _must(not left, f"leaves tasks behind: {', '.join(left)}")

    def main() -> None:
        try:
            asyncio.run(patiently())
        except BaseException as error:
            found.append(error)

    started, threads = time.monotonic(), set(threading.enumerate())
    running = threading.Thread(target=main, daemon=True)
    running.start()
    running.join(PATIENCE + TIDY)
    while (left := set(threading.enumerate()) - threads - {running}) and time.monotonic() < started + PATIENCE + TIDY:
        time.sleep(0.01)
    seconds = time.monotonic() - started
    if running.is_alive():
        return Verdict(said, held=False, reason="hangs", seconds=seconds)
    if found:
        reason = str(found[0]) if isinstance(found[0], _Broken) else "raises"
        return Verdict(said, held=False, reason=reason, detail=repr(found[0]), seconds=seconds)
    if left:
        return Verdict(said, held=False, reason="leaves threads behind", detail=str(left), seconds=seconds)
    return Verdict(said, held=True, seconds=seconds)


async def _left() -> list[str]:
    """The names of tasks that do not end by themselves; they are cancelled."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    if not tasks:
        return []
    _, left = await asyncio.wait(tasks, timeout=TIDY)
    for task in left:
        task.cancel()
    await asyncio.wait(tasks)
    return [task.get_name() for task in left]


def _must(holds: object, reason: str) -> None:
    if not holds:
        raise _Broken(reason)


def _passes(record: Any) -> tuple[Any, bool]:
    return record, True


def _fails(record: Any) -> tuple[Any, bool]:
    raise ValueError("every record fails here")


class _Through(PipelineEngine[Any, Any]):
    """A pipeline with the end that is tried; what there is no sink for is kept."""

    steps: Any = (_passes,)
    source = "stream"
    timeout = None
    max_failures = None

    def __init__(self, **ends: Any) -> None:
        for name, value in ends.items():
            setattr(self, name, value)


class _Kept:
    """A sink that keeps what it gets; `enough` is called when that is so many."""

    def __init__(self, most: int, enough: Callable[[], object]) -> None:
        self.taken: list[Any] = []
        self._most = most
        self._enough = enough

    async def write(self, records: list[Any]) -> None:
        self.taken += records
        if len(self.taken) >= self._most:
            self._enough()


@dataclass(frozen=True, slots=True)
class _Source:
    """The source that is tried."""

    make: Make
    records: int

    async def read(self, source: Any, most: int | None = None, **more: Any) -> tuple[list[Any], Any]:
        """What it gives, until there are so many, and the report."""
        frame = PipeFrame(executor="inline", buffer_size=100)
        kept = _Kept(most or self.records, frame.stop)
        report = await frame.run(_Through(feed=source, sink=kept, **more))
        return kept.taken, report


async def _gives_its_records(tried: _Source) -> None:
    taken, report = await tried.read(tried.make())
    _must(len(taken) == tried.records, f"gave {len(taken)} of {tried.records} records")
    _must(report.ack_errors == 0, f"{report.ack_errors} acks failed")


async def _gives_them_again(tried: _Source) -> None:
    first, _ = await tried.read(tried.make())
    second, _ = await tried.read(tried.make())
    _must(_alike(first, second), "another one of the same gave other records")


async def _fails_no_acks(tried: _Source) -> None:
    source, failed = tried.make(), list[Failure[Any]]()
    frame = PipeFrame(executor="inline", buffer_size=100)

    async def dead_letter(failures: list[Failure[Any]]) -> None:
        failed.extend(failures)
        if len(failed) >= tried.records:
            frame.stop()

    report = await frame.run(_Through(feed=source, steps=(_fails,), dead_letter=dead_letter))
    _must(len(failed) >= tried.records, f"{len(failed)} of {tried.records} failed records came to the dead letter")
    _must(report.ack_errors == 0, f"{report.ack_errors} acks of failed records failed")


async def _is_asked_for_one_at_a_time(tried: _Source) -> None:
    frame = PipeFrame(executor="inline", buffer_size=1)
    kept = _Kept(tried.records, frame.stop)
    report = await frame.run(_Through(feed=tried.make(), sink=kept))
    _must(len(kept.taken) == tried.records, f"gave {len(kept.taken)} of {tried.records} records to a buffer of one")
    _must(report.ack_errors == 0, f"{report.ack_errors} acks failed")


async def _stops(tried: _Source) -> None:
    started = time.monotonic()
    taken, report = await tried.read(tried.make(), most=1)
    _must(taken, "gave nothing")
    _must(report.aborted == 0, f"{report.aborted} records were given up by a stop")
    _must(time.monotonic() - started < PROMPT, f"took more than {PROMPT:g} s to stop")


async def _is_cancelled(tried: _Source) -> None:
    begun = asyncio.Event()
    sink = _Kept(1, begun.set)
    running = asyncio.ensure_future(PipeFrame(executor="inline").run(_Through(feed=tried.make(), sink=sink)))
    await begun.wait()
    started = time.monotonic()
    running.cancel()
    await asyncio.wait([running])
    _must(time.monotonic() - started < PROMPT, f"took more than {PROMPT:g} s to close after a cancel")
    taken, _ = await tried.read(tried.make())
    _must(len(taken) == tried.records, f"after that, gave {len(taken)} of {tried.records} records")


async def _is_left_early(tried: _Source) -> None:
    started = time.monotonic()
    async with PipeFrame(executor="inline").stream(_Through(feed=tried.make())) as results:
        async for _ in results:
            break
    _must(time.monotonic() - started < PROMPT, f"took more than {PROMPT:g} s to close")


async def _is_one_runs(tried: _Source) -> None:
    source = tried.make()
    if not any(hasattr(type(source), name) for name in ("__aenter__", "__enter__")) or getattr(source, "shared", False):
        return
    begun = asyncio.Event()
    frame = PipeFrame(executor="inline")
    first = asyncio.ensure_future(frame.run(_Through(feed=source, sink=_Slow(begun))))
    await begun.wait()
    try:
        await PipeFrame(executor="inline").run(_Through(feed=source))
    except StateError:
        pass
    else:
        raise _Broken("two runs had it at once")
    finally:
        first.cancel()
        await asyncio.wait([first])


class _Slow:
    """A sink that is at work until it is cancelled."""

    def __init__(self, begun: asyncio.Event) -> None:
        self._begun = begun

    async def write(self, records: list[Any]) -> None:
        self._begun.set()
        await asyncio.Event().wait()


async def _its_decode_pickles(tried: _Source) -> None:
    if (decode := getattr(tried.make(), "decode", None)) is not None:
        pickle.loads(pickle.dumps(decode))  # noqa: S301 - what was pickled here


SOURCE_CASES: Final[Sequence[tuple[str, Callable[[_Source], Awaitable[None]]]]] = (
    ("gives its records, and takes their acks", _gives_its_records),
    ("another one of the same gives the same records", _gives_them_again),
    ("takes the acks of records that failed", _fails_no_acks),
    ("gives its records to a run that has room for one", _is_asked_for_one_at_a_time),
    ("stops after a record, and gives none up", _stops),
    ("closes when its run is cancelled, and loses no record by that", _is_cancelled),
    ("closes when its stream is left early", _is_left_early),
    ("is one run's at a time, or says that it may be shared", _is_one_runs),
    ("its decode can be pickled", _its_decode_pickles),
)


@dataclass(frozen=True, slots=True)
class _Sink:
    """The sink that is tried."""

    make: Make
    records: Sequence[Any]
    read: Callable[[], Any] | None

    async def write(self, records: Any, **more: Any) -> Any:
        """Have it take some; returns the report."""
        return await PipeFrame(executor="inline").run(_Through(feed=records, sink=self.make(), **more))

    async def there(self) -> list[Any] | None:
        """What is in its place, if anybody can tell."""
        if self.read is None:
            return None
        found = self.read()
        return [*(await found if isinstance(found, Awaitable) else found)]


async def _takes_all(tried: _Sink) -> None:
    report = await tried.write([*tried.records])
    _must(report.delivered == len(tried.records), f"took {report.delivered} of {len(tried.records)} records")
    there = await tried.there()
    _must(there is None or len(there) == len(tried.records), f"{there and len(there)} are there")


async def _takes_one_at_a_time(tried: _Sink) -> None:
    await tried.write([*tried.records])
    together = await tried.there()

    async def slowly() -> Any:
        for record in tried.records:
            yield record
            await asyncio.sleep(0.01)

    await tried.write(slowly())
    _must(together == await tried.there(), "what is there depends on how many come at once")


async def _takes_none(tried: _Sink) -> None:
    report = await tried.write([])
    _must(report.delivered == 0, "something was delivered")
    _must(not await tried.there(), "something is there")


async def _closes_over_an_error(tried: _Sink) -> None:
    async def breaks() -> Any:
        yield tried.records[0]
        raise OSError("the feed broke")

    try:
        await tried.write(breaks())
    except Exception as error:
        _must("the feed broke" in str(error), f"hides what has ended the run: {error}")
    await _takes_all(tried)


async def _closes_over_a_cancel(tried: _Sink) -> None:
    async def waits() -> Any:
        yield tried.records[0]
        await asyncio.Event().wait()

    running = asyncio.ensure_future(tried.write(waits()))
    await asyncio.sleep(0.2)
    started = time.monotonic()
    running.cancel()
    await asyncio.wait([running])
    _must(time.monotonic() - started < PROMPT, f"took more than {PROMPT:g} s to close after a cancel")
    await _takes_all(tried)


async def _its_encode_pickles(tried: _Sink) -> None:
    if (encode := getattr(tried.make(), "encode", None)) is not None:
        pickle.loads(pickle.dumps(encode))  # noqa: S301 - what was pickled here


SINK_CASES: Final[Sequence[tuple[str, Callable[[_Sink], Awaitable[None]]]]] = (
    ("takes all records", _takes_all),
    ("takes them one by one as it takes them together", _takes_one_at_a_time),
    ("takes a run without records", _takes_none),
    ("closes when its run fails, and can be used again", _closes_over_an_error),
    ("closes when its run is cancelled, and can be used again", _closes_over_a_cancel),
    ("its encode can be pickled", _its_encode_pickles),
)


def _alike(one: list[Any], other: list[Any]) -> bool:
    """Whether they are the same, in whatever order."""
    return Counter(map(repr, one)) == Counter(map(repr, other))
