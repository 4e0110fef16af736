"""Public means for testing pipelines, executors, and everything else written for asyncio.

Nothing of the library imports this package; it may be imported by tests only.
"""

from pipeframe_async.testing.clock import Deadlock, Overdue, VirtualClockLoop, run_virtual
from pipeframe_async.testing.conformance import Conformance, Verdict, conform
from pipeframe_async.testing.ends import conform_sink, conform_source
from pipeframe_async.testing.executor import FakeExecutor

__all__ = [
    "Conformance",
    "Deadlock",
    "FakeExecutor",
    "Overdue",
    "Verdict",
    "VirtualClockLoop",
    "conform",
    "conform_sink",
    "conform_source",
    "run_virtual",
]
