"""What a service manager of systemd's kind is told, where it asks: that we are ready, still well, and stopping.

Protocol: datagrams of `NAME=value` lines to the Unix socket that `NOTIFY_SOCKET` names, by sd_notify(3).
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from pipeframe_async.stats import Health

LEAST: Final = 0.05
"""Seconds between two words that we are well, at least. Shorter would have a thread do nothing else; whoever wants to
hear more often takes a pause of the garbage collector for a death."""
MOST_STATUS: Final = 1_000
"""Characters of what a person reads: a datagram that is too long is not sent, and with it that we are well."""


class Service:
    """Tells the manager.

    Args:
        environment: of this process.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._asked = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        said = environment.get("WATCHDOG_USEC", "")
        self._microseconds = int(said) if said.isascii() and said.isdigit() and len(said) < 20 else 0
        self._ready = False

    @property
    def asks(self) -> bool:
        """Whether there is one that wants to be told."""
        return bool(self._address) and hasattr(socket, "AF_UNIX")

    @property
    def interval(self) -> float | None:
        """Seconds between two words that we are well, at most; None where none are wanted."""
        return max(LEAST, self._microseconds / 1e6 / 2) if self._asked and self._microseconds else None

    def tell(self, health: Health, status: str) -> None:
        """How it is: that we are ready, once; that we are well, where we are; and what a person reads."""
        lines = [f"STATUS={' '.join((health.reason or status).split())[:MOST_STATUS]}"]
        if ready := health.ready and not self._ready:
            lines.append("READY=1")
        if health.live and self.interval is not None:
            lines.append("WATCHDOG=1")
        self._ready |= self._send(*lines) and ready

    def stopping(self) -> None:
        """No more is taken."""
        self._send("STOPPING=1", "STATUS=draining")

    def _send(self, *lines: str) -> bool:
        if sys.platform == "win32":
            return False  # no service manager there listens so
        with suppress(OSError, ValueError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sending:
            sending.sendto("\n".join(lines).encode("utf-8", "backslashreplace"), self._address)
            return True
        return False
