"""Who takes part on a cluster: lanes here, lanes there, and what a user of Dask writes by hand; all of them warm."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from functools import partial
from typing import Any

from distributed import Client

from benchmarks.contestants.contestant import Contestant
from benchmarks.contestants.ours_pipelines import Steps
from benchmarks.works.workload import Chunks, Done, Workload, all_through
from pipeframe_async import PipeFrame

CHUNKS = (10, 50, 250, 1_000, 4_000, 16_000, 64_000)
"""What its user would try."""


@dataclass(slots=True)
class Hops:
    """What was seen of a frame's batches."""

    records: int = 0
    batches: float = 0.0
    cpu: float = 0.0

    @property
    def records_a_batch(self) -> float:
        """How large they were."""
        return self.records / max(1.0, self.batches)

    @property
    def cpu_a_batch(self) -> float:
        """Seconds of this process's CPU."""
        return self.cpu / max(1.0, self.batches)


class Ours:
    """A warm frame.

    Args:
        runner: whose loop it is on.
        frame: it, open.
    """

    def __init__(self, runner: asyncio.Runner, frame: PipeFrame) -> None:
        self._runner = runner
        self._frame = frame
        self.hops = Hops()

    def run(self, workload: Workload, records: int) -> Done:
        """Stream so many records, and look at each result."""
        return self._runner.run(self._run(workload, records))

    async def _run(self, workload: Workload, records: int) -> Done:
        cpu = time.process_time()
        results: list[Any] = []
        async with self._frame.stream(Steps(workload), workload.feed(records)) as stream:
            async for result in stream:
                results.append(result)
            run = self._frame.stats().runs[-1]
        if records > 1:
            self.hops.records += records
            self.hops.batches += run.batch_records.count
            self.hops.cpu += time.process_time() - cpu
        return workload.look(results)


def by_hand(client: Client, workload: Workload, records: int, size: int) -> Done:
    """Chunks by `client.submit`, results gathered in order."""
    futures = [
        client.submit(all_through, workload.through, chunk, pure=False)
        for chunk in Chunks(workload.feed, records, size)
    ]
    return workload.look(result for chunk in client.gather(futures) for result in chunk)


def line_up(workload: Workload, here: Ours, there: Ours, client: Client, records: int) -> list[Contestant]:
    """All three."""
    make = partial(Contestant, records=records, expected=workload.expected, form="results")
    return [
        make("there", "ours, on the cluster", run=partial(there.run, workload), kind="ours"),
        make("here", "ours, in local lanes", run=partial(here.run, workload), kind="peer"),
        make(
            "by_hand",
            "client.submit, chunked",
            run=partial(by_hand, client, workload),
            kind="pool",
            choices=CHUNKS,
            knob="chunk",
        ),
    ]
