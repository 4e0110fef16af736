"""Dead letters: kept in a file, found again, and replayed until nothing is left but what still fails."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipeframe_async import (
    CheckpointMismatch,
    Child,
    ConfigError,
    Failure,
    FeedError,
    PipeFrame,
    PipelineEngine,
    SinkError,
    expand,
)
from pipeframe_async.feeds import JsonLines as JsonLinesIn
from pipeframe_async.sinks import DeadLetters, JsonLines
from pipeframe_async.sinks.letters import Letters, Wanted

ROOT = Path(__file__).parents[2]
CAUSES = (ValueError, KeyError, TypeError, OSError, ZeroDivisionError, RuntimeError)


class Step:
    """Fails for each record by one of six causes, but for those that are mended."""

    mended: set[int] = set()

    def __call__(self, record: int) -> tuple[int, bool]:
        if record % 6 not in self.mended:
            raise CAUSES[record % 6](f"no {record}")
        return record, True


step = Step()


def work(record: int) -> tuple[int, bool]:
    """One that fails."""
    return step(record)


@pytest.fixture(autouse=True)
def nothing_is_mended() -> Iterator[None]:
    step.mended = set()
    yield
    step.mended = set()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "orders.dead"


class Orders(PipelineEngine[Any, Any]):
    """A pipeline whose results are kept."""

    steps: Any = (work,)

    def __init__(self, dead_letter: Any = None, **knobs: Any) -> None:
        self.taken: list[Any] = []
        self.dead_letter = dead_letter
        for name, value in knobs.items():
            setattr(self, name, value)

    async def sink(self, records: list[Any]) -> None:
        self.taken += records


async def run(pipeline: Orders, feed: Any, **options: Any) -> Any:
    async with PipeFrame(executor="inline", **options) as frame:
        return await frame.run(pipeline, feed)


def overwrite(path: Path) -> None:
    path.write_text("no database " * 1000)


def a_failure(record: Any = 1, **changes: Any) -> Failure[Any]:
    told: dict[str, Any] = {"step": "price", "kind": "raised", "error_type": "ValueError", "message": "no"}
    return Failure(record, **{**told, **changes})


def written(path: Path, *failures: Failure[Any]) -> DeadLetters:
    dead = DeadLetters(path)
    dead.write(failures)
    dead.__exit__(None, None, None)
    return dead


# Kept.


async def test_no_file_is_made_before_the_first_failure(path: Path) -> None:
    step.mended = set(range(6))
    await run(Orders(DeadLetters(path)), range(10))
    assert os.listdir(path.parent) == []
    assert not DeadLetters(path).groups()
    assert not DeadLetters(path).entries()
    assert DeadLetters(path).drop() == 0
    assert os.listdir(path.parent) == []


async def test_an_entry_says_all_there_is_to_know(path: Path) -> None:
    before = time.time()
    report = await run(Orders(DeadLetters(path)), [7])
    assert report.failed == 1
    [entry] = DeadLetters(path).entries()
    assert (entry.pipeline, entry.step, entry.kind, entry.error_type) == ("Orders", "work", "raised", "KeyError")
    assert (entry.message, entry.attempts, entry.child, entry.record()) == ("'no 7'", 1, None, 7)
    assert "in __call__" in entry.traceback
    assert before <= entry.first == entry.last <= time.time()
    assert os.listdir(path.parent) == ["orders.dead"]


def test_a_child_and_odd_texts_are_kept(path: Path) -> None:
    dead = written(path, a_failure(message="half \ud800", child=Child((0, 2), "value"), attempts=3))
    [entry] = dead.entries()
    assert (entry.child, entry.attempts, entry.message) == ((0, 2), 3, "half \\ud800")
    assert str(entry.failure()) == "step 'price' raised ValueError over child 0.2: half \\ud800"


async def test_of_a_fan_out_the_record_is_kept_as_it_was_fed(path: Path) -> None:
    await run(Orders(DeadLetters(path), steps=[expand(lambda number: [number, number + 1]), work]), [6])
    assert [entry.record() for entry in DeadLetters(path).entries()] == [6, 6]


def test_they_are_counted_by_how_they_have_failed_with_the_newest_of_each(path: Path) -> None:
    dead = written(
        path, a_failure(1), a_failure(2, kind="timeout", error_type="TimeoutError"), a_failure(3, message="newest")
    )
    first, second = dead.groups()
    assert (first.step, first.kind, first.error_type, first.count) == ("price", "raised", "ValueError", 2)
    assert (first.newest.message, second.count) == ("newest", 1)
    assert [group.count for group in dead.groups(kind="timeout")] == [1]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({}, [1, 2, 3]),
        ({"step": "parse"}, [2]),
        ({"kind": "timeout"}, [3]),
        ({"error_type": "ValueError"}, [1, 2]),
        ({"pipeline": "another"}, []),
        ({"ids": (1, 3)}, [1, 3]),
        ({"since": 0.0}, [1, 2, 3]),
        ({"since": 4e9}, []),
        ({"step": "parse", "kind": "timeout"}, []),
    ],
)
def test_entries_are_found_by_what_they_are(path: Path, wanted: dict[str, Any], found: list[int]) -> None:
    dead = written(path, a_failure(1), a_failure(2, step="parse"), a_failure(3, kind="timeout", error_type="E"))
    assert [entry.record() for entry in dead.entries(**wanted)] == found
    assert sum(group.count for group in dead.groups(**wanted)) == len(found)
    assert dead.drop(**wanted) == len(found)
    assert len(dead.entries()) == 3 - len(found)


@pytest.mark.parametrize("away", [os.unlink, lambda path: os.rename(path, f"{path}.old")])
def test_of_a_file_that_is_taken_away_while_it_is_written_what_comes_later_is_in_another(path: Path, away: Any) -> None:
    dead = DeadLetters(path)
    dead.write([a_failure(1)])
    away(path)
    dead.write([a_failure(2)])
    dead.write([a_failure(3)])
    dead.__exit__(None, None, None)
    assert [letter.record() for letter in DeadLetters(path).entries()] == [2, 3]
    if os.path.exists(f"{path}.old"):
        assert [letter.record() for letter in DeadLetters(f"{path}.old").entries()] == [1]


def test_any_number_of_them_can_be_wanted_by_their_numbers(path: Path) -> None:
    written(path, *map(a_failure, range(5)))
    assert len(DeadLetters(path).entries(ids=tuple(range(300_000)))) == 5


def test_those_behind_one_are_found_without_a_look_at_all_of_them(path: Path) -> None:
    dead = written(path, *map(a_failure, range(5)))
    assert [letter.id for letter in dead.entries(most=2, after=2, pipeline="")] == [3, 4]
    letters, seen = Letters(str(path)), list[str]()
    letters.count()
    assert letters._database is not None
    letters._database.set_trace_callback(seen.append)
    letters.find(Wanted(pipeline="", step="price"), most=1)
    letters.close()
    with closing(sqlite3.connect(path)) as database:
        (*_, plan), *more = database.execute(f"EXPLAIN QUERY PLAN {seen[-1]}").fetchall()
    assert (plan, more) == ("SEARCH letters USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)", [])


def test_it_can_be_looked_at_while_somebody_writes(path: Path) -> None:
    written(path, a_failure())
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        other.execute("DELETE FROM letters")
        assert len(DeadLetters(path).entries()) == len(DeadLetters(path).groups()) == 1


def test_two_may_write_at_once(path: Path) -> None:
    one, other = DeadLetters(path), DeadLetters(path)
    for number in range(10):
        one.write([a_failure(number)])
        other.write([a_failure(-number)])
    assert len(one.entries()) == 20
    for dead in (one, other):
        dead.__exit__(None, None, None)


async def test_a_file_of_something_else_is_refused_and_no_record_is_acked(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE theirs (id)")
    with pytest.raises(SinkError, match="database of something else, and no file of dead letters"):
        await run(Orders(DeadLetters(path)), [1])
    overwrite(path)
    with pytest.raises(ConfigError, match="is no file of dead letters"):
        DeadLetters(path).groups()


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        ({"step": len}, "step=<built-in function len>: must be the name"),
        ({"error_type": ValueError}, "error_type=<class 'ValueError'>: must be the name"),
        ({"since": "2026-01-01"}, "since='2026-01-01': must be seconds since 1970, or a datetime"),
        ({"since": True}, "since=True: must be"),
        ({"ids": "12"}, "ids='12': must be a list of the numbers of entries"),
        ({"ids": 1}, "ids=1: must be a list"),
    ],
)
def test_what_entries_do_not_have_is_not_looked_for(wanted: dict[str, Any], says: str, path: Path) -> None:
    dead = DeadLetters(path)
    for asked in (dead.groups, dead.entries, dead.drop, dead.replay):
        with pytest.raises(ConfigError, match=says):
            asked(**wanted)


def test_entries_since_a_time_are_found_by_that_time(path: Path) -> None:
    written(path, a_failure())
    now = datetime.now()
    for since in (now, now.astimezone(UTC), now.timestamp()):
        assert DeadLetters(path).entries(since=since) == []
    ago = timedelta(hours=1)
    for since in (now - ago, now.astimezone(UTC) - ago, (now - ago).timestamp()):
        assert len(DeadLetters(path).entries(since=since)) == 1


async def test_a_file_that_somebody_has_locked_for_long_is_an_error_that_names_it(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeframe_async.databases.BUSY_SECONDS", 0.1)
    written(path, a_failure())
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(SinkError, match=r"orders.dead could not be read or written: database is locked"):
            await run(Orders(DeadLetters(path)), [1])
    assert len(DeadLetters(path).entries()) == 1


# Set back, in a job.


def test_set_back_it_has_what_its_job_had_then_and_all_of_others(path: Path) -> None:
    mine, other = DeadLetters(path), DeadLetters(path)
    mine.restore(None)
    mine.write([a_failure(1)])
    place = mine.position()
    mine.write([a_failure(2)])
    other.write([a_failure(3)])
    again = DeadLetters(path)
    again.restore(place)
    assert [entry.record() for entry in again.entries()] == [1, 3]
    again.write([a_failure(4)])
    again.restore(place)
    assert [entry.record() for entry in again.entries()] == [1, 3]
    for dead in (mine, other, again):
        dead.__exit__(None, None, None)


@pytest.mark.parametrize("position", [{"size": 3, "tail": ""}, 7, {"writer": "a", "id": None}])
def test_the_position_of_another_sink_is_refused(path: Path, position: Any) -> None:
    with pytest.raises(CheckpointMismatch, match=r"is no position in .*: it is another sink's"):
        DeadLetters(path).restore(position)
    assert not path.exists()


def test_set_back_to_before_there_was_a_file_it_is_empty(path: Path) -> None:
    dead = DeadLetters(path)
    place = dead.position()
    assert not path.exists()
    dead.restore(place)
    assert not path.exists()
    dead.write([a_failure()])
    dead.restore(place)
    assert dead.entries() == []
    dead.__exit__(None, None, None)


# Replayed.


async def test_what_is_handled_is_removed_and_what_fails_again_counts_on(path: Path) -> None:
    await run(Orders(DeadLetters(path)), range(60))
    step.mended = {0, 1, 2}
    again = Orders(DeadLetters(path))
    report = await run(again, DeadLetters(path).replay())
    assert (report.fed, report.delivered, report.failed) == (60, 30, 30)
    assert sorted(again.taken) == [record for record in range(60) if record % 6 < 3]
    left = DeadLetters(path).entries()
    assert [entry.record() for entry in left] == [record for record in range(60) if record % 6 >= 3]
    assert {entry.attempts for entry in left} == {2}
    assert all(entry.first < entry.last for entry in left)


async def test_how_it_has_failed_last_is_what_counts(path: Path) -> None:
    written(path, a_failure(9, attempts=2))
    await run(Orders(DeadLetters(path)), DeadLetters(path).replay())
    [entry] = DeadLetters(path).entries()
    assert (entry.step, entry.error_type, entry.attempts) == ("work", "OSError", 3)


async def test_only_what_is_wanted_is_replayed(path: Path) -> None:
    await run(Orders(DeadLetters(path)), range(12))
    step.mended = set(range(6))
    again = Orders()
    await run(again, DeadLetters(path).replay(error_type="KeyError"))
    assert again.taken == [1, 7]
    assert len(DeadLetters(path).entries()) == 10


async def test_neither_max_failures_nor_a_checkpoint_nor_its_own_dead_letter_count(path: Path, tmp_path: Path) -> None:
    await run(Orders(DeadLetters(path)), range(6))
    again = Orders(JsonLines(tmp_path / "other"), max_failures=0, checkpoint=tmp_path / "state")
    report = await run(again, DeadLetters(path).replay())
    assert (report.failed, len(DeadLetters(path).entries())) == (6, 6)
    assert os.listdir(tmp_path) == ["orders.dead"]


async def test_what_is_cut_short_leaves_what_has_no_outcome(path: Path) -> None:
    await run(Orders(DeadLetters(path)), range(600))
    step.mended = set(range(6))
    again = Orders(order="completion")
    async with PipeFrame(executor="inline", buffer_size=20) as frame:
        running = asyncio.ensure_future(frame.run(again, DeadLetters(path).replay(rate=2000)))
        while len(again.taken) < 50:
            await asyncio.sleep(0.001)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    left = [entry.record() for entry in DeadLetters(path).entries()]
    assert sorted([*left, *again.taken]) == list(range(600))
    last = Orders()
    await run(last, DeadLetters(path).replay())
    assert sorted([*again.taken, *last.taken]) == list(range(600))
    assert DeadLetters(path).entries() == []


async def test_closed_in_haste_it_has_what_was_answered_and_is_free(path: Path) -> None:
    written(path, a_failure(1), a_failure(2))
    again = DeadLetters(path).replay()
    await again.__aenter__()
    first, _ = await again.take(10) or []
    assert first.ack is not None
    answered = first.ack()
    closing = asyncio.ensure_future(again.__aexit__())
    await asyncio.sleep(0)
    closing.cancel()  # while it waits for others to be written down with it
    with pytest.raises(asyncio.CancelledError):
        await closing
    await answered  # type: ignore[misc]  # this one's answers take time
    assert (await run(Orders(steps=[lambda record: (record, True)]), DeadLetters(path).replay())).delivered == 1


async def test_it_goes_no_faster_than_its_rate(path: Path) -> None:
    await run(Orders(DeadLetters(path)), range(30))
    step.mended = set(range(6))
    began = time.monotonic()
    report = await run(Orders(), DeadLetters(path).replay(rate=100))
    assert report.delivered == 30
    assert time.monotonic() - began >= 0.2


@pytest.mark.parametrize("rate", [0, -1, "10", True, float("nan"), float("inf")])
def test_a_rate_that_is_none_is_refused(path: Path, rate: Any) -> None:
    with pytest.raises(ConfigError, match=r"rate=.*records a second"):
        DeadLetters(path).replay(rate=rate)


async def test_a_file_is_replayed_by_one_at_a_time(path: Path) -> None:
    await run(Orders(DeadLetters(path)), range(6))
    async with DeadLetters(path).replay():
        with pytest.raises(FeedError, match="is being replayed already"):
            await run(Orders(), DeadLetters(path).replay())
    await run(Orders(), DeadLetters(path).replay())


async def test_pickles_are_read_for_those_who_trust_them(path: Path) -> None:
    await run(Orders(DeadLetters(path), steps=[lambda record: work(record[0])]), [(1, 2), [2]])
    with pytest.raises(FeedError, match=r"1 of the records in .* are kept as pickles.*--trust"):
        await run(Orders(), DeadLetters(path).replay())
    again = Orders(steps=[lambda record: (record, True)])
    await run(again, DeadLetters(path).replay(trust=True))
    assert again.taken == [(1, 2), [2]]


async def test_what_cannot_be_read_any_more_stays_and_says_why(path: Path) -> None:
    written(path, a_failure(lambda: 1), a_failure(5))
    step.mended = set(range(6))
    again = Orders()
    report = await run(again, DeadLetters(path).replay(trust=True))
    assert (again.taken, report.failed) == ([5], 1)
    [entry] = DeadLetters(path).entries()
    assert (entry.kind, entry.attempts) == ("unpicklable", 2)
    assert "its record cannot be read: StateError" in entry.message


async def test_a_replay_of_nothing_is_over_at_once(path: Path) -> None:
    report = await run(Orders(), DeadLetters(path).replay())
    assert (report.fed, report.ended_by, os.listdir(path.parent)) == (0, "exhausted", [])


async def test_raw_lines_are_decoded_as_the_feed_does_that_yielded_them(path: Path, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('1\n"torn\n3\n')
    feed = JsonLinesIn(tmp_path / "in.jsonl")
    await run(Orders(DeadLetters(path), feed=feed), None)
    assert [entry.record() for entry in DeadLetters(path).entries()] == [b"1", b'"torn', b"3"]
    step.mended = {1, 3}
    again = Orders(feed=feed)
    report = await run(again, DeadLetters(path).replay())
    assert (again.taken, report.failed) == ([1, 3], 1)
    [entry] = DeadLetters(path).entries()
    assert (entry.step, entry.record()) == ("decode", b'"torn')


async def test_a_file_of_results_is_not_replaced_by_those_of_a_replay(path: Path, tmp_path: Path) -> None:
    written(path, a_failure(1))
    with pytest.raises(ConfigError, match=r"the sink of Orders, JsonLines is replaced at its end"):
        await run(Orders(sink=JsonLines(tmp_path / "out.jsonl")), DeadLetters(path).replay())
    step.mended = {1}
    (tmp_path / "out.jsonl").write_text("0\n")
    await run(Orders(sink=JsonLines(tmp_path / "out.jsonl", append=True)), DeadLetters(path).replay())
    assert (tmp_path / "out.jsonl").read_text() == "0\n1\n"


async def test_an_outcome_that_cannot_be_written_down_ends_the_replay(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await run(Orders(DeadLetters(path)), range(60))
    step.mended = set(range(6))

    def full(*arguments: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("pipeframe_async.sinks.letters.Letters.settle", full)
    with pytest.raises(FeedError, match="disk full"):
        await run(Orders(), DeadLetters(path).replay(rate=300), buffer_size=5)
    monkeypatch.undo()
    assert len(DeadLetters(path).entries()) == 60


REPLAYS = """
import sys
sys.path.insert(0, sys.argv[2])
from tests.edges import test_dead_letters as here
from pipeframe_async import run
from pipeframe_async.sinks import DeadLetters

