"""How many cores may be used: the mask of the process and the grant of its container."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeframe_async.executors import cores
from pipeframe_async.executors.cores import default_workers, usable_cores

LINUX = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="processes cannot be pinned here")


@pytest.fixture
def all_cores(tmp_path: Path) -> int:
    return usable_cores(tmp_path / "no such file")


@pytest.fixture
def pinned_to_one() -> Iterator[None]:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    yield
    os.sched_setaffinity(0, before)


def test_without_a_grant_all_cores_of_the_mask_are_usable(all_cores: int) -> None:
    assert all_cores == (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())


@pytest.mark.parametrize(
    ("grant", "at_most"),
    [
        ("100000 100000", 1),
        ("10000 100000", 1),  # a tenth of a core is one worker all the same
        ("150000 100000", 2),
        ("99999900000 100000", 10**6),
    ],
)
def test_a_grant_is_rounded_up_and_bounds_the_mask(grant: str, at_most: int, all_cores: int, tmp_path: Path) -> None:
    file = tmp_path / "cpu.max"
    file.write_text(f"{grant}\n")
    assert usable_cores(file) == min(all_cores, at_most)


@pytest.mark.parametrize("text", ["max 100000\n", "", "rubbish", "1 2 3", "a b"])
def test_a_file_that_grants_nothing_in_particular_bounds_nothing(text: str, all_cores: int, tmp_path: Path) -> None:
    file = tmp_path / "cpu.max"
    file.write_text(text)
    assert usable_cores(file) == all_cores


@LINUX
@pytest.mark.usefixtures("pinned_to_one")
def test_a_process_pinned_to_one_core_uses_one(tmp_path: Path) -> None:
    assert usable_cores(tmp_path / "no such file") == 1


@LINUX
@pytest.mark.usefixtures("pinned_to_one")
def test_there_is_a_worker_even_where_there_is_one_core() -> None:
    assert default_workers() == 1


def test_one_core_is_left_to_the_loop() -> None:
    assert default_workers() == max(1, usable_cores() - 1)


def test_the_grant_is_read_where_linux_has_it() -> None:
    assert cores.CGROUP_QUOTA.as_posix() == "/sys/fs/cgroup/cpu.max"
