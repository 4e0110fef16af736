"""Events of a Kafka topic into Parquet files, one for each stretch of time; offsets are committed when a file is there.

    pip install 'pipeframe_async[kafka,parquet]'
    python -m examples.kafka_to_parquet kafka://127.0.0.1:9092 events out/ 300

Each run reads for so many seconds and closes its file; a file that is there is whole, and only then are the offsets of
what is in it committed. Kill the program at any moment: what was in the file under way is read again.
"""

import asyncio
import sys
import time
from pathlib import Path
from typing import Any

from pipeframe_async import PipeFrame, PipelineEngine
from pipeframe_async.feeds import KafkaTopic
from pipeframe_async.sinks import JsonLines, Parquet

SCHEMA = {"user": "string", "amount": "double", "large": "bool"}


def enriched(event: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    """The CPU-bound part, in a worker."""
    return {"user": event["user"], "amount": float(event["amount"]), "large": float(event["amount"]) > 1_000}, True


class Events(PipelineEngine[dict[str, Any], dict[str, Any]]):
    """From the topic to one file."""

    steps = [enriched]

    def __init__(self, brokers: str, topic: str, file: Path) -> None:
        self.feed = KafkaTopic(brokers, topic, "to-parquet")
        self.sink = Parquet(file, schema=SCHEMA)
        self.dead_letter = JsonLines(file.parent / "events.dead", append=True)


async def main(brokers: str, topic: str, folder: str, seconds: str, files: str = "1000000") -> None:
    """One file after the other, with the same warm workers."""
    async with PipeFrame(handle_signals=True) as frame:
        for _ in range(int(files)):
            events = Events(brokers, topic, Path(folder) / f"events-{time.time_ns()}.parquet")
            asyncio.get_running_loop().call_later(float(seconds), events.feed.stop)
            report = await frame.run(events)
            print(f"{events.sink.path}: {report.delivered} rows")
            if report.ended_by == "stopped":
                return


if __name__ == "__main__":
    Path(sys.argv[3]).mkdir(parents=True, exist_ok=True)
    asyncio.run(main(*sys.argv[1:]))
