"""The workers there are: what is closed, killed and forgotten with them. Their records are fakes."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from multiprocessing import process as processes
from typing import Any

import pytest

from pipeframe_async.executors.processes import living
from pipeframe_async.testing.procfs import is_open

pytestmark = pytest.mark.skipif(os.name != "posix", reason="kills families")


class Popen:
    """multiprocessing's record of a child."""

    finalizer: Any

    def __init__(self, pid: int = 5, code: int | None = None) -> None:
        self.pid = pid
        self.code = code

    def poll(self) -> int | None:
        return self.code


class Child:
    """One of this process's children, as multiprocessing knows them."""

    forgotten_in_forks = False


@pytest.fixture(autouse=True)
def nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """The workers of other tests are not ours, and this process has its hook for the exit."""
    monkeypatch.setattr(living, "_living", type(living._living)())
    monkeypatch.setattr(living, "call_at_exit", lambda call: None)


@pytest.fixture
def killed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    killed: list[int] = []
    monkeypatch.setattr(living, "kill_family", killed.append)
    return killed


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        if is_open(end):
            os.close(end)


def test_what_a_worker_has_is_closed_when_it_is_put_away(pipe: tuple[int, int]) -> None:
    popen = Popen()
    living.hold(popen, *pipe)
    assert all(map(is_open, pipe))
    popen.finalizer()
    assert not any(map(is_open, pipe))


def test_what_a_worker_has_is_closed_when_nobody_knows_it_any_more(pipe: tuple[int, int]) -> None:
    popen = Popen()
    living.hold(popen, *pipe)
    del popen
    gc.collect()
    assert not any(map(is_open, pipe))
    assert len(living._living) == 0


def test_a_descriptor_can_be_another_one(pipe: tuple[int, int]) -> None:
    popen, (one, two) = Popen(), pipe
    new = os.dup(two)
    living.hold(popen, one, two)
    living.replace(popen, two, new)
    assert (is_open(one), is_open(two), is_open(new)) == (True, False, True)
    popen.finalizer()
    assert not is_open(one)
    assert not is_open(new)


def test_a_fork_closes_what_it_has_of_them_and_ends_nobody(
    pipe: tuple[int, int], killed: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, other = Child(), Child()
    worker.forgotten_in_forks = True
    monkeypatch.setattr(processes, "_children", children := {worker, other})
    popen = Popen()
    living.hold(popen, *pipe)
    living.forget()
    assert not any(map(is_open, pipe))
    assert children == {other}
    living.end_all()
    assert killed == []
    assert not popen.finalizer.still_active()


def test_at_the_exit_those_that_live_are_killed_with_their_families(killed: list[int]) -> None:
    lives, ended, starts = Popen(5), Popen(6, code=0), Popen(7)
    del starts.pid  # its server has not told it yet
    for popen in (lives, ended, starts):
        living.hold(popen)
    living.end_all()
    assert killed == [5]


def test_one_that_ends_just_now_keeps_nobody_else(killed: list[int]) -> None:
    class Ends(Popen):
        def poll(self) -> int | None:
            raise ProcessLookupError

    ends, lives = Ends(4), Popen(5)
    living.hold(ends)
    living.hold(lives)
    living.end_all()
    assert killed == [5]


def test_they_are_ended_at_the_exit(monkeypatch: pytest.MonkeyPatch) -> None:
    hooks: list[Any] = []
    monkeypatch.setattr(living, "call_at_exit", hooks.append)
    living.hold(Popen())
    assert hooks == [living.end_all]
