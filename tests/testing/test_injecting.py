"""Faults happen at the records they are for, in real workers, harm no others, and leave no trace."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from pipeframe_async import (
    Chunk,
    ConfigError,
    Delivery,
    FeedError,
    PipeFrame,
    PipelineEngine,
    PipelineFailed,
    Retry,
    SinkError,
)
from pipeframe_async._rules.blame import FOREIGN_POINTS, GUILTY
from pipeframe_async._worker.chain import Chain
from pipeframe_async.plan import feed_of, plan_of
from pipeframe_async.testing import (
    Fault,
    Faults,
    Tried,
    faults,
    feed_error,
    hang,
    kill,
    oom,
    raising,
    sink_error,
    slow,
    try_records,
    unpicklable,
)


def same(record: int) -> tuple[int, bool]:
    return record, True


class Passes(PipelineEngine[int, int]):
    steps = (same,)
    time_limit: float | None = 0.3


class Odd(Exception):
    """Of this module, so that it travels by name."""


async def in_workers(*chosen: Fault, pipeline: Any = Passes, records: Any = range(100)) -> Tried[Any, Any]:
    with faults(*chosen):
        return await try_records(pipeline, records, executor="processes", cpu_count=1)


def failed(out: Tried[Any, Any]) -> list[tuple[Any, str]]:
    return sorted((failure.record, failure.kind) for failure in out.failures)


# What happens.


@pytest.mark.process
@pytest.mark.one_loop
async def test_each_fault_fails_its_record_and_no_other() -> None:
    chosen = kill(at=17), hang(at=42), raising(at=50, error=Odd("fifty")), unpicklable(at=60), oom(at=70, mebibytes=1)
    with faults(*chosen) as injected:
        out = await try_records(Passes, range(100), executor="processes")
    assert failed(out) == [(17, "crashed"), (42, "timeout"), (50, "raised"), (60, "unpicklable"), (70, "crashed")]
    assert out.results == [record for record in range(100) if record not in (17, 42, 50, 60, 70)]
    assert {failure.step for failure in out.failures} == {"same"}
    assert next(failure.error_type for failure in out.failures if failure.record == 50) == "Odd"
    assert out.report.worker_restarts >= 3
    assert [step.name for step in out.report.steps] == ["same"]
    assert all(type(failure.record) is int for failure in out.failures)
    injected.check()  # also behind the context


@pytest.mark.process
@pytest.mark.one_loop
async def test_a_kill_that_happens_once_harms_nothing() -> None:
    once = kill(at=17, times=1)
    with faults(once) as injected:
        out = await try_records(Passes, range(100), executor="processes", cpu_count=1)
        assert injected.happened(once) == 1
    assert out.results == list(range(100))
    assert out.failures == []
    assert out.report.worker_restarts >= 1
    assert out.report.re_executed >= 1


@pytest.mark.process
@pytest.mark.one_loop
async def test_a_record_that_kills_whoever_runs_it_has_killed_six_when_it_is_blamed() -> None:
    always = kill(at=17)
    with faults(always) as injected:
        await try_records(Passes, range(100), executor="processes", cpu_count=1)
    assert injected.happened(always) == GUILTY // FOREIGN_POINTS == 6


class Patient(Passes):
    retry = Retry(2, backoff=0.0)


async def test_an_error_that_happens_once_is_gone_in_the_next_attempt() -> None:
    with faults(raising(at=1, times=1)):
        out = await try_records(Patient, [0, 1, 2])
    assert out.results == [0, 1, 2]
    assert out.report.retried == 1


async def test_a_slow_record_takes_that_much_longer() -> None:
    with faults(slow(at=1, seconds=0.05)):
        out = await try_records(Passes, [0, 1, 2])
    assert out.results == [0, 1, 2]
    assert out.report.elapsed >= 0.05


async def test_the_sink_raises_over_the_results_of_the_record() -> None:
    with faults(sink_error(at=1, error=Odd("full"))), pytest.raises(SinkError, match="full"):
        await try_records(Passes, [0, 1, 2])


async def test_a_sink_that_has_raised_takes_the_record_in_the_next_run() -> None:
    with faults(sink_error(at=1)):
        with pytest.raises(SinkError):
            await try_records(Passes, [0, 1, 2])
        assert (await try_records(Passes, [0, 1, 2])).results == [0, 1, 2]


@pytest.mark.parametrize("records", [[0, 1, 2], [Chunk([0, 1, 2])]])
async def test_the_feed_raises_in_place_of_the_record(records: list[Any]) -> None:
    class Streams(Passes):
        source = "stream"

    with faults(feed_error(at=1, error=Odd("gone"))), pytest.raises(FeedError, match="gone") as caught:
        await try_records(Streams, records)
    assert caught.value.report.fed == 1  # type: ignore[union-attr]


# Where it happens: a position is that of the record, however it is fed.


async def one_by_one() -> AsyncIterator[Any]:
    for record in range(6):
        yield record


async def in_chunks() -> AsyncIterator[Any]:
    yield 0
    yield Chunk([1, 2])
    yield Chunk(range(3, 6))


def generated() -> Iterator[Any]:
    yield from range(6)


async def into_a_bucket(bucket: Any) -> None:
    await bucket.put(Chunk([0, 1]))
    for record in range(2, 6):
        await bucket.put(record)


def into_a_bucket_from_a_thread(bucket: Any) -> None:
    for record in range(6):
        bucket.put(record)


def returns_records() -> Any:
    return list(range(6))


class Asked:
    """A source that is asked for records."""

    streams = True
    entered = False

    def __init__(self) -> None:
        self._left = list(range(6))

    async def __aenter__(self) -> None:
        self.entered = True

    async def __aexit__(self, *error: object) -> None:
        assert self.entered

    async def take(self, room: int) -> list[int] | None:
        taken, self._left = self._left[:2], self._left[2:]
        return taken or None

    def __aiter__(self) -> Any:
        raise AssertionError("it is asked instead")


class Read:
    """A source with a life and a decode."""

    async def __aenter__(self) -> None: ...

    async def __aexit__(self, *error: object) -> None: ...

    async def __aiter__(self) -> AsyncIterator[str]:
        for record in range(6):
            yield str(record)

    decode = staticmethod(int)


FORMS: list[Callable[[], Any]] = [
    lambda: list(range(6)),
    lambda: iter(range(6)),
    lambda: one_by_one,
    lambda: one_by_one(),
    lambda: in_chunks,
    lambda: generated,
    lambda: into_a_bucket,
    lambda: into_a_bucket_from_a_thread,
    lambda: returns_records,
    Asked,
    Read,
]


@pytest.mark.parametrize("make", FORMS)
async def test_positions_hold_for_any_form_of_feed(make: Callable[[], Any]) -> None:
    with faults(raising(at=4)):
        out = await try_records(Passes, make())
    assert out.results == [0, 1, 2, 3, 5]
    assert [failure.record for failure in out.failures] == ["4" if make is Read else 4]


async def test_a_delivery_is_answered_with_its_own_record() -> None:
    answers: list[Any] = []

    async def feed() -> AsyncIterator[Any]:
        for record in range(3):
            yield Delivery(
                record,
                nack=lambda failure: answers.append(failure and failure.record),
                ack=lambda: answers.append("ack"),
            )

    class Bears(Passes):
        max_failures = None

    with faults(raising(at=1)) as injected:
        await PipeFrame(executor="inline").run(injected.wrapped(Bears, feed, executor="inline"))
    assert sorted(map(str, answers)) == ["1", "ack", "ack"]


async def test_a_key_is_that_of_the_record_and_not_of_its_fault() -> None:
    class Keyed(Passes):
        order = lambda record: record % 2  # noqa: E731

    with faults(raising(at=3)):
        out = await try_records(Keyed, range(8))
    assert [record for record in out.results if record % 2] == [1, 5, 7]


@pytest.mark.process
@pytest.mark.one_loop
async def test_faults_go_to_disk_and_back_with_their_records() -> None:
    with faults(kill(at=700, times=1), unpicklable(at=800)):
        out = await try_records(Passes, range(1_000), executor="processes", cpu_count=1, buffer_size=8)
    assert failed(out) == [(800, "unpicklable")]
    assert len(out.results) == 999


async def test_a_stream_of_aiostream_is_a_feed_too() -> None:
    aiostream = pytest.importorskip("aiostream")
    with faults(raising(at=4)):
        out = await try_records(Passes, aiostream.stream.range(6))
    assert out.results == [0, 1, 2, 3, 5]


# Pipelines of other shapes.


async def on_the_loop(record: int) -> tuple[int, bool]:
    await asyncio.sleep(0)
    return record, True


class OnTheLoop(PipelineEngine[int, int]):
    steps = (on_the_loop,)


@pytest.mark.process
@pytest.mark.one_loop
async def test_records_of_a_pipeline_on_the_loop_pass_a_worker() -> None:
    out = await in_workers(kill(at=2), pipeline=OnTheLoop, records=range(5))
    assert out.results == [0, 1, 3, 4]
    assert [step.name for step in out.report.steps] == ["on_the_loop"]


class Methodical(PipelineEngine[int, int]):
    def setup(self) -> None:
        self.factor = 2

    def twice(self, record: int) -> tuple[int, bool]:
        return self.factor * record, True

    steps = (twice,)


@pytest.mark.process
@pytest.mark.one_loop
async def test_steps_that_are_methods_have_what_setup_sets() -> None:
    out = await in_workers(kill(at=2), pipeline=Methodical, records=range(5))
    assert out.results == [0, 2, 6, 8]


# Runs of one's own.


class Stores(Passes):
    def __init__(self) -> None:
        self.taken: list[int] = []
        self.dead: list[Any] = []

    async def feed(self) -> AsyncIterator[int]:
        for record in range(10):
            yield record

    async def sink(self, records: list[int]) -> None:
        self.taken += records

    async def dead_letter(self, failures: list[Any]) -> None:
        self.dead += failures


@pytest.mark.process
@pytest.mark.one_loop
async def test_a_run_of_ones_own_has_its_own_feed_sink_and_dead_letter() -> None:
    pipeline = Stores()
    with faults(kill(at=3), raising(at=5)) as injected:
        report = await PipeFrame(cpu_count=1).run(injected.wrapped(pipeline))
    assert pipeline.taken == [0, 1, 2, 4, 6, 7, 8, 9]
    assert sorted(failure.record for failure in pipeline.dead) == [3, 5]
    assert report.failed == 2


async def test_a_sink_of_ones_own_is_told_the_keys_of_the_records() -> None:
    told: list[Any] = []

    class Store:
        async def write(self, records: list[int], keys: list[Any]) -> None:
            told.extend(zip(records, keys, strict=True))

    class Keeps(Passes):
        sink = Store()

    async def feed() -> AsyncIterator[Any]:
        for record in range(3):
            yield Delivery(record, key=f"key {record}")

    with faults(sink_error(at=1)) as injected:
        wrapped = injected.wrapped(Keeps, feed, executor="inline")
        with pytest.raises(SinkError):
            await PipeFrame(executor="inline").run(wrapped)
        told.clear()
        await PipeFrame(executor="inline").run(wrapped)
    assert told == [(0, "key 0"), (1, "key 1"), (2, "key 2")]


# What is left of them.


def source_of(pipeline: Any) -> tuple[Any, list[str]]:
    """A chain and the loops written out for it, as a worker has them."""
    plan = plan_of(pipeline, feed_of(pipeline() if isinstance(pipeline, type) else pipeline, [1]))
    assert plan.chain is not None
    loops = Chain(plan.chain)._unroll()
    return plan.chain, [loops.plain.__code__.co_code.hex(), loops.timed.__code__.co_code.hex()]


async def test_no_trace_of_them_is_in_the_chain_before_after_and_outside() -> None:
    before = source_of(Passes)
    with faults(raising(at=1)):
        await try_records(Passes, [0, 1, 2])
        inside = source_of(Passes)
    assert inside == before
    assert source_of(Passes) == before
    out = await try_records(Passes, [0, 1, 2])
    assert out.failures == []


async def test_the_innermost_context_counts() -> None:
    with faults(raising(at=0)):
        with faults(raising(at=1)):
            inner = await try_records(Passes, [0, 1])
        outer = await try_records(Passes, [0, 1])
    assert (inner.results, outer.results) == ([0], [1])


async def test_a_fault_that_did_not_happen_is_told() -> None:
    with faults(raising(at=1), raising(at=100)) as injected:
        await try_records(Passes, [0, 1, 2])
    with pytest.raises(AssertionError, match=r"did not happen: raising\(at=100\)"):
        injected.check()


# What is refused.


@pytest.mark.parametrize("fault", [kill(at=0), hang(at=0), oom(at=0), unpicklable(at=0)])
async def test_what_needs_workers_is_refused_where_there_are_none(fault: Fault) -> None:
    with faults(fault), pytest.raises(ConfigError, match="use executor='processes'"):
        await try_records(Passes, [0])


async def test_a_worker_that_is_the_program_is_not_killed() -> None:
    with faults(kill(at=0)) as injected:
        wrapped = injected.wrapped(Passes, [0])
        with pytest.raises(PipelineFailed, match="would end the program"):
            await PipeFrame(executor="inline").run(wrapped)


@pytest.mark.parametrize(
    "make",
    [
        lambda: kill(at=-1),
        lambda: kill(at=True),
        lambda: kill(at=1, times=0),
        lambda: slow(at=1, seconds=-1),
        lambda: oom(at=1, mebibytes=10_000),
        lambda: raising(at=1, error=ValueError(lambda: None)),
    ],
)
def test_a_wrong_value_is_refused(make: Callable[[], Fault]) -> None:
    with pytest.raises(ConfigError):
        make()


async def test_a_pipeline_without_a_feed_is_refused_as_a_run_of_it_is() -> None:
    with faults() as injected, pytest.raises(ConfigError, match="Passes has no feed"):
        injected.wrapped(Passes)


async def test_something_that_is_no_fault_is_refused() -> None:
    with pytest.raises(ConfigError, match="kill"), faults(17):  # type: ignore[arg-type]
        pass


@pytest.mark.process
@pytest.mark.one_loop
async def test_a_pipeline_without_a_time_limit_has_one_where_a_record_hangs(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeframe_async.testing.injecting.HANG_LIMIT", 0.2)
    with caplog.at_level(logging.WARNING, "pipeframe_async"):
        out = await in_workers(hang(at=1), pipeline=Methodical, records=range(3))
    assert failed(out) == [(1, "timeout")]
    assert "has no time_limit" in caplog.text


def test_what_a_context_counts_is_of_its_own_faults() -> None:
    with faults() as injected, pytest.raises(ConfigError, match="none of the faults"):
        injected.happened(kill(at=1))
    assert isinstance(injected, Faults)
