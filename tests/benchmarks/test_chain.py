"""The chain benchmark runs and checks its contestants; its figures have the promised shape. Times are not looked at."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from benchmarks import chain
from pipeframe_async._worker.cursor import Cursor
from pipeframe_async.steps import apply


def test_every_form_is_timed_in_every_size_of_batch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chain.main(["--quick", "--json", str(tmp_path / "figures.json")])
    found = json.loads((tmp_path / "figures.json").read_text())
    assert [row["key"] for row in found["forms"]] == [form.key for form in chain.FORMS]
    for row in found["forms"]:
        assert row["ns"].keys() == {str(size) for size in chain.SIZES}
        assert all(ns.keys() == {"ours", "by_hand"} and min(ns.values()) > 0 for ns in row["ns"].values())
    lines = capsys.readouterr().out.splitlines()
    for form in chain.FORMS:
        assert sum(line.startswith(f"| {form.label} ") for line in lines) == 1


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system does not tell which cores may be used")
def test_the_cores_of_the_process_are_given_back() -> None:
    cores = os.sched_getaffinity(0)
    with chain.on_one_core():
        assert len(os.sched_getaffinity(0)) == 1
    assert os.sched_getaffinity(0) == cores


def test_results_that_differ_are_refused() -> None:
    lazy = chain.Form("lazy", "a lazy one", (apply(abs),), lambda steps, records: list(records[1:]))
    with pytest.raises(chain.WrongWork, match="lazy"):
        chain.contestants(lazy, [1, 2, 3], Cursor())
