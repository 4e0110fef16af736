"""One way to run a job: `python -m benchmarks.cells.jobs WAY RECORDS` prints JSON: what took how many seconds."""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.contestants.peers import WORKERS
from benchmarks.works import lines
from pipeframe_async import Checkpoint, PipeFrame, PipelineEngine, RunReport, feeds, run, sinks
from pipeframe_async.checkpoint import Done, JobState
from pipeframe_async.plan import feed_of, plan_of
from pipeframe_async.state_file import StateFile


def passes(record: Any) -> tuple[Any, bool]:
    """Nothing."""
    return record, True


def fails(record: Any) -> tuple[Any, bool]:
    """It cannot be done."""
    raise ValueError(f"no {record}")


class Priced(PipelineEngine[Any, Any]):
    """JSON lines from a file to a file."""

    steps: Any = (lines.price,)

    def __init__(self, place: Path, checkpoint: Any) -> None:
        self.feed = feeds.JsonLines(place / "in.jsonl")
        self.sink = sinks.JsonLines(place / "out.jsonl")
        self.checkpoint = checkpoint


def through_files(records: int, *, kept: bool) -> float:
    """Seconds of a run, with a checkpoint or without."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        (place / "in.jsonl").write_text("".join(f"{line}\n" for line in lines.feed(records)))
        checkpoint = Checkpoint(place / "state", every=1.0) if kept else None
        return run(Priced(place, checkpoint), cpu_count=WORKERS).elapsed


class Again(PipelineEngine[int, int]):
    """A job of which but one record is left; its feed is pulled again."""

    source = "stream"
    steps: Any = (passes,)

    def __init__(self, feed: Any, path: Path) -> None:
        self.feed = feed
        self.checkpoint = path


def passed_over(records: int, feed: Any) -> float:
    """Seconds until all that is done has come once more."""
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "state"
        pipeline = Again(feed, path)
        kept = plan_of(pipeline, feed_of(pipeline)).kept
        assert kept is not None
        file = StateFile(str(path))
        file.save(JobState(kept.fingerprint, Done(records - 1), {"delivered": records - 1}))
        file.close()
        report: RunReport = asyncio.run(PipeFrame(executor="inline").run(pipeline))
        assert (report.skipped, report.delivered) == (records - 1, 1)
        return report.skipping


def generator(records: int) -> Callable[[], Iterator[int]]:
    """A plain feed."""

    def numbers() -> Iterator[int]:
        yield from range(records)

    return numbers


def async_generator(records: int) -> Callable[[], AsyncIterator[int]]:
    """One on the loop."""

    async def numbers() -> AsyncIterator[int]:
        for number in range(records):
            yield number

    return numbers


class Failing(PipelineEngine[int, int]):
    """All of it fails."""

    steps: Any = (fails,)

    def __init__(self, records: int, dead_letter: Any) -> None:
        self.feed = list(range(records))
        self.dead_letter = dead_letter


def buried(records: int) -> float:
    """Seconds of a run whose records all fail."""
    with tempfile.TemporaryDirectory() as place:
        failing = Failing(records, sinks.DeadLetters(Path(place) / "dead"))
        return run(failing, cpu_count=WORKERS).elapsed


def replayed(records: int) -> float:
    """Seconds of a run that handles them all."""
    with tempfile.TemporaryDirectory() as place:
        dead = sinks.DeadLetters(Path(place) / "dead")
        failing: PipelineEngine[int, int] = Failing(records, dead)
        run(failing, cpu_count=WORKERS)
        mended = Failing(records, None)
        mended.steps = (passes,)
        again: Any = dead.replay()
        report = run(mended, again, cpu_count=WORKERS)
        assert report.delivered == records
        return report.elapsed


WAYS: dict[str, Callable[[int], float]] = {
    "plain": lambda records: through_files(records, kept=False),
    "kept": lambda records: through_files(records, kept=True),
    "generator": lambda records: passed_over(records, generator(records)),
    "async": lambda records: passed_over(records, async_generator(records)),
    "list": lambda records: passed_over(records, list(range(records))),
    "buried": buried,
    "replayed": replayed,
}


if __name__ == "__main__":
    way, count = sys.argv[1], int(sys.argv[2])
    began = time.perf_counter()
    print(json.dumps({"seconds": WAYS[way](count), "all": time.perf_counter() - began}))
