"""Feeds of files that are gone back to: from every place they say, exactly what is left comes, and with its numbers."""

from __future__ import annotations

import gzip
import json
import os
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeframe_async.errors import CheckpointMismatch
from pipeframe_async.feeds import Csv, CsvRow, JsonLines, Lines, Parquet, TooLong, reading
from tests.edges.test_file_feeds import COMPRESS

PIECES = [b"", b"a", b"bc\r", b"\n", b"\n\n", b"d" * 9, b'"', b",", b"\xef\xbb\xbf", "é".encode()]
TEXT = st.lists(st.sampled_from(PIECES), max_size=25).map(b"".join)
MARKED = st.tuples(st.sampled_from([b"", b"\xef\xbb\xbf"]), TEXT).map(b"".join)
BLOCKS = st.integers(1, 12)


@pytest.fixture(autouse=True)
def _the_block_is_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "BLOCK", reading.BLOCK)


def walked(feed: Any) -> tuple[list[Any], list[tuple[int, Any]]]:
    """All records, and each position with how many came before it; as a state file has it."""
    records: list[Any] = []
    places = []
    for chunk in feed:
        records += chunk.records
        places.append((len(records), json.loads(json.dumps(feed.position))))
    return records, places


def told(record: Any) -> Any:
    """Without how much of a line that is too long was there when that was found, which the blocks decide."""
    raw = record.raw if isinstance(record, CsvRow) else record
    if not isinstance(raw, TooLong):
        return record
    return getattr(record, "names", None), raw.path, raw.line


def left(feed: Any, position: Any) -> list[Any]:
    feed.seek(position)
    return [record for chunk in feed for record in chunk.records]


def goes_on(make: Any) -> int:
    """From each of its positions what is left is what has not come; how many positions there are."""
    records, places = walked(make())
    for count, position in places:
        assert position is not None
        assert [*map(told, left(make(), position))] == [*map(told, records[count:])], position
    return len(places)


def written(folder: Path, texts: list[bytes], suffix: str = "") -> None:
    for old in folder.iterdir():
        old.unlink()
    for number, text in enumerate(texts):
        (folder / f"{number}.txt{suffix}").write_bytes(COMPRESS[suffix](text))


kept = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@kept
@given(texts=st.lists(MARKED, min_size=1, max_size=3), block=BLOCKS)
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_what_is_left_of_lines_comes_from_every_place(
    suffix: str, texts: list[bytes], block: int, tmp_path: Path
) -> None:
    written(tmp_path, texts, suffix)
    reading.BLOCK = block
    goes_on(lambda: Lines(tmp_path / "*.txt*", max_line=8))
    goes_on(lambda: JsonLines(tmp_path / "*.txt*", encoding="latin-1"))


@kept
@given(texts=st.lists(MARKED.filter(lambda text: b"x" not in text), min_size=1, max_size=3), block=BLOCKS)
@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("names", [None, ["one", "two"]])
def test_what_is_left_of_rows_comes_from_every_place(
    names: Any, suffix: str, texts: list[bytes], block: int, tmp_path: Path
) -> None:
    head = b"" if names else b'\n"one\n",two\r\n'
    written(tmp_path, [text[:3] * text.startswith(b"\xef\xbb\xbf") + head + text for text in texts], suffix)
    reading.BLOCK = block
    goes_on(lambda: Csv(tmp_path / "*.txt*", names=names, max_line=12))


@pytest.mark.parametrize("suffix", COMPRESS)
def test_a_large_file_is_gone_on_with_whatever_it_is_compressed_with(suffix: str, tmp_path: Path) -> None:
    text = "".join(f'{number},"{"x" * (number % 90)}\n"\n' for number in range(20_000)).encode()
    written(tmp_path, [b"a,b\n" + text, b"a,c\n" + text[:-1]], suffix)
    assert goes_on(lambda: Csv(tmp_path / "*")) > 6
    assert goes_on(lambda: Lines(tmp_path / "*")) > 6


def test_a_line_that_is_too_long_has_its_number_also_behind_a_place(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"ab\ncd\nefghijkl\nmn\n")
    reading.BLOCK = 3
    feed = Lines(tmp_path / "in", max_line=4)
    next(iter(feed))
    [_, line, _] = left(Lines(tmp_path / "in", max_line=4), feed.position)
    assert (type(line), line.line) == (TooLong, 3)


def test_what_is_left_of_a_row_that_was_told_of_is_no_row(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b'"abc\ndef\nghi\njkl",1\n2,3\n')
    reading.BLOCK = 4
    assert goes_on(lambda: Csv(tmp_path / "in", names=["a", "b"], max_line=6)) > 4


def test_the_same_file_twice_is_two_places(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"1\n2\n")
    reading.BLOCK = 2
    goes_on(lambda: Lines(tmp_path / "in", tmp_path / "i*", tmp_path / "in"))


def test_a_seek_holds_for_one_iteration(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"1\n2\n")
    feed = Lines(tmp_path / "in")
    assert left(feed, {"path": str(tmp_path / "in"), "at": 2}) == [b"2"]
    assert walked(feed)[0] == [b"1", b"2"]