here.step.mended = {0, 1, 2}

class Told(here.Orders):
    async def sink(self, records):
        print(*records, sep="\\n", flush=True)

run(Told(), DeadLetters(sys.argv[1]).replay(rate=20_000), executor="inline")
"""


def replayed(path: Path, *, kill_at: int | None = None) -> list[int]:
    """What a replay in a process of its own has handled; it may be killed when that is so many records."""
    command = [sys.executable, "-c", REPLAYS, str(path), str(ROOT)]
    handled = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as replay:
        assert replay.stdout is not None
        for line in replay.stdout:
            handled.append(int(line))
            if len(handled) == kill_at:
                replay.kill()
    assert replay.returncode == (0 if kill_at is None else -9)
    return handled


@pytest.mark.process
@pytest.mark.timeout(120)
async def test_a_replay_that_is_killed_in_the_middle_leaves_exactly_the_rest(path: Path) -> None:
    """Ten thousand of six causes, of which three are mended."""
    await run(Orders(DeadLetters(path)), range(10_000))
    assert [group.count for group in DeadLetters(path).groups()] == [1667] * 4 + [1666] * 2
    handled = [*replayed(path, kill_at=1_000), *replayed(path, kill_at=1_000), *replayed(path)]
    left = DeadLetters(path).entries()
    assert [entry.record() for entry in left] == [record for record in range(10_000) if record % 6 > 2]
    assert {*handled} == {record for record in range(10_000) if record % 6 <= 2}
    assert all(entry.attempts in (2, 3, 4) for entry in left)


def test_a_file_from_before_there_were_logs_is_read_and_goes_on(tmp_path: Path) -> None:
    path = str(tmp_path / "bad.dead")
    dead = Failure(1, "price", "crashed", "WorkerLost", "it died", log="INFO app: first\nERROR app: last")
    letters = Letters(path)
    letters.add([dead], pipeline="Orders", writer="me")
    letters.close()
    with closing(sqlite3.connect(path)) as database:
        database.execute("ALTER TABLE letters DROP COLUMN log")
        database.commit()
    letters = Letters(path)
    assert [letter.log for letter in letters.find()] == [""]
    letters.add([dead], pipeline="Orders", writer="me")
    assert [letter.log for letter in letters.find()] == ["", dead.log]
    assert [letter.failure().log for letter in letters.find()] == ["", dead.log]
    letters.settle([], [(1, dead)])
    assert [letter.as_dict()["log"] for letter in letters.find()] == [dead.log, dead.log]
    letters.close()


def test_a_program_may_go_elsewhere_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path)
    dead = DeadLetters("here.dead")
    dead.write([a_failure(1)])
    os.chdir("other")
    dead.write([a_failure(2)])
    dead.__exit__(None, None, None)
    assert os.listdir(tmp_path / "other") == []
    assert len(DeadLetters(tmp_path / "here.dead").entries()) == 2
