"""A job goes on where it was ended: what was done is not done again, and its feed and sink begin where they were."""

from __future__ import annotations

import asyncio
import errno
import os
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pipeframe_async import (
    DROP,
    Checkpoint,
    CheckpointMismatch,
    Chunk,
    ConfigError,
    Delivery,
    FeedError,
    PipeFrame,
    PipelineFailed,
    SinkError,
    StateError,
    expand,
)
from pipeframe_async import state_file as state_files
from pipeframe_async.checkpoint import Done, JobState
from pipeframe_async.state_file import look
from tests.engine.harness import FakeFrame, Sunk, Through, settled


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "job.state"


def state_of(path: Path) -> JobState:
    state, _, holder = look(str(path))
    assert holder is None
    assert state is not None
    return state


class Stops(Exception):
    """What ends a life here."""


def until(last: int, made: Callable[[], Any] = lambda: range(20)) -> Callable[[], Iterator[int]]:
    """A feed that raises behind so many records."""

    def numbers() -> Iterator[int]:
        for number, record in enumerate(made()):
            if number == last:
                raise Stops
            yield record

    return numbers


def _is_there(path: Path) -> bool:
    return path.exists()


def _until_it_is_there(path: Path) -> None:
    """A state has been saved."""
    for _ in range(2000):
        with suppress(OSError, CheckpointMismatch):
            if look(str(path))[0] is not None:
                return
        time.sleep(0.001)
    raise AssertionError(f"there is no {path}")


async def lives(pipeline: Callable[..., Through], *ends: int, **options: Any) -> list[FakeFrame]:
    """So many lives, each ended by its feed, and a last one."""
    frames = []
    for end in ends:
        frames.append(frame := FakeFrame(**options))
        with pytest.raises(FeedError):
            await frame.run(pipeline(until(end)))
    frames.append(frame := FakeFrame(**options))
    await frame.run(pipeline(until(-1)))
    return frames


@pytest.mark.parametrize("order", ["input", "completion", lambda record: record % 3])
async def test_what_was_done_before_is_skipped_and_nothing_else(path: Path, order: Any) -> None:
    taken: list[int] = []

    def job(feed: Any) -> Sunk:
        made = Sunk(feed, checkpoint=Checkpoint(path, every=0.0), order=order)
        made.taken = taken
        return made

    *_, last = await lives(job, 5, 6, 17)
    assert sorted(taken) == list(range(20))
    report = settled(last)
    assert (report.fed, report.skipped, report.delivered) == (20, 17, 3)
    assert state_of(path) == JobState(
        fingerprint=state_of(path).fingerprint,
        done=Done(20),
        totals={"delivered": 20, "bypassed": 0, "filtered": 0, "failed": 0, "emitted": 0},
        finished=True,
        lives=4,
    )


async def test_a_job_that_is_done_stays_so_and_opens_nothing(path: Path) -> None:
    def job() -> Sunk:
        return Sunk(until(-1), checkpoint=path)

    await FakeFrame().run(job())
    again = job()
    frame = FakeFrame()
    report = await frame.run(again)
    assert (report.fed, report.skipped, report.delivered, report.ended_by) == (20, 20, 0, "exhausted")
    assert "nothing was left to do" in str(report)
    assert not again.taken
    settled(frame)


async def test_begun_anew_it_is_done_from_the_beginning(path: Path) -> None:
    await FakeFrame().run(Sunk(range(5), checkpoint=path))
    report = await FakeFrame().run(again := Sunk(range(5), checkpoint=path), restart=True)
    assert (report.skipped, again.taken) == (0, [0, 1, 2, 3, 4])


async def test_restart_of_what_is_no_job_is_refused() -> None:
    with pytest.raises(ConfigError, match="Sunk is none: it has no `checkpoint`"):
        await FakeFrame().run(Sunk(range(5)), restart=True)


async def test_records_that_came_early_are_not_done_again(path: Path) -> None:
    def job(feed: Any, slow: int) -> Sunk:
        async def step(record: int) -> tuple[int, bool]:
            await asyncio.sleep(30.0 if record == slow else 0.0)
            return record, True

        return Sunk(feed, steps=[step], order="completion", checkpoint=Checkpoint(path, every=0.0))

    frame, first = FakeFrame(), job(range(10), 3)
    running = asyncio.ensure_future(frame.run(first))
    while len(first.taken) < 9 or look(str(path))[0].done.records < 9:  # type: ignore[union-attr]
        await asyncio.sleep(0.001)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert state_of(path).done == Done(3, ((4, 10),))
    report = await FakeFrame().run(second := job(range(12), -1))
    assert (second.taken, report.skipped) == ([3, 10, 11], 9)


