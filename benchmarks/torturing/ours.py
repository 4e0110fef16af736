"""This library under torture, as its user would write it: any number of failures allowed, a limit for each record."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from benchmarks.torturing.job import TIME_LIMIT, WORKERS, Job
from pipeframe_async import Failure, PipeFrame, PipelineEngine, apply


class Tortured(PipelineEngine[int, object]):
    """The step, and where results and failures go."""

    source = "stream"
    time_limit = TIME_LIMIT
    max_failures = None

    def __init__(self, job: Job, batch_size: int | None) -> None:
        self.job = job
        self.batch_size = batch_size
        self.steps = [apply(job.step)]

    async def sink(self, records: Sequence[object]) -> None:
        """Results."""
        for record in records:
            self.job.deliver(record)

    async def dead_letter(self, failures: Sequence[Failure[int]]) -> None:
        """Failures."""
        for failure in failures:
            self.job.failed(f"Failure({failure.kind})")


def self_tuning(job: Job) -> None:
    """Batches as large as the engine makes them."""
    asyncio.run(_run(Tortured(job, None), job))


def fixed_batches(job: Job) -> None:
    """Batches as large as everybody else's."""
    asyncio.run(_run(Tortured(job, job.batch_size), job))


async def _run(pipeline: Tortured, job: Job) -> None:
    await PipeFrame(WORKERS).run(pipeline, job.records)
