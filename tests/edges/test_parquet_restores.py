"""Parquet files of jobs that are killed and go on: byte for byte those of jobs that were not."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeframe_async import Failure
from pipeframe_async.errors import CheckpointMismatch, StateError
from pipeframe_async.sinks import Parquet, row_groups, spool, spooled
from tests.edges.test_file_restores import Job, kept, moments, put, saved
from tests.edges.test_parquet import ROWS, SCHEMA


@pytest.fixture(autouse=True)
def _all_is_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_groups, "PIECE_ROWS", 7)
    monkeypatch.setattr(spooled, "PIECE_ROWS", 5)
    monkeypatch.setattr(spooled, "LOOKED_AT", 24)
    monkeypatch.setattr(spool, "SEGMENT_ROWS", 16)


def row(number: int) -> dict[str, Any]:
    """One that has not all fields of the others, whose values are of several types of Python's own."""
    found = {
        "id": number,
        "text": None if number % 3 else "x" * (number % 11),
        "share": number if number % 4 else 0.5,
        "price": Decimal(number) / (10 if number % 6 else 1),
        "at": datetime(2024, 1, 1, tzinfo=UTC) + timedelta(hours=number),
        "list": [{"a": number}, {"b": "x"}][: number % 3],
        "color": ["red", "green", "blue"][number % 7 % 3],
    }
    return {name: value for at, (name, value) in enumerate(found.items()) if (number + at) % 5} if number else {}


GIVEN = pa.schema(
    {
        "id": pa.int32(),
        "text": pa.string(),
        "share": pa.float64(),
        "price": pa.decimal128(10, 2),
        "at": pa.timestamp("s", "UTC"),
        "list": pa.list_(pa.struct({"a": pa.int64(), "b": pa.string()})),
        "color": pa.dictionary(pa.int8(), pa.string()),
    }
)
DICTS = [row(number) for number in range(80)]
COLUMNS: list[Any] = [
    pa.Table.from_pylist([{**dict.fromkeys(GIVEN.names), **row(n)} for n in range(at, at + 40)], GIVEN)
    for at in range(0, 160, 40)
]
MIXED = [*DICTS[:9], COLUMNS[0].slice(3, 20), *DICTS[9:30], *COLUMNS[1].to_batches(), *DICTS[30:], COLUMNS[2].slice(1)]
ALL_TYPES = [ROWS[number * 7 % 3 % 2] for number in range(60)]
CASES: dict[str, tuple[list[Any], Any]] = {
    "dicts": (DICTS, None),
    "dicts that soon fill a row group": ([{"id": n, "text": "x" * (n % 50), "none": None} for n in range(80)], None),
    "dicts of a schema": (DICTS, GIVEN),
    "columns": (COLUMNS, None),
    "both": (MIXED, GIVEN),
    "all types": (ALL_TYPES, SCHEMA),
    "failures": ([Failure(n, "step", "raised", "ValueError", f"no {n}") for n in range(60)], None),
}


def die(sink: Any) -> None:
    """What a kill leaves of it: files are closed, and nothing else is done."""
    opened, sink._file = sink._file, None
    opened._groups._out.discards = True
    opened._groups._let_go()
    opened._groups._place._file.close()
    opened._spool.close()


def leave(sink: Any, end: str) -> None:
    if end == "error":
        sink.__exit__(OSError, OSError("broken"), None)
    elif end == "order":
        sink.__exit__(None, None, None)
    else:
        with open(sink._file._spool.path, "ab") as torn:
            torn.write(b"torn"[: len(end) % 5])
        die(sink)


def written(sink: Any, position: Any, results: list[Any]) -> Any:
    """A sink that goes on, and has these."""
    sink.__enter__()
    sink.restore(position)
    put_all(sink, results)
    return sink


def put_all(sink: Any, results: list[Any]) -> None:
    sink.write([result if isinstance(result, Failure) else sink.encode(result) for result in results])


LIFE = st.tuples(
    st.lists(st.tuples(st.integers(0, 25), st.booleans()), max_size=5),
    st.sampled_from(["killed", "killed in a write", "error", "order"]),
)


@settings(kept, max_examples=20)
@given(lives=st.lists(LIFE, max_size=5))
@pytest.mark.parametrize("case", CASES)
def test_the_file_is_that_of_a_job_that_was_never_killed(case: str, lives: list[Any], tmp_path: Path) -> None:
    for old in tmp_path.iterdir():
        old.unlink()
    results, schema = CASES[case]
    path = tmp_path / "out.parquet"

    def make() -> Any:
        return Parquet(path, schema=schema, row_group_bytes=600 if "soon" in case else 3_000, fsync="never")

    written(make(), None, results).__exit__(None, None, None)
    whole = path.read_bytes()
    path.write_bytes(b"of long ago")
    done, position = 0, None
    for writes, end in lives:
        sink, at = written(make(), position, []), done
        for count, is_saved in writes:
            put_all(sink, results[at : at + count])
            at = min(at + count, len(results))
            if is_saved:
                done, position = at, saved(sink.position())
        leave(sink, end if at and (at > 1 or results is not DICTS) else "error")  # a row without fields makes no file
    sink = written(make(), position, results[done:])
    sink.position()
    sink.__exit__(None, None, None)
    assert path.read_bytes() == whole
    assert os.listdir(tmp_path) == [path.name]
    assert pq.read_table(path).num_rows == sum(getattr(result, "num_rows", 1) for result in results)
    assert len(results) < 50 or pq.read_metadata(path).num_row_groups > 1


