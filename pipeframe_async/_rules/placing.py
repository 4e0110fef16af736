"""On which workers of a cluster the next lanes are: the emptiest first, so that few lanes are on many hosts."""

from __future__ import annotations

from collections.abc import Mapping


def places(threads: Mapping[str, int], taken: Mapping[str, int], wanted: int) -> list[str]:
    """Where lanes go that have no place yet.

    Args:
        threads: how many each worker has.
        taken: how many of those have lanes of ours.
        wanted: lanes without a place.

    Returns:
        The worker of each that has one now, at most `wanted`: a thread has one lane.
    """
    free = {name: count - taken.get(name, 0) for name, count in threads.items()}
    found: list[str] = []
    while len(found) < wanted and free and max(free.values()) > 0:
        name = max(free, key=free.__getitem__)
        free[name] -= 1
        found.append(name)
    return found
