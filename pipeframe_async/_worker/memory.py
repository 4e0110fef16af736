"""How much memory a process holds: the resident bytes that `max_worker_rss` bounds. A worker reads its own each batch.

What `share` has put in memory is not counted: it is there once for all workers, and a new one would have it as well.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from pipeframe_async.unnamed import SHARED

_PROC = Path("/proc")
_KIB = 1024


def resident_bytes(pid: int | None = None) -> int:
    """Resident bytes of a process, of this one by default; 0 where the system does not say.

    How much of what is shared is resident costs the kernel 12 ms a GiB to say. It is taken to be all, and no more than
    is resident of shared memory altogether.
    """
    place = _PROC / ("self" if pid is None else str(pid))
    with suppress(OSError, ValueError):
        figures = dict(line.split(":", 1) for line in (place / "status").read_text().splitlines())
        resident, shared = (_bytes(figures.get(name, "0 kB")) for name in ("VmRSS", "RssShmem"))
        return resident - min(shared, _mapped(place) if shared else 0)
    return 0


def _bytes(figure: str) -> int:
    return int(figure.split()[0]) * _KIB


def _mapped(place: Path) -> int:
    """Bytes of address space in which it has what is shared."""
    ranges = [line.split(maxsplit=1)[0] for line in (place / "maps").read_text().splitlines() if SHARED in line]
    return sum(int(end, 16) - int(begin, 16) for begin, _, end in (found.partition("-") for found in ranges))
