"""Files that are written: whole or not there, or appended to without a torn line, whatever happens."""

from __future__ import annotations

import asyncio
import bz2
import csv
import gzip
import json
import logging
import lzma
import os
import signal
import subprocess
import sys
from io import FileIO
from pathlib import Path
from typing import Any

import pytest

from pipeframe_async import (
    ConfigError,
    Failure,
    PipeFrame,
    PipelineEngine,
    SinkError,
    StateError,
    apply,
    feeds,
    pipeline,
)
from pipeframe_async.locks import locked
from pipeframe_async.sinks import Csv, JsonLines, Lines, writing

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

READ: dict[str, Any] = {
    "": bytes,
    ".gz": gzip.decompress,
    ".bz2": bz2.decompress,
    ".xz": lzma.decompress,
    ".zst": zstd.decompress,
}


def as_it_is(record: Any) -> tuple[Any, bool]:
    return record, True


class Write(PipelineEngine[Any, Any]):
    steps: Any = (as_it_is,)
    source = "stream"
    max_failures: Any = None

    def __init__(self, sink: Any, dead_letter: Any = None) -> None:
        self.sink = sink
        self.dead_letter = dead_letter


async def write(sink: Any, records: Any, executor: str = "inline", dead_letter: Any = None) -> Any:
    return await PipeFrame(executor=executor, cpu_count=1).run(Write(sink, dead_letter), records)


def broken(records: list[Any]) -> Any:
    yield from records
    raise OSError("the feed broke")


@pytest.mark.parametrize("suffix", READ)
@pytest.mark.parametrize("append", [False, True])
async def test_results_are_lines_in_the_pipelines_order(suffix: str, append: bool, tmp_path: Path) -> None:
    path = tmp_path / f"out.jsonl{suffix}"
    await write(JsonLines(path, append=append), [{"n": n, "text": "é"} for n in range(3_000)])
    lines = READ[suffix](path.read_bytes()).decode().splitlines()
    assert lines == [f'{{"n":{n},"text":"é"}}' for n in range(3_000)]
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("executor", ["threads", "processes", "auto"])
async def test_they_are_encoded_where_steps_are(executor: str, tmp_path: Path) -> None:
    report = await write(JsonLines(tmp_path / "out"), range(10), executor)
    assert (tmp_path / "out").read_text() == "".join(f"{n}\n" for n in range(10))
    assert report.steps[-1].name == "encode"


