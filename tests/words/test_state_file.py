"""The state of a job in its file: kept through ends of all kinds, one process's at a time, refused where it is bad."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from pipeframe_async import CheckpointMismatch, StateError
from pipeframe_async.checkpoint import Done, JobState, Mark
from pipeframe_async.state_file import StateFile, _started, is_alive, is_of_an_earlier_boot, look, this_process

STATE = JobState(
    fingerprint={"version": None, "steps": ["a"]},
    done=Done(5, ((7, 9), (11, 12))),
    totals={"delivered": 6, "bypassed": 1, "filtered": 2, "failed": 1, "emitted": 1},
    feed=Mark(4, {"path": "in", "offset": 17}),
    sink={"bytes": 100},
    dead_letter=[1, 2],
    lives=2,
)


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "job.state")


def written(path: str, state: JobState = STATE) -> None:
    file = StateFile(path)
    file.save(state)
    file.close()


def changed(path: str, statement: str, *values: Any) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute(statement, values)
        database.commit()


def test_what_was_saved_is_there_in_the_next_life(path: str) -> None:
    written(path)
    file = StateFile(path)
    assert file.state == STATE
    file.close()
    assert os.listdir(Path(path).parent) == ["job.state"]


@pytest.mark.parametrize("away", [os.unlink, lambda path: os.rename(path, f"{path}.old")])
def test_removed_while_the_job_runs_it_is_made_again(path: str, away: Any) -> None:
    file = StateFile(path)
    file.save(JobState({}))
    away(path)
    file.save(STATE)
    with pytest.raises(StateError, match="in use"):
        StateFile(path)
    file.close()
    assert look(path)[0] == STATE


def test_a_job_that_begins_has_no_state(path: str) -> None:
    file = StateFile(path)
    assert file.state is None
    file.close()
    file = StateFile(path)  # nothing was saved
    assert file.state is None
    file.close()


def test_begun_anew_what_is_there_does_not_count(path: str) -> None:
    written(path)
    file = StateFile(path, restart=True)
    assert file.state is None
    file.close()


def test_it_is_one_runs_at_a_time(path: str) -> None:
    file = StateFile(path)
    with pytest.raises(StateError, match=f"job.state is in use by process {os.getpid()}"):
        StateFile(path)
    file.save(STATE)  # and that has not harmed it
    file.close()
    StateFile(path).close()


HOLDS = """
import os, sys, time
from pipeframe_async.state_file import StateFile
file = StateFile(sys.argv[1])
if sys.argv[2] == "with a child" and os.fork() == 0:
    os.write(1, b"%d\\n" % os.getpid())
    time.sleep(600)
