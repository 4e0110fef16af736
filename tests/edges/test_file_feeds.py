"""Lines, JSON lines and CSV from files: whatever they are compressed with, and whatever is wrong with them."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from pipeframe_async import ConfigError, Failure, FeedError, PipeFrame, PipelineEngine
from pipeframe_async.feeds import Csv, CsvRow, JsonLines, Lines, TooLong, reading
from pipeframe_async.plan import feed_of, plan_of
from pipeframe_async.text_files import Quoting

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

COMPRESS: dict[str, Any] = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": partial(zstd.compress, options={zstd.CompressionParameter.checksum_flag: 1}),
}


def as_it_is(record: Any) -> tuple[Any, bool]:
    return record, True


class Read(PipelineEngine[Any, Any]):
    steps = (as_it_is,)
    max_failures: Any = None

    def __init__(self) -> None:
        self.taken: list[Any] = []
        self.dead: list[Failure[Any]] = []

    async def sink(self, records: list[Any]) -> None:
        self.taken += records

    async def dead_letter(self, failures: list[Failure[Any]]) -> None:
        self.dead += failures


async def read(feed: Any, executor: str = "inline") -> Read:
    pipeline = Read()
    await PipeFrame(executor=executor, cpu_count=1, buffer_size=100).run(pipeline, feed)
    return pipeline


@pytest.mark.parametrize("suffix", COMPRESS)
async def test_the_lines_of_many_files_come_in_the_order_of_their_names(suffix: str, tmp_path: Path) -> None:
    for number in (2, 0, 1):
        text = "".join(f"{number} {line}\n" for line in range(500)).encode()
        (tmp_path / f"{number}.txt{suffix}").write_bytes(COMPRESS[suffix](text))
    pipeline = await read(Lines(tmp_path / f"*.txt{suffix}"))
    assert pipeline.taken == [f"{number} {line}" for number in range(3) for line in range(500)]


@pytest.mark.parametrize("executor", ["inline", "threads", "processes", "auto"])
async def test_what_is_no_json_is_that_records_failure(executor: str, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_bytes(b'{"a": 1}\n\n  \n{"a": \n[2]\r\n"last"')
    pipeline = await read(JsonLines(tmp_path / "in.jsonl"), executor)
    assert pipeline.taken == [{"a": 1}, [2], "last"]
    assert [(failure.record, failure.step) for failure in pipeline.dead] == [(b'{"a": ', "decode")]


async def test_a_line_that_is_no_text_is_a_failure_with_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"good\n\xff\xfe\nalso\r\n")
    pipeline = await read(Lines(tmp_path / "in"))
    assert (pipeline.taken, [failure.record for failure in pipeline.dead]) == (["good", "also"], [b"\xff\xfe"])
    assert (await read(Lines(tmp_path / "in", encoding="latin-1"))).taken == ["good", "ÿþ", "also"]


async def test_a_line_that_is_too_long_is_a_failure_and_the_next_one_is_not(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"short\n" + b"x" * 3_000_000 + b"\nend\n")
    pipeline = await read(Lines(tmp_path / "in", max_line=1_000))
    assert pipeline.taken == ["short", "end"]
    [failure] = pipeline.dead
    assert isinstance(failure.record, TooLong)
    assert (failure.record.line, failure.step) == (2, "decode")
    assert "line 2 of" in failure.message


async def test_rows_are_dicts_and_fields_in_quotes_may_have_newlines(tmp_path: Path) -> None:
    text = '\ufeffid,text\r\n1,"two\nlines, ""quoted"""\n\n2,plain\n3\n4,"open\n5,last'
    (tmp_path / "in.csv").write_text(text, newline="")
    pipeline = await read(Csv(tmp_path / "in.csv"))
    assert pipeline.taken == [{"id": "1", "text": 'two\nlines, "quoted"'}, {"id": "2", "text": "plain"}]
    assert [failure.record for failure in pipeline.dead] == [
        CsvRow(("id", "text"), b"3"),
        CsvRow(("id", "text"), b'4,"open\n5,last'),
    ]


