"""What is done when this process ends, before anybody there waits for its threads.

The standard pools join theirs at that moment, and one whose step hangs never ends; `atexit` comes after it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress

_registered: dict[Callable[[], object], int] = {}  # in which process


def before_threads_are_joined(call: Callable[[], object]) -> bool:
    """Have this called when this process ends; once, and only in the process that has said so.

    What was registered later is called first. Where CPython has no such moment it is not called.

    Returns:
        Whether it is new.
    """
    process = os.getpid()
    if _registered.get(call) == process:
        return False
    _registered[call] = process

    def here() -> None:
        if os.getpid() == process:  # else this is a fork of it
            call()

    # No public name, but the one that the standard pools use.
    register: Callable[..., None] | None = getattr(threading, "_register_atexit", None)
    if register is not None:
        with suppress(RuntimeError):  # it is ending already
            register(here)
    return True
