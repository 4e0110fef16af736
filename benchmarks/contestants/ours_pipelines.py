"""The pipelines of `ours.py`. Workers import this to take the checksum home, so it is thin: no frame, no asyncio."""

from __future__ import annotations

import os
from typing import Any

from benchmarks.works.workload import Workload
from pipeframe_async import PipelineEngine


class Steps(PipelineEngine[Any, Any]):
    """The steps of a workload."""

    source = "stream"

    def __init__(self, workload: Workload) -> None:
        self.steps = list(workload.steps)


class Counted(Steps):
    """The same where nobody wants results: each worker leaves its checksum in a file when it ends."""

    def __init__(self, workload: Workload, place: str) -> None:
        super().__init__(workload)
        self.total, self.place = workload.total, place

    def setup(self) -> None:
        """Remember where this worker began."""
        self.before = self.total()

    def teardown(self) -> None:
        """Say what this worker did."""
        with open(f"{self.place}/{os.getpid()}", "w") as file:
            file.write(str(self.total() - self.before))
