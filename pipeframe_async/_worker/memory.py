"""How much memory this process holds: the resident bytes that `max_worker_rss` bounds. Read once a batch."""

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
