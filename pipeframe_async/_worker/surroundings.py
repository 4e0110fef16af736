"""What a process finds around it, taken where a worker is started and adopted by the worker.

A fork server was started earlier than the worker it forks, and has what its parent had then: variables that were set
since, another directory, a lowered limit. Comes in: nothing. Goes out: a value that can be pickled.

Process: `here` runs in the parent, in a lane's thread; `adopt` in the worker, before it hears from its pool.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from multiprocessing import process
from pathlib import Path
from typing import NamedTuple

MARK = "PIPEFRAME_ASYNC_FORK_SERVER_OF"
"""Variable of the fork server's environment, taken out as it begins. Whoever still has it, with its parent's pid, was
started to be a fork server and became something else: a copy of the program."""
_STATUS = Path("/proc/self/status")

INNER_THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)
"""What libraries of numbers read before they start threads of their own; the first is heard by most of the others."""


class Surroundings(NamedTuple):
    """What a worker is to find as its parent has it.

    Attributes:
        variables: the environment, whole.
        directory: the working directory; None where that is gone.
        umask: of files that are made; None where one cannot ask without changing it.
        limits: by resource, the soft and the hard one.
        niceness: of the process; None where there is no such thing.
        affinity: the cores it may use; None where it cannot be asked.
        recursion: how deep calls may go.
    """

    variables: dict[str, str]
    directory: str | None
    umask: int | None
    limits: dict[int, tuple[int, int]]
    niceness: int | None
    affinity: frozenset[int] | None
    recursion: int

    @classmethod
    def here(cls, inner_threads: int | None = None) -> Surroundings:
        """Those of this process now; of its main thread, where each thread has its own.

        Args:
            inner_threads: how many threads a library of numbers may start in the worker, where the user has not said.
        """
        return cls(
            variables={**os.environ, **limited(os.environ, inner_threads)},
            directory=_directory(),
            umask=_umask(),
            limits=dict(_limits()),
            niceness=_niceness(),
            affinity=frozenset(os.sched_getaffinity(os.getpid())) if hasattr(os, "sched_getaffinity") else None,
            recursion=sys.getrecursionlimit(),
        )

    def adopt(self) -> None:
        """Make them this process's own; what the system refuses stays as it is."""
        self._adopt_variables()
        if self.directory is not None:
            with suppress(OSError):
                os.chdir(self.directory)
        if self.umask is not None:
            os.umask(self.umask)
        for which, limit in self.limits.items():
            _set_limit(which, limit)
        if sys.platform != "win32" and self.niceness is not None:
            with suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, 0, self.niceness)
        if sys.platform == "linux" and self.affinity is not None:
            with suppress(OSError):
                os.sched_setaffinity(0, self.affinity)
        with suppress(RecursionError, ValueError):
            sys.setrecursionlimit(self.recursion)

    def _adopt_variables(self) -> None:
        zone = os.environ.get("TZ")
        for name in set(os.environ) - set(self.variables):
            del os.environ[name]
        for name, value in self.variables.items():
            if os.environ.get(name) != value:
                os.environ[name] = value
        if os.environ.get("TZ") != zone and hasattr(time, "tzset"):
            time.tzset()


def limited(variables: Mapping[str, str], inner_threads: int | None) -> dict[str, str]:
    """What to add to an environment so that libraries of numbers start so many threads, and no more.

    Nothing where the user has set the variable that most of them hear: theirs would win over it.
    """
    if inner_threads is None or INNER_THREADS[0] in variables:
        return {}
    return {name: str(inner_threads) for name in INNER_THREADS if name not in variables}


def open_standard_streams() -> None:
    """Open the null device in place of those of 0 to 2 that are closed.

    Else the next descriptor that is opened, a socket of ours, gets such a number, and what is printed goes there.
    """
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            opened = os.open(os.devnull, os.O_RDONLY if fd == 0 else os.O_WRONLY)
            if opened != fd:  # a thread was faster, or a lower one is closed as well
                os.dup2(opened, fd)
                os.close(opened)
            os.set_inheritable(fd, True)


def raise_descriptors() -> None:
    """Raise the soft limit of open files to the hard one."""
    if sys.platform != "win32":
        import resource

        with suppress(OSError, ValueError):
            hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def search_path() -> list[str]:
    """Where this process finds modules, with the directory it was started in by its name."""
    start: str | None = process.ORIGINAL_DIR  # type: ignore[attr-defined]
    return [start if entry == "" and start else entry for entry in sys.path]


def _directory() -> str | None:
    try:
        return os.getcwd()
    except OSError:  # it was removed
        return None


def _niceness() -> int | None:
    if sys.platform == "win32":
        return None
    return os.getpriority(os.PRIO_PROCESS, os.getpid())


def _umask() -> int | None:
    with suppress(OSError, ValueError):
        for line in _STATUS.read_text().splitlines():
            if line.startswith("Umask:"):
                return int(line.split()[1], 8)
    return None


def _limits() -> Iterator[tuple[int, tuple[int, int]]]:
    if sys.platform == "win32":
        return
    import resource

    for name in dir(resource):
        if name.startswith("RLIMIT_"):
            with suppress(OSError, ValueError):  # a kernel that does not know it
                which = getattr(resource, name)
                yield which, resource.getrlimit(which)


def _set_limit(which: int, limit: tuple[int, int]) -> None:
    if sys.platform == "win32":
        return
    import resource

    with suppress(OSError, ValueError):
        if resource.getrlimit(which) == limit:
            return
        try:
            resource.setrlimit(which, limit)
        except (OSError, ValueError):  # the hard one cannot be raised again: the soft one as far as it goes
            soft, hard = limit[0], resource.getrlimit(which)[1]
            infinite = resource.RLIM_INFINITY
            too_much = hard != infinite and (soft == infinite or soft > hard)
            resource.setrlimit(which, (hard if too_much else soft, hard))
