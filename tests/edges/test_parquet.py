"""Parquet both ways: all types, whatever is wrong with a file or a result, whole or not there, and little memory."""

from __future__ import annotations

import asyncio
import json
import math
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, date, datetime, timedelta
from datetime import time as daytime
from decimal import Decimal
from functools import reduce
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeframe_async import ConfigError, Failure, FeedError, PipeFrame, PipelineEngine, SinkError, expand
from pipeframe_async.feeds import Parquet, UnreadRow, feed_from
from pipeframe_async.sinks import Parquet as ParquetOut
from pipeframe_async.sinks import columns, sink_to
from pipeframe_async.testing import conform_sink, conform_source

ROWS: list[dict[str, Any]] = [
    {
        "number": 2**62,
        "share": 0.1,
        "text": "é",
        "bytes": b"\xff",
        "true": True,
        "price": Decimal("1.50"),
        "day": date(2024, 2, 29),
        "at": datetime(2024, 2, 29, 1, 2, 3, 4),
        "there": datetime(2024, 2, 29, 1, tzinfo=UTC),
        "noon": daytime(12, 0, 0, 1),
        "long": timedelta(days=1, microseconds=1),
        "list": [[1], [], None, [None, 2]],
        "struct": {"a": 1, "b": {"c": ["x"]}},
        "color": "red",
        "map": [("a", 1), ("b", None)],
        "small": -128,
    },
]
ROWS.append(dict.fromkeys(ROWS[0]))
SCHEMA = pa.schema(
    {
        "number": pa.int64(),
        "share": pa.float64(),
        "text": pa.string(),
        "bytes": pa.binary(),
        "true": pa.bool_(),
        "price": pa.decimal128(10, 2),
        "day": pa.date32(),
        "at": pa.timestamp("us"),
        "there": pa.timestamp("us", "UTC"),
        "noon": pa.time64("us"),
        "long": pa.duration("us"),
        "list": pa.list_(pa.list_(pa.int32())),
        "struct": pa.struct({"a": pa.int64(), "b": pa.struct({"c": pa.list_(pa.string())})}),
        "color": pa.dictionary(pa.int32(), pa.string()),
        "map": pa.map_(pa.string(), pa.int64()),
        "small": pa.int8(),
    }
)


def as_it_is(record: Any) -> tuple[Any, bool]:
    return record, True


class Through(PipelineEngine[Any, Any]):
    steps: Any = (as_it_is,)
    source = "stream"
    max_failures: Any = None

    def __init__(self, sink: Any = None, dead_letter: Any = None) -> None:
        self.taken: list[Any] = []
        self.dead: list[Failure[Any]] = []
        self.sink = sink or self.take
        self.dead_letter = dead_letter or self.bury

    async def take(self, records: list[Any]) -> None:
        self.taken += records

    async def bury(self, failures: list[Failure[Any]]) -> None:
        self.dead += failures


async def read(feed: Any, executor: str = "inline") -> Through:
    pipeline = Through()
    await PipeFrame(executor=executor, cpu_count=1, buffer_size=100).run(pipeline, feed)
    return pipeline


async def write(sink: Any, records: Any, executor: str = "inline", dead_letter: Any = None) -> Any:
    pipeline = Through(sink, dead_letter)
    report = await PipeFrame(executor=executor, cpu_count=1).run(pipeline, records)
    return report if dead_letter else (report, pipeline.dead)


def broken(records: list[Any]) -> Any:
    yield from records
    raise OSError("the feed broke")


def numbers(path: Path, rows: int = 10, **options: Any) -> Path:
    pq.write_table(pa.table({"n": range(rows), "text": [f"row {n}" for n in range(rows)]}), path, **options)
    return path


# Both ways


@pytest.mark.parametrize("executor", ["inline", "threads", "processes"])
async def test_all_types_come_back_as_they_went(executor: str, tmp_path: Path) -> None:
    path = tmp_path / "out.parquet"
    await write(ParquetOut(path, schema=SCHEMA), ROWS, executor)
    assert pq.read_schema(path).equals(SCHEMA)
    assert (await read(Parquet(path), executor)).taken == ROWS


