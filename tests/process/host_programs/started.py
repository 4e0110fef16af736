"""A program under test: started with a mark in its environment, by which its whole family is found."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from pipeframe_async.testing import procfs

ROOT = Path(__file__).parents[3]
MARK = "PIPEFRAME_HOST_PROGRAM"

linux = pytest.mark.skipif(not procfs.AVAILABLE, reason="looks for processes in /proc")
posix = pytest.mark.skipif(os.name != "posix", reason="signals and forks are POSIX")

STARTING = 30.0
"""Seconds a program has until it is at work; only a machine that is very busy needs more than two."""


def as_from_a_terminal() -> None:
    """Hear SIGINT, also where the tests were started in the background, by a shell that ignores it for them."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Program:
    """A running program; what it writes goes to a file, for a pipe would be kept open by what it leaves behind."""

    def __init__(self, place: Path, *arguments: str, env: Mapping[str, str], wrapped: tuple[str, ...]) -> None:
        self.place = place
        self.output = place / "output.txt"
        self._mark = f"{MARK}={uuid.uuid4().hex}"
        name, _, value = self._mark.partition("=")
        with self.output.open("wb") as stream:
            self.process = subprocess.Popen(
                [*wrapped, sys.executable, *arguments],
                cwd=place,
                env={**os.environ, "PYTHONPATH": str(ROOT), name: value, **env},
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=as_from_a_terminal,
            )

    @property
    def written(self) -> str:
        return self.output.read_text("utf-8", errors="replace")

    def family(self, but: tuple[int, ...] = ()) -> list[procfs.Process]:
        """All that live and were started by it, by whatever way, and itself."""
        return [
            process
            for process in procfs.processes().values()
            if process.state not in "ZX" and process.pid not in but and process.has_in_environment(self._mark)
        ]

    def wait_for_file(self, name: str) -> str:
        """The contents of a file that the program makes, once it is there."""
        path = self.place / name
        self.wait_until(path.exists)
        return path.read_text()

    def wait_until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + STARTING
        while not condition():
            assert self.process.poll() is None, f"the program ended early:\n{self.written}"
            assert time.monotonic() < deadline, f"it did not happen in time:\n{self.written}"
            time.sleep(0.005)

    def ends(self, within: float) -> int:
        """Its exit code; fails where it takes longer than so many seconds."""
        try:
            return self.process.wait(within)
        except subprocess.TimeoutExpired:
            pytest.fail(f"still running after {within} s:\n{self.written}", pytrace=False)

    def leaves_nobody(self, within: float = 1.0, but: tuple[int, ...] = ()) -> None:
        """Fails where a process of its family is alive after so many seconds."""
        deadline = time.monotonic() + within
        while alive := self.family(but):
            if time.monotonic() > deadline:
                pytest.fail(f"alive after {within} s: {[str(process) for process in alive]}", pytrace=False)
            time.sleep(0.005)

    def kill_family(self) -> None:
        """Kill what is left. Trackers go by themselves when nobody is left, and put away semaphores before that."""
        deadline = time.monotonic() + 2.0
        while family := self.family():
            overdue = time.monotonic() > deadline
            for process in family:
                if overdue or "resource_tracker" not in process.command:
                    with suppress(ProcessLookupError):
                        os.kill(process.pid, signal.SIGKILL)
            time.sleep(0.005)
        self.process.wait()


@contextmanager
def program(
    place: Path, *arguments: str, env: Mapping[str, str] = {}, wrapped: tuple[str, ...] = ()
) -> Iterator[Program]:
    """Start a program; whatever is left of it at the end of the block is killed."""
    started = Program(place, *arguments, env=env, wrapped=wrapped)
    try:
        yield started
    finally:
        if procfs.AVAILABLE:
            started.kill_family()
        else:
            started.process.kill()
            started.process.wait()


def module(name: str) -> tuple[str, str]:
    """Arguments that run a program of this directory."""
    return "-m", f"{__package__}.{name}"