os.write(1, b"held\\n")
time.sleep(600)
"""


def holding(path: str, how: str = "alone") -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", HOLDS, path, how], stdout=subprocess.PIPE, text=True)


def test_another_process_that_has_it_is_named_and_one_that_was_killed_has_it_no_more(path: str) -> None:
    with holding(path) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(StateError, match=f"in use by process {other.pid}"):
            StateFile(path)
        other.kill()
    StateFile(path).close()


@pytest.mark.skipif(sys.platform != "linux", reason="when a process was started is in /proc")
def test_a_child_that_outlives_the_process_that_had_it_keeps_it_from_nobody(path: str) -> None:
    with holding(path, "with a child") as other:
        assert other.stdout is not None
        lines = [other.stdout.readline().strip() for _ in range(2)]
        child = int(next(line for line in lines if line != "held"))
        try:
            other.kill()
            other.wait()
            StateFile(path).close()
        finally:
            os.kill(child, signal.SIGKILL)


@pytest.mark.skipif(sys.platform != "linux", reason="when a process was started is in /proc")
def test_what_was_had_from_one_that_was_killed_is_no_others_when_its_child_has_ended(path: str) -> None:
    with holding(path, "with a child") as other:
        assert other.stdout is not None
        lines = [other.stdout.readline().strip() for _ in range(2)]
        child = int(next(line for line in lines if line != "held"))
        try:
            other.kill()
            other.wait()
            file = StateFile(path)
        finally:
            os.kill(child, signal.SIGKILL)
    while _started(child):
        time.sleep(0.001)
    with pytest.raises(StateError, match=f"in use by process {os.getpid()}"):
        StateFile(path)
    file.close()
    StateFile(path).close()


def test_a_process_is_told_by_its_start_and_its_boot() -> None:
    me = this_process()
    assert is_alive(me)
    if me["boot"]:
        assert not is_alive({**me, "started": "1"})
        assert not is_alive({**me, "pid": 2**22 + 1})
        assert is_alive({**me, "boot": "another"})  # who knows: machines may have one name
        assert is_of_an_earlier_boot({**me, "boot": "the one before"})
        assert not is_of_an_earlier_boot({**me, "boot": "another", "host": "another"})
        assert not is_of_an_earlier_boot(me)
        assert is_alive({**me, "namespace": "of another container", "pid": 2**22 + 1})


def test_one_can_look_at_it_while_it_is_in_use(path: str) -> None:
    file = StateFile(path)
    file.save(STATE)
    state, updated, holder = look(path)
    assert state == STATE
    assert updated > 0
    assert holder is not None
    assert holder["pid"] == os.getpid()
    file.close()
    assert look(path)[2] is None


def test_there_is_nothing_to_look_at_where_nothing_is(path: str) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no .*job.state"):
        look(path)
    Path(path).touch()
    assert look(path)[0] is None


def test_a_file_that_no_job_has_made_is_never_touched(path: str) -> None:
    Path(path).write_text("somebody's input, and long enough to be seen as no database " * 100)
    before = Path(path).read_bytes()
    for restart in (False, True):
        with pytest.raises(CheckpointMismatch, match=r"job.state is no state of a job \(.*\): name another file$"):
            StateFile(path, restart=restart)
    with pytest.raises(CheckpointMismatch, match="no state of a job"):
        look(path)
    assert Path(path).read_bytes() == before


def test_a_state_that_is_damaged_is_refused_and_begun_anew_where_that_is_wanted(path: str) -> None:
    written(path)
    whole = Path(path).read_bytes()
    Path(path).write_bytes(whole[:100] + b"\xff" * (len(whole) - 100))
    with pytest.raises(CheckpointMismatch, match=r"job.state is damaged \(.*\): begin anew with restart=True"):
        StateFile(path)
    with pytest.raises(CheckpointMismatch, match="damaged"):
        look(path)
    file = StateFile(path, restart=True)
    assert file.state is None
    file.close()


def test_a_database_of_something_else_is_never_touched(path: str) -> None:
    changed(path, "CREATE TABLE theirs (id)")
    before = Path(path).read_bytes()
    for restart in (False, True):
        with pytest.raises(CheckpointMismatch, match="a database of something else"):
            StateFile(path, restart=restart)
    assert Path(path).read_bytes() == before


def test_a_newer_format_is_refused_with_what_to_do(path: str) -> None:
    written(path)
    changed(path, "PRAGMA user_version = 99")
    with pytest.raises(CheckpointMismatch, match=r"newer pipeframe_async, as format 99.*restart=True"):
        StateFile(path)
    file = StateFile(path, restart=True)
    file.close()


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ({"done": {"watermark": 5, "above": [[3, 4]]}}, "in no order"),
        ({"done": {"watermark": 6, "above": []}}, "books do not balance: 6 records are done, and 8 are counted"),
        ({"done": None}, "makes no sense"),
        ({"feed": 3}, "makes no sense"),
    ],
)
def test_a_state_that_makes_no_sense_is_refused(path: str, broken: dict[str, Any], said: str) -> None:
    written(path)
    with closing(sqlite3.connect(path)) as database:
        (text,) = database.execute("SELECT state FROM job").fetchone()
    changed(path, "UPDATE job SET state = ?", json.dumps({**json.loads(text), **broken}))
    with pytest.raises(CheckpointMismatch, match=said):
        StateFile(path)


def test_a_directory_that_is_not_there_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="nowhere"):
        StateFile(str(tmp_path / "nowhere" / "job.state"))


def test_a_position_that_is_no_json_is_refused_and_leaves_what_was_there(path: str) -> None:
    written(path)
    file = StateFile(path)
    with pytest.raises(TypeError, match="not JSON serializable"):
        file.save(JobState({}, sink=object()))
    file.close()
    assert look(path)[0] == STATE


KILLED = """
import sys
from pipeframe_async.checkpoint import Done, JobState
from pipeframe_async.state_file import StateFile
file = StateFile(sys.argv[1])
for number in range(10**9):
    file.save(JobState({}, done=Done(number), totals={"delivered": number}, sink=number))
    if number == 3:
        print("going", flush=True)
"""


@pytest.mark.process
def test_a_kill_at_any_moment_leaves_a_whole_state(path: str) -> None:
    seen = -1
    for _ in range(8):
        with subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(KILLED), path], stdout=subprocess.PIPE, text=True
        ) as job:
            assert job.stdout is not None
            job.stdout.readline()
            job.kill()
        state, _, holder = look(path)
        assert state is not None
        assert state.sink == state.done.watermark == state.totals["delivered"] >= 3
        assert holder is None
        seen = max(seen, state.sink)
    assert seen >= 3


def test_a_program_may_go_elsewhere_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path)
    file = StateFile("job.state")
    os.chdir("other")
    file.save(STATE)
    file.close()
    assert os.listdir(tmp_path / "other") == []
    assert not (tmp_path / "job.state.lock").exists()
    again = StateFile(str(tmp_path / "job.state"))
    assert again.state == STATE
    again.close()
