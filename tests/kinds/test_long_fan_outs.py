"""Children leave their worker while the generator runs: what is between it and the sink is bounded; none is lost."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeframe_async import Child, Delivery, Failure, PipeFrame, PipelineEngine, PipelineFailed, Retry

WHERE = pytest.mark.parametrize("executor", ["inline", "threads", "processes", "auto"])
MANY = 5_000


def children(count: int) -> Iterator[tuple[int, bool]]:
    for number in range(count):
        yield number, True


class Lines(PipelineEngine[Any, Any]):
    """Records are counts of children; remembers each list its sink has got."""

    source, timeout = "stream", None
    steps: Any = (children,)
    max_failures: Any = None

    def __init__(self, *records: Any) -> None:
        self.records = records
        self.lists: list[list[Any]] = []
        self.failures: list[Failure[Any]] = []

    def feed(self) -> Iterator[Any]:
        yield from self.records

    def sink(self, results: list[Any]) -> None:
        self.lists.append(results)

    def dead_letter(self, failures: list[Failure[Any]]) -> None:
        self.failures += failures

    @property
    def got(self) -> list[Any]:
        return [result for results in self.lists for result in results]


@WHERE
async def test_no_list_is_longer_than_the_buffer_and_all_is_in_order(executor: Any) -> None:
    pipeline, records = Lines(3, MANY, 1, 0, MANY, 7), [3, MANY, 1, 0, MANY, 7]
    workers = 1 if executor == "threads" else 2  # a generator goes on in the thread that has begun it
    report = await PipeFrame(workers, executor=executor, buffer_size=200).run(pipeline)
    assert pipeline.got == [number for count in records for number in range(count)]
    assert (report.fed, report.filtered, report.delivered) == (6, 1, 2 * MANY + 11)
    assert report.fed + report.emitted == report.delivered + report.filtered
    assert max(map(len, pipeline.lists)) <= 200


def waits_for_word(path: str) -> Iterator[tuple[int, bool]]:
    yield from children(200)
    until = time.monotonic() + 20
    while not Path(path).exists():
        assert time.monotonic() < until, "none of the children has come to the sink"
        time.sleep(0.005)
    yield -1, True


@pytest.mark.parametrize("executor", ["threads", "processes"])
async def test_the_sink_has_the_first_before_the_last_is_made(executor: Any, tmp_path: Path) -> None:
    class Answers(Lines):
        steps = (waits_for_word,)

        def sink(self, results: list[Any]) -> None:
            super().sink(results)
            (tmp_path / "word").touch()

    pipeline = Answers(str(tmp_path / "word"))
    await PipeFrame(1, executor=executor, buffer_size=100).run(pipeline)
    assert pipeline.got == [*range(200), -1]


def fails_late(count: int) -> Iterator[tuple[int, bool]]:
    yield from children(count)
    raise OSError("the file ends here")


@WHERE
@pytest.mark.parametrize("count", [20, MANY])
async def test_a_generator_that_raises_late_fails_beside_what_has_left(executor: Any, count: int) -> None:
    class Torn(Lines):
        steps = (fails_late,)

    pipeline = Torn(count, 5)
    report = await PipeFrame(1, executor=executor, buffer_size=100).run(pipeline)
    assert [(failure.record, failure.error_type) for failure in pipeline.failures] == [
        (count, "OSError"),
        (5, "OSError"),
    ]
    assert pipeline.got == list(range(len(pipeline.got)))
    assert (len(pipeline.got) > 0) == (count == MANY)
    assert report.fed + report.emitted == report.delivered + report.failed


def odd_fails(number: int) -> Any:
    if number == 7:
        raise ValueError(number)
    return number, True


async def test_a_child_that_failed_early_nacks_its_record_at_the_end() -> None:
    told: list[Any] = []

    class Acked(Lines):
        steps = (children, odd_fails)
        max_failures = None
        dead_letter: Any = None

        async def feed(self) -> AsyncIterator[Delivery[int]]:  # type: ignore[override]
            for count in (MANY, 5):
                yield Delivery(count, ack=lambda: told.append("ack"), nack=told.append)

    await PipeFrame(1, buffer_size=100).run(pipeline := Acked())
    assert len(pipeline.got) == MANY - 1 + 5
    assert [getattr(answer, "error_type", answer) for answer in told] == ["ValueError", "ack"]


def dies_once(path: str) -> Iterator[tuple[int, bool]]:
    yield from children(MANY // 2)
    if not Path(path).exists():
        Path(path).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    yield from ((number, True) for number in range(MANY // 2, MANY))


@pytest.mark.parametrize("order", ["input", "completion"])
async def test_what_had_left_before_a_worker_died_does_not_come_again(order: Any, tmp_path: Path) -> None:
    class Dies(Lines):
        steps = (dies_once,)

    Dies.order = order
    pipeline = Dies(*(str(tmp_path / str(number)) for number in range(3)))
    report = await PipeFrame(2, buffer_size=100).run(pipeline)
    assert sorted(pipeline.got) == sorted([*range(MANY)] * 3)
    assert (pipeline.got == [*range(MANY)] * 3) or order == "completion"
    assert (report.failed, report.delivered) == (0, 3 * MANY)


def says_that_it_begins(path: str) -> Iterator[tuple[int, bool]]:
    with open(path, "a") as file:
        file.write("begun ")
    yield from children(MANY)


async def test_a_worn_worker_finishes_the_fan_out_it_has_begun(tmp_path: Path) -> None:
    class Says(Lines):
        steps = (says_that_it_begins,)

    paths = [str(tmp_path / str(number)) for number in range(4)]
    report = await PipeFrame(1, buffer_size=100, max_worker_batches=1).run(pipeline := Says(*paths))
    assert [file.read_text() for file in tmp_path.iterdir()] == ["begun "] * 4  # noqa: ASYNC240
    assert (pipeline.got, report.re_executed) == ([*range(MANY)] * 4, 0)


def closes(path: str) -> Iterator[tuple[int, bool]]:
    try:
        yield from children(10**9)
    finally:
        Path(path).touch()


@pytest.mark.parametrize("executor", ["threads", "processes"])
async def test_a_fan_out_that_nobody_wants_any_more_is_closed(executor: Any, tmp_path: Path) -> None:
    class Endless(Lines):
        steps = (closes,)

    async with PipeFrame(1, executor=executor, buffer_size=100) as frame:
        async with frame.stream(Endless(str(tmp_path / "closed"))) as results:
            async for result in results:
                if result == 1_000:
                    break
        async with asyncio.timeout(10):
            while not (tmp_path / "closed").exists():
                await asyncio.sleep(0.01)


def double(number: int) -> Any:
    return 2 * number, True


class Double(PipelineEngine[Any, Any]):
    steps = (double,)


async def test_a_consumer_that_waits_for_others_of_its_lane_is_served() -> None:
    async with PipeFrame(1, buffer_size=100) as frame, frame.stream(Lines(MANY)) as results:
        asked = [await frame.call(Double, result) async for result in results if result % 100 == 0]
    assert asked == [2 * number for number in range(0, MANY, 100)]


async def test_a_consumer_that_is_slow_holds_up_the_generator(tmp_path: Path) -> None:
    def counts(path: str) -> Iterator[tuple[int, bool]]:
        for number in range(MANY):
            Path(path).write_text(str(number))
            yield number, True

    class Counts(Lines):
        steps = (counts,)

    frame = PipeFrame(1, executor="threads", buffer_size=100)
    async with frame, frame.stream(Counts(str(tmp_path / "made"))) as results:
        assert await anext(results) == 0
        await asyncio.sleep(0.3)  # as long as one likes: nothing is to happen
        assert int((tmp_path / "made").read_text()) < 400
        assert [0, *[result async for result in results]] == [*range(MANY)]


class Shy:
    """Cannot be read in the process that has fed it."""

    def __init__(self, process: int) -> None:
        self.process = process

    def __reduce__(self) -> Any:
        return _shy, (self.process,)


def _shy(process: int) -> Shy:
    if os.getpid() == process:
        raise ValueError("not here")
    return Shy(process)


def has_a_shy_one(process: int) -> Iterator[tuple[Any, bool]]:
    yield from children(MANY // 2)
    yield Shy(process), True
    yield from ((number, True) for number in range(MANY // 2, MANY))


async def test_a_child_that_cannot_be_read_here_costs_itself() -> None:
    class OneIsShy(Lines):
        steps = (has_a_shy_one,)

    report = await PipeFrame(1, buffer_size=100).run(pipeline := OneIsShy(os.getpid(), -1))
    assert [result for result in pipeline.got if not isinstance(result, Shy)] == [*range(MANY)] * 2
    assert [(failure.record, failure.kind) for failure in pipeline.failures] == [(os.getpid(), "unpicklable")]
    assert (report.delivered, report.failed) == (2 * MANY + 1, 1)


class Cursor(PipelineEngine[Any, Any]):
    """Reads its records' rows by the one cursor that its worker has, and holds a lock as it does."""

    source, timeout = "stream", None

    def __init__(self, *records: int) -> None:
        self.records = records
        self.taken: list[tuple[int, int]] = []

    def setup(self) -> None:
        self.cursor: list[int] = []
        self.lock = threading.Lock()

    def feed(self) -> Iterator[int]:
        yield from self.records

    def rows(self, record: int) -> Iterator[tuple[tuple[int, int], bool]]:
        with self.lock:
            self.cursor = [*range(MANY)]
            while self.cursor:
                yield (record, self.cursor.pop(0)), True

    def sink(self, results: list[tuple[int, int]]) -> None:
        self.taken += results

    steps: Any = (rows,)