async def test_filtered_and_failed_records_are_done_and_so_is_a_fan_out_behind_its_last_child(path: Path) -> None:
    def step(record: int) -> Any:
        if record % 5 == 1:
            raise ValueError
        return DROP if record % 5 == 2 else (record, True)

    def children(record: int) -> list[int]:
        return [record, -record] if record % 5 == 3 else [record]

    gone: list[int] = []

    async def dead(failures: list[Any]) -> None:
        gone.extend(failure.record for failure in failures)

    def job(feed: Any) -> Sunk:
        knobs: dict[str, Any] = {"steps": [step, expand(children)], "dead_letter": dead}
        return Sunk(feed, checkpoint=Checkpoint(path, every=0.0), **knobs)

    await lives(job, 7, 13)
    assert gone == [1, 6, 11, 16]
    assert state_of(path).totals == {"delivered": 16, "bypassed": 0, "filtered": 4, "failed": 4, "emitted": 4}


async def test_what_failed_and_was_too_many_is_tried_again(path: Path) -> None:
    broken = True

    def step(record: int) -> tuple[int, bool]:
        if broken and record == 7:
            raise ValueError
        return record, True

    def job() -> Sunk:
        return Sunk(range(20), steps=[step], checkpoint=Checkpoint(path, every=0.0), batch_size=1)

    with pytest.raises(PipelineFailed):
        await FakeFrame().run(job())
    assert state_of(path).done.watermark <= 7
    broken = False
    report = await FakeFrame().run(second := job())
    assert second.taken == list(range(report.skipped, 20))


async def test_failures_of_all_lives_count(path: Path) -> None:
    def step(record: int) -> tuple[int, bool]:
        if record in (1, 9):
            raise ValueError
        return record, True

    def job(feed: Any) -> Sunk:
        return Sunk(feed, steps=[step], checkpoint=Checkpoint(path, every=0.0), max_failures=1)

    with pytest.raises(FeedError):
        await FakeFrame().run(job(until(5)))
    with pytest.raises(PipelineFailed):
        await FakeFrame().run(job(until(-1)))


async def test_a_feed_that_has_become_shorter_is_refused(path: Path) -> None:
    with pytest.raises(FeedError):
        await FakeFrame().run(Sunk(until(9), checkpoint=path))
    for shorter in (until(-1, lambda: range(4)), until(-1, lambda: range(0))):
        with pytest.raises(CheckpointMismatch, match="the feed of Sunk has become shorter"):
            await FakeFrame().run(Sunk(shorter, checkpoint=path))
    assert state_of(path).done == Done(9)


async def test_another_job_is_refused_before_anything_starts(path: Path) -> None:
    await FakeFrame().run(Sunk(range(5), checkpoint=path))
    other = Sunk(range(5), checkpoint=Checkpoint(path, version="v2"))
    with pytest.raises(CheckpointMismatch, match="version was None and is 'v2'"):
        await FakeFrame().run(other)
    assert not other.taken


async def test_two_runs_do_not_share_a_state(path: Path) -> None:
    async def never() -> AsyncIterator[int]:
        yield 1
        await asyncio.Event().wait()

    frame = FakeFrame()
    running = asyncio.ensure_future(frame.run(Sunk(never, checkpoint=path, timeout=None)))
    await asyncio.to_thread(_until_it_is_there, path)
    with pytest.raises(StateError, match=r"job.state is in use"):
        await FakeFrame().run(Sunk(range(5), checkpoint=path))
    frame.stop()
    await running


@pytest.mark.parametrize("value", [3, "", b"x"])
def test_a_checkpoint_that_is_none_is_refused(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"checkpoint=.*must be the path of a file, or a Checkpoint"):
        asyncio.run(FakeFrame().run(Sunk(range(5), checkpoint=value)))


@pytest.mark.parametrize("knob", [{"path": ""}, {"every": -1}, {"every": float("nan")}, {"version": 3}])
def test_a_knob_of_a_checkpoint_that_is_wrong_is_named(knob: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=rf"Checkpoint\({next(iter(knob))}="):
        Checkpoint(**{"path": "a", **knob})


# Feeds.


