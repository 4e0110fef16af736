"""Public means for testing pipelines, executors, and everything else written for asyncio.

Nothing of the library imports this package; it may be imported by tests only. Public names are imported when they are
first used: a worker that meets a fault, and pytest as it starts, need but one module of it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_HOMES = {
    "Conformance": "conformance",
    "Crashes": "crashing",
    "Deadlock": "clock",
    "FakeExecutor": "executor",
    "FakeSource": "source",
    "Fault": "marks",
    "Faults": "injecting",
    "Life": "crashing",
    "Overdue": "clock",
    "Tried": "trying",
    "Verdict": "conformance",
    "VirtualClockLoop": "clock",
    "conform": "conformance",
    "conform_sink": "ends",
    "conform_source": "ends",
    "crash_and_resume": "crashing",
    "faults": "injecting",
    "feed_error": "injecting",
    "hang": "injecting",
    "kill": "injecting",
    "oom": "injecting",
    "raising": "injecting",
    "run_virtual": "clock",
    "sink_error": "injecting",
    "slow": "injecting",
    "try_records": "trying",
    "unpicklable": "injecting",
}

__all__ = [
    "Conformance",
    "Crashes",
    "Deadlock",
    "FakeExecutor",
    "FakeSource",
    "Fault",
    "Faults",
    "Life",
    "Overdue",
    "Tried",
    "Verdict",
    "VirtualClockLoop",
    "conform",
    "conform_sink",
    "conform_source",
    "crash_and_resume",
    "faults",
    "feed_error",
    "hang",
    "kill",
    "oom",
    "raising",
    "run_virtual",
    "sink_error",
    "slow",
    "try_records",
    "unpicklable",
]

if TYPE_CHECKING:
    from pipeframe_async.testing.clock import Deadlock, Overdue, VirtualClockLoop, run_virtual
    from pipeframe_async.testing.conformance import Conformance, Verdict, conform
    from pipeframe_async.testing.crashing import Crashes, Life, crash_and_resume
    from pipeframe_async.testing.ends import conform_sink, conform_source
    from pipeframe_async.testing.executor import FakeExecutor
    from pipeframe_async.testing.injecting import (
        Faults,
        faults,
        feed_error,
        hang,
        kill,
        oom,
        raising,
        sink_error,
        slow,
        unpicklable,
    )
    from pipeframe_async.testing.marks import Fault
    from pipeframe_async.testing.source import FakeSource
    from pipeframe_async.testing.trying import Tried, try_records


def __getattr__(name: str) -> Any:
    if (home := _HOMES.get(name)) is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