def all_rows(*records: int) -> list[tuple[int, int]]:
    return [(record, row) for record in records for row in range(MANY)]


@pytest.mark.parametrize("executor", ["inline", "threads", "processes"])
async def test_what_a_generator_holds_is_its_own_until_it_has_ended(executor: Any) -> None:
    async with PipeFrame(1, executor=executor, buffer_size=100) as frame:
        pipeline = Cursor(*range(6))
        pipeline.batch_size = 2
        await frame.run(pipeline)
    assert pipeline.taken == all_rows(*range(6))


async def test_runs_of_one_pipeline_do_not_mix_in_a_worker_they_share() -> None:
    async with PipeFrame(1, buffer_size=100) as frame, frame.stream(Cursor(0, 1)) as slow:
        first = [await anext(slow) for _ in range(10)]
        quick = Cursor(2, 3)
        await frame.run(quick)  # while nobody takes anything of the other one
        assert quick.taken == all_rows(2, 3)
        assert [*first, *[row async for row in slow]] == all_rows(0, 1)


async def test_a_consumer_may_call_the_pipeline_that_it_takes_results_of() -> None:
    pipeline = Cursor(0)
    async with PipeFrame(1, buffer_size=100) as frame, frame.stream(pipeline) as results:
        rows = [row async for row in results if row[1] % 2_500 or await frame.call(pipeline, 9) == all_rows(9)]
    assert rows == all_rows(0)