def test_nothing_of_what_is_before_is_read(tmp_path: Path) -> None:
    with open(tmp_path / "in", "wb") as file:
        file.truncate(2**40)  # a hole of a tebibyte
        file.seek(0, os.SEEK_END)
        file.write(b"end\n")
    assert left(Lines(tmp_path / "in"), {"path": str(tmp_path / "in"), "at": 2**40}) == [b"end"]


def test_what_came_to_a_file_is_read_where_it_was_not_at_its_end(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"1\n2")
    feed = Lines(tmp_path / "in")
    pulled = iter(feed)
    next(pulled)
    before = feed.position
    next(pulled)
    behind = feed.position
    (tmp_path / "in").write_bytes(b"1\n23\n4\n")
    assert left(Lines(tmp_path / "in"), before) == [b"23", b"4"]
    assert left(Lines(tmp_path / "in"), behind) == []


def test_there_is_no_place_before_anything_came_nor_in_what_is_gone_when_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in").write_bytes(b"1\n")
    ours, theirs = os.pipe()
    os.write(theirs, b"2\n")
    os.close(theirs)
    with open(ours) as standard:
        monkeypatch.setattr(sys, "stdin", standard)
        feed = Lines(tmp_path / "in", "-")
        assert feed.position is None
        records, places = walked(feed)
    assert records == [b"1", b"2"]
    assert [position is None for _, position in places] == [False, False, True, True]


def test_a_file_that_has_become_shorter_is_refused_with_its_sizes(tmp_path: Path) -> None:
    path = tmp_path / "in"
    path.write_bytes(b"1\n2\n3\n")
    position = walked(Lines(path))[1][0][1]
    path.write_bytes(b"1\n")
    with pytest.raises(CheckpointMismatch, match="in ends at 2, and the job has read it to 6: it is another file now"):
        Lines(path).seek(position)
    path.unlink()
    with pytest.raises(CheckpointMismatch, match="in, read by the job to 6, is gone: "):
        Lines(path).seek(position)
    with pytest.raises(CheckpointMismatch, match="in, read by the job to 6, is gone: no file matches"):
        Lines(tmp_path / "i*").seek(position)
    (tmp_path / "other").touch()
    with pytest.raises(CheckpointMismatch, match="in, read by the job to 6, is not among its files any more"):
        Lines(tmp_path / "*").seek(position)
    with pytest.raises(CheckpointMismatch, match="is no position of a feed of files"):
        Lines(tmp_path / "*").seek({"key": 1})


def test_a_compressed_file_that_has_become_shorter_is_refused_as_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "in.gz"
    path.write_bytes(gzip.compress(b"1\n2\n3\n"))
    position = walked(Lines(path))[1][0][1]
    path.write_bytes(gzip.compress(b"1\n"))
    with pytest.raises(CheckpointMismatch, match=r"in\.gz ends at 2, and the job has read it to 6"):
        left(Lines(path), position)
    path.unlink()
    with pytest.raises(CheckpointMismatch, match="is gone"):
        Lines(path).seek(position)


@pytest.mark.parametrize("batches", [False, True])
@pytest.mark.parametrize("group", [1_000, 2_500])
def test_what_is_left_of_a_parquet_file_comes_from_every_place(group: int, batches: bool, tmp_path: Path) -> None:
    for name in "ab":
        table = pa.table({"n": range(6_000), "text": [name * (n % 9) for n in range(6_000)]})
        pq.write_table(table, tmp_path / f"{name}.parquet", row_group_size=group)

    def make() -> Parquet:
        return Parquet(tmp_path / "*.parquet", batches=batches, batch_rows=700 if batches else None)

    records, found = rows_and_places(make())
    for count, position in found:
        feed = make()
        feed.seek(position)
        assert rows_and_places(feed)[0] == records[count:]
        other = Parquet(tmp_path / "*.parquet")
        other.seek({**position, "at": position["at"] - 1})  # somewhere in a row group
        assert rows_and_places(other)[0] == records[count - 1 :]
    assert len(found) >= 12


def rows_and_places(feed: Any) -> tuple[list[Any], list[tuple[int, Any]]]:
    rows: list[Any] = []
    found = []
    for piece in feed:
        rows += piece.to_pylist() if isinstance(piece, pa.RecordBatch) else piece.records
        found.append((len(rows), json.loads(json.dumps(feed.position))))
    return rows, found


def test_a_row_that_cannot_be_read_has_its_number_also_behind_a_place(tmp_path: Path) -> None:
    path = tmp_path / "in.parquet"
    times = pa.array([1, 2, 3, 1001, 5], pa.timestamp("ns"))
    pq.write_table(pa.table({"at": times}), path, row_group_size=2)
    feed = Parquet(path)
    feed.seek({"path": str(path), "at": 3})
    assert [getattr(row, "row", None) for row in rows_and_places(feed)[0]] == [
        getattr(row, "row", None) for row in rows_and_places(Parquet(path))[0][3:]
    ]


def test_a_parquet_file_with_fewer_rows_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"n": range(5)}), path := tmp_path / "in.parquet")
    assert Parquet(path).position is None
    with pytest.raises(CheckpointMismatch, match=r"in\.parquet ends at 5, and the job has read it to 6"):
        Parquet(path).seek({"path": str(path), "at": 6})
    with pytest.raises(CheckpointMismatch, match="is not among its files any more"):
        Parquet(path).seek({"path": str(tmp_path / "other"), "at": 0})
