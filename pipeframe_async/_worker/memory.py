"""How much memory a process holds: the resident bytes that `max_worker_rss` bounds. A worker reads its own each batch.

What `share` has put in memory is not counted: it is there once for all workers, and a new one would have it as well.
What large records have freed is: the allocator keeps some of it for the next ones.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from pipeframe_async.unnamed import SHARED

_PROC = Path("/proc")
_KIB = 1024

KEPT_BYTES = 31 * 2**20
"""Twice this is kept, of what is freed. Less is given back with a batch of large arrays, and taken again page by page
for the next: 0.6 ms a MiB. glibc learns from nothing larger than 32 MiB."""


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


def keep_freed() -> None:
    """Have the allocator keep up to twice `KEPT_BYTES` that are freed, for what comes next.

    glibc gives free memory back from 128 KiB on, until a larger block was freed: then from twice that (mallopt(3),
    `M_MMAP_THRESHOLD`). This takes such a block and frees it, untouched: 10 µs. Other allocators do as they do.
    """
    bytes(KEPT_BYTES)