async def test_columns_are_made_of_the_first_results_where_there_is_no_schema(tmp_path: Path) -> None:
    rows = [{name: value for name, value in row.items() if name != "map"} for row in ROWS]  # pairs of no one type
    await write(ParquetOut(tmp_path / "out"), [{"number": None}, *rows, {"late": 1.5}, {"late": 2}])
    taken = (await read(Parquet(tmp_path / "out"))).taken
    assert taken[1] == {**rows[0], "late": None}
    assert [row["late"] for row in taken] == [None, None, None, 1.5, 2.0]
    assert pq.read_schema(tmp_path / "out").field("there").type == pa.timestamp("us", "UTC")


@pytest.mark.parametrize("executor", ["inline", "processes"])
async def test_batches_go_through_as_they_are(executor: str, tmp_path: Path) -> None:
    numbers(tmp_path / "in", 1_000, row_group_size=300)
    taken = (await read(Parquet(tmp_path / "in", batches=True, batch_rows=200), executor)).taken
    assert [batch.num_rows for batch in taken] == [200, 100] * 3 + [100]
    await write(ParquetOut(tmp_path / "out"), Parquet(tmp_path / "in", batches=True), executor)
    assert pq.read_table(tmp_path / "out").equals(pq.read_table(tmp_path / "in"))


async def test_a_batch_is_no_larger_where_one_number_stands_for_a_long_text(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["x" * 1_000] * 100_000}), tmp_path / "in")
    taken = (await read(Parquet(tmp_path / "in", batches=True))).taken
    assert [batch.num_rows for batch in taken] == [2**16, 100_000 - 2**16]


async def test_rows_of_a_batch_may_be_made_in_the_workers(tmp_path: Path) -> None:
    pipeline = Through()
    pipeline.steps = (expand(pa.RecordBatch.to_pylist), as_it_is)
    feed = Parquet(numbers(tmp_path / "in"), batches=True, columns=["n"])
    await PipeFrame(cpu_count=1).run(pipeline, feed)
    assert pipeline.taken == [{"n": n} for n in range(10)]


async def test_tables_and_rows_may_be_mixed_where_they_fit(tmp_path: Path) -> None:
    table = pa.table({"b": ["x"], "a": pa.array([1], pa.int32())})
    await write(ParquetOut(tmp_path / "out", schema={"a": pa.int64(), "b": pa.string()}), [{"a": 0}, table, {"b": "y"}])
    assert pq.read_table(tmp_path / "out").to_pylist() == [
        {"a": 0, "b": None},
        {"a": 1, "b": "x"},
        {"a": None, "b": "y"},
    ]


async def test_they_are_opened_by_how_their_names_end(tmp_path: Path) -> None:
    numbers(tmp_path / "in.parquet")
    await write(sink_to(f"{tmp_path}/out.parquet"), feed_from(f"{tmp_path}/*.parquet"))
    assert (await read(feed_from(f"parquet:{tmp_path}/out.parquet"))).taken[-1] == {"n": 9, "text": "row 9"}
    with pytest.raises(ConfigError, match="nothing can be appended to a Parquet file"):
        sink_to(f"{tmp_path}/out.parquet", append=True)


def test_they_conform(tmp_path: Path) -> None:
    conform_source(lambda: Parquet(numbers(tmp_path / "in", 50)), records=50).check()
    conform_source(lambda: Parquet(numbers(tmp_path / "in", 50), batches=True, batch_rows=10), records=5).check()
    path = tmp_path / "out"

    def rows() -> Any:
        return iter(pq.read_table(path).to_pylist())

    records = [{"a": 1, "b": None}, {"a": 2}, {"a": 2.5, "b": "x"}]
    conform_sink(lambda: ParquetOut(path), records=records, read=lambda: [*rows()]).check()
    schema = {"a": pa.float64(), "b": pa.string()}
    conform_sink(lambda: ParquetOut(path, schema=schema), records=records, read=lambda: [*rows()]).check()


# Reading


async def test_files_are_read_in_order_each_by_its_own_schema(tmp_path: Path) -> None:
    pq.write_table(pa.table({"n": ["one"]}), tmp_path / "b.parquet")
    pq.write_table(pa.table({"n": pa.array([], pa.int64())}), tmp_path / "c.parquet")
    pq.ParquetWriter(tmp_path / "d.parquet", pa.schema({"n": pa.int8()})).close()  # no row group
    pq.write_table(pa.table({}), tmp_path / "e.parquet")
    numbers(tmp_path / "a.parquet", 2)
    taken = (await read(Parquet(tmp_path / "*.parquet"))).taken
    assert taken == [{"n": 0, "text": "row 0"}, {"n": 1, "text": "row 1"}, {"n": "one"}]