def feed_of(form: str, end: int, acked: list[int]) -> Any:
    """0 to 9, in one of the forms of feeds, ended before `end`; of the same name in each life."""

    def generator() -> Iterator[int]:
        yield from until(end, lambda: range(10))()

    async def on_the_loop() -> AsyncIterator[int]:
        for number in generator():
            yield number

    async def chunks() -> AsyncIterator[Any]:
        yield Chunk([0, 1, 2])
        yield Chunk(range(3, 10 if end < 0 else end))
        if end >= 0:
            raise Stops

    def deliveries() -> Iterator[Any]:
        for number in generator():
            yield Delivery(number, None, partial(acked.append, number))

    def bucket(bucket: Any) -> None:
        for number in generator():
            bucket.put(number)

    async def async_bucket(bucket: Any) -> None:
        for number in generator():
            await bucket.put(number)

    return locals()[form]


@pytest.mark.parametrize("source", ["batch", "stream"])
@pytest.mark.parametrize("form", ["generator", "on_the_loop", "chunks", "deliveries", "bucket", "async_bucket"])
async def test_any_feed_is_pulled_again(path: Path, form: str, source: Any) -> None:
    acked: list[int] = []
    with pytest.raises(FeedError):
        await FakeFrame().run(Sunk(feed_of(form, 6, []), checkpoint=path))
    assert state_of(path).done == Done(6)
    frame = FakeFrame()
    report = await frame.run(second := Sunk(feed_of(form, -1, acked), checkpoint=path, source=source))
    assert (second.taken, report.fed, report.skipped) == ([6, 7, 8, 9], 10, 6)
    assert report.skipping > 0
    assert form != "deliveries" or acked == list(range(10))
    settled(frame)


class Numbers:
    """0 to 19 in chunks; its position is the next number."""

    position: int | None = None

    def __init__(self, end: int = -1, *, last: int = 20) -> None:
        self._end, self._last = end, last
        self.at, self.asked = 0, 0

    def __repr__(self) -> str:
        return "Numbers()"

    def seek(self, position: int) -> None:
        if position > self._last:
            raise CheckpointMismatch("there are fewer numbers")
        self.at = position

    def __iter__(self) -> Iterator[Any]:
        for first in range(self.at, self._last, 4):
            if 0 <= self._end <= first:
                raise Stops
            self.asked += 1
            self.position = first + 4
            yield Chunk(range(first, first + 4))


async def test_a_feed_that_can_seek_begins_where_all_before_is_done(path: Path) -> None:
    with pytest.raises(FeedError):
        await FakeFrame().run(Sunk(Numbers(12), checkpoint=path, source="stream"))
    frame = FakeFrame()
    report = await frame.run(second := Sunk(again := Numbers(), checkpoint=path, source="stream"))
    assert (second.taken, report.fed, report.skipped, again.asked) == (list(range(12, 20)), 20, 12, 2)
    settled(frame)


async def test_a_feed_that_cannot_go_back_to_where_it_was_says_so_by_itself(path: Path) -> None:
    with pytest.raises(FeedError):
        await FakeFrame().run(Sunk(Numbers(12), checkpoint=path, source="stream"))
    with pytest.raises(CheckpointMismatch, match="there are fewer numbers"):
        await FakeFrame().run(Sunk(Numbers(last=8), checkpoint=path, source="stream"))
    assert state_of(path).done == Done(12)


async def test_a_live_feed_needs_none() -> None:
    class Live(Numbers):
        live = True

    with pytest.raises(ConfigError, match=r"checkpoint='state' with Live, whose server knows what was done"):
        await FakeFrame().run(Sunk(Live(), checkpoint="state"))


async def test_a_feed_says_where_it_is_by_a_value() -> None:
    class Called:
        def __iter__(self) -> Iterator[int]:
            yield 1

        def position(self) -> int:
            return 1

        def seek(self, position: int) -> None: ...

    with pytest.raises(
        ConfigError, match=r"with Called, whose position is a method: .* an attribute or a property, a JSON value"
    ):
        await FakeFrame().run(Sunk(Called(), checkpoint="state"))
    assert (await FakeFrame().run(Sunk(Called()))).delivered == 1


# Sinks.


