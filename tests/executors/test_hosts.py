"""What a host or a process cannot do is said in one sentence, before anything is started."""

from __future__ import annotations

import os
import sys

import pytest

from pipeframe_async.errors import ConfigError, StateError
from pipeframe_async.executors import hosts


@pytest.mark.skipif(sys.platform == "win32", reason="semaphores are POSIX's")
@pytest.mark.parametrize("error", [ImportError("no sem_open"), NotImplementedError("no limits"), OSError(28, "full")])
def test_a_host_without_semaphores_is_refused_with_the_reason_and_the_remedy(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails() -> None:
        raise error

    monkeypatch.setattr(hosts, "_make_one", fails)
    with pytest.raises(ConfigError) as caught:
        hosts.check_semaphores()
    assert all(word in str(caught.value) for word in ("/dev/shm", str(error), 'executor="threads"'))
    assert caught.value.__cause__ is error


def test_an_error_of_ours_is_not_blamed_on_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hosts, "_make_one", lambda: [][0])
    monkeypatch.setattr(sys, "platform", "linux")
    with pytest.raises(IndexError):
        hosts.check_semaphores()


def test_where_pools_can_be_made_nothing_is_said_and_nothing_left() -> None:
    for _ in range(3):
        hosts.check_semaphores()  # what it leaves the fixture of all tests finds


def test_windows_has_semaphores_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hosts, "_make_one", lambda: [][0])
    monkeypatch.setattr(sys, "platform", "win32")
    hosts.check_semaphores()


def test_a_frame_is_used_where_it_was_started() -> None:
    hosts.check_not_forked(os.getpid(), "orders")


def test_a_fork_is_told_whose_workers_those_are() -> None:
    with pytest.raises(StateError) as caught:
        hosts.check_not_forked(os.getpid() + 1, "orders")
    assert all(
        word in str(caught.value) for word in ("orders", str(os.getpid()), str(os.getpid() + 1), "new PipeFrame")
    )