async def test_only_the_columns_that_are_wanted_are_read_in_that_order(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1], "b": [{"c": 2, "d": 3}], "b.c": [4]}), tmp_path / "in")
    [row] = (await read(Parquet(tmp_path / "in", columns=["b", "a"]))).taken
    assert [*row.items()] == [("b", {"c": 2, "d": 3}), ("a", 1)]


async def test_a_column_that_a_file_lacks_is_said_before_any_record(tmp_path: Path) -> None:
    numbers(tmp_path / "a.parquet")
    pq.write_table(pa.table({"n": [1], "other": [2]}), tmp_path / "b.parquet")
    pipeline = Through()
    with pytest.raises(FeedError, match=r"b\.parquet has no column 'text'; it has n, other"):
        await PipeFrame(executor="inline").run(pipeline, Parquet(tmp_path / "*.parquet", columns=["n", "text"]))
    assert pipeline.taken == []


async def test_a_name_that_is_there_twice_is_said(tmp_path: Path) -> None:
    pq.write_table(
        pa.Table.from_arrays([pa.array([1]), pa.array([2]), pa.array([3])], ["n", "n", "m"]), tmp_path / "in"
    )
    with pytest.raises(FeedError, match="two columns of the name 'n'"):
        await read(Parquet(tmp_path / "in"))
    assert (await read(Parquet(tmp_path / "in", columns=["m"]))).taken == [{"m": 3}]


@pytest.mark.parametrize("executor", ["inline", "processes"])
async def test_a_row_that_python_has_no_type_for_is_that_records_failure(executor: str, tmp_path: Path) -> None:
    far = pa.array([0, 2**55, 1], pa.timestamp("ms"))
    pq.write_table(pa.table({"n": range(3), "at": far}), tmp_path / "in")
    pipeline = await read(Parquet(tmp_path / "in"), executor)
    assert [row["n"] for row in pipeline.taken] == [0, 2]
    [failure] = pipeline.dead
    assert (failure.record.path, failure.record.row, failure.step) == (str(tmp_path / "in"), 1, "decode")
    assert type(failure.record) is UnreadRow
    assert "row 1 of" in failure.message


def spoiled(path: Path, at: int, by: bytes) -> None:
    data = bytearray(path.read_bytes())
    data[at : at + len(by)] = by
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda path: path.write_bytes(b"no Parquet at all " * 10), "cannot be read as Parquet: .*magic bytes"),
        (lambda path: path.write_bytes(b""), "cannot be read as Parquet: .*0 bytes"),
        (lambda path: path.write_bytes(path.read_bytes()[:-100]), "cannot be read as Parquet"),
        (lambda path: spoiled(path, 4, b"\xff" * 200), "cannot be read as Parquet"),
        (lambda path: spoiled(path, -60, b"\xff" * 40), "cannot be read as Parquet"),
    ],
)
async def test_a_damaged_file_ends_the_feed_with_an_error_that_names_it(spoil: Any, says: str, tmp_path: Path) -> None:
    spoil(numbers(tmp_path / "in.parquet", 10_000))
    with pytest.raises(FeedError, match=rf"in\.parquet {says}") as caught:
        await read(Parquet(tmp_path / "in.parquet"))
    assert isinstance(caught.value.__cause__, OSError)


async def test_a_page_that_was_changed_is_found_in_a_file_of_ours(tmp_path: Path) -> None:
    text = [{"text": os.urandom(50).hex()} for _ in range(1_000)]
    await write(ParquetOut(tmp_path / "in.parquet", compression=None), text)
    at = (tmp_path / "in.parquet").read_bytes().index(text[500]["text"].encode())
    spoiled(tmp_path / "in.parquet", at, b"x")
    with pytest.raises(FeedError, match=r"in\.parquet cannot be read as Parquet: .*CRC"):
        await read(Parquet(tmp_path / "in.parquet"))


async def test_what_is_no_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(FeedError, match="no file matches"):
        await read(Parquet(tmp_path / "*.parquet"))
    with pytest.raises(FeedError, match="No such file"):
        await read(Parquet(tmp_path / "none"))
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(FeedError, match="is no regular file, and a Parquet file is read from its end"):
            await read(Parquet(path))


# Writing


