"""Whoever looks at a monitor: a page that is open and a scraper, in a process of their own."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
import urllib.request
from contextlib import suppress

EVERY = 1.0
"""Seconds between two scrapes: fifteen times as often as is usual."""


def looks_at(url: str) -> subprocess.Popen[bytes]:
    """Begin to look, until it is killed."""
    return subprocess.Popen([sys.executable, "-m", __name__, url])


def _reads(url: str) -> None:
    with suppress(OSError), urllib.request.urlopen(f"{url}events") as events:
        for _ in events:
            pass


def main() -> None:
    """Look at the monitor of this address, until it is gone."""
    url = sys.argv[1]
    threading.Thread(target=_reads, args=(url,), daemon=True).start()
    with suppress(OSError):
        while True:
            with urllib.request.urlopen(f"{url}metrics") as metrics:
                metrics.read()
            time.sleep(EVERY)


if __name__ == "__main__":
    main()