class Page:
    """Keeps results where the next life finds them; its position is how many there are."""

    def __init__(self, written: list[Any], told: list[str] | None = None) -> None:
        self.written, self.told = written, [] if told is None else told

    def __repr__(self) -> str:
        return "Page()"

    async def __aenter__(self) -> None:
        self.told.append("enter")

    async def __aexit__(self, kind: Any, error: Any, traceback: Any) -> None:
        self.told.append("leave" if kind is None else f"leave {kind.__name__}")

    async def write(self, records: list[Any]) -> None:
        self.written += records

    async def position(self) -> int:
        await asyncio.sleep(0)
        return len(self.written)

    async def restore(self, position: int | None) -> None:
        self.told.append(f"restore {position}")
        if position is not None and position > len(self.written):
            raise CheckpointMismatch("there is less than there was")
        del self.written[position or 0 :]


class Torn(Page):
    """It writes, and raises."""

    async def write(self, records: list[Any]) -> None:
        await super().write(records)
        if self.written[-1] >= 7:
            raise Stops


async def test_a_sink_is_set_back_to_where_it_was_with_what_is_done(path: Path) -> None:
    written: list[int] = []
    torn = Torn(written)
    with pytest.raises(SinkError):
        await FakeFrame().run(Through(until(-1), sink=torn, checkpoint=Checkpoint(path, every=0.0), batch_size=1))
    assert written[-1] >= 7  # of a record that is not done
    assert state_of(path).sink == state_of(path).done.watermark <= 7
    told: list[str] = []

    report = await FakeFrame().run(Through(until(-1), sink=Page(written, told), checkpoint=path))
    assert written == list(range(20))
    assert told == ["enter", f"restore {report.skipped}", "leave"]


async def test_a_job_that_begins_sets_its_sink_back_to_nothing(path: Path) -> None:
    told: list[str] = []
    await FakeFrame().run(Through(until(-1), sink=Page([1, 2, 3], told), checkpoint=path))
    assert told == ["enter", "restore None", "leave"]


async def test_a_sink_of_which_less_is_there_than_was_is_refused(path: Path) -> None:
    with pytest.raises(FeedError):
        await FakeFrame().run(Through(until(9), sink=Page([]), checkpoint=path))
    told: list[str] = []
    with pytest.raises(CheckpointMismatch, match="there is less than there was"):
        await FakeFrame().run(Through(until(-1), sink=Page([], told), checkpoint=path))
    assert told == ["enter", "restore 9", "leave CheckpointMismatch"]
    assert state_of(path).done == Done(9)


async def test_another_sink_is_another_job_where_it_is_set_back(path: Path) -> None:
    class Other(Page):
        def __repr__(self) -> str:
            return "Other()"

    with pytest.raises(FeedError):
        await FakeFrame().run(Through(until(9), sink=Page([]), checkpoint=path))
    with pytest.raises(CheckpointMismatch, match=r"sink was .*Page.* and is .*Other"):
        await FakeFrame().run(Through(until(-1), sink=Other([]), checkpoint=path))


async def test_a_sink_that_is_whole_at_its_end_and_cannot_be_set_back_is_refused(path: Path) -> None:
    class Whole:
        whole = True

        async def __aenter__(self) -> None: ...

        async def __aexit__(self, *error: object) -> None: ...

        async def write(self, records: list[Any]) -> None: ...

    with pytest.raises(ConfigError, match=r"the sink of Through, Whole, which is whole at its end .* no `restore`"):
        await FakeFrame().run(Through(until(-1), sink=Whole(), checkpoint=path))
    assert not _is_there(path)


async def test_dead_letters_are_set_back_too(path: Path) -> None:
    def step(record: int) -> tuple[int, bool]:
        if record % 4 == 0:
            raise ValueError
        return record, True

    dead: list[Any] = []

    def job(feed: Any) -> Through:
        page = Page(dead)
        return Through(feed, steps=[step], dead_letter=page, checkpoint=Checkpoint(path, every=0.0))

    await lives(job, 3, 9)
    assert [failure.record for failure in dead] == [0, 4, 8, 12, 16]


async def test_the_state_stands_still_between_two_writes_only(path: Path) -> None:
    """A sink that says where it is while it writes would be ahead of what is done."""
    busy = False

    class Slow(Page):
        async def write(self, records: list[Any]) -> None:
            nonlocal busy
            busy = True
            await asyncio.sleep(0.003)
            await super().write(records)
            busy = False

        async def position(self) -> int:
            assert not busy
            return await super().position()

    await FakeFrame().run(
        Through(until(-1), sink=Slow([]), checkpoint=Checkpoint(path, every=0.001), batch_size=1, order="completion")
    )