async def test_row_groups_are_cut_by_their_bytes(tmp_path: Path) -> None:
    rows = [{"text": f"{n:0100}"} for n in range(10_000)]
    await write(ParquetOut(tmp_path / "many", row_group_bytes=100_000, compression=None), rows)
    await write(ParquetOut(tmp_path / "one"), rows)
    await write(ParquetOut(tmp_path / "large", row_group_bytes=100_000), [pa.Table.from_pylist(rows)])
    assert pq.ParquetFile(tmp_path / "one").num_row_groups == 1
    for name in ("many", "large"):
        metadata = pq.read_metadata(tmp_path / name)
        assert 8 <= metadata.num_row_groups <= 12
        assert pq.read_table(tmp_path / name).to_pylist() == rows


@pytest.mark.parametrize("compression", ["zstd", "snappy", "gzip", "brotli", "lz4", None])
async def test_columns_are_compressed(compression: str | None, tmp_path: Path) -> None:
    await write(ParquetOut(tmp_path / "out", compression=compression), [{"n": n} for n in range(3)])
    found = pq.read_metadata(tmp_path / "out").row_group(0).column(0).compression
    assert found == (compression or "uncompressed").upper()


async def test_a_run_without_results_leaves_a_file_without_rows(tmp_path: Path) -> None:
    await write(ParquetOut(tmp_path / "a"), [])
    await write(ParquetOut(tmp_path / "b", schema=SCHEMA), [])
    assert (await read(Parquet(tmp_path / "a", tmp_path / "b"))).taken == []
    assert pq.read_schema(tmp_path / "b").equals(SCHEMA)


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        (pa.field("x", pa.int64()), 1.5, "column 'x' is int64, and a result has 1.5"),
        (pa.field("x", pa.int8()), 300, "column 'x' is int8, and a result has 300"),
        (pa.field("x", pa.uint8()), -1, "column 'x' is uint8, and a result has -1"),
        (pa.field("x", pa.int64()), True, "column 'x' is int64, and a result has True"),
        (pa.field("x", pa.int64()), "1", "column 'x' is int64, and a result has '1'"),
        (pa.field("x", pa.int64()), Decimal("1.5"), "column 'x' is int64, and a result has Decimal"),
        (pa.field("x", pa.string()), 1, "column 'x' is string, and a result has 1"),
        (pa.field("x", pa.string()), "\ud800", "column 'x' is string"),
        (pa.field("x", pa.date32()), datetime(2024, 1, 1, 5), "lose the time of the day"),
        (pa.field("x", pa.timestamp("s")), datetime(2024, 1, 1, 5, 0, 0, 7), "would lose data"),
        (pa.field("x", pa.timestamp("us")), datetime(2024, 1, 1, tzinfo=UTC), "only one of them has a time zone"),
        (pa.field("x", pa.timestamp("us", "UTC")), datetime(2024, 1, 1), "only one of them has a time zone"),
        (pa.field("x", pa.timestamp("us")), 5, "column 'x' is timestamp"),
        (pa.field("x", pa.decimal128(4, 1)), Decimal("1.25"), "column 'x' is decimal128"),
        (pa.field("x", pa.list_(pa.int64())), [1.5], "column 'x' is list"),
        (pa.field("x", pa.list_(pa.int64())), 1, "column 'x' is list"),
        (pa.field("x", pa.struct({"a": pa.int64()})), {"a": 1, "b": 2}, "'b' is no field of it"),
        (pa.field("x", pa.struct({"a": pa.int64()})), {"a": 1.5}, "column 'x' is struct"),
        (pa.field("x", pa.int64(), nullable=False), None, "column 'x' must have a value"),
        (pa.field("x", pa.list_(pa.field("", pa.int64(), nullable=False))), [1, None], "it must have a value"),
        (pa.field("x", pa.struct([pa.field("a", pa.int64(), nullable=False)])), {}, "column 'x' is struct"),
    ],
)
async def test_a_result_that_does_not_fit_the_schema_is_that_records_failure(
    field: pa.Field, value: Any, says: str, tmp_path: Path
) -> None:
    good = pa.array([None if field.nullable else 1], field.type).to_pylist()[0]
    sink = ParquetOut(tmp_path / "out", schema=pa.schema([field]))
    report, [failure] = await write(sink, [{"x": good}, {"x": value}, {"x": good}])
    assert (report.delivered, failure.record, failure.step) == (2, {"x": value}, "encode")
    assert says in failure.message
    assert pq.read_table(tmp_path / "out").to_pylist() == [{"x": good}] * 2


