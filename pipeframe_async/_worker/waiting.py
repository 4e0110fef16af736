"""Whether steps have computed or waited, and so what of their time was work.

That is CPU time, since wall time grows when the machine or the GIL is shared; and wall time where nobody in this
process computed for most of it, for then the steps were waiting: unless the kernel says that they were kept from it.
"""

from __future__ import annotations

import sys
from time import perf_counter, process_time, thread_time

WAITING = 4
"""Steps that take this many times the CPU seconds of their process, and `WAITING_SECONDS`, wait rather than compute.
Smaller takes steps for waiting that share a core with others; larger misses some that wait."""
WAITING_SECONDS = 0.001
"""Shorter than this and it may as well have been the scheduler that let them wait."""
GIL_SECONDS = 0.02
"""Four turns of the GIL: shorter than this, and it may have been for those that they waited. A step that lets go of the
GIL for each record beside a loop that is always busy waits longer, and is as well off in a worker."""

if sys.platform == "linux":
    from resource import RUSAGE_THREAD, getrusage

    def _switches() -> tuple[int, int]:
        """How often this thread has given up its core because it waited, and how often it was taken from it."""
        used = getrusage(RUSAGE_THREAD)
        return used.ru_nvcsw, used.ru_nivcsw

else:

    def _switches() -> tuple[int, int]:
        return 0, 0


class Stretch:
    """From now on, in this thread."""

    def __init__(self) -> None:
        self._switched = _switches()
        self._wall, self._process, self._thread = perf_counter(), process_time(), thread_time()

    def ended(self, *, shared: bool) -> tuple[float, bool]:
        """Seconds of work since then, and whether it has waited rather than computed.

        `shared`: with a loop in this process that always computes. Then it was waiting if it took much longer than its
        turns of the GIL explain.
        """
        thread, process = thread_time() - self._thread, process_time() - self._process
        wall = perf_counter() - self._wall
        waited = wall > WAITING * process + WAITING_SECONDS or (shared and wall > WAITING * thread + GIL_SECONDS)
        if waited:
            voluntary, preempted = (now - then for now, then in zip(_switches(), self._switched, strict=True))
            waited = preempted <= voluntary
        return wall if waited else thread, waited