async def test_a_quote_inside_of_a_field_is_a_character(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text('id,what\n1,a\n2,5" pipe\n3,x\n4,"7"" pipe"\n')
    pipeline = await read(Csv(path))
    assert [row["what"] for row in pipeline.taken] == ["a", '5" pipe', "x", '7" pipe']


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    text=st.lists(st.sampled_from(['"', '""', ",", "\n", "a", "\r\n"]), max_size=20).map("".join),
    block=st.integers(1, 9),
)
def test_rows_are_those_of_csv(text: str, block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = b""
    for line in text.encode().split(b"\n"):
        begun = b'"' if Quoting(b'"', b",").is_open(begun + line) else b""
    assume(not begun)  # a file that ends in quotes: to both its rest is one row, of which `csv` keeps the last newline
    path = tmp_path / "in.csv"
    path.write_bytes(text.encode())
    monkeypatch.setattr(reading, "BLOCK", block)
    feed = Csv(path, names=["one"])
    rows = [next(csv.reader([str(row.raw, "utf-8")]), []) for chunk in feed for row in chunk.records]
    with path.open(newline="") as file:
        assert rows == [row for row in csv.reader(file) if row]


async def test_rows_without_names_get_those_that_are_passed(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("1;2\n3;4\n")
    assert (await read(Csv(tmp_path / "in.csv", names=["a", "b"], delimiter=";"))).taken == [
        {"a": "1", "b": "2"},
        {"a": "3", "b": "4"},
    ]


async def test_a_row_that_is_too_long_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("a\n" + '"' + "x\n" * 400 + '"\n' + '"' + "x\n" * 700 + '"\n7\n')
    pipeline = await read(Csv(tmp_path / "in.csv", max_line=1_000))
    assert pipeline.taken[0] == {"a": "x\n" * 400}
    assert pipeline.taken[1:] == [{"a": "7"}]  # what is left of it is no row
    [failure] = pipeline.dead
    assert isinstance(failure.record.raw, TooLong)


@pytest.mark.parametrize("kind", ["gzip", "bzip2", "xz", "zstd"])
async def test_a_damaged_file_ends_the_feed_with_an_error_that_names_it(kind: str, tmp_path: Path) -> None:
    suffix = {"gzip": ".gz", "bzip2": ".bz2", "xz": ".xz", "zstd": ".zst"}[kind]
    whole = COMPRESS[suffix](os.urandom(300_000).hex().encode())
    (tmp_path / f"in{suffix}").write_bytes(whole[:1000] + b"\x00" * 50 + whole[1050:])
    with pytest.raises(FeedError, match=f"in{suffix} cannot be read as {kind}"):
        await read(Lines(tmp_path / f"in{suffix}"))


async def test_a_file_that_is_cut_off_is_such_an_error_after_the_lines_it_has(tmp_path: Path) -> None:
    whole = gzip.compress("".join(f"{os.urandom(20).hex()}\n" for _ in range(50_000)).encode())
    (tmp_path / "in.gz").write_bytes(whole[:-200_000])
    pipeline = Read()
    with pytest.raises(FeedError, match=r"in\.gz cannot be read as gzip: Compressed file ended"):
        await PipeFrame(executor="inline").run(pipeline, Lines(tmp_path / "in.gz"))
    assert len(pipeline.taken) > 10_000


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz", ".zst"])
async def test_a_file_that_expands_without_end_ends_the_feed(suffix: str, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(reading, "UNJUDGED", 2**20)
    (tmp_path / f"bomb{suffix}").write_bytes(COMPRESS[suffix](b"\n" * 4_000_000))
    feed = JsonLines(tmp_path / f"bomb{suffix}")
    with pytest.raises(FeedError, match=f"bomb{suffix} has yielded .* more than max_expansion=200 times"):
        await read(feed)
    assert (await read(JsonLines(tmp_path / f"bomb{suffix}", max_expansion=None))).taken == []


async def test_what_is_not_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(FeedError, match=r"no file matches .*none\*"):
        await read(Lines(tmp_path / "none*"))
    with pytest.raises(FeedError, match="No such file"):
        await read(Lines(tmp_path / "none"))


async def test_a_name_that_looks_like_a_glob_is_a_file_where_there_is_one(tmp_path: Path) -> None:
    (tmp_path / "[1].txt").write_text("one\n")
    assert (await read(Lines(tmp_path / "[1].txt"))).taken == ["one"]


async def test_standard_input_is_read_as_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = os.pipe()
    with open(ours, "rb") as standard:  # noqa: ASYNC230 - a pipe
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(standard))
        async with PipeFrame(executor="inline").stream(Read(), JsonLines("-")) as results:
            os.write(theirs, b'1\n{"a"')
            assert await anext(results) == 1
            os.write(theirs, b": 2}\n3")
            assert await anext(results) == {"a": 2}
            os.close(theirs)
            assert await anext(results) == 3  # the last line has no newline
        standard.close()


async def test_a_stop_is_noticed_while_nothing_comes(monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    ours, theirs = os.pipe()
    with open(ours, "rb") as standard, open(theirs, "wb"):  # noqa: ASYNC230 - a pipe
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(standard))
        async with PipeFrame(executor="inline").stream(Read(), Lines("-")) as results:
            os.write(theirs, b"one\n")
            assert await anext(results) == "one"
        standard.close()
    assert not caplog.records  # no thread was left behind


def test_files_stream_where_the_class_does_not_say_otherwise() -> None:
    pipeline = Read()
    plan = plan_of(pipeline, feed_of(pipeline, Lines("x")))
    assert (plan.source, plan.timeout, plan.order) == ("stream", None, "input")


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Lines(), "has no paths"),
        (lambda: Lines("x", compression="lz4"), "compression='lz4': must be one of 'infer', None, 'gzip'"),
        (lambda: Lines("x", encoding="utf-99"), "there is no such encoding"),
        (lambda: Lines("x", encoding="utf-16"), "its newlines are not the byte 10"),
        (lambda: Lines("x", encoding="rot13"), "there is no such encoding"),
        (lambda: Lines("x", max_line=0), "max_line=0: must be a number of at least 1"),
        (lambda: Csv("x", quote="\n"), r"quote='\\n': must be one character, and none that ends a line"),
        (lambda: Csv("x", quote=","), "quote=',': is the delimiter too"),
        (lambda: Lines("x", max_expansion=True), "max_expansion=True: must be"),
        (lambda: Csv("x", delimiter=", "), "must be one character"),
    ],
)
def test_what_is_wrong_is_said_at_once(make: Any, says: str) -> None:
    with pytest.raises(ConfigError, match=says.replace("(", r"\(")):
        make()


