"""Ends a worker with all it has started: children, their children, and what they have left behind.

On Linux by what /proc says, which also finds processes that have left the worker's group; elsewhere by the group. Where
this program is the first of its container, orphans become its children: those of a worker are reaped here, for nobody
else does, and no others, for whoever has started those waits for them.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

ROUNDS = 5
"""Looks at /proc: one that finds nothing is the last. More than two are needed only by what forks as it is killed."""

REAP_SECONDS = 0.2
"""Seconds that what was killed has to end. It takes a millisecond; longer would hold up a lane's thread for nothing."""

_PROC = Path("/proc")


def kill_family(pid: int) -> None:
    """SIGKILL a process that leads a session, its descendants, and whatever else is in that session.

    Args:
        pid: it may have ended already; what it left in its session is found all the same.
    """
    if sys.platform == "win32":
        return  # it has no sessions
    if not (_PROC / "self" / "stat").exists():
        with suppress(OSError):
            os.killpg(pid, signal.SIGKILL)
        return
    for _ in range(ROUNDS):
        if not (family := _family(pid)):
            break
        for member in family:
            with suppress(OSError):
                os.kill(member, signal.SIGKILL)
    if os.getpid() == 1:
        _reap(pid)


def _reap(root: int) -> None:
    """Wait for the orphans of a session that have come to us, until there are none or they take too long."""
    if sys.platform == "win32":
        return  # none come to anybody
    deadline = time.monotonic() + REAP_SECONDS
    while orphans := _orphans(root):
        for orphan in orphans:
            with suppress(OSError):  # somebody else has
                os.waitpid(orphan, os.WNOHANG)
        if time.monotonic() > deadline:
            return
        time.sleep(0.002)


def _orphans(root: int) -> list[int]:
    """Children of this process, dead or dying, that are of the session of a worker which is gone."""
    stats = {int(entry): _stat(int(entry)) for entry in os.listdir(_PROC) if entry.isdecimal() and int(entry) != root}
    return [pid for pid, stat in stats.items() if stat is not None and stat[1:] == (os.getpid(), root)]


def _family(root: int) -> list[int]:
    """Living processes that descend from `root` or are of its session, itself first."""
    parents: dict[int, int] = {}
    family = set()
    for entry in os.listdir(_PROC):
        if entry.isdecimal() and (found := _stat(int(entry))) is not None:
            state, parent, session = found
            if state in "ZX":
                continue
            parents[int(entry)] = parent
            if session == root or int(entry) == root:
                family.add(int(entry))
    size = -1
    while size != len(family):
        size = len(family)
        family |= {pid for pid, parent in parents.items() if parent in family}
    return sorted(family, key=lambda pid: pid != root)


def _stat(pid: int) -> tuple[str, int, int] | None:
    """State, parent and session of a process; None where it is gone."""
    try:
        text = (_PROC / str(pid) / "stat").read_bytes()
    except OSError:
        return None
    state, parent, _, session, *_ = text.rpartition(b")")[2].split(None, 4)
    return state.decode(), int(parent), int(session)
