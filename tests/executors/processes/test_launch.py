"""How a worker is started, up to the moment a process would be: what it is told, and what it is not."""

from __future__ import annotations

import importlib
import io
import multiprocessing
import os
import pickle
import sys
from collections.abc import Iterator
from multiprocessing import process as processes
from multiprocessing.process import current_process
from types import SimpleNamespace
from typing import Any

import pytest

from pipeframe_async._worker import bootstrap
from pipeframe_async.executors.processes import launch
from pipeframe_async.executors.processes.launch import LaneContext, LaneProcess

posix = pytest.mark.skipif(sys.platform == "win32", reason="one of the two ways of POSIX")


def nothing() -> None:
    """What a worker does."""


@pytest.mark.parametrize("name", launch.PRELOAD)
def test_what_the_server_loads_beforehand_is_there(name: str) -> None:
    """It passes over what it cannot import, and workers start slowly ever after."""
    importlib.import_module(name)


def test_the_module_that_starts_workers_is_loaded_there_by_its_name() -> None:
    assert LaneProcess.__module__ in launch.PRELOAD


def test_a_context_remembers_the_process_it_made() -> None:
    context = LaneContext("spawn")
    assert context.process is None
    process = context.Process(target=nothing)
    assert context.process is process
    assert (process._start_method, process.daemon) == ("spawn", False)


@posix
@pytest.mark.parametrize(("method", "kind"), [("forkserver", "_Served"), ("spawn", "_Spawned")])
def test_each_method_has_its_way(method: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_Served", "_Spawned"):
        monkeypatch.setattr(launch, name, lambda process, name=name: (name, process))
    process = LaneContext(method).Process(target=nothing)
    assert LaneProcess._Popen(process) == (kind, process)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[LaneProcess]]:
    """Processes that were to be started; none is."""
    seen: list[LaneProcess] = []

    def popen(process: LaneProcess) -> Any:
        assert not current_process()._config.get("daemon")  # type: ignore[attr-defined]
        seen.append(process)
        return SimpleNamespace(sentinel=0)

    monkeypatch.setattr(launch, "popen", popen)
    yield seen
    for process in seen:
        processes._children.discard(process)  # type: ignore[attr-defined]


@pytest.mark.parametrize("daemon", [None, False, True])
def test_a_daemonic_process_starts_workers_too_and_stays_daemonic(
    daemon: bool | None, started: list[LaneProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = current_process()._config  # type: ignore[attr-defined]
    if daemon is not None:
        monkeypatch.setitem(config, "daemon", daemon)
    process = LaneContext().Process(target=nothing)
    process.start()
    assert started == [process]
    assert config.get("daemon") is daemon


def test_a_start_that_fails_leaves_a_daemonic_process_daemonic(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(process: LaneProcess) -> Any:
        raise OSError("no more processes")

    monkeypatch.setattr(launch, "popen", refuses)
    config = current_process()._config  # type: ignore[attr-defined]
    monkeypatch.setitem(config, "daemon", True)
    with pytest.raises(OSError, match="no more"):
        LaneContext().Process(target=nothing).start()
    assert config["daemon"] is True


def test_a_worker_prepares_itself_before_it_does_what_its_pool_wants(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[Any] = []
    monkeypatch.setattr(bootstrap, "prepare", lambda surroundings, streams: done.append("prepare"))
    monkeypatch.setattr(bootstrap, "leave_soon", lambda: done.append("leave soon"))
    monkeypatch.setattr(bootstrap, "end_pools", lambda: done.append("end pools"))
    monkeypatch.setattr(bootstrap, "keep_from_children", lambda *queues: done.append(queues))
    LaneContext().Process(target=lambda *args: done.append(args), args=("calls", "results", "more")).run()
    assert done == ["prepare", ("calls", "results"), ("calls", "results", "more"), "leave soon", "end pools"]


class Handed:
    """A descriptor on its way."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def detach(self) -> int:
        return self.fd


def test_a_worker_is_not_told_of_the_users_main_module(monkeypatch: pytest.MonkeyPatch) -> None:
    main = SimpleNamespace(__spec__=None, __file__=os.path.abspath("script.py"), __name__="__main__")
    monkeypatch.setitem(sys.modules, "__main__", main)
    process = LaneContext().Process(target=nothing, name="worker of lane 3")
    given = SimpleNamespace(duplicate_for_child=lambda fd: fd, DupFd=Handed)
    stream = io.BytesIO(launch._first_message(given, process))
    preparation = pickle.load(stream)
    assert preparation["name"] == "worker of lane 3"
    assert preparation["sys_path"]
    assert not [key for key in preparation if "main" in key]
    read = pickle.load(stream)
    assert (type(read), read.name) == (LaneProcess, "worker of lane 3")
    assert read._surroundings.variables["PATH"] == os.environ["PATH"]
    assert [file.fd for file in read._streams] == [1, 2]


def test_starting_a_worker_chooses_no_start_method_for_the_app(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multiprocessing, "get_start_method", lambda *, allow_none: None)
    assert "start_method" not in launch._preparation("lane")


def test_a_directory_that_is_gone_keeps_no_worker_from_starting(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone() -> str:
        raise FileNotFoundError("the working directory")

    monkeypatch.setattr(os, "getcwd", gone)
    assert launch._preparation("lane")["name"] == "lane"


def test_a_main_module_that_is_hidden_comes_back() -> None:
    main = sys.modules["__main__"]
    with pytest.raises(ZeroDivisionError), launch._hidden_main():
        assert sys.modules["__main__"] is not main
        assert not hasattr(sys.modules["__main__"], "__file__")
        _ = 1 / 0
    assert sys.modules["__main__"] is main


def test_workers_are_never_forked_off_the_app() -> None:
    assert launch.DEFAULT_METHOD in ("forkserver", "spawn")
    assert LaneProcess.forgotten_in_forks