async def test_a_generator_goes_on_in_the_thread_that_has_begun_it() -> None:
    def rows(record: int) -> Iterator[tuple[int, bool]]:
        with sqlite3.connect(":memory:") as database:
            database.execute("create table t (n)")
            database.executemany("insert into t values (?)", [(n,) for n in range(MANY)])
            for (n,) in database.execute("select n from t order by n"):
                yield n, True
        database.close()

    class Rows(Lines):
        steps = (rows,)

    for workers in (1, 3):
        await PipeFrame(workers, executor="threads", buffer_size=100).run(pipeline := Rows(*range(6)))
        assert pipeline.got == [*range(MANY)] * 6


@WHERE
async def test_a_stream_that_raises_late_gives_what_has_left_and_then_fails(executor: Any) -> None:
    class Torn(Lines):
        steps = (fails_late,)

    seen = []
    async with PipeFrame(1, executor=executor, buffer_size=100).stream(pipeline := Torn(MANY)) as results:
        async for result in results:
            seen.append(result)
            if result % 500 == 0:
                await asyncio.sleep(0.02)
    assert seen == list(range(len(seen)))
    assert (len(pipeline.failures), results.report.failed, results.report.delivered) == (1, 1, len(seen))


def blobs(count: int) -> Iterator[tuple[bytes, bool]]:
    for number in range(count):
        yield bytes(2**20 if number % 2 == 0 else 10), True


async def test_children_of_all_sizes_are_held_by_their_bytes() -> None:
    class Blobs(Lines):
        steps = (blobs,)

    await PipeFrame(1).run(pipeline := Blobs(100))
    assert len(pipeline.got) == 100
    assert max(map(len, pipeline.lists)) <= 20


