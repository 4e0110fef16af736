"""SIGINT and SIGTERM for a run that owns the program: the first stops it in good order, the second aborts it.

Only where asked for, only in the main thread, and what was installed before is put back.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

HANDLED = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def handled_signals(stop: Callable[[], None], abort: Callable[[], None]) -> Iterator[None]:
    """Handle the signals while the block runs.

    Args:
        stop: called on the loop at the first signal.
        abort: called on the loop at every further one.
    """
    loop = asyncio.get_running_loop()
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    calls = iter([stop])
    before = {number: signal.getsignal(number) for number in HANDLED}
    with suppress(NotImplementedError):  # Windows loops cannot; there Ctrl-C is a KeyboardInterrupt as ever
        for number in HANDLED:
            loop.add_signal_handler(number, lambda: next(calls, abort)())
    try:
        yield
    finally:
        for number, handler in before.items():
            with suppress(NotImplementedError):
                loop.remove_signal_handler(number)
            if handler is not None:
                signal.signal(number, handler)
