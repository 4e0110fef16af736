"""The bad record is where it should be, and the log tells what became of the work."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks.torturing.faults import BAD, FAULTS
from benchmarks.torturing.job import Job, Told

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="what is left behind is found in /proc")


def test_the_bad_record_is_inside_a_batch_in_the_middle_of_the_work(tmp_path: Path) -> None:
    with Job(FAULTS["kill"], 1_000, 64, tmp_path / "log") as job:
        batches = list(job.batches())
    assert [BAD in batch for batch in batches].index(True) == 7
    assert batches[7].index(BAD) == 52
    assert sum(map(len, batches)) == 1_000


def test_nobody_is_bad_where_the_script_gets_a_signal(tmp_path: Path) -> None:
    with Job(FAULTS["sigterm"], 10, 4, tmp_path / "log") as job:
        assert job.records == list(range(10))


def test_a_log_tells_what_became_of_the_work(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with Job(FAULTS["raise"], 10, 4, log) as job:
        job.take([(1, None), (2, None), (None, ValueError("bad"))])
        job.deliver(1)
        job.failed("Failure(crashed)")
        job.logged()
        job.raised(RuntimeError("over"))
    told = Told.in_log(log)
    assert told.delivered == {1: 2, 2: 1}
    assert told.words == ["1 × ValueError", "1 × Failure(crashed)", "RuntimeError raised", "1 logged"]


def test_a_line_that_a_death_has_cut_short_is_not_counted(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("delivered 1\ndelivered 2")
    assert Told.in_log(log).delivered == {1: 1}
    assert Told.in_log(tmp_path / "never begun") == Told()
