"""What this process and its host can and cannot do, checked before a worker is started: each refusal one sentence."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from types import CodeType, FrameType, FunctionType
from typing import Any

from pipeframe_async._worker.surroundings import MARK
from pipeframe_async.errors import ConfigError, StateError

FREEZE_SUPPORT = "freeze_support"
DESCRIPTORS_A_LANE = 16
"""Files that a lane has open: 14.5 were counted. Fewer meet the limit, more raise it where nobody needs that."""
OTHER_DESCRIPTORS = 256
"""What the program has open besides, and lanes while they start."""


def check_semaphores() -> None:
    """Make sure that a process pool can be made here. Takes microseconds and starts nothing.

    Raises:
        ConfigError: there are no POSIX semaphores: no /dev/shm, or a platform without them.
    """
    if sys.platform == "win32":
        return
    try:
        _make_one()
    except (ImportError, NotImplementedError, OSError) as error:
        raise ConfigError(
            'executor="processes", the default, cannot work on this host: it gives no POSIX semaphores, which need '
            f'a writable /dev/shm ({type(error).__name__}: {error}); use executor="threads"'
        ) from error


def _make_one() -> None:
    """Make a semaphore as a pool does. The fork context unlinks it at once and needs no resource tracker for that."""
    from concurrent.futures import process
    from multiprocessing.synchronize import Lock

    process._check_system_limits()
    Lock(ctx=multiprocessing.get_context("fork"))


def make_room(workers: int) -> None:
    """Let this process open as many files as so many workers take: up to the hard limit, and only where it is needed.

    What lanes cannot start then do without; the log says which.
    """
    if sys.platform == "win32":
        return  # it has no such limit
    import resource

    needed = OTHER_DESCRIPTORS + workers * DESCRIPTORS_A_LANE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    if hard != resource.RLIM_INFINITY:
        needed = min(needed, hard)
    with suppress(ValueError, OSError):  # the kernel has a limit of its own
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def check_not_forked(started_in: int, name: str) -> None:
    """Make sure that something that has started is used in the process that started it.

    Args:
        started_in: the pid it was started in.
        name: what it is called.

    Raises:
        StateError: this process was forked off that one; its copies of pipes and threads are of no use.
    """
    if started_in != os.getpid():
        raise StateError(
            f"{name} was started in process {started_in}, and this is a fork of it (process {os.getpid()}): "
            "its workers answer there; make a new PipeFrame here, or enter it after the fork"
        )


_frozen_and_ready = False
"""Whether this program has called `multiprocessing.freeze_support`, as far as that was seen."""


def watch_freeze_support() -> None:
    """In a frozen program, take note of the call that makes it one that can be started again as a worker."""
    if not getattr(sys, "frozen", False):
        return
    given: Any = multiprocessing.freeze_support

    def freeze_support() -> None:
        global _frozen_and_ready
        _frozen_and_ready = True
        given()

    multiprocessing.freeze_support = freeze_support


def check_executable(executable: bytes | str | None) -> str:
    """The program that is started as another Python, checked before it is.

    Raises:
        ConfigError: there is none; or it is this program itself, which would start itself again and again.
    """
    if not executable:
        raise ConfigError(not_python(None))
    if os.environ.get(MARK) == str(os.getppid()):
        raise ConfigError(
            "this process was started to be a fork server of pipeframe_async, and runs the program again instead: "
            f"sys.executable={sys.executable!r} is no Python; call multiprocessing.freeze_support() first of all"
        )
    if getattr(sys, "frozen", False) and not (_frozen_and_ready or _mentions_freeze_support()):
        raise ConfigError(
            "this is a frozen program without multiprocessing.freeze_support(), so each worker would be started as "
            "another copy of it: call that first in the main module, after its imports"
        )
    return os.fsdecode(executable)


def not_python(executable: str | None) -> str:
    """What to say of a program that should have been Python."""
    return (
        f"no worker can be started: sys.executable={executable!r} does not run Python, as happens in programs that "
        "embed it; say which one does by multiprocessing.set_executable(), or use executor='threads'"
    )


def _mentions_freeze_support() -> bool:
    """Whether the main module, or what is being called in the main thread, names it: it was called before us, then."""
    functions = [f.__code__ for f in vars(sys.modules["__main__"]).values() if isinstance(f, FunctionType)]
    frames = [frame.f_code for top in sys._current_frames().values() for frame in _outwards(top)]
    return any(FREEZE_SUPPORT in code.co_names for one in (*functions, *frames) for code in _within(one))


def _outwards(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _within(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _within(constant)


watch_freeze_support()
