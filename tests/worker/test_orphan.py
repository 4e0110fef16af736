"""No worker outlives its parent, whatever either of them is doing."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from tests.process.host_programs.started import linux, module, program

pytestmark = [pytest.mark.process, linux]

METHODS = ["forkserver", "spawn"]
kernel = pytest.mark.skipif(sys.platform != "linux", reason="the kernel is asked on Linux only")


def family_ends(place: Path, method: str, what: str, ending: str) -> None:
    """Start a parent with a worker that does this, end the parent like that: all of the family is gone in a second."""
    with program(place, *module("parent"), method, what, ending) as parent:
        parent.wait_for_file("ready")
        if ending != "segfault":
            assert len(parent.family()) >= 2
            parent.process.send_signal(getattr(signal, ending))
        code = parent.ends(within=10)
        parent.leaves_nobody(within=1.0)
    assert code == -(signal.SIGSEGV if ending == "segfault" else getattr(signal, ending))


@kernel
@pytest.mark.parametrize("what", ["idle", "python", "c_code", "family"])
@pytest.mark.parametrize("method", METHODS)
def test_a_worker_ends_with_its_killed_parent(tmp_path: Path, method: str, what: str) -> None:
    family_ends(tmp_path, method, what, "SIGKILL")


@kernel
@pytest.mark.parametrize("ending", ["SIGTERM", "segfault"])
@pytest.mark.parametrize("what", ["idle", "c_code"])
@pytest.mark.parametrize("method", METHODS)
def test_a_worker_ends_with_its_parent_however_that_ends(tmp_path: Path, method: str, what: str, ending: str) -> None:
    family_ends(tmp_path, method, what, ending)


@kernel
@pytest.mark.parametrize("what", ["catches_what_it_can", "closes_everything"])
def test_no_step_can_keep_a_worker_from_ending(tmp_path: Path, what: str) -> None:
    family_ends(tmp_path, "forkserver", what, "SIGKILL")


@pytest.mark.parametrize("method", METHODS)
def test_where_the_kernel_cannot_be_asked_a_thread_ends_the_worker_and_its_children(
    tmp_path: Path, method: str
) -> None:
    family_ends(tmp_path, method, "thread_alone", "SIGKILL")


@pytest.mark.parametrize("method", METHODS)
def test_a_parent_that_has_gone_before_the_worker_looks_is_noticed(tmp_path: Path, method: str) -> None:
    family_ends(tmp_path, method, "too_late", "SIGKILL")