async def test_a_state_is_taken_between_two_records_that_come_in_portions(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Something of a record is there in part at nearly every moment: the moments between two of them are not missed."""
    save, saved = state_files.StateFile.save, list[tuple[int, Any]]()

    def noted(self: Any, state: JobState) -> None:
        saved.append((state.done.watermark, state.sink))
        save(self, state)

    monkeypatch.setattr(state_files.StateFile, "save", noted)
    children: list[int] = []
    job = Through(
        range(160),
        steps=[expand(lambda record: [record] * 3_000)],
        sink=Page(children),
        checkpoint=Checkpoint(path, every=0.005),
        batch_size=1,
    )
    await PipeFrame(executor="inline", buffer_size=1_000).run(job)
    assert len(children) == 480_000
    assert all(sink == 3_000 * done for done, sink in saved if sink is not None)
    assert len({done for done, _ in saved}) > 6


# What goes wrong with the state.


async def test_a_state_that_cannot_be_saved_ends_the_run_with_the_cause(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save, saved = state_files.StateFile.save, 0

    def full(self: Any, state: JobState) -> None:
        nonlocal saved
        saved += 1
        if saved > 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        save(self, state)

    monkeypatch.setattr(state_files.StateFile, "save", full)
    frame = FakeFrame()
    with pytest.raises(SinkError, match=r"the state of the job, .*job.state, is out of reach: OSError.*No space left"):
        await frame.run(Sunk(range(1000), checkpoint=Checkpoint(path, every=0.0), batch_size=1))
    settled(frame)
    monkeypatch.undo()
    report = await FakeFrame().run(again := Sunk(range(1000), checkpoint=path))
    assert again.taken == list(range(report.skipped, 1000))


async def test_a_state_that_cannot_be_opened_is_said_before_anything_starts(tmp_path: Path) -> None:
    job = Sunk(range(5), checkpoint=tmp_path / "nowhere" / "job.state")
    with pytest.raises(SinkError, match=r"the state of the job, .*job.state, is out of reach: FileNotFoundError"):
        await FakeFrame().run(job)
    assert not job.taken


async def test_a_position_that_is_no_json_is_said_so(path: Path) -> None:
    class Odd(Page):
        async def position(self) -> Any:
            return object()

    with pytest.raises(SinkError, match=r"a position of .* is no JSON value: .* not JSON serializable"):
        await FakeFrame().run(Through(until(-1), sink=Odd([]), checkpoint=path))


async def test_calls_have_no_state(path: Path) -> None:
    async with FakeFrame() as frame:
        assert await frame.call(Through(checkpoint=path), 3) == 3
    assert not _is_there(path)


async def test_what_one_who_iterates_has_taken_is_done(path: Path) -> None:
    def job() -> Through:
        return Through(range(20), checkpoint=Checkpoint(path, every=0.0), batch_size=1)

    taken = []
    async with FakeFrame(buffer_size=2).stream(job()) as results:
        async for record in results:
            taken.append(record)
            await asyncio.sleep(0.002)
            if record == 9:
                break
    assert state_of(path).done.watermark <= 10
    async with FakeFrame().stream(job()) as results:
        rest = [record async for record in results]
    assert results.report.skipped == 20 - len(rest) > 0
    assert rest == list(range(results.report.skipped, 20))


async def test_a_failure_is_in_a_state_when_what_came_with_it_has_been_taken(path: Path, tmp_path: Path) -> None:
    """A life is killed while results wait that came with failures: those are in the file, and not done."""

    def step(record: int) -> tuple[int, bool]:
        if record % 4 == 3:
            raise ValueError
        return record, True

    dead: list[Any] = []

    def job() -> Through:
        return Through(range(40), steps=[step], dead_letter=Page(dead), checkpoint=Checkpoint(path, every=0.0))

    killed, taken = tmp_path / "killed.state", 0
    async with FakeFrame().stream(job()) as results:
        async for _ in results:
            taken += 1
            await asyncio.sleep(0.01)
            if taken == 10:
                with closing(sqlite3.connect(path)) as state, closing(sqlite3.connect(killed)) as copy:
                    state.backup(copy)  # as a kill leaves it
    assert len(dead) == 10
    os.replace(killed, path)
    async with FakeFrame().stream(job()) as results:
        rest = [record async for record in results]
    assert len(rest) >= 30 - taken
    assert sorted(failure.record for failure in dead) == list(range(3, 40, 4))