async def test_a_whole_number_is_a_decimal_where_it_has_the_room(tmp_path: Path) -> None:
    schema = {"x": pa.decimal128(10, 2), "y": pa.list_(pa.decimal128(3, 0))}
    rows = [{"x": 1, "y": [999]}, {"x": 10**8 - 1, "y": []}, {"x": 10**8, "y": []}, {"x": 1, "y": [1_000]}]
    _, failures = await write(ParquetOut(tmp_path / "out", schema=schema), rows)
    assert [failure.record for failure in failures] == rows[2:]
    assert pq.read_table(tmp_path / "out").to_pylist() == rows[:2]


PYARROW = int(pa.__version__.split(".")[0])
MAP = pa.map_(pa.string(), pa.int64())


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (MAP, [("a", 1), ("b", None)], [("a", 1), ("b", 1.5)]),
        (MAP, [("a", 1)], {"a": 1.5}),
        (MAP, [], [(1, 1)]),
        (pa.map_(pa.string(), pa.float32()), [("a", 1.0)], {"a": 1e300}),
        (pa.map_(pa.string(), MAP), [("a", [("b", 1)])], {"a": {"b": True}}),
        (pa.list_(MAP), [[("a", 1)], None], [{"a": 1}, {"a": 1.5}]),
        (pa.struct({"x": MAP}), {"x": [("a", 1)]}, {"x": {"a": 1.5}}),
    ],
)
async def test_what_is_in_a_map_loses_nothing_either(kind: pa.DataType, good: Any, bad: Any, tmp_path: Path) -> None:
    rows = [{"x": good}, {"x": bad}, {"x": None}]
    _, failures = await write(ParquetOut(tmp_path / "out", schema={"x": kind}), rows)
    assert [failure.record for failure in failures] == [{"x": bad}]
    assert pq.read_table(tmp_path / "out").to_pylist() == [{"x": good}, {"x": None}]


@pytest.mark.parametrize("kind", [pa.float32(), pa.float16()])
async def test_a_number_that_a_column_would_make_infinite_does_not_fit(kind: pa.DataType, tmp_path: Path) -> None:
    schema = {"x": kind, "y": pa.list_(kind)}
    good: list[Any] = [{"x": 0.5, "y": [1]}, {"x": math.inf, "y": [-math.inf]}, {"x": None, "y": None}]
    bad = [{"x": 1e300, "y": []}, {"x": 1, "y": [1, -1e300]}]
    columns = pa.table({"x": [1e300], "y": pa.array([[]], pa.list_(pa.float64()))})
    _, failures = await write(ParquetOut(tmp_path / "out", schema=schema), [*good, *bad, columns])
    assert [failure.record for failure in failures] == [*bad, columns]
    assert all("it is too large" in failure.message for failure in failures)
    assert pq.read_table(tmp_path / "out").to_pylist() == good


@pytest.mark.parametrize("schema", [None, {"x": pa.list_(pa.list_(pa.int64()))}])
async def test_what_is_nested_too_deeply_or_contains_itself_is_that_records_failure(
    schema: Any, tmp_path: Path
) -> None:
    itself: dict[str, Any] = {"x": []}
    itself["x"].append(itself)
    deep: dict[str, Any] = {"x": 1}
    for _ in range(25):
        deep = {"x": [deep]}
    good = [{"x": [[1]]}, {"x": [[2]]}]
    report, failures = await write(ParquetOut(tmp_path / "out", schema=schema), [good[0], itself, deep, good[1]])
    assert report.delivered == 2
    assert all("'x' has more than 48 dicts and lists inside of each other" in one.message for one in failures)
    assert pq.read_table(tmp_path / "out").to_pylist() == good


async def test_what_is_as_deep_as_may_be_can_be_read(tmp_path: Path) -> None:
    value: Any = 1
    for _ in range(columns.MOST_NESTED):
        value = [value]
    await write(ParquetOut(tmp_path / "out"), [{"x": value}])
    assert pq.ParquetFile(tmp_path / "out").read().to_pylist() == [{"x": value}]