def all_fail(number: int) -> Any:
    raise ValueError(number)


def as_many_as_it_has_bytes(record: bytes) -> Iterator[tuple[int, bool]]:
    return children(len(record) // 1_000)


async def test_children_that_fail_share_the_record_they_are_of() -> None:
    class AllFail(Lines):
        steps = (as_many_as_it_has_bytes, all_fail)

    report = await PipeFrame(1, buffer_size=100).run(pipeline := AllFail(bytes(10**6)))
    assert report.failed == len(pipeline.failures) == 1_000
    assert len({id(failure.record) for failure in pipeline.failures}) < 50


async def test_a_run_that_is_cancelled_while_it_goes_on_leaves_no_generator(tmp_path: Path) -> None:
    class Endless(Lines):
        steps = (closes,)

    async with PipeFrame(executor="inline", buffer_size=100) as frame:
        for number in range(5):
            running = asyncio.create_task(frame.run(Endless(str(tmp_path / str(number)))))
            await asyncio.sleep(0.05)
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
            assert (tmp_path / str(number)).exists()


def slow_rows(path: str) -> Iterator[tuple[bytes, bool]]:
    for number in range(20):
        time.sleep(0.05)
        if number == 15 and not Path(path).exists():
            Path(path).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        yield bytes(10**6), True


async def test_who_makes_again_what_had_left_has_time_for_it(tmp_path: Path) -> None:
    class Slow(Lines):
        steps = (slow_rows,)
        time_limit = 0.6

    report = await PipeFrame(1, buffer_bytes=2**20).run(Slow(str(tmp_path / "died")))
    assert (report.delivered, report.failed, report.worker_restarts) == (20, 0, 1)


# Async steps behind it.


async def stored(value: Any) -> Any:
    await asyncio.sleep(0)
    return value, True


class Stored(Lines):
    steps = (children, stored)


@WHERE
@pytest.mark.parametrize("order", ["input", "completion"])
async def test_async_steps_get_children_while_their_generator_runs(executor: Any, order: Any) -> None:
    counts = [3, MANY, 1, 0, MANY, 7]
    pipeline = Stored(*counts)
    pipeline.order = order
    workers = 1 if executor == "threads" else 2
    report = await PipeFrame(workers, executor=executor, buffer_size=200).run(pipeline)
    assert sorted(pipeline.got) == sorted(number for count in counts for number in range(count))
    assert (pipeline.got == [number for count in counts for number in range(count)]) or order == "completion"
    assert (report.fed, report.filtered, report.delivered) == (6, 1, 2 * MANY + 11)
    assert report.fed + report.emitted == report.delivered + report.filtered
    assert max(map(len, pipeline.lists)) <= 200


@pytest.mark.parametrize("executor", ["threads", "processes"])
async def test_the_sink_has_what_async_steps_made_before_the_last_child_is_there(executor: Any, tmp_path: Path) -> None:
    class Answers(Lines):
        steps = (waits_for_word, stored)

        def sink(self, results: list[Any]) -> None:
            super().sink(results)
            (tmp_path / "word").touch()

    pipeline = Answers(str(tmp_path / "word"))
    await PipeFrame(1, executor=executor, buffer_size=100).run(pipeline)
    assert pipeline.got == [*range(200), -1]


@WHERE
@pytest.mark.parametrize("count", [20, MANY])
async def test_what_async_steps_have_had_stays_where_the_generator_raises_late(executor: Any, count: int) -> None:
    class Torn(Lines):
        steps = (fails_late, stored)

    pipeline = Torn(count, 5)
    report = await PipeFrame(1, executor=executor, buffer_size=100).run(pipeline)
    assert [(failure.record, failure.error_type) for failure in pipeline.failures] == [
        (count, "OSError"),
        (5, "OSError"),
    ]
    assert pipeline.got == list(range(len(pipeline.got)))
    assert (len(pipeline.got) > 0) == (count == MANY)
    assert report.fed + report.emitted == report.delivered + report.failed


async def odd_are_not_stored(number: int) -> Any:
    if number in {7, 3_333}:
        raise ValueError(number)
    return number, number != 8


async def test_a_child_that_fails_in_an_async_step_says_which_and_its_record_is_answered_at_the_end() -> None:
    told: list[Any] = []

    class Acked(Lines):
        steps = (children, odd_are_not_stored)

        async def feed(self) -> AsyncIterator[Delivery[int]]:  # type: ignore[override]
            for count in (MANY, 5):
                yield Delivery(count, ack=lambda: told.append("ack"), nack=told.append)

    report = await PipeFrame(1, buffer_size=100).run(pipeline := Acked())
    assert pipeline.got == [number for number in range(MANY) if number not in {7, 3_333}] + [*range(5)]
    assert [(failure.record, failure.child) for failure in pipeline.failures] == [
        (MANY, Child((7,), 7)),
        (MANY, Child((3_333,), 3_333)),
    ]
    assert told == ["ack", "ack"]  # the dead letter has them
    assert (report.delivered, report.bypassed, report.failed) == (MANY - 2 + 5, 1, 2)


@pytest.mark.parametrize("order", ["input", "completion"])
async def test_what_async_steps_have_had_before_a_worker_died_does_not_come_again(order: Any, tmp_path: Path) -> None:
    class Dies(Lines):
        steps = (dies_once, stored)

    Dies.order = order
    pipeline = Dies(*(str(tmp_path / str(number)) for number in range(3)))
    report = await PipeFrame(2, buffer_size=100).run(pipeline)
    assert sorted(pipeline.got) == sorted([*range(MANY)] * 3)
    assert (pipeline.got == [*range(MANY)] * 3) or order == "completion"
    assert (report.failed, report.delivered) == (0, 3 * MANY)


def kills_its_worker(count: int) -> Iterator[tuple[int, bool]]:
    yield from children(count)
    os.kill(os.getpid(), signal.SIGKILL)


async def test_a_record_that_ends_its_workers_fails_beside_what_async_steps_have_had() -> None:
    class Kills(Lines):
        steps = (kills_its_worker, stored)

    report = await PipeFrame(1, buffer_size=100).run(pipeline := Kills(MANY))
    assert [(failure.record, failure.kind) for failure in pipeline.failures] == [(MANY, "crashed")]
    assert pipeline.got == [*range(len(pipeline.got))] != []
    assert report.fed + report.emitted == report.delivered + report.failed


def hangs(count: int) -> Iterator[tuple[int, bool]]:
    yield from children(count)
    time.sleep(3600)


async def test_a_generator_that_hangs_is_ended_beside_what_async_steps_have_had() -> None:
    class Hangs(Lines):
        steps = (hangs, stored)
        time_limit = 0.3

    report = await PipeFrame(1, buffer_size=100).run(pipeline := Hangs(300))
    assert [(failure.record, failure.kind) for failure in pipeline.failures] == [(300, "timeout")]
    assert pipeline.got == [*range(len(pipeline.got))] != []
    assert report.fed + report.emitted == report.delivered + report.failed


@pytest.mark.parametrize("executor", ["threads", "processes"])
async def test_a_fan_out_whose_stored_children_nobody_wants_any_more_is_closed(executor: Any, tmp_path: Path) -> None:
    class Endless(Lines):
        steps = (closes, stored)

    async with PipeFrame(1, executor=executor, buffer_size=100) as frame:
        async with frame.stream(Endless(str(tmp_path / "closed"))) as results:
            async for result in results:
                if result == 1_000:
                    break
        async with asyncio.timeout(10):
            while not (tmp_path / "closed").exists():
                await asyncio.sleep(0.01)


@pytest.mark.parametrize("executor", ["inline", "processes"])
async def test_a_stop_half_way_lets_a_fan_out_come_to_its_end(executor: Any) -> None:
    class Stops(Stored):
        async def feed(self) -> AsyncIterator[Any]:  # type: ignore[override]
            yield MANY
            yield MANY
            await asyncio.Event().wait()

        def sink(self, results: list[Any]) -> None:
            super().sink(results)
            frame.stop()

    async with PipeFrame(1, executor=executor, buffer_size=100) as frame:
        pipeline = Stops()
        pipeline.batch_size = 2
        report = await frame.run(pipeline)
    assert (report.ended_by, report.fed, report.aborted) == ("stopped", 2, 0)
    assert pipeline.got == [*range(MANY)] * 2


async def test_too_many_failures_in_async_steps_abort_the_record_whose_children_go_on() -> None:
    class Fails(Lines):
        steps = (children, odd_are_not_stored)
        max_failures = 1

    with pytest.raises(PipelineFailed) as failed:
        await PipeFrame(1, executor="inline", buffer_size=100).run(pipeline := Fails(MANY, MANY))
    report = failed.value.report
    assert report is not None
    assert pipeline.got == [number for number in range(len(pipeline.got) + 2) if number not in {7, 3_333}]
    assert len(pipeline.got) < MANY - 2
    assert (report.failed, report.aborted) == (2, 2)
    assert report.fed + report.emitted == report.delivered + report.failed + report.aborted


async def test_an_async_step_that_is_slow_holds_up_the_generator(tmp_path: Path) -> None:
    word = asyncio.Event()

    def counts(path: str) -> Iterator[tuple[int, bool]]:
        for number in range(MANY):
            Path(path).write_text(str(number))
            yield number, True

    async def waits(number: int) -> Any:
        if number == 10:
            await word.wait()
        return number, True

    class Counts(Lines):
        steps = (counts, waits)

    frame = PipeFrame(1, executor="threads", buffer_size=100)
    async with frame, frame.stream(Counts(str(tmp_path / "made"))) as results:
        first = asyncio.ensure_future(anext(results))
        await asyncio.sleep(0.3)  # as long as one likes: nothing is to happen
        assert int((tmp_path / "made").read_text()) < 400
        word.set()
        assert [await first, *[result async for result in results]] == [*range(MANY)]


async def test_a_consumer_may_call_the_pipeline_whose_stored_results_it_takes() -> None:
    class StoredRows(Cursor):
        steps = (Cursor.rows, stored)

    pipeline = StoredRows(0)
    async with PipeFrame(1, buffer_size=100) as frame, frame.stream(pipeline) as results:
        rows = [row async for row in results if row[1] % 2_500 or await frame.call(pipeline, 9) == all_rows(9)]
    assert rows == all_rows(0)


async def gives_up(number: int) -> Any:
    if number == 3_333:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)
    return number, True


