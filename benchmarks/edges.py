"""What does it cost to read from a file, Redis, NATS or PostgreSQL, against the same written by hand?

    python -m benchmarks.edges [--quick] [--repeats N] [--json FILE] [--plot FILE]

Lines of JSON of about 200 bytes are loaded, priced and dumped in two workers, and acked; by hand with the same client,
in chunks of 500, acked a chunk at once. And what a record costs the loop, from the server to its ack, with no work.
Servers are those of the tests: what is not on this machine is left out, and named.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
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
    "postgres": servers.postgres_server,
}
LABELS = {"files": "a file", "redis": "Redis stream", "nats": "JetStream", "postgres": "PostgreSQL jobs"}
BUDGETS = {"redis": 10, "nats": 25, "postgres": 25}
"""Microseconds of the loop a record that were promised."""


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


def table(rows: Sequence[dict[str, Any]]) -> str:
    """For people."""
    head = ["source", "ours, records/s", "by hand", "ours ×", "loop, µs a record", "promised"]
    return aligned(
        [
            head,
            *(
                [
                    row["label"],
                    Spread(**row["ours"]).words(1, 0),
                    Spread(**row["by_hand"]).words(1, 0),
                    f"{row['ours']['median'] / row['by_hand']['median']:.2f}",
                    "" if row["loop"] is None else Spread(**row["loop"]).words(1e6, 1),
                    str(BUDGETS.get(row["key"], "")),
                ]
                for row in rows
            ),
        ]
    )


def draw(found: dict[str, Any], file: Path) -> None:
    """Two bars a source."""
    shown = [(row["label"], way, row[way]["median"]) for row in found["sources"] for way in ("ours", "by_hand")]
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
        ways = ("ours", "by_hand") if kind == "files" else ("ours", "by_hand", "reading")
        taken: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
        with filled(kind, records) as new:
            for way in question.turns(ways):
                taken[way].append(cell("benchmarks.cells.edges", kind, way, *new(), records))
        rates = {
            way: asdict(Spread.of([records / one["seconds"] for one in taken[way]])) for way in ("ours", "by_hand")
        }
        loop = [one["loop"] / records for one in taken.get("reading", ())]
        rows.append({"key": kind, "label": label, **rates, "loop": asdict(Spread.of(loop)) if loop else None})
    question.answer(TITLE, table(rows), {"records": records, "sources": rows}, draw)


if __name__ == "__main__":
    main()
