"""What this process and its host can and cannot do, checked before a worker is started: each refusal one sentence."""

from __future__ import annotations

import os
import sys

from pipeframe_async.errors import ConfigError, StateError


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
    import multiprocessing
    from concurrent.futures import process
    from multiprocessing.synchronize import Lock

    process._check_system_limits()
    Lock(ctx=multiprocessing.get_context("fork"))


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
