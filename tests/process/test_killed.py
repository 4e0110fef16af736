"""A job that is killed at random moments writes what it writes undisturbed, and each dead letter once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeframe_async.sinks import DeadLetters
from pipeframe_async.testing import crash_and_resume, procfs
from tests.process import killed

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(not procfs.AVAILABLE, reason="looks for processes in /proc"),
]

JOBS = [killed.InOrder, killed.AsTheyAreDone, killed.ByKey, killed.OnTheLoopToo]


def dead_records(place: Path) -> list[str]:
    return sorted(letter.message for letter in DeadLetters(place / "dead.db").entries())


def all_of_them(records: int) -> list[str]:
    return sorted(f"record {record} is bad" for record in range(7, records, killed.FAILS))


@pytest.mark.parametrize("job", JOBS)
def test_a_few_kills_change_nothing(job: Any, tmp_path: Path) -> None:
    out = crash_and_resume(job, 3, every_life=(0.2, 0.6), directory=tmp_path, cpu_count=1)
    assert out.totals["failed"] == len(all_of_them(killed.RECORDS))
    assert dead_records(tmp_path) == all_of_them(killed.RECORDS)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("job", JOBS)
def test_two_hundred_kills_change_nothing(job: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIPEFRAME_TEST_KILLS_RECORDS", "100_000")
    kills = 0
    for seed in range(1_000):
        place = tmp_path / str(seed)
        place.mkdir()
        out = crash_and_resume(job, 200 - kills, every_life=(0.1, 0.5), directory=place, seed=seed, cpu_count=2)
        assert dead_records(place) == all_of_them(100_000)
        kills += out.kills
        if kills >= 200:
            return
