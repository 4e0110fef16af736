"""The demo as a job: the same files and steps, run by its name, and killed by `pipeframe demo --kill`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

from pipeframe_async.checkpoint import Checkpoint
from pipeframe_async.cli.demo_pipeline import STDLIB, as_object, walked
from pipeframe_async.cli.demo_steps import FileMetrics, count_tokens, measure, parse, read
from pipeframe_async.pipeline_engine import PipelineEngine


class StdlibJob(PipelineEngine[str, dict[str, object]]):
    """Measures every Python file below `root`; where results and failures go, the command line says."""

    source = "stream"
    timeout = None
    root: Path = STDLIB
    limit: int | None = None
    checkpoint = Checkpoint("demo.state", every=0.1)

    def named(self, metrics: FileMetrics) -> tuple[dict[str, object], bool]:
        """As an object, for JSON."""
        return as_object(metrics, self.root), True

    steps = (read, count_tokens, parse, measure, named)

    async def feed(self) -> AsyncIterator[str]:
        """Walk the directories, in the same order in each life."""
        async for file in walked(self.root, self.limit):
            yield file
