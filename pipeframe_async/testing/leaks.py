"""What a test must not leave behind: tasks, processes, threads, descriptors, shared memory.

A snapshot is taken before the test; whatever is new after it has a bounded time to go away by itself and is
then a leak. Processes are found by their parents and by a tag in their environment, so that orphans and
grandchildren count; on systems without /proc only threads and tasks are looked at. Other programs of the machine make
and leave what they like: shared memory is judged by a mark in its name, or by who uses it.
"""

from __future__ import annotations

import asyncio
import gc
import os
import re
import signal
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import current_process, shared_memory
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

from pipeframe_async.executors.processes import launch
from pipeframe_async.testing import procfs
from pipeframe_async.testing.clock import Deadlock, Overdue

TAG_NAME: Final = "PIPEFRAME_TEST_SESSION"
STAYING: Final = re.compile(r"/libffi\.so")
"""What a library has open from its first use on: libffi its own file, since the first callback that ctypes makes."""
SHARED_MEMORY: Final = Path("/dev/shm")

MARK_LENGTH: Final = 5
"""Characters. A name of a block may be of 14 with its slash, and Python wants at least four of them for itself."""

PATIENCE: Final = 2.0
"""Seconds. Smaller calls a slow machine's clean-up a leak; larger delays the report of a real one."""

TASK_PATIENCE: Final = 0.5
"""Seconds, on the loop's own clock, that tasks get to end by themselves once the test's coroutine has."""

SERVICES: Final = (
    "multiprocessing.forkserver import",  # ours as well
    "multiprocessing.resource_tracker import",
    "loky.backend.resource_tracker",
)
"""Part of the commands of processes that Python starts once and keeps: children of ours, not of a test's."""

kept: Final[set[str]] = set()
"""Parts of the commands of processes that a test session starts for all its tests, and that are none of one test's: add
to it what a server of yours is started with. What those start themselves counts as theirs."""


_tags: list[str] = []  # of this process, one at most


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What there is at one moment."""

    processes: frozenset[tuple[int, int]]
    threads: frozenset[threading.Thread]
    descriptors: dict[int, str]
    shared_memory: frozenset[str]


def tag_session() -> str:
    """Mark every process that will be started from here on; a session inside a session keeps both marks.

    Names of shared memory are marked, too, since nothing else about an entry of /dev/shm says who made it. Semaphores
    get the mark in this process and in all that multiprocessing starts, forked off the fork server or spawned, for
    each process hands its configuration on to its children. Blocks get it in this process and its forks. A second call
    changes nothing.
    """
    if _tags:
        return _tags[0]
    _tags.append(tag := uuid.uuid4().hex)
    os.environ[TAG_NAME] = ":".join(filter(None, [os.environ.get(TAG_NAME), tag]))
    if procfs.AVAILABLE:
        mark = tag[:MARK_LENGTH]
        vars(current_process())["_config"]["semprefix"] = f"/mp-{mark}"
        vars(shared_memory)["_SHM_NAME_PREFIX"] = f"/psm_{mark}"
    return tag


def made_here(name: str) -> bool:
    """Whether an entry of /dev/shm has the mark of this session in its name."""
    mark = os.environ.get(TAG_NAME, "").rpartition(":")[2][:MARK_LENGTH]
    return bool(mark) and name.startswith((f"sem.mp-{mark}-", f"psm_{mark}"))


def snapshot() -> Snapshot:
    """What there is now, to compare with later."""
    return Snapshot(
        frozenset(process.identity for process in our_processes()),
        frozenset(threading.enumerate()),
        procfs.descriptors(os.getpid()) if procfs.AVAILABLE else {},
        _shared_memory(),
    )


def left_behind(before: Snapshot, patience: float | None = None) -> list[str]:
    """What is there now and was not then, in words; asks again until it is gone or the patience is."""
    deadline = time.monotonic() + (PATIENCE if patience is None else patience)
    pause = 0.001
    while (leaks := _new_since(before)) and time.monotonic() < deadline:
        gc.collect()  # what only waits for the collector is no leak: its own ResourceWarning tells of it
        time.sleep(pause)
        pause = min(2 * pause, 0.1)
    return leaks


def end_new_processes(before: Snapshot) -> None:
    """Kill what the test left running, so that it harms no other test."""
    if sys.platform == "win32":
        return  # where none is found
    for process in _new_processes(before):
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)


def our_processes() -> list[procfs.Process]:
    """Processes that this session started, also those whose parents are gone; without Python's services."""
    if not procfs.AVAILABLE:
        return []
    everything = procfs.processes()
    tag = os.environ.get(TAG_NAME)
    return [
        process
        for process in everything.values()
        if process.pid != os.getpid()
        and (_descends(process, everything) or (tag is not None and process.has_in_environment(f"{TAG_NAME}={tag}")))
        and not _is_service(process, everything)
    ]


