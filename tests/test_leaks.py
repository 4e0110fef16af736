"""The leak check finds each kind of leak, waits for what is on its way out, and spares Python's services."""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing.context import ForkServerContext, SpawnContext
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path

import pytest

import pipeframe_async
from pipeframe_async.testing import leaks, procfs

linux = pytest.mark.skipif(not procfs.AVAILABLE, reason="reads /proc")

SOON = 0.05
"""Seconds: these leaks do not go away by themselves, so there is nothing to wait for."""

SLEEP = "import time; time.sleep(600)"


def left(before: leaks.Snapshot, kind: str) -> list[str]:
    """What is left of one kind; programs of others on this machine may add to the other kinds at any time."""
    return [line for line in leaks.left_behind(before, SOON) if line.startswith(kind)]


@contextmanager
def running(code: str, env: dict[str, str] | None = None) -> Iterator[subprocess.Popen[str]]:
    child = subprocess.Popen(
        [sys.executable, "-S", "-c", code],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


def test_nothing_is_left_by_doing_nothing() -> None:
    assert leaks.left_behind(leaks.snapshot()) == []


@linux
def test_an_open_descriptor_is_found() -> None:
    before = leaks.snapshot()
    ends = os.pipe()
    found = left(before, "descriptor")
    for end in ends:
        os.close(end)
    assert [re.sub(r"\d+", "N", line) for line in found] == ["descriptor N -> pipe:[N]"] * 2
    assert leaks.left_behind(before) == []


@linux
def test_a_descriptor_that_leads_elsewhere_than_before_is_found(tmp_path: Path) -> None:
    first = os.open(tmp_path, os.O_RDONLY)
    before = leaks.snapshot()
    os.close(first)
    (tmp_path / "other").touch()
    second = os.open(tmp_path / "other", os.O_RDONLY)
    found = left(before, "descriptor")
    os.close(second)
    assert found == [f"descriptor {second} -> {tmp_path / 'other'}"]


def test_a_running_thread_is_found() -> None:
    may_end = threading.Event()
    before = leaks.snapshot()
    thread = threading.Thread(target=may_end.wait, name="forgotten")
    thread.start()
    found = left(before, "thread")
    may_end.set()
    thread.join()
    assert found == ["thread 'forgotten'"]


def test_a_thread_that_is_about_to_end_is_waited_for() -> None:
    before = leaks.snapshot()
    timer = threading.Timer(0.1, lambda: None)
    timer.start()
    assert leaks.left_behind(before, 10) == []


def test_the_file_that_libffi_keeps_open_is_no_leak(tmp_path: Path) -> None:
    library = tmp_path / "libffi.so.8.5.0"
    library.touch()
    before = leaks.snapshot()
    with library.open():
        assert left(before, "descriptor") == []


@linux
def test_a_child_is_found() -> None:
    before = leaks.snapshot()
    with running(SLEEP) as child:
        found = left(before, f"process {child.pid} ")
    assert len(found) == 1
    assert SLEEP in found[0]


@linux
def test_a_child_without_our_environment_is_found_by_its_parent() -> None:
    before = leaks.snapshot()
    with running(SLEEP, env={}) as child:
        assert left(before, f"process {child.pid} ")


@linux
def test_a_child_that_nobody_reaped_is_found() -> None:
    before = leaks.snapshot()
    pid = os.posix_spawn(sys.executable, [sys.executable, "-S", "-c", ""], os.environ)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    found = left(before, "process")
    os.waitpid(pid, 0)
    assert found == [f"process {pid} (parent {os.getpid()}, state Z): no command"]


ORPHAN = f"""
import os, subprocess, sys
command = [sys.executable, "-S", "-c", "{SLEEP}"]
child = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL)
print(child.pid, flush=True)
os._exit(0)
"""


@linux
def test_an_orphan_is_found_by_its_environment_and_ended() -> None:
    before = leaks.snapshot()
    with running(ORPHAN) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.wait()
    try:
        assert left(before, f"process {pid} ")
        leaks.end_new_processes(before)
        assert leaks.left_behind(before, 10) == []
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@linux
def test_a_process_that_was_there_before_is_no_leak() -> None:
    with running(SLEEP):
        assert leaks.left_behind(leaks.snapshot()) == []


@linux
def test_shared_memory_is_found() -> None:
    before = leaks.snapshot()
    block = SharedMemory(create=True, size=1)
    block.close()
    found = left(before, f"shared memory /dev/shm/{block.name.lstrip('/')}")
    block.unlink()
    assert len(found) == 1


CONTEXTS = [multiprocessing.get_context("forkserver"), multiprocessing.get_context("spawn")]


def lock_and_die() -> None:
    """In a worker: make a semaphore, and end without tidying up. Its resource tracker is ours, which lives on."""
    lock = multiprocessing.get_context("spawn").Lock()
    with lock:
        os.kill(os.getpid(), signal.SIGKILL)


@linux
@pytest.mark.process
@pytest.mark.parametrize("context", CONTEXTS, ids=["forkserver", "spawn"])
def test_a_semaphore_that_a_worker_made_is_found_when_the_worker_is_gone(
    context: ForkServerContext | SpawnContext,
) -> None:
    before = leaks.snapshot()
    worker = context.Process(target=lock_and_die)
    worker.start()
    worker.join()
    worker.close()
    found = left(before, "shared memory /dev/shm/sem.mp-")
    for line in found:
        file = Path(line.removeprefix("shared memory "))
        file.unlink()
        resource_tracker.unregister(f"/{file.name.removeprefix('sem.')}", "semaphore")
    assert len(found) == 1
    assert left(before, "shared memory") == []


HOLDER = """
import os, sys, time
fd = os.open(f"/dev/shm/held_by_{os.getpid()}", os.O_CREAT | os.O_RDWR)
print(os.getpid(), flush=True)
sys.stdin.readline()
os.unlink(f"/dev/shm/held_by_{os.getpid()}")
"""


@linux
def test_shared_memory_of_any_name_is_found_as_long_as_a_process_of_ours_has_it_open() -> None:
    before = leaks.snapshot()
    command = [sys.executable, "-S", "-c", HOLDER]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        pid = int(child.stdout.readline())
        found = left(before, "shared memory")
        child.communicate("\n")
    assert found == [f"shared memory /dev/shm/held_by_{pid}"]
    assert left(before, "shared memory") == []


def test_the_library_makes_no_shared_memory_by_name() -> None:
    """A block that a worker made has no mark, and is not found once the worker is gone: so there must be none."""
    package = Path(pipeframe_async.__file__).parent
    sources = set(package.rglob("*.py")) - {Path(leaks.__file__)}  # which looks for it
    makers = ("shared_memory", "_posixshmem", "shm_open")
    assert [str(path) for path in sources if any(maker in path.read_text("utf-8") for maker in makers)] == []


STRANGER = """
import multiprocessing, os, time
if os.fork():
    os._exit(0)
lock = multiprocessing.get_context("spawn").Lock()
print(os.getpid(), flush=True)
time.sleep(600)
"""


@linux
def test_shared_memory_of_another_program_is_no_leak() -> None:
    """The other program neither descends from this session nor carries its tag."""
    before = leaks.snapshot()
    with running(STRANGER, env={}) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.wait()
        try:
            found = left(before, "shared memory")
            there = set(os.listdir(leaks.SHARED_MEMORY)) - before.shared_memory
        finally:
            os.kill(pid, signal.SIGKILL)
    assert there
    assert found == []


LITTERER = """
import _multiprocessing, os
from multiprocessing.resource_tracker import unregister
from multiprocessing.shared_memory import SharedMemory
block = SharedMemory(create=True, size=1)
block.close()
unregister(block._name, "shared_memory")
semaphore = f"/mp-{os.getpid():08}"
_multiprocessing.SemLock(1, 1, 1, semaphore, False)
os.mkdir(folder := f"/dev/shm/joblib_memmapping_folder_{os.getpid()}")
print(block.name.lstrip("/"), f"sem.{semaphore[1:]}", os.path.basename(folder))
"""


@linux
def test_what_another_program_has_left_and_nobody_uses_is_no_leak() -> None:
    before = leaks.snapshot()
    names = subprocess.run(
        [sys.executable, "-S", "-c", LITTERER], env={}, stdout=subprocess.PIPE, text=True, check=True, timeout=30
    ).stdout.split()
    try:
        assert len(names) == 3
        assert set(names) <= set(os.listdir(leaks.SHARED_MEMORY)) - before.shared_memory
        assert left(before, "shared memory") == []
    finally:
        for name in names:
            place = leaks.SHARED_MEMORY / name
            if place.is_dir():
                place.rmdir()
            else:
                place.unlink()


@linux
def test_names_carry_the_mark_of_the_innermost_session_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(leaks.TAG_NAME, "0123456789:abcdef0123")
    assert leaks.made_here("sem.mp-abcde-k2x_9f3a")
    assert leaks.made_here("psm_abcde9f3a")
    for name in ("sem.mp-01234-k2x_9f3a", "sem.mp-abcdefgh", "psm_01234567", "other_abcde"):
        assert not leaks.made_here(name)
    monkeypatch.delenv(leaks.TAG_NAME)
    assert not leaks.made_here("sem.mp-k2x_9f3a")


@linux
@pytest.mark.process
def test_the_fork_server_and_its_pipes_are_no_leak() -> None:
    before = leaks.snapshot()
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("forkserver")) as pool:
        assert pool.submit(abs, -3).result() == 3
        assert left(before, "process")
    assert leaks.left_behind(before) == []