def test_they_show_what_they_read() -> None:
    assert repr(JsonLines("a", Path("b"))) == "JsonLines('a', 'b')"
    assert json.dumps(JsonLines("a").decode(b"[1]")) == "[1]"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
async def test_a_byte_order_mark_is_passed_over(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "in.txt"
    path.write_bytes(b"\xef\xbb\xbf1,2\n3,4\n")
    assert (await read(Lines(path, encoding=encoding))).taken == ["1,2", "3,4"]
    rows = await read(Csv(path, names=("a", "b"), encoding=encoding))
    assert rows.taken == [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}]
    assert (await read(Csv(path, encoding=encoding))).taken == [{"1": "3", "2": "4"}]
    path.write_bytes(b"\xef\xbb\xbf[1]\n[2]\n")
    assert (await read(JsonLines(path, encoding=encoding))).taken == [[1], [2]]


async def test_a_glob_means_files_and_no_directories(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    for name in ("1.txt", "a/2.txt", "a/b/3.txt"):
        (tmp_path / name).write_text(name)
    assert (await read(Lines(tmp_path / "**"))).taken == ["1.txt", "a/2.txt", "a/b/3.txt"]
    assert (await read(Lines(tmp_path / "*"))).taken == ["1.txt"]
    with pytest.raises(FeedError, match="no file matches"):
        await read(Lines(tmp_path / "[a]"))


@pytest.mark.parametrize(
    "row",
    [
        pytest.param(f'"x\n{"y" * 300}\nz",1', id="in the middle"),
        pytest.param(f'"x{"y" * 300}\nz",1', id="opens"),
        pytest.param(f'"x\n{"y" * 300}",1', id="closes"),
        pytest.param(f'"x\n{"y" * 300}\n{"y" * 300}\nz",1', id="twice"),
        pytest.param(f'"x{"y" * 300}",1', id="by itself"),
    ],
)
async def test_a_row_with_a_line_that_is_too_long_takes_no_other_with_it(row: str, tmp_path: Path) -> None:
    rows = [f"{number},2" for number in range(20)]
    (tmp_path / "in.csv").write_text("\n".join(["a,b", *rows, row, *rows]) + "\n")
    pipeline = await read(Csv(tmp_path / "in.csv", max_line=100))
    assert [row["a"] for row in pipeline.taken] == [*map(str, range(20))] * 2
    [failure] = pipeline.dead
    assert isinstance(failure.record.raw, TooLong)


@pytest.mark.parametrize("header", [b"\xff,b", b'"a"b,c'])
async def test_names_that_cannot_be_read_are_an_error_that_names_the_file(header: bytes, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_bytes(header + b"\n1,2\n")
    with pytest.raises(FeedError, match=r"the first row of .*in\.csv cannot be read"):
        await read(Csv(tmp_path / "in.csv"))
