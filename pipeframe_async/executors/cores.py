"""How many cores this process may use: what it is pinned to and what its container grants, not what exists."""

from __future__ import annotations

import os
from math import ceil
from pathlib import Path

CGROUP_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def usable_cores(quota_file: Path = CGROUP_QUOTA) -> int:
    """Cores, at least 1: the affinity mask, cut to the cgroup's CPU quota rounded up."""
    granted = granted_cores(quota_file)
    return max(1, pinned_cores() if granted is None else min(pinned_cores(), granted))


def pinned_cores() -> int:
    """Cores that the affinity mask lets this process run on: all there are where it has none."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def granted_cores(quota_file: Path = CGROUP_QUOTA) -> int | None:
    """The cgroup's CPU quota in cores, rounded up; None where there is none."""
    try:
        granted, period = quota_file.read_text().split()
        return None if granted == "max" else ceil(int(granted) / int(period))
    except (OSError, ValueError):
        return None  # no cgroup v2 here


def default_workers() -> int:
    """Workers where nothing is said: one core is left to the loop."""
    return max(1, usable_cores() - 1)