@pytest.mark.parametrize("schema", [None, GIVEN])
@pytest.mark.parametrize("stopped", [False, True])
def test_whatever_call_it_is_killed_at_it_goes_on(stopped: bool, schema: Any, tmp_path: Path) -> None:
    path = tmp_path / "out.parquet"

    def make() -> Any:
        return Parquet(path, schema=schema, row_group_bytes=3_000)

    results = [{**row(n), "id": n} for n in range(60)]
    job = Job(tmp_path, make, results)
    written(make(), None, results).__exit__(None, None, None)
    whole, counted = path.read_bytes(), 0
    before: Callable[[], None] = (lambda: job.run(34)) if stopped else (lambda: None)
    for counted in moments(job, path, before):
        job.run()
        assert path.read_bytes() == whole, counted
        assert {*os.listdir(tmp_path)} <= {"out.parquet", "state"}
    assert counted > 15


def test_what_was_there_stays_until_the_job_is_done_and_after_an_error(tmp_path: Path) -> None:
    path = tmp_path / "out.parquet"
    path.write_bytes(b"of long ago")
    sink = written(Parquet(path), None, [{"a": 1}])
    leave(sink, "error")
    assert path.read_bytes() == b"of long ago"
    assert {*os.listdir(tmp_path)} == {"out.parquet", "out.parquet.rows"}


def test_where_nobody_restores_it_there_is_no_position_and_nothing_is_kept(tmp_path: Path) -> None:
    sink = Parquet(tmp_path / "out.parquet")
    sink.__enter__()
    sink.write([{"a": 1}])
    assert sink.position() is None
    assert os.listdir(tmp_path) == ["out.parquet.part"]
    sink.__exit__(None, None, None)


def test_what_has_less_than_the_job_has_written_is_refused_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "out.parquet"
    sink = written(Parquet(path), None, [{"a": 1}, {"a": 2}])
    position = sink.position()
    sink.__exit__(None, None, None)
    for spoil in (lambda: pq.write_table(pa.table({"a": [1]}), path), lambda: path.write_bytes(b"x"), path.unlink):
        spoil()
        there = sorted(os.listdir(tmp_path))
        sink = Parquet(path)
        sink.__enter__()
        with pytest.raises(CheckpointMismatch, match=r"out\.parquet has [01] rows, and .*rows 0 bytes; in neither are"):
            sink.restore(position)
        sink.__exit__(OSError, OSError("refused"), None)
        assert sorted(os.listdir(tmp_path)) == there


def test_a_file_with_other_rows_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "out.parquet"
    sink = written(Parquet(path, schema={"a": pa.int64()}), None, [{"a": 1}, {"a": 2}])
    position = sink.position()
    sink.__exit__(None, None, None)
    for other in ({"a": [1, 3, 2]}, {"b": [1, 2]}, {"a": ["1", "2"]}):
        pq.write_table(pa.table(other), path)
        sink = Parquet(path, schema={"a": pa.int64()})
        sink.__enter__()
        with pytest.raises(CheckpointMismatch, match=r"out\.parquet has [23] rows, and .*rows 0 bytes; in neither are"):
            sink.restore(position)
        sink.__exit__(OSError, OSError("refused"), None)


def test_the_position_of_another_sink_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "out.parquet"
    sink = written(Parquet(path), None, [{"a": 1}])
    position = sink.position()
    leave(sink, "error")
    for position_of, made, says in (
        (position, Parquet(path, schema={"a": pa.string()}), "by the job with another schema"),
        ({"size": 1, "tail": "", "kind": None, "pending": ""}, Parquet(path), "is no position in"),
    ):
        made.__enter__()
        with pytest.raises(CheckpointMismatch, match=says):
            made.restore(position_of)
        made.__exit__(OSError, OSError("refused"), None)
    assert os.listdir(tmp_path) == ["out.parquet.rows"]


def test_a_write_that_fails_is_in_no_position(tmp_path: Path) -> None:
    sink = written(Parquet(tmp_path / "out.parquet", schema={"a": pa.int64()}), None, [{"a": 1}])
    position = sink.position()
    with pytest.raises(ValueError, match="a result has 'x'"):
        sink.write([*({"a": n} for n in range(8)), {"a": "x"}, {"a": 0}])
    assert sink.position() == position
    leave(sink, "error")


def test_no_other_writes_what_is_kept(tmp_path: Path) -> None:
    sink = written(Parquet(tmp_path / "out.parquet"), None, [{"a": 1}])
    with pytest.raises(StateError, match="is being written by another"):
        Parquet(tmp_path / "out.parquet").__enter__()
    put(sink, [{"a": 2}])
    sink.__exit__(None, None, None)


def test_it_is_as_it_says_in_json(tmp_path: Path) -> None:
    sink = written(Parquet(tmp_path / "out.parquet", schema=GIVEN), None, [row(1)])
    assert json.loads(json.dumps(sink.position()))["rows"] == 1
    sink.__exit__(None, None, None)
