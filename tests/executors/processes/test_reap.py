"""Ending a worker ends all it has started, wherever that went, and nobody else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from pipeframe_async.executors.processes import reap
from pipeframe_async.testing import procfs

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(not procfs.AVAILABLE, reason="families are found in /proc"),
]

PROGRAM = """
import os, signal, sys, time
case = sys.argv[1]

def child(*, session=False, grandchild=False):
    if os.fork() == 0:
        if session:
            os.setsid()
        if grandchild and os.fork() == 0:
            tell()
        tell()

def tell():
    if case == "stubborn":
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
    os.write(1, b"%d\\n" % os.getpid())
    time.sleep(60)
    os._exit(0)

child()
child(session=case != "alone", grandchild=True)
if case == "leader gone":
    os._exit(0)
tell()
"""


class Family:
    """A process that leads a session, with children."""

    def __init__(self, case: str) -> None:
        command = [sys.executable, "-c", PROGRAM, case]
        self.root = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
        assert self.root.stdout is not None
        members = 3 if case == "leader gone" else 4
        self.pids = [int(self.root.stdout.readline()) for _ in range(members)]

    def alive(self, patience: float) -> list[int]:
        deadline = time.monotonic() + patience
        while (alive := [pid for pid in self.pids if runs(pid)]) and time.monotonic() < deadline:
            self.root.poll()
            time.sleep(0.005)
        return alive

    def end(self) -> None:
        for pid in self.pids:
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        self.root.kill()
        self.root.wait()
        assert self.root.stdout is not None
        self.root.stdout.close()


def runs(pid: int) -> bool:
    found = reap._stat(pid)
    return found is not None and found[0] not in "ZX"


@pytest.fixture
def families() -> Iterator[list[Family]]:
    made: list[Family] = []
    yield made
    for family in made:
        family.end()


@pytest.mark.parametrize("case", ["in sessions of their own", "stubborn", "alone"])
def test_a_process_ends_with_its_children_and_theirs(case: str, families: list[Family]) -> None:
    families.append(family := Family(case))
    assert len(family.alive(0)) == 4
    reap.kill_family(family.root.pid)
    assert family.alive(10) == []


def test_what_a_process_has_left_in_its_session_is_found_when_it_is_gone(families: list[Family]) -> None:
    families.append(family := Family("leader gone"))
    family.root.wait(10)
    in_session = [pid for pid in family.pids if os.getsid(pid) == family.root.pid]
    assert in_session
    reap.kill_family(family.root.pid)
    family.pids, others = in_session, [pid for pid in family.pids if pid not in in_session]
    assert family.alive(10) == []
    family.pids = others  # a session of their own, and no parent: nobody can know whose they were


def test_other_families_are_left_alone(families: list[Family]) -> None:
    families += [Family("alone"), Family("alone")]
    reap.kill_family(families[0].root.pid)
    assert families[0].alive(10) == []
    assert len(families[1].alive(0)) == 4


def test_killing_who_is_long_gone_does_nothing(families: list[Family]) -> None:
    families.append(family := Family("alone"))
    gone = subprocess.Popen([sys.executable, "-c", ""], start_new_session=True)
    gone.wait(20)
    reap.kill_family(gone.pid)
    assert len(family.alive(0)) == 4


def test_a_process_with_a_confusing_name_is_read_right(tmp_path: Path) -> None:
    program = tmp_path / "a) Z 1 (b"
    program.symlink_to("/bin/sleep")
    process = subprocess.Popen([str(program), "60"])
    try:
        deadline = time.monotonic() + 10
        while b"Z 1" not in Path(f"/proc/{process.pid}/stat").read_bytes() and time.monotonic() < deadline:
            time.sleep(0.005)
        found = reap._stat(process.pid)
        assert found is not None
        assert found[0] in "RSD"
        assert found[1:] == (os.getpid(), os.getsid(0))
    finally:
        process.kill()
        process.wait()


def test_who_is_gone_has_no_state() -> None:
    assert reap._stat(2**22 + 1) is None


def test_without_proc_the_group_is_killed(
    families: list[Family], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    families.append(family := Family("alone"))
    monkeypatch.setattr(reap, "_PROC", tmp_path)
    reap.kill_family(family.root.pid)
    monkeypatch.undo()
    assert family.alive(10) == []