@pytest.mark.parametrize(
    ("table", "says"),
    [
        (pa.table({"a": [1.5], "b": [[1]]}), "truncated"),
        (pa.table({"a": ["1"], "b": [[1]]}), "column 'a' is int8, and in this string"),
        (pa.table({"a": [1000], "b": [[1]]}), "1000"),
        (pa.table({"a": [1]}), "column 'b' is in one of them only"),
        (pa.table({"a": [1], "b": [[None, 1]]}), "column 'b' must have a value"),
    ],
)
async def test_columns_that_do_not_fit_the_schema_are_that_records_failure(
    table: pa.Table, says: str, tmp_path: Path
) -> None:
    schema = pa.schema({"a": pa.int8(), "b": pa.list_(pa.field("", pa.int64(), nullable=False))})
    for result in (table, table.to_batches()[0]):
        report, [failure] = await write(ParquetOut(tmp_path / "out", schema=schema), [result, {"a": 1}])
        assert (report.delivered, failure.step) == (1, "encode")
        assert says in failure.message


async def test_what_is_no_row_is_that_records_failure(tmp_path: Path) -> None:
    for schema in (None, {"a": pa.int64()}):
        records = [{"a": 1}, 5, {1: 2}, [1], {"a": 1, "more": 2}][: 5 if schema else 4]
        report, dead = await write(ParquetOut(tmp_path / "out", schema=schema), records, "processes")
        assert (report.delivered, [failure.record for failure in dead]) == (1, records[1:])


@pytest.mark.parametrize(
    ("late", "says"),
    [
        ({"a": 1.5}, "column 'a' is int64, and a result has 1.5: .*pass schema="),
        ({"a": "x"}, "column 'a' is int64, and a result has 'x': .*pass schema="),
        ({"b": 1}, "a result has a field 'b', which is no column.*pass schema="),
        ({"never": 1}, "column 'never' is null, and a result has 1: .*pass schema="),
        (pa.table({"c": [1]}), "a Table does not fit: .*pass schema="),
        (pa.table({"a": ["1"], "never": ["x"]}), "a Table does not fit: column 'a' .*pass schema="),
    ],
)
async def test_a_later_result_that_does_not_fit_ends_the_run_and_names_the_column(
    late: Any, says: str, tmp_path: Path
) -> None:
    (tmp_path / "out").write_text("before")
    rows = [{"a": n, "never": None} for n in range(10_000)]
    with pytest.raises(SinkError, match=says):
        await write(ParquetOut(tmp_path / "out"), [*rows, late])
    assert (tmp_path / "out").read_text() == "before"
    assert os.listdir(tmp_path) == ["out"]


async def test_first_results_of_no_one_type_end_the_run_and_name_the_column(tmp_path: Path) -> None:
    for records in ([{"a": 1}, {"a": "x"}], [{"a": object()}]):
        with pytest.raises(SinkError, match=r"the first results make no column 'a': .*pass schema="):
            await write(ParquetOut(tmp_path / "out"), records)
    with pytest.raises(SinkError, match="the first results have no fields"):
        await write(ParquetOut(tmp_path / "out"), [{}])
    with pytest.raises(SinkError, match="a Table has no columns"):
        await write(ParquetOut(tmp_path / "out"), [pa.table({})])
    assert os.listdir(tmp_path) == []