async def test_a_file_stays_as_it_was_until_the_run_has_ended_well(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_text("before\n")
    with pytest.raises(Exception, match="the feed broke"):
        await write(Lines(path), broken(["new"] * 10))
    assert (path.read_text(), len(os.listdir(tmp_path))) == ("before\n", 1)
    await write(Lines(path), ["new"])
    assert path.read_text() == "new\n"


@pytest.mark.parametrize("suffix", READ)
async def test_what_is_appended_comes_behind_what_is_there(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"out{suffix}"
    for text in ("one", "two"):
        await write(Lines(path, append=True), [text])
    with pytest.raises(Exception, match="the feed broke"):
        await write(Lines(path, append=True), broken(["three"]))  # what was written is written
    assert READ[suffix](path.read_bytes()) == b"one\ntwo\nthree\n"


@pytest.mark.parametrize("suffix", READ)
async def test_a_torn_tail_is_cut_off_and_said(suffix: str, tmp_path: Path, caplog: Any) -> None:
    path = tmp_path / f"out{suffix}"
    await write(Lines(path, append=True), ["one"])
    whole = path.read_bytes()
    await write(Lines(path, append=True), ["two" * 100])
    torn = path.read_bytes()[:-3]
    path.write_bytes(torn)
    with caplog.at_level(logging.WARNING):
        await write(Lines(path, append=True), ["three"])
    assert READ[suffix](path.read_bytes()) == b"one\nthree\n"
    [said] = [record.getMessage() for record in caplog.records]
    assert said == f"{path} ended in {len(torn) - len(whole)} bytes of a torn line, which are in {path}.torn now"
    assert (tmp_path / f"{path.name}.torn").read_bytes() == torn[len(whole) :]


@pytest.mark.parametrize("suffix", [suffix for suffix in READ if suffix])
@pytest.mark.parametrize("spoilt", ["text", "middle"])
async def test_what_no_kill_has_torn_is_not_appended_to_and_stays(spoilt: str, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"out{suffix}"
    if spoilt == "text":
        path.write_text("in the wrong place\n" * 10)
    else:
        for text in ("one", "two", "three"):
            await write(Lines(path, append=True), [text * 100])
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 2] + b"\xff" * 8 + data[len(data) // 2 + 8 :])
    before = path.read_bytes()
    with pytest.raises(SinkError, match=rf"{path.name} cannot be appended to: behind its first \d+ bytes it is not "):
        await write(Lines(path, append=True), ["four"])
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == [path.name]


async def test_a_last_line_that_somebody_has_left_without_its_newline_is_not_lost(tmp_path: Path) -> None:
    path = tmp_path / "out"
    for text in ("by hand", "once more"):
        path.write_text(text)
        path.chmod(0o600)
        await write(Lines(path, append=True), ["one"])
    assert path.read_text() == "one\n"
    torn = tmp_path / "out.torn"
    assert (torn.read_text(), torn.stat().st_mode & 0o777) == ("by handonce more", 0o600)


async def test_a_quote_inside_of_a_field_is_none_to_what_is_appended(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_text('id,text\n1,5" pipe\n2,x\n')
    await write(Csv(path, append=True), [{"id": 3, "text": "y"}])
    assert path.read_text() == 'id,text\n1,5" pipe\n2,x\n3,y\n'


@pytest.mark.parametrize("suffix", READ)
async def test_rows_go_below_the_names_that_are_there(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"out.csv{suffix}"
    await write(Csv(path, names=["b", "a"]), [{"a": 1, "b": 2}])
    await write(Csv(path, append=True), [{"b": 4, "a": 3}])
    assert READ[suffix](path.read_bytes()) == b"b,a\n2,1\n4,3\n"
    for wrong in (["a", "b"], ["b"]):
        with pytest.raises(SinkError, match=r"has the fields \('b', 'a'\), and names= says"):
            await write(Csv(path, names=wrong, append=True), [dict.fromkeys(wrong, 5)])
    assert READ[suffix](path.read_bytes()) == b"b,a\n2,1\n4,3\n"


@pytest.mark.parametrize("append", [False, True])
async def test_the_mark_of_an_encoding_is_there_once(append: bool, tmp_path: Path) -> None:
    path, lines = tmp_path / "out.csv", tmp_path / "out.txt"
    for n in range(2):
        await write(Csv(path, names=["a"], append=append, encoding="utf-8-sig"), [{"a": f"é{n}"}, {"a": "x"}])
        await write(Lines(lines, append=append, encoding="utf-8-sig"), ["é"])
    assert path.read_text("utf-8-sig") == ("a\né0\nx\né1\nx\n" if append else "a\né1\nx\n")
    assert lines.read_bytes() == b"\xef\xbb\xbf\xc3\xa9\n" + (b"\xc3\xa9\n" if append else b"")


async def test_a_value_with_any_end_of_a_line_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    rows = [{"a": "A\rB", "b": "c\r"}, {"a": "\r\n", "b": "\n"}]
    await write(Csv(path), rows)
    with path.open(newline="") as file:
        assert [*csv.DictReader(file)] == rows
    back: list[dict[str, str]] = []
    await PipeFrame(1).run(pipeline(apply(dict), sink=back.extend), feed=feeds.Csv(path))
    assert back == rows


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (lambda: Lines("out", encoding="nope"), "encoding='nope': there is no such encoding"),
        (lambda: JsonLines("out", encoding="utf-16"), "encoding='utf-16': its newlines are not the byte 10"),
        (lambda: Csv("out", delimiter=";;"), "delimiter=';;': must be one character"),
        (lambda: Csv("out", delimiter="\n"), r"delimiter='\\n': must be one character, and none that ends a line"),
        (lambda: Csv("out", delimiter='"'), "quote='\"': is the delimiter too"),
        (lambda: Csv("out", delimiter="→", encoding="ascii"), "delimiter='→': encoding='ascii' does not have it"),
        (lambda: Csv("out", append=True, header=False), "names=None: must be the names of the fields"),
    ],
)
def test_what_no_file_can_be_written_in_is_refused_at_once(made: Any, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        made()


async def test_failures_are_rows_too(tmp_path: Path) -> None:
    bad = tmp_path / "bad.csv"
    for _ in range(2):
        await PipeFrame(1).run(pipeline(apply(int), dead_letter=Csv(bad, append=True)), feed=["1", "x,y"])
    with bad.open(newline="") as file:
        rows = [*csv.DictReader(file)]
    assert [(row["record"], row["step"], row["error_type"]) for row in rows] == [('"x,y"', "int", "ValueError")] * 2


async def test_a_file_that_is_all_one_torn_line_is_empty_then(tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(b"x" * 3_000_000)
    await write(Lines(tmp_path / "out", append=True), ["one"])
    assert (tmp_path / "out").read_text() == "one\n"


async def test_names_with_any_character_are_known_again(tmp_path: Path) -> None:
    path, row = tmp_path / "out.csv", {"a\u2028b": 1, "c\x0bd": 2, "e\nf,": 3}
    for _ in range(2):
        await write(Csv(path, names=[*row], append=True), [row])
    with path.open(newline="", encoding="utf-8") as file:
        assert [*csv.DictReader(file)] == [{name: str(value) for name, value in row.items()}] * 2


async def test_rows_have_their_names_once_and_newlines_in_quotes(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    for n in (1, 2):
        await write(Csv(path, names=["id", "text"], append=True), [{"text": 'a "b"\nc', "id": n}])
    assert path.read_text() == 'id,text\n1,"a ""b""\nc"\n2,"a ""b""\nc"\n'


async def test_a_row_that_is_torn_inside_of_quotes_is_cut_off_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_text('id,text\n1,"a\nb"\n2,"torn\nhere')
    await write(Csv(path, names=["id", "text"], append=True), [{"id": 3, "text": ""}])
    assert path.read_text() == 'id,text\n1,"a\nb"\n3,\n'


async def test_what_cannot_be_a_line_is_that_records_failure(tmp_path: Path) -> None:
    report = await write(Lines(tmp_path / "a"), ["good", 5, "two\nlines", b"bytes"])
    assert (report.delivered, report.failed) == (2, 2)
    report = await write(Csv(tmp_path / "b", names=["id"]), [{"id": 1}, {}, {"id": 1, "more": 2}, [1]])
    assert (report.delivered, report.failed) == (1, 3)
    report = await write(JsonLines(tmp_path / "c"), [1, {1, 2}])
    assert (report.delivered, report.failed) == (1, 1)
    report = await write(JsonLines(tmp_path / "d", default=sorted), [1, {1, 2}])
    assert ((tmp_path / "d").read_text(), report.failed) == ("1\n[1,2]\n", 0)


async def test_failures_are_objects_of_their_attributes(tmp_path: Path) -> None:
    async with PipeFrame(executor="inline") as frame:
        pipeline = Write(Lines(tmp_path / "out"), JsonLines(tmp_path / "dead"))
        report = await frame.run(pipeline, ["good", "two\nlines", b"\xff\n", 7])
    assert (report.delivered, report.failed) == (1, 3)
    dead = [json.loads(line) for line in (tmp_path / "dead").read_text().splitlines()]
    assert [entry["record"] for entry in dead] == ["two\nlines", "/wo=", 7]
    assert [entry["record_form"] for entry in dead] == ["json", "base64", "json"]
    assert {entry["step"] for entry in dead} == {"encode"}
    assert dead[0]["error_type"] == "ValueError"
    assert "Traceback" in dead[0]["traceback"]


async def test_a_dead_letter_of_lines_has_what_failures_say(tmp_path: Path) -> None:
    await write(Lines(tmp_path / "out"), [5], dead_letter=Lines(tmp_path / "dead"))
    assert "step 'encode' raised TypeError" in (tmp_path / "dead").read_text()


async def test_a_file_that_another_is_writing_is_refused(tmp_path: Path) -> None:
    first, second = Lines(tmp_path / "out"), Lines(tmp_path / "out")
    first.__enter__()
    with pytest.raises(SinkError, match="out is being written by another run or process") as caught:
        await write(second, ["one"])
    assert isinstance(caught.value.__cause__, StateError)
    first.write(["kept"])
    first.__exit__(None, None, None)
    assert (tmp_path / "out").read_text() == "kept\n"


async def test_a_directory_that_is_not_there_is_said_before_anything_is_fed(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match="the sink of Write, Lines could not be opened: FileNotFoundError") as caught:
        await write(Lines(tmp_path / "none" / "out"), ["one"])
    assert caught.value.report is not None
    assert caught.value.report.fed == 0


FULL = """
import resource, sys
from pipeframe_async import Delivery, PipelineEngine, SinkError, run
from pipeframe_async.sinks import Lines

acked = []

class Full(PipelineEngine):
    steps = [lambda record: (record, True)]
    source, batch_size = "stream", 10

    def feed(self):
        for n in range(5_000):
            yield Delivery(f"line {n:06}", ack=lambda n=n: acked.append(n))

    sink = Lines(sys.argv[1], append=True)

resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    run(Full, executor="inline", buffer_size=100)
except SinkError as error:
    assert sys.argv[1] in str(error), error
    print(type(error.__cause__).__name__, len(acked), error.report.delivered)
"""


def test_where_there_is_no_room_nothing_is_acked_that_is_not_written_and_no_line_is_torn(tmp_path: Path) -> None:
    path = tmp_path / "out"
    done = subprocess.run([sys.executable, "-c", FULL, str(path)], capture_output=True, text=True, check=True)
    kind, acked, delivered = done.stdout.split()
    lines = path.read_text().splitlines(keepends=True)
    assert kind == "OSError"
    assert 0 < int(acked) == int(delivered) == len(lines)
    assert all(line == f"line {n:06}\n" for n, line in enumerate(lines))


KILLED = """
import sys
from pipeframe_async import PipelineEngine, run
from pipeframe_async.sinks import JsonLines

class Killed(PipelineEngine):
    steps = [lambda record: (record, True)]
    source = "stream"

    def feed(self):
        n = 0
        while True:
            yield {"n": n, "text": "x" * 500}
            n += 1

    sink = JsonLines(sys.argv[1], append=True)

run(Killed, executor="inline", buffer_size=1000)
"""


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_a_killed_run_leaves_whole_lines_for_the_next_one(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"out.jsonl{suffix}"
    path.touch()
    for _ in range(3):
        before = path.stat().st_size
        writing = subprocess.Popen([sys.executable, "-c", KILLED, str(path)])
        while path.stat().st_size < before + (5_000 if suffix else 100_000):
            assert writing.poll() is None
        writing.send_signal(signal.SIGKILL)
        writing.wait()
    sink = JsonLines(path, append=True)
    sink.__enter__()  # cuts off what is torn
    sink.__exit__(None, None, None)
    lines = READ[suffix](path.read_bytes()).decode().splitlines()
    assert lines
    assert all(json.loads(line)["text"] == "x" * 500 for line in lines)
    assert [json.loads(line)["n"] for line in lines].count(0) == 3


FILTER = """
import sys
from pipeframe_async import PipelineEngine, run
from pipeframe_async.feeds import Lines as LinesIn
from pipeframe_async.sinks import Lines

class Upper(PipelineEngine):
    steps = [lambda line: (line.upper(), True)]
    feed = LinesIn("-")
    sink = Lines("-")

run(Upper, executor="inline")
"""


def test_a_program_is_a_filter_of_standard_input_and_output() -> None:
    done = subprocess.run([sys.executable, "-c", FILTER], input="one\ntwo", capture_output=True, text=True, check=True)
    assert done.stdout == "ONE\nTWO\n"


def test_a_reader_that_has_gone_is_an_error_of_the_sink_that_says_so() -> None:
    filter_ = subprocess.Popen(
        [sys.executable, "-c", FILTER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert filter_.stdin is not None
    assert filter_.stdout is not None
    filter_.stdin.write(b"one\n")
    filter_.stdin.flush()
    assert filter_.stdout.readline() == b"ONE\n"
    filter_.stdout.close()
    _, said = filter_.communicate(b"two\n" * 10_000)
    assert filter_.returncode == 1
    assert b"SinkError: sink raised BrokenPipeError" in said


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Lines("x", compression="lz4"), "compression='lz4': must be one of"),
        (lambda: Lines("x", fsync="always"), "fsync='always': must be one of 'close', 'write', 'never'"),
        (lambda: Csv("x", names="id"), "names='id': must be the names of the fields"),
    ],
)
def test_what_is_wrong_is_said_at_once(make: Any, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        make()


async def test_synced_files_are_written_all_the_same(tmp_path: Path) -> None:
    for fsync in ("close", "write", "never"):
        await write(Lines(tmp_path / fsync, fsync=fsync), ["one"])
        await write(Lines(tmp_path / f"{fsync}2", fsync=fsync, append=True), ["one"])
        assert (tmp_path / fsync).read_text() == (tmp_path / f"{fsync}2").read_text() == "one\n"


def test_a_failure_is_a_value_that_json_knows() -> None:
    failure = Failure({1, 2}, "step", "raised", "ValueError", "no\nway")
    assert json.loads(JsonLines("x").encode(failure))["record_form"] == "pickle"
    assert Lines("x").encode(failure) == b"step 'step' raised ValueError: no way\n"


async def test_a_link_stays_and_the_file_it_leads_to_keeps_its_mode(tmp_path: Path) -> None:
    (tmp_path / "real.txt").write_text("old\n")
    (tmp_path / "real.txt").chmod(0o600)
    (tmp_path / "out.txt").symlink_to("real.txt")
    await PipeFrame(executor="inline").run(Write(Lines(tmp_path / "out.txt")), ["new"])
    assert (tmp_path / "out.txt").is_symlink()
    assert (tmp_path / "real.txt").read_text() == "new\n"
    assert (tmp_path / "real.txt").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("append", [False, True])
async def test_a_pipe_is_written_to_and_stays(append: bool, tmp_path: Path) -> None:
    os.mkfifo(path := tmp_path / "pipe")
    reading = asyncio.ensure_future(asyncio.to_thread(path.read_bytes))
    await PipeFrame(executor="inline").run(Write(Lines(path, append=append)), ["one", "two"])
    assert await reading == b"one\ntwo\n"
    assert os.listdir(tmp_path) == ["pipe"]
    assert path.is_fifo()


async def test_a_directory_is_refused_before_anything_is_done(tmp_path: Path) -> None:
    pipeline = Write(Lines(tmp_path))
    with pytest.raises(SinkError, match="could not be opened: IsADirectoryError") as caught:
        await PipeFrame(executor="inline").run(pipeline, ["one"])
    assert caught.value.report is not None
    assert caught.value.report.fed == 0


def test_who_opens_a_file_as_another_puts_it_in_place_writes_one_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(tmp_path / "out.txt")
    first = writing.writer(path, append=False, kind=None, fsync="never")
    first.write([b"first\n"])
    put = [first]

    def late(file: FileIO) -> bool:
        while put:
            put.pop().close(whole=True)
        return locked(file)

    monkeypatch.setattr("pipeframe_async.sinks.owned.locked", late)
    second = writing.writer(path, append=False, kind=None, fsync="never")
    assert Path(path).read_bytes() == b"first\n"
    monkeypatch.undo()
    second.write([b"second\n"])
    second.close(whole=True)
    assert Path(path).read_bytes() == b"second\n"


def test_a_file_is_locked_until_it_is_in_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tmp_path / "out.txt")
    first = writing.writer(path, append=False, kind=None, fsync="never")
    first.write([b"first\n"])
    replace = os.replace

    def looked_at(old: str, new: str) -> None:
        with pytest.raises(StateError, match="is being written by another"):
            writing.writer(path, append=False, kind=None, fsync="never")
        replace(old, new)

    monkeypatch.setattr(os, "replace", looked_at)
    first.close(whole=True)
    assert Path(path).read_bytes() == b"first\n"


class Unshown:
    def __repr__(self) -> str:
        raise OSError("no")


ITSELF: list[Any] = []
ITSELF.append(ITSELF)


def refused(record: Any) -> tuple[Any, bool]:
    raise ValueError("refused \ud800")


@pytest.mark.parametrize("sink", [JsonLines, Lines])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
@pytest.mark.parametrize(
    ("record", "form"),
    [
        ("\ud800 \u00e9", "json"),
        ({(1, 2): 3}, "pickle"),
        (ITSELF, "pickle"),
        (lambda: 1, "repr"),
        (Unshown(), "pickle"),
        ([Unshown(), lambda: 1], "repr"),
    ],
)
async def test_a_dead_letter_takes_any_failure(
    sink: Any, encoding: str, record: Any, form: str, tmp_path: Path
) -> None:
    pipeline = Write(None, sink(tmp_path / "bad.dead", encoding=encoding))
    pipeline.sink = Lines(tmp_path / "out.txt")
    pipeline.steps = (refused,)
    report = await PipeFrame(executor="inline").run(pipeline, [record])
    assert report.failed == 1
    if sink is JsonLines:
        assert json.loads((tmp_path / "bad.dead").read_text(encoding))["record_form"] == form


async def test_text_that_an_encoding_lacks_is_escaped_in_json(tmp_path: Path) -> None:
    values = ["\ud800", "\U0001f600", "\u00e9"]
    await write(JsonLines(tmp_path / "out.jsonl", encoding="latin-1"), values)
    assert [json.loads(line) for line in (tmp_path / "out.jsonl").read_bytes().splitlines()[:2]] == values[:2]
    await write(JsonLines(tmp_path / "out.jsonl"), values)
    assert [json.loads(line) for line in (tmp_path / "out.jsonl").read_bytes().splitlines()] == values