def _new_since(before: Snapshot) -> list[str]:
    return [
        *(str(process) for process in _new_processes(before)),
        *(f"thread {thread.name!r}" for thread in threading.enumerate() if thread not in before.threads),
        *(f"descriptor {number} -> {target}" for number, target in _new_descriptors(before).items()),
        *(f"shared memory {path}" for path in _new_shared_memory(before)),
    ]


def _new_processes(before: Snapshot) -> list[procfs.Process]:
    return [process for process in our_processes() if process.identity not in before.processes]


def _new_descriptors(before: Snapshot) -> dict[int, str]:
    """New descriptors, without those that stay, and the ends of pipes that a service holds the other ends of."""
    if not procfs.AVAILABLE:
        return {}
    new = {
        number: target
        for number, target in procfs.descriptors(os.getpid()).items()
        if before.descriptors.get(number) != target and not STAYING.search(target)
    }
    if new:
        shared = {target for process in _services() for target in process.descriptors().values()}
        shared -= set(before.descriptors.values())
        new = {number: target for number, target in new.items() if target not in shared}
        if (server := getattr(launch, "_server", None)) is not None and server._control is not None:
            new.pop(server._control.fileno(), None)  # the two ends of a socket pair have nothing in common
    return new


def _new_shared_memory(before: Snapshot) -> list[str]:
    """New entries of /dev/shm that this session has made: those with its mark, and those its processes use.

    Others come from other programs, or may: a semaphore is nobody's between its making and its mapping and after
    the death of its maker, a folder always. What a process of ours made without the mark (a block in a worker, anything
    in an interpreter of its own) is therefore found as long as one of ours uses it, and not after.
    """
    new = _shared_memory() - before.shared_memory
    marked = {name for name in new if made_here(name)}
    users = [procfs.this_process(), *our_processes()] if new > marked else []
    used = {name for name in new - marked if (file := _shared_file(name)) and any(user.uses(file) for user in users)}
    return sorted(str(SHARED_MEMORY / name) for name in marked | used)


def _shared_memory() -> frozenset[str]:
    return frozenset(os.listdir(SHARED_MEMORY) if procfs.AVAILABLE and SHARED_MEMORY.is_dir() else [])


def _shared_file(name: str) -> os.stat_result | None:
    try:
        return (SHARED_MEMORY / name).stat()
    except OSError:
        return None


def _services() -> list[procfs.Process]:
    everything = procfs.processes()
    return [process for process in everything.values() if _is_service(process, everything)]


def _is_service(process: procfs.Process, everything: dict[int, procfs.Process]) -> bool:
    # A worker is forked off the fork server and has its command line; only its parent tells them apart.
    if process.parent == os.getpid():
        return any(part in process.command for part in (*SERVICES, *kept))
    above = everything.get(process.parent)
    return above is not None and above.parent == os.getpid() and any(part in above.command for part in kept)


def _descends(process: procfs.Process, everything: dict[int, procfs.Process]) -> bool:
    seen: set[int] = set()
    while process.parent not in seen:
        if process.parent == os.getpid():
            return True
        seen.add(process.parent)
        if process.parent not in everything:
            return False
        process = everything[process.parent]
    return False


@contextmanager
def watched_runners() -> Iterator[list[str]]:
    """Collect the tasks that are still running when an `asyncio.Runner` ends, just before it cancels them.

    `asyncio.run`, `run_virtual` and pytest-asyncio all run on one. A run that ends in a `Deadlock` or an
    interrupt has tasks left by its nature, and is not looked at.
    """
    leaks: list[str] = []
    leave = asyncio.Runner.__exit__

    def look_and_leave(runner: asyncio.Runner, exc_type: type[BaseException] | None, exc: Any, tb: Any) -> None:
        if exc_type is None or not issubclass(exc_type, Deadlock | Overdue | KeyboardInterrupt | SystemExit):
            leaks.extend(_tasks_left(runner.get_loop()))
        leave(runner, exc_type, exc, tb)

    with patch.object(asyncio.Runner, "__exit__", look_and_leave):
        yield leaks


def _tasks_left(loop: asyncio.AbstractEventLoop) -> list[str]:
    if loop.is_closed():
        return []
    tasks = asyncio.all_tasks(loop)
    if not tasks:
        return []

    async def settle() -> set[asyncio.Task[Any]]:
        return (await asyncio.wait(tasks, timeout=TASK_PATIENCE))[1]

    return [f"task {task.get_name()!r} of {task.get_coro()!r}" for task in loop.run_until_complete(settle())]
