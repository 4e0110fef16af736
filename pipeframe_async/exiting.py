"""What is done when this process ends, before anybody there waits for its threads, or for its children.

The standard pools join their threads at that moment, and one whose step hangs never ends; `atexit` comes after it. A
child of multiprocessing joins its own children even before that.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import util

_registered: dict[Callable[[], object], int] = {}  # in which process


def call_at_exit(call: Callable[[], object]) -> None:
    """Have this called when this process ends, and not when a fork of it does; twice, as a rule.

    What was registered later is called first. To say it again changes nothing.
    """
    process = os.getpid()
    if _registered.get(call) == process:
        return
    _registered[call] = process

    def here() -> None:
        if os.getpid() == process:
            call()

    # No public name, but the one that the standard pools use.
    register: Callable[..., None] | None = getattr(threading, "_register_atexit", None)
    if register is not None:
        with suppress(RuntimeError):  # it is ending already
            register(here)
    util.Finalize(None, here, exitpriority=100)
