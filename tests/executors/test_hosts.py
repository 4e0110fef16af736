"""What a host or a process cannot do is said in one sentence, before anything is started."""

from __future__ import annotations

import multiprocessing
import os
import resource
import sys
from types import SimpleNamespace

import pytest

from pipeframe_async._worker.surroundings import MARK
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


# --- programs that are no Python, or themselves --------------------------------------------------------------------


@pytest.mark.parametrize("executable", [None, "", b""])
def test_a_program_without_an_executable_is_refused_with_a_remedy(executable: str | bytes | None) -> None:
    with pytest.raises(ConfigError, match=r"does not run Python.*multiprocessing\.set_executable"):
        hosts.check_executable(executable)


def test_a_copy_that_was_started_to_be_a_fork_server_starts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MARK, str(os.getppid()))
    with pytest.raises(ConfigError, match="runs the program again instead"):
        hosts.check_executable(sys.executable)
    monkeypatch.setenv(MARK, str(os.getpid()))  # a child of a server's, which is somebody else
    assert hosts.check_executable(sys.executable) == sys.executable


def test_a_frozen_program_must_have_called_freeze_support(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    monkeypatch.setattr(multiprocessing, hosts.FREEZE_SUPPORT, lambda: None)
    monkeypatch.setattr(hosts, "_frozen_and_ready", False)
    monkeypatch.setattr(hosts, "_mentions_freeze_support", lambda: False)
    hosts.watch_freeze_support()
    with pytest.raises(ConfigError, match="frozen program without"):
        hosts.check_executable(sys.executable)
    getattr(multiprocessing, hosts.FREEZE_SUPPORT)()
    assert hosts.check_executable(sys.executable) == sys.executable


def test_a_program_that_is_not_frozen_is_left_as_it_is() -> None:
    before = multiprocessing.freeze_support
    hosts.watch_freeze_support()
    assert multiprocessing.freeze_support is before


def test_a_main_module_that_calls_it_is_known_by_its_functions(monkeypatch: pytest.MonkeyPatch) -> None:
    def plain() -> None:
        """Calls nothing."""

    def calls() -> None:
        def within() -> None:
            multiprocessing.freeze_support()

        within()

    monkeypatch.setattr(hosts, "_outwards", lambda frame: iter(()))
    monkeypatch.setitem(sys.modules, "__main__", SimpleNamespace(main=plain))
    assert not hosts._mentions_freeze_support()
    monkeypatch.setitem(sys.modules, "__main__", SimpleNamespace(main=calls))
    assert hosts._mentions_freeze_support()


def test_one_that_has_called_it_on_the_way_here_is_known_by_the_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "__main__", SimpleNamespace())
    called = multiprocessing.freeze_support
    assert called is not None
    assert hosts._mentions_freeze_support()


@pytest.mark.parametrize(
    ("limits", "workers", "set_to"),
    [
        ((1024, 4096), 8, None),
        ((1024, 4096), 64, 1280),
        ((1024, 1100), 64, 1100),
        ((256, resource.RLIM_INFINITY), 16, 512),
        ((resource.RLIM_INFINITY, resource.RLIM_INFINITY), 1000, None),
    ],
)
def test_the_limit_of_open_files_is_raised_where_so_many_workers_need_it(
    limits: tuple[int, int], workers: int, set_to: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    raised: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda which: limits)
    monkeypatch.setattr(resource, "setrlimit", lambda which, pair: raised.append(pair))
    hosts.make_room(workers)
    assert raised == ([] if set_to is None else [(set_to, limits[1])])


def test_a_limit_that_cannot_be_raised_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(which: int, pair: tuple[int, int]) -> None:
        raise ValueError("not allowed to raise maximum limit")

    monkeypatch.setattr(resource, "getrlimit", lambda which: (10, 10_000))
    monkeypatch.setattr(resource, "setrlimit", refuse)
    hosts.make_room(64)