async def test_a_file_stays_as_it_was_until_the_run_has_ended_well(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("before")
    for schema in (None, {"n": pa.int64()}):
        with pytest.raises(Exception, match="the feed broke"):
            await write(
                ParquetOut(tmp_path / "out", schema=schema, row_group_bytes=1),
                broken([{"n": n} for n in range(20_000)]),
            )
        assert ((tmp_path / "out").read_text(), len(os.listdir(tmp_path))) == ("before", 1)


async def test_a_run_that_is_cancelled_leaves_no_file(tmp_path: Path) -> None:
    fed = asyncio.Event()

    async def waits() -> Any:
        for n in range(20_000):
            yield {"n": n}
        fed.set()
        await asyncio.Event().wait()

    running = asyncio.ensure_future(write(ParquetOut(tmp_path / "out", row_group_bytes=1_000), waits()))
    await fed.wait()
    assert os.listdir(tmp_path) == ["out.part"]
    running.cancel()
    await asyncio.wait([running])
    assert os.listdir(tmp_path) == []


async def test_a_file_that_another_is_writing_is_refused(tmp_path: Path) -> None:
    first = ParquetOut(tmp_path / "out")
    first.__enter__()
    with pytest.raises(SinkError, match="out is being written by another run or process"):
        await write(ParquetOut(tmp_path / "out"), [{"n": 1}])
    first.write([{"n": 2}])
    first.__exit__(None, None, None)
    assert pq.read_table(tmp_path / "out").to_pylist() == [{"n": 2}]


def refused(record: Any) -> tuple[Any, bool]:
    raise ValueError(f"refused \ud800 {record!r}")


ITSELF: list[Any] = []
ITSELF.append(ITSELF)


async def test_failures_are_rows_of_text(tmp_path: Path) -> None:
    pipeline = Through(dead_letter=ParquetOut(tmp_path / "dead"))
    pipeline.steps = (refused,)
    await PipeFrame(executor="inline").run(pipeline, [{"a": "é"}, b"\xff", {1, 2}, "\ud800", ITSELF, None])
    rows = pq.read_table(tmp_path / "dead").to_pylist()
    assert [row["record"] for row in rows] == ['{"a":"é"}', '"\\\\xff"', '"{1, 2}"', '"\\ud800"', "[[...]]", "null"]
    assert {(row["step"], row["kind"], row["error_type"], row["attempts"]) for row in rows} == {
        ("refused", "raised", "ValueError", 1)
    }
    assert rows[0]["message"].startswith("refused \\ud800")
    assert "Traceback" in rows[0]["traceback"]
    assert [*rows[0]] == [*json.loads(json.dumps(rows[0]))]


FULL = """
import resource, sys
from pipeframe_async import PipelineEngine, SinkError, run
from pipeframe_async.sinks import Parquet

class Full(PipelineEngine):
    steps = [lambda record: ({"n": record, "text": "x" * 100}, True)]
    source = "stream"

    def feed(self):
        yield from range(50_000)

    sink = Parquet(sys.argv[1], compression=None, row_group_bytes=100_000)

resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
try:
    run(Full, executor="inline")
except SinkError as error:
    print(type(error.__cause__).__name__, error)
"""


def test_where_there_is_no_room_that_is_said_and_nothing_is_left(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path / "out")], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("OSError")
    assert "File too large" in done.stdout
    assert str(tmp_path / "out") in done.stdout
    assert (done.stderr, os.listdir(tmp_path)) == ("", [])


KILLED = """
import sys
from pipeframe_async import PipelineEngine, run
from pipeframe_async.sinks import Parquet

class Killed(PipelineEngine):
    steps = [lambda record: (record, True)]
    source = "stream"

    def feed(self):
        n = 0
        while True:
            yield {"n": n, "text": f"{n:0500}"}
            n += 1

    sink = Parquet(sys.argv[1], compression=None, row_group_bytes=100_000)

run(Killed, executor="inline", buffer_size=1000)
"""


def test_a_killed_run_leaves_what_was_there_and_the_next_one_is_not_in_its_way(tmp_path: Path) -> None:
    path, part = numbers(tmp_path / "out.parquet"), tmp_path / "out.parquet.part"
    for _ in range(2):
        before = path.read_bytes()
        part.unlink(missing_ok=True)
        writing = subprocess.Popen([sys.executable, "-c", KILLED, str(path)])
        while not part.exists() or part.stat().st_size < 2_000_000:
            assert writing.poll() is None
            time.sleep(0.01)
        writing.send_signal(signal.SIGKILL)
        writing.wait()
        assert path.read_bytes() == before
    next_one = ParquetOut(path)
    next_one.__enter__()
    next_one.write([{"n": 1}])
    next_one.__exit__(None, None, None)
    assert pq.read_table(path).to_pylist() == [{"n": 1}]
    assert os.listdir(tmp_path) == [path.name]


# Memory, processes, and what is wrong


MEMORY = """
import sys
import pyarrow.parquet
from pipeframe_async import PipelineEngine, run
from pipeframe_async.feeds import Parquet

class Sizes(PipelineEngine):
    steps = [lambda record: (record.num_rows if hasattr(record, "num_rows") else 1, True)]
    seen = 0

    async def sink(self, records):
        Sizes.seen += sum(records)

def most():  # the most memory that this program has had, in MiB
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) // 1024 for line in file if line.startswith("VmHWM"))

before = most()
run(Sizes, Parquet(sys.argv[1], batches=sys.argv[2] == "batches"), executor=sys.argv[3], cpu_count=1, buffer_size=500)
print(Sizes.seen, most() - before)
"""


