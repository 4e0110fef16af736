"""Consumers in processes of their own, and what they have written."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

PATIENCE = 60.0
"""Seconds until what is waited for counts as hanging."""


class Consumers:
    """Those of one queue; each start is another program, with a file of its own.

    Args:
        kind: of the queue.
        url: of its server.
        name: of the queue.
        folder: for the files.
        options: of the source.
    """

    def __init__(self, kind: str, url: str, name: str, folder: Path, **options: Any) -> None:
        self._arguments = (kind, url, name)
        self._options = json.dumps(options)
        self._folder = folder
        self._started = 0
        self._running: list[subprocess.Popen[str]] = []

    def start(self) -> subprocess.Popen[str]:
        """Another one."""
        self._started += 1
        out = str(self._folder / f"{self._started}.jsonl")
        command = (sys.executable, "-m", "tests.real.consumer", *self._arguments, out, self._options)
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self._running.append(process)
        return process

    def kill(self, process: subprocess.Popen[str]) -> None:
        """As if its machine had gone."""
        process.kill()
        process.communicate()
        self._running.remove(process)

    def terminate(self, process: subprocess.Popen[str]) -> tuple[dict[str, Any], str]:
        """As its supervisor would: what it said at its end, and its log."""
        process.send_signal(signal.SIGTERM)
        said, log = process.communicate(timeout=PATIENCE)
        self._running.remove(process)
        assert process.returncode == 0, log
        return json.loads(said), log

    def end(self) -> None:
        """Whatever goes on is killed."""
        for process in [*self._running]:
            self.kill(process)

    @property
    def written(self) -> Counter[Any]:
        """How often each record is in the files."""
        return Counter(json.loads(line) for path in self._folder.glob("*.jsonl") for line in _lines(path))

    def have(self, records: int) -> bool:
        """Whether so many different ones are in the files."""
        return len(self.written) >= records

    @property
    def dead(self) -> list[dict[str, Any]]:
        """The failures in the files."""
        return [json.loads(line) for path in self._folder.glob("*.dead") for line in _lines(path)]


def _lines(path: Path) -> list[str]:
    """The whole lines; a program that was killed may have left another."""
    return path.read_text().rpartition("\n")[0].splitlines()


def until(holds: Callable[[], object], patience: float = PATIENCE) -> None:
    """Wait for it."""
    end = time.monotonic() + patience
    while not holds():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)
