"""How much memory this process holds: the resident bytes that `max_worker_rss` bounds, read once a batch; and that its
allocator keeps what large records have freed.
"""

from __future__ import annotations

import os
from contextlib import suppress

_STATM = "/proc/self/statm"
_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 0


def resident_bytes() -> int:
    """Resident bytes of this process now, 0 where the system does not say."""
    with suppress(OSError), open(_STATM, "rb") as statm:
        return int(statm.read().split()[1]) * _PAGE
    return 0


KEPT_BYTES = 31 * 2**20
"""Twice this is kept, of what is freed. Less is given back with a batch of large arrays, and taken again page by page
for the next: 0.6 ms a MiB. glibc learns from nothing larger than 32 MiB."""


def keep_freed() -> None:
    """Have the allocator keep up to twice `KEPT_BYTES` that are freed, for what comes next.

    glibc gives free memory back from 128 KiB on, until a larger block was freed: then from twice that (mallopt(3),
    `M_MMAP_THRESHOLD`). This takes such a block and frees it, untouched: 10 µs. Other allocators do as they do.
    """
    bytes(KEPT_BYTES)
