"""What does it cost to read from a file, Redis, NATS, Kafka or PostgreSQL, against the same written by hand?

    python -m benchmarks.edges [--quick] [--repeats N] [--json FILE] [--plot FILE]

Lines of JSON of about 200 bytes are loaded, priced and dumped in two workers, and acked; by hand with the same client,
in chunks of 500, acked a chunk at once. And what a record costs the loop, from the server to its ack, with no work.
Servers are those of the tests: what is not on this machine is left out, and named.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.asking.bars import Bar, bars
from benchmarks.asking.cell import cell
from benchmarks.asking.question import Spread, asked
from benchmarks.asking.table import aligned
from benchmarks.works import lines
from tests.real import servers
from tests.real.kinds import KINDS

QUESTION = "edges"
TITLE = "Records per second from a source"
REPEATS = 3
RECORDS, QUICK_RECORDS = 50_000, 1_000
MAKERS: dict[str, Callable[[Path], servers.Server | None]] = {
    "redis": servers.redis_server,
    "nats": servers.nats_server,
    "kafka": servers.kafka_server,
    "postgres": servers.postgres_server,
}
LABELS = {
    "files": "a file",
    "redis": "Redis stream",
    "nats": "JetStream",
    "kafka": "Kafka topic (librdkafka's mock)",
    "postgres": "PostgreSQL jobs",
}
BUDGETS = {"redis": 10, "nats": 25, "kafka": 8, "postgres": 25}
"""Microseconds of the loop a record that were promised."""
WAYS = {"files": ("ours", "by_hand"), "kafka": ("reading",)}
"""Of those that are not asked of all: a file has no acks, and the mock of Kafka lets a consumer wait for seconds."""


@contextmanager
def filled(kind: str, records: int) -> Iterator[Callable[[], tuple[str, str]]]:
    """Makes new queues of that kind, full, each with the URL of its server and its name."""
    made = iter(range(1_000_000))
    with ExitStack() as stack:
        if kind == "files":
            file = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "lines.jsonl"
            file.write_text("".join(f"{line}\n" for line in lines.feed(records)))
            yield lambda: (str(file), "")
            return
        server = stack.enter_context(servers.running(kind, MAKERS[kind]))

        def new() -> tuple[str, str]:
            name = f"edges{next(made)}"
            KINDS[kind].publish(server.url, name, map(json.loads, lines.feed(records)))
            return server.url, name

        yield new


def spread(values: Iterable[float]) -> dict[str, Any] | None:
    """As JSON; None where nothing was measured."""
    return asdict(Spread.of(found)) if (found := [*values]) else None


def table(rows: Sequence[dict[str, Any]]) -> str:
    """For people."""
    head = ["source", "ours, records/s", "by hand", "ours ×", "loop, µs a record", "promised"]
    return aligned(
        [
            head,
            *(
                [
                    row["label"],
                    *(_words(row[way], 1, 0) for way in ("ours", "by_hand")),
                    f"{row['ours']['median'] / row['by_hand']['median']:.2f}" if row["ours"] else "",
                    _words(row["loop"], 1e6, 1),
                    str(BUDGETS.get(row["key"], "")),
                ]
                for row in rows
            ),
        ]
    )


def _words(spread: dict[str, Any] | None, scale: float, digits: int) -> str:
    return "" if spread is None else Spread(**spread).words(scale, digits)


def draw(found: dict[str, Any], file: Path) -> None:
    """Two bars a source."""
    shown = [
        (row["label"], way, row[way]["median"]) for row in found["sources"] for way in ("ours", "by_hand") if row[way]
    ]
    rows = [
        Bar(f"{label}, {way.replace('_', ' ')}", way == "ours", rate, rate, f"{rate:,.0f}")
        for label, way, rate in shown
    ]
    bars(found, rows, "records/s", file, logarithmic=False)


def main(argv: Sequence[str] | None = None) -> None:
    """Ask."""
    question = asked(QUESTION, __doc__, REPEATS, argv)
    records = QUICK_RECORDS if question.quick else RECORDS
    rows = []
    for kind, label in LABELS.items():
        ways = WAYS.get(kind, ("ours", "by_hand", "reading"))
        taken: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
        with filled(kind, records) as new:
            for way in question.turns(ways):
                taken[way].append(cell("benchmarks.cells.edges", kind, way, *new(), records))
        rates = {way: spread(records / one["seconds"] for one in taken.get(way, ())) for way in ("ours", "by_hand")}
        loop = spread(one["loop"] / records for one in taken.get("reading", ()))
        rows.append({"key": kind, "label": label, **rates, "loop": loop})
    question.answer(TITLE, table(rows), {"records": records, "sources": rows}, draw)


if __name__ == "__main__":
    main()
