"""Jobs that others measure by: each contestant that is here does them, and all do the same."""

from __future__ import annotations

import sys
from importlib.util import find_spec

import pytest

if sys.platform != "linux" or find_spec("scipy") is None or find_spec("numpy") is None:
    pytest.skip("needs Linux, numpy and scipy", allow_module_level=True)

from benchmarks import by_others
from benchmarks.asking.measure import WrongWork
from benchmarks.cells import by_others as cells

pytestmark = pytest.mark.process


@pytest.mark.parametrize("job", ["calls", "prefixes", f"arena{by_others.MIB}"])
def test_a_job_is_done_by_all_who_are_here(
    job: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(by_others, "JOBS", {job: by_others.JOBS[job]})
    by_others.main(["--quick", "--repeats", "1"])
    title, labels = by_others.JOBS[job]
    lines = [line for line in capsys.readouterr().out.splitlines() if title in line]
    assert 2 <= len(lines) <= len(labels)
    assert "1.00" in lines[0]


def test_each_job_is_there() -> None:
    assert set(cells.JOBS) == {job for job in by_others.JOBS if not job.startswith("arena")}


def test_the_shuffled_tasks_are_those_of_the_cycle_and_the_even_ones_are_as_long_in_all() -> None:
    assert sorted(cells.shuffled()) == sorted(cells.cyclic())
    assert cells.shuffled() != cells.cyclic()
    assert sum(cells.even()) == pytest.approx(sum(cells.varied()))


def test_who_does_something_else_is_found() -> None:
    with pytest.raises(WrongWork):
        by_others.check("calls", {"ours": [{"found": [1, 2]}], "joblib": [{"found": [1, 3]}]})