BAD_TESTS = """
import asyncio, os, subprocess, sys, threading, time
import pytest
from pipeframe_async.testing import Deadlock, run_virtual

async def forever():
    await asyncio.get_running_loop().create_future()

kept = []

async def test_leaves_a_task():
    kept.append(asyncio.create_task(forever(), name="stray"))

def test_leaves_a_task_in_a_run_of_its_own():
    async def main():
        kept.append(asyncio.create_task(forever(), name="stray"))
    asyncio.run(main())

@pytest.mark.virtual_clock
async def test_leaves_a_task_in_virtual_time():
    kept.append(asyncio.create_task(forever(), name="stray"))

async def test_leaves_a_descriptor():
    os.dup(0)

def test_leaves_a_child():
    kept.append(subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"]))

def test_good_deadlock():
    with pytest.raises(Deadlock):
        run_virtual(forever)

async def test_good_task_that_ends_by_itself():
    kept.append(asyncio.create_task(asyncio.sleep(0.01)))

@pytest.mark.virtual_clock
async def test_good_long_sleep():
    await asyncio.sleep(3000)

def test_leaves_a_thread():
    threading.Thread(target=time.sleep, args=(5,), daemon=True, name="stray").start()
"""

IMPATIENT = "from pipeframe_async.testing import leaks\nleaks.PATIENCE = 0.1\n"


@linux
def test_the_fixture_fails_each_test_that_leaks_and_no_other(tmp_path: Path) -> None:
    (tmp_path / "test_bad.py").write_text(BAD_TESTS)
    (tmp_path / "impatient.py").write_text(IMPATIENT)
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\nasyncio_mode = auto\nmarkers =\n    virtual_clock: as in the real one\n"
    )
    root = Path(__file__).parents[1]
    run = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "tests.conftest",
            "-p",
            "impatient",
            "-p",
            "no:cacheprovider",
            "-rA",
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(root), str(tmp_path)])},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    leaked = set(re.findall(r"^ERROR test_bad.py::test_leaves_(\S+)", run.stdout, re.MULTILINE))
    assert leaked == {
        "a_task[asyncio]",
        "a_task[uvloop]",
        "a_task_in_a_run_of_its_own",
        "a_task_in_virtual_time",
        "a_descriptor[asyncio]",
        "a_descriptor[uvloop]",
        "a_thread",
        "a_child",
    }, run.stdout + run.stderr
    assert "12 passed, 8 errors" in run.stdout
    assert run.stdout.count("task 'stray' of <coroutine object forever") >= 4
    assert "ERROR test_bad.py::test_good" not in run.stdout