async def test_a_record_of_which_a_child_is_given_up_is_aborted_beside_what_has_left() -> None:
    class GivesUp(Lines):
        steps = (children, gives_up)

    report = await PipeFrame(1, buffer_size=100).run(pipeline := GivesUp(MANY, 5))
    assert pipeline.got[-5:] == [*range(5)]
    assert pipeline.got[:-5] == [*range(len(pipeline.got) - 5)]
    assert 3_000 < len(pipeline.got) < 3_333
    assert (report.aborted, report.fed + report.emitted) == (1, report.delivered + 1)


async def test_a_run_that_is_cancelled_with_children_in_async_steps_leaves_no_generator(tmp_path: Path) -> None:
    class Endless(Lines):
        steps = (closes, stored)

    async with PipeFrame(executor="inline", buffer_size=100) as frame:
        for number in range(5):
            running = asyncio.create_task(frame.run(Endless(str(tmp_path / str(number)))))
            await asyncio.sleep(0.05)
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
            assert (tmp_path / str(number)).exists()


@pytest.mark.parametrize("order", ["input", "completion"])
async def test_def_steps_behind_async_ones_get_the_children_of_a_record_together(order: Any) -> None:
    class Doubled(Lines):
        steps = (children, stored, double)

    Doubled.order = order
    report = await PipeFrame(2, buffer_size=100).run(pipeline := Doubled(MANY, MANY))
    assert pipeline.got == [2 * number for number in range(MANY)] * 2
    assert (report.delivered, len(pipeline.lists[0])) == (2 * MANY, MANY)


def fails_once(path: str) -> Iterator[tuple[int, bool]]:
    yield from children(MANY)
    if not Path(path).exists():
        Path(path).touch()
        raise OSError("not yet")


async def test_children_of_an_attempt_that_failed_go_nowhere(tmp_path: Path) -> None:
    class Again(Lines):
        steps = (fails_once, stored)
        retry = Retry(2, backoff=0.001)

    report = await PipeFrame(1, buffer_size=100).run(pipeline := Again(str(tmp_path / "failed")))
    assert (pipeline.got, report.retried, report.failed) == ([*range(MANY)], 1, 0)
