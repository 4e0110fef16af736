"""Every source and sink of ours goes through the cases; and one that does not hold what it must is found."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from pipeframe_async.feeds import Csv, JsonLines, Lines, Listen, Push
from pipeframe_async.sinks import Csv as CsvOut
from pipeframe_async.sinks import JsonLines as JsonLinesOut
from pipeframe_async.sinks import Lines as LinesOut
from pipeframe_async.testing import conform_sink, conform_source, ends

RECORDS = 50


@pytest.mark.parametrize("kind", [Lines, JsonLines, Csv])
def test_files_conform_as_sources(kind: Any, tmp_path: Path) -> None:
    lines = ["n", *map(str, range(RECORDS))] if kind is Csv else [*map(str, range(RECORDS))]
    (tmp_path / "in").write_text("\n".join(lines))
    conform_source(lambda: kind(tmp_path / "in"), records=RECORDS).check()


def test_what_is_pushed_conforms() -> None:
    def made() -> Push[int]:
        push = Push[int]()
        for number in range(RECORDS):
            push.try_put(number)
        return push

    conform_source(made, records=RECORDS).check()


class Spoken(Listen):
    """Somebody connects to it and sends all the records, each time it is opened."""

    async def __aenter__(self) -> None:
        await super().__aenter__()
        _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(b"".join(b"%d\n" % number for number in range(RECORDS)))
        writer.close()


def test_what_is_listened_to_conforms() -> None:
    conform_source(lambda: Spoken("127.0.0.1:0", decode=json.loads), records=RECORDS).check()


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_files_conform_as_sinks(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / "out"

    def read() -> list[str]:
        return path.read_text().splitlines()

    conform_sink(lambda: LinesOut(path), records=["a", "b", "c"], read=read).check()
    conform_sink(lambda: JsonLinesOut(path), records=[1, [2], {"c": 3}], read=read).check()
    rows = [{"a": n, "b": "x"} for n in range(3)]
    conform_sink(lambda: CsvOut(path, names=["a", "b"]), records=rows, read=lambda: read()[1:]).check()


def test_one_that_is_appended_to_conforms(tmp_path: Path) -> None:
    path = tmp_path / "out"

    def emptied() -> JsonLinesOut:
        path.unlink(missing_ok=True)
        return JsonLinesOut(path, append=True)

    conform_sink(emptied, records=[1, 2, 3], read=lambda: path.read_text().splitlines()).check()


class Good:
    """What the others spoil."""

    def __init__(self) -> None:
        self.records = range(5)

    async def __aiter__(self) -> AsyncIterator[int]:
        for record in self.records:
            yield record

    decode = staticmethod(json.dumps)


class Loses(Good):
    left = 7

    async def __aiter__(self) -> AsyncIterator[int]:
        for record in self.records:
            if Loses.left:
                Loses.left -= 1
                yield record


class Stays(Good):
    async def __aiter__(self) -> AsyncIterator[int]:
        self.task = asyncio.create_task(asyncio.sleep(1_000))
        for record in self.records:
            yield record


class Threads(Good):
    ended = threading.Event()

    def __enter__(self) -> None:
        threading.Thread(target=self.ended.wait, daemon=True).start()

    def __exit__(self, *error: object) -> None: ...


class Travels(Good):
    def __init__(self) -> None:
        super().__init__()
        vars(self)["decode"] = lambda record: record


def test_a_plain_one_conforms() -> None:
    conform_source(Good, records=5).check()


@pytest.mark.parametrize(
    ("kind", "case", "reason"),
    [
        (Loses, "another one of the same gives the same records", "another one of the same gave other records"),
        (Stays, "gives its records, and takes their acks", "leaves tasks behind"),
        (Travels, "its decode can be pickled", "raises"),
    ],
)
def test_what_does_not_hold_is_found(kind: type[Good], case: str, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ends, "PATIENCE", 3.0)  # one of them hangs where it is read once more
    verdict = conform_source(kind, records=5)[case]
    assert verdict.held is False
    assert verdict.reason.startswith(reason)


class Keeps:
    place: list[Any] = []

    def __init__(self) -> None:
        self.place.clear()

    async def write(self, records: list[Any]) -> None:
        self.place += records


class KeepsLists(Keeps):
    async def write(self, records: list[Any]) -> None:
        self.place.append(records)


def test_a_sink_that_keeps_what_it_gets_conforms_and_one_that_keeps_lists_does_not() -> None:
    conform_sink(Keeps, records=[1, 2, 3], read=lambda: iter(Keeps.place)).check()
    found = conform_sink(KeepsLists, records=[1, 2, 3], read=lambda: iter(Keeps.place))
    assert found["takes all records"].held is False
    assert found["takes them one by one as it takes them together"].held is False
