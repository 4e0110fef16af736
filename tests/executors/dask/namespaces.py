"""Hosts of one machine: network namespaces with a cable each to the one where the client is, and nothing else.

The client's end of a cable stays up when a host's own goes down, so what it sends is swallowed: nothing tells it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from itertools import count
from typing import Any

from tests.real.servers import missing

HOME = "10.213.0.1"
"""Where the scheduler listens, in the namespace of the client."""
_numbers = count()


def needed() -> None:
    """Skip where there may be no namespaces; fail, where all must be there."""
    if shutil.which("ip") is None:
        missing("ip (iproute2), which makes network namespaces,")
    name = f"pf{os.getpid()}x"
    if subprocess.run(["ip", "netns", "add", name], capture_output=True).returncode:
        missing("right to make network namespaces (CAP_SYS_ADMIN)")
    _ip("netns", "delete", name)


class Namespaces:
    """The client's host, and others by number, from 1. Whoever makes it closes it."""

    def __init__(self) -> None:
        self._tag = f"pf{os.getpid()}-{next(_numbers)}"
        self._hosts: list[int] = []
        self._make("0")
        _ip("-n", self._name(0), "address", "add", f"{HOME}/32", "dev", "lo")

    def host(self) -> int:
        """One more host, with a cable to the client's."""
        number = len(self._hosts) + 1
        self._hosts.append(number)
        self._make(str(number))
        home, there = self._name(0), self._name(number)
        _ip("link", "add", f"home{number}", "netns", home, "type", "veth", "peer", "name", "cable", "netns", there)
        _ip("-n", home, "address", "add", f"10.213.{number}.1/24", "dev", f"home{number}")
        _ip("-n", there, "address", "add", f"{self.address(number)}/24", "dev", "cable")
        self.mend(number)
        return number

    def _name(self, number: int) -> str:
        return f"{self._tag}-{number}"

    def _make(self, number: str) -> None:
        _ip("netns", "add", f"{self._tag}-{number}")
        _ip("-n", f"{self._tag}-{number}", "link", "set", "lo", "up")

    def address(self, number: int) -> str:
        return HOME if number == 0 else f"10.213.{number}.2"

    def inside(self, number: int) -> list[str]:
        """What goes before a command that is to run there; its pid is that of the command."""
        return ["ip", "netns", "exec", self._name(number)]

    def cut(self, number: int, end: str = "there") -> None:
        """Its link goes down; or the client's, `end="home"`."""
        self._link(number, end, "down")

    def mend(self, number: int) -> None:
        """Both links are up."""
        self._link(number, "there", "up")
        self._link(number, "home", "up")
        _ip("-n", self._name(number), "route", "replace", HOME, "via", f"10.213.{number}.1")

    def _link(self, number: int, end: str, state: str) -> None:
        where, link = (0, f"home{number}") if end == "home" else (number, "cable")
        _ip("-n", self._name(where), "link", "set", link, state)

    def carried(self, number: int) -> dict[str, int]:
        """The bytes that each of its links has sent."""
        found: list[dict[str, Any]] = json.loads(_ip("-n", self._name(number), "-s", "-j", "link"))
        return {link["ifname"]: link["stats64"]["tx"]["bytes"] for link in found}

    def close(self) -> None:
        """Delete them; what runs there must have ended."""
        for number in (*self._hosts, 0):
            subprocess.run(["ip", "netns", "delete", self._name(number)], check=True, capture_output=True)


def _ip(*command: str) -> str:
    done = subprocess.run(["ip", *command], capture_output=True, text=True)
    assert done.returncode == 0, (command, done.stderr)
    return done.stdout
