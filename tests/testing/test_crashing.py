"""A job that is killed at random moments goes on, and what does not go on well is told in a sentence."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest

from pipeframe_async import ConfigError
from pipeframe_async.checkpoint import Done, JobState
from pipeframe_async.testing import Life, crash_and_resume, crashing
from tests.testing import jobs

OFTEN: Any = {"kills": 3, "every_life": (0.2, 0.3), "executor": "inline"}


@pytest.mark.process
def test_a_job_in_feed_order_writes_what_it_writes_when_it_is_not_killed(tmp_path: Path) -> None:
    out = crash_and_resume(jobs.Good, directory=tmp_path, **OFTEN)
    assert out.kills == 3
    assert [life.killed for life in out.lives] == [True] * 3 + [False]
    assert out.report["fed"] == jobs.RECORDS
    assert out.report["skipped"] >= max(life.saved for life in out.lives[:-1]) > 0
    assert out.totals["delivered"] == jobs.RECORDS
    assert (tmp_path / "out.jsonl").read_text().count("\n") == jobs.RECORDS


@pytest.mark.process
def test_a_job_in_workers_is_killed_with_them(tmp_path: Path) -> None:
    out = crash_and_resume(jobs.Good, 2, every_life=(0.2, 0.4), directory=tmp_path, cpu_count=1)
    assert out.kills == 2


@pytest.mark.process
@pytest.mark.parametrize("job", [jobs.Completed, jobs.Mixed])
def test_other_orders_fan_out_and_failures_go_on_too(tmp_path: Path, job: Any) -> None:
    out = crash_and_resume(job, directory=tmp_path, **OFTEN)
    assert out.kills == 3


SCRIPT = """
from pipeframe_async import run
from tests.testing.jobs import Good

class Job(Good):
    pass

if __name__ == "__main__":
    run(Job)
"""


@pytest.mark.process
def test_a_script_is_run_by_its_path(tmp_path: Path) -> None:
    (tmp_path / "a_job.py").write_text(SCRIPT)
    out = crash_and_resume(tmp_path / "a_job.py", 1, every_life=(0.1, 0.1), directory=tmp_path, executor="inline")
    assert out.kills == 1
    assert (tmp_path / "a_job.py").exists()


@pytest.mark.process
def test_without_outputs_the_books_are_what_is_looked_at(tmp_path: Path) -> None:
    out = crash_and_resume(jobs.Good, directory=tmp_path, outputs=(), **OFTEN)
    assert out.totals["delivered"] == jobs.RECORDS


@pytest.mark.process
def test_files_are_compared_as_the_test_wants_it(tmp_path: Path) -> None:
    compared: list[tuple[int, int]] = []

    def lines(expected: Path, found: Path) -> bool:
        compared.append((expected.read_bytes().count(b"\n"), found.read_bytes().count(b"\n")))
        return False

    with pytest.raises(AssertionError, match=r"out\.jsonl is not what the undisturbed run wrote"):
        crash_and_resume(jobs.Good, 1, executor="inline", directory=tmp_path, outputs=["out.jsonl"], compare=lines)
    assert compared == [(jobs.RECORDS, jobs.RECORDS)]


# What is found.


@pytest.mark.process
@pytest.mark.parametrize(
    ("job", "sentence"),
    [
        (jobs.Forgets, r"left a state with \d+ records done, the one before it \d+"),
        (jobs.Differs, "differs from what the undisturbed run wrote"),
        (jobs.Leaves, r"left behind: process \d+ .*sleep 100"),
        (jobs.Fails, "a life failed by itself: (.|\n)*its source is gone"),
    ],
)
def test_a_job_that_does_not_go_on_well_is_found_out(
    tmp_path: Path, job: Any, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crashing, "GONE", 0.5)
    with pytest.raises(AssertionError, match=sentence):
        crash_and_resume(job, directory=tmp_path, **OFTEN)


@pytest.mark.process
def test_a_life_that_lasts_too_long_is_ended(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"was not over after 0\.1 s"):
        crash_and_resume(jobs.Good, directory=tmp_path, patience=0.1, **OFTEN)


KILLED, LAST = Life(True, 0.1, 60, 0, 50), Life(False, 0.1, 100, 50, 100)
STATE = JobState({}, Done(100), {"delivered": 90, "filtered": 15, "failed": 5, "emitted": 10}, finished=True)


def test_books_that_balance_over_all_lives_are_good() -> None:
    crashing.check_books([KILLED, LAST], {"fed": 100, "skipped": 50}, STATE)


@pytest.mark.parametrize(
    ("report", "state", "sentence"),
    [
        ({"fed": 100, "skipped": 49}, STATE, "passed over 49 records, and 50 had been saved"),
        ({"fed": 101, "skipped": 50}, STATE, "100 records done, and 101 were fed"),
        ({"fed": 100, "skipped": 50}, JobState({}, Done(100), {}), "does not say that the job is done"),
        ({"fed": 100, "skipped": 50}, JobState({}, Done(100), {"delivered": 99}, finished=True), "do not balance"),
    ],
)
def test_books_that_do_not_balance_are_found(report: dict[str, int], state: JobState, sentence: str) -> None:
    with pytest.raises(AssertionError, match=sentence):
        crashing.check_books([KILLED, LAST], report, state)


def test_other_totals_than_those_of_the_undisturbed_run_are_found() -> None:
    with pytest.raises(AssertionError, match="in all lives"):
        crashing.check_totals({"delivered": 2}, {"delivered": 3})


def test_files_of_the_same_lines_in_another_order_are_the_same_lines(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_text("a\nb\nb\n")
    other.write_text("b\na\nb\n")
    crashing.same_lines(one, other)
    with pytest.raises(AssertionError, match="from byte 0 on"):
        crashing.same_bytes(one, other)
    other.write_text("b\na\na\n")
    with pytest.raises(AssertionError, match="1 are missing, 1 are too many"):
        crashing.same_lines(one, other)
    (packed := tmp_path / "one.gz").write_bytes(gzip.compress(b"a\nb\nb\n", mtime=1))
    (other_packed := tmp_path / "other.gz").write_bytes(gzip.compress(b"b\nb\na\n", mtime=2))
    crashing.same_lines(packed, other_packed)


# What is refused.


def test_what_cannot_be_run_in_a_process_of_its_own_is_refused(tmp_path: Path) -> None:
    class Here(jobs.Good): ...

    for wrong, sentence in (
        (Here, "no module can be imported"),
        (tmp_path / "no.py", "there is no script"),
        (7, "no job"),
    ):
        with pytest.raises(ConfigError, match=sentence):
            crash_and_resume(wrong, directory=tmp_path)  # type: ignore[arg-type]


@pytest.mark.process
def test_a_job_without_a_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="NoCheckpoint has no checkpoint"):
        crash_and_resume(jobs.NoCheckpoint, directory=tmp_path)


@pytest.mark.process
@pytest.mark.parametrize("name", ["out.jsonl", "job.state"])
def test_a_job_that_has_begun_before_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(ConfigError, match=f"{name} is there already"):
        crash_and_resume(jobs.Good, directory=tmp_path)


@pytest.mark.parametrize("moments", [(2.0, 1.0), (-1.0, 1.0), (0.0, float("inf"))])
def test_moments_that_are_none_are_refused(moments: tuple[float, float]) -> None:
    with pytest.raises(ConfigError, match="every_life"):
        crash_and_resume(jobs.Good, every_life=moments)