@pytest.mark.process
@pytest.mark.parametrize("how", ["rows", "batches"])
def test_a_large_file_is_read_in_little_memory(how: str, tmp_path: Path) -> None:
    table = pa.table({"text": [os.urandom(500).hex() for _ in range(20_000)]})
    with pq.ParquetWriter(tmp_path / "in", table.schema, compression="none", use_dictionary=False) as writer:
        for _ in range(20):  # 20 MB each, 400 MB in all
            writer.write_table(table)
    command = [sys.executable, "-c", MEMORY, str(tmp_path / "in"), how, "processes"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    seen, mebibytes = map(int, done.stdout.split())
    assert seen == 400_000
    assert mebibytes < 160  # the file has 400; batches that wait for their worker are some tens


IMPORTED = """
import sys
from pipeframe_async import PipelineEngine, run
from pipeframe_async.feeds import Parquet
from pipeframe_async.sinks import Parquet as ParquetOut

def looked(row):
    return {"n": "pyarrow" in __import__("sys").modules}, True

class Looks(PipelineEngine):
    steps = [looked]
    sink = ParquetOut(sys.argv[2])

assert "pyarrow" in sys.modules
run(Looks, Parquet(sys.argv[1]), cpu_count=1)
"""


@pytest.mark.process
def test_workers_do_not_import_it_where_rows_are_dicts(tmp_path: Path) -> None:
    numbers(tmp_path / "in")
    command = [sys.executable, "-c", IMPORTED, str(tmp_path / "in"), str(tmp_path / "out")]
    subprocess.run(command, check=True)
    assert {row["n"] for row in pq.read_table(tmp_path / "out").to_pylist()} == {False}


MISSING = """
import sys
sys.modules["pyarrow"] = None
from pipeframe_async import ConfigError
from pipeframe_async.feeds import Lines, Parquet, feed_from
from pipeframe_async.sinks import Parquet as ParquetOut, sink_to
feed_from("x.csv")
for make in Parquet, ParquetOut, feed_from, sink_to:
    try:
        make("x.parquet")
    except ConfigError as error:
        assert "pip install 'pipeframe_async[parquet]'" in str(error), error
    else:
        raise AssertionError
"""


def test_where_pyarrow_is_missing_the_command_is_said() -> None:
    subprocess.run([sys.executable, "-c", MISSING], check=True)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Parquet(), "Parquet\\(\\) has no paths"),
        (lambda: Parquet("a", "-"), "read from its end"),
        (lambda: Parquet("a", columns="n"), "columns='n': must be names of columns, each once"),
        (lambda: Parquet("a", columns=[]), "columns=\\[\\]: must be"),
        (lambda: Parquet("a", columns=["n", "n"]), "each once"),
        (lambda: Parquet("a", batch_rows=5), "batch_rows=5 is of batches=True"),
        (lambda: Parquet("a", batches=True, batch_rows=0), "batch_rows=0: must be a number of at least 1"),
        (lambda: ParquetOut("-"), "path='-': a Parquet file has a name"),
        (lambda: ParquetOut("a.parquet.gz"), "compresses its columns by itself"),
        (lambda: ParquetOut("a", row_group_bytes=0), "row_group_bytes=0: must be"),
        (lambda: ParquetOut("a", compression="bz2"), "compression='bz2': must be None, 'zstd'"),
        (lambda: ParquetOut("a", fsync="write"), "fsync='write': must be one of 'close', 'never'"),
        (lambda: ParquetOut("a", schema={"x": 5}), "schema=.*: must be a pyarrow.Schema"),
        (lambda: ParquetOut("a", schema=pa.schema([("x", pa.struct([]))])), "must be a pyarrow.Schema that Parquet"),
        (lambda: ParquetOut("a", schema=pa.schema([("x", pa.int8())] * 2)), "a name is there twice"),
        (lambda: ParquetOut("a", schema={}), "it has no columns"),
        pytest.param(
            lambda: ParquetOut("a", schema={"x": reduce(lambda of, _: pa.list_(of), range(60), pa.int8())}),
            "deep",
            marks=pytest.mark.skipif(PYARROW < 26, reason="older ones read what is nested so deeply"),
        ),
    ],
)
def test_what_is_wrong_is_said_at_once(make: Any, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        make()


def test_a_value_that_fits_costs_no_try(monkeypatch: pytest.MonkeyPatch) -> None:
    schema = {
        name: SCHEMA.field(name).type for name in ("number", "share", "text", "bytes", "day", "at", "list", "struct")
    }
    encode = ParquetOut("x", schema=schema).encode
    monkeypatch.setattr(columns, "array_of", None)
    row = {name: ROWS[0][name] for name in schema}
    assert encode(row) is row
