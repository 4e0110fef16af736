"""Public means for testing pipelines, and everything else written for asyncio.

Nothing of the library imports this package; it may be imported by tests only.
"""

from pipeframe_async.testing.clock import Deadlock, Overdue, VirtualClockLoop, run_virtual
from pipeframe_async.testing.executor import FakeExecutor

__all__ = ["Deadlock", "FakeExecutor", "Overdue", "VirtualClockLoop", "run_virtual"]
