"""The state of a program in a file, for probes that run a command: written anew every few seconds, and read by one.

One that is old says that nobody writes it any more.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Final

from pipeframe_async.stats import Health

EVERY: Final = 2.0
"""Seconds between two writes. Shorter wears a disk, longer tells late."""
OLD: Final = 10.0
"""Seconds after which what it says counts no more. Shorter takes a machine that hangs for a program that does."""


def write(path: Path, health: Health) -> None:
    """Say how it is; whoever reads meanwhile has the state before or this one.

    Raises:
        OSError: it cannot be written.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_text(json.dumps({**asdict(health), "pid": os.getpid(), "at": time.time()}), encoding="utf-8")
        beside.replace(path)
    except OSError:
        with suppress(OSError):
            beside.unlink()  # a part of it, on a disk that is full
        raise


def problem(path: Path, *, ready: bool, now: float) -> str:
    """What is wrong by the file; empty where nothing is.

    Args:
        path: of the file.
        ready: it must be ready too, and not only live.
        now: seconds since the epoch.
    """
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        live, is_ready, reason, age = said["live"], said["ready"], said["reason"], now - said["at"]
    except FileNotFoundError:
        return f"{path} is not there: nothing that writes it runs yet, or it has ended"
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"{path} cannot be read: {type(error).__name__}: {error}"
    if age > OLD:
        return f"{path} is {age:.0f} s old: nobody writes it any more"
    if not live:
        return f"not live: {reason}"
    return f"not ready: {reason}" if ready and not is_ready else ""
