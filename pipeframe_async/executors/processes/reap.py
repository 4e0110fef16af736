"""Ends a worker with all it has started: children, their children, and what they have left behind.

On Linux by what /proc says, which also finds processes that have left the worker's group; elsewhere by the group.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

ROUNDS = 5
"""Looks at /proc: one that finds nothing is the last. More than two are needed only by what forks as it is killed."""

_PROC = Path("/proc")


def kill_family(pid: int) -> None:
    """SIGKILL a process that leads a session, its descendants, and whatever else is in that session.

    Args:
        pid: it may have ended already; what it left in its session is found all the same.
    """
    if not hasattr(os, "killpg"):
        return
    if not (_PROC / "self" / "stat").exists():
        with suppress(OSError):
            os.killpg(pid, signal.SIGKILL)
        return
    for _ in range(ROUNDS):
        if not (family := _family(pid)):
            return
        for member in family:
            with suppress(OSError):
                os.kill(member, signal.SIGKILL)


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
