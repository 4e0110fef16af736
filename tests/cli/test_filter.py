"""`pipeframe run --feed --sink --dead-letter`: a filter that uses all cores."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import IO

import pytest

from tests.cli.conftest import ROOT, Pipeframe

pytestmark = pytest.mark.process

PIPELINE = """
from pipeframe_async import PipelineEngine, apply

class Priced(PipelineEngine):
    steps = [apply(lambda order: {**order, "price": order["count"] * 2})]

class Upper(PipelineEngine):
    steps = [apply(str.upper)]
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "filters.py").write_text(PIPELINE)
    return tmp_path


def filtering(place: Path, *more: str, stdin: int | IO[bytes] = subprocess.PIPE) -> subprocess.Popen[bytes]:
    """The command as a shell starts it."""
    command = [sys.executable, "-m", "pipeframe_async", "run", "--app-dir", str(place), "--executor", "inline", *more]
    return subprocess.Popen(
        command,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_json_lines_go_through_and_the_report_to_standard_error(place: Path) -> None:
    running = filtering(place, "filters:Priced", "--feed", "-", "--sink", "-")
    out, err = running.communicate(b'{"count": 1}\n{"count": 2}')
    assert (out, running.returncode) == (b'{"count":1,"price":2}\n{"count":2,"price":4}\n', 0)
    assert b"fed 2" in err


@pytest.mark.parametrize("sink", ["jsonl:-", "file://-", "jsonl:/dev/stdout"])
def test_standard_output_by_another_name_has_no_report_in_it_either(place: Path, sink: str) -> None:
    running = filtering(place, "filters:Priced", "--feed", "-", "--sink", sink)
    out, err = running.communicate(b'{"count": 1}\n')
    assert (out, running.returncode) == (b'{"count":1,"price":2}\n', 0)
    assert b"fed 1" in err


def test_a_broken_line_goes_to_the_dead_letter_and_the_exit_code_is_1(place: Path) -> None:
    running = filtering(
        place, "filters:Priced", "--feed", "-", "--sink", "-", "--dead-letter", str(place / "bad.jsonl")
    )
    out, _ = running.communicate(b'{"count": 1}\n{"coun\n{"count": 3}\n')
    assert (out.count(b"\n"), running.returncode) == (2, 1)
    [dead] = [json.loads(line) for line in (place / "bad.jsonl").read_text().splitlines()]
    assert (dead["record"], dead["step"]) == ('{"coun', "decode")


def test_a_reader_that_has_enough_ends_it_quietly(place: Path) -> None:
    (place / "in.jsonl").write_text('{"count": 1}\n' * 200_000)
    with (place / "in.jsonl").open("rb") as records:
        running = filtering(place, "filters:Priced", "--feed", "-", "--sink", "-", "--progress", "none", stdin=records)
        head = subprocess.run(["head", "-1"], stdin=running.stdout, capture_output=True, check=True)
        assert running.stdout is not None
        running.stdout.close()
        assert running.wait(20) == 0
    assert head.stdout == b'{"count":1,"price":2}\n'
    assert running.stderr is not None
    assert running.stderr.read() == b""
    running.stderr.close()


def test_results_come_while_the_input_goes_on(place: Path) -> None:
    running = filtering(place, "filters:Upper", "--feed", "lines:-", "--sink", "lines:-", "--progress", "none")
    assert running.stdin is not None
    assert running.stdout is not None
    for line in (b"one\n", b"two\n"):
        running.stdin.write(line)
        running.stdin.flush()
        assert running.stdout.readline() == line.upper()
    running.communicate()
    assert running.returncode == 0


def test_files_are_read_and_written_by_their_suffixes(pipeframe: Pipeframe, place: Path) -> None:
    (place / "1.csv").write_text("count\nab\n")
    (place / "2.csv").write_text("count\ncd\n")
    ending = pipeframe(
        "run", "filters:Priced", "--app-dir", place, "--executor", "inline", "--progress", "none",
        "--feed", str(place / "*.csv"), "--sink", str(place / "out.jsonl.gz"),
    )  # fmt: skip
    assert ending.code == 0, ending.err
    assert "fed 2" in ending.out
    ending = pipeframe(
        "run", "filters:Priced", "--app-dir", place, "--executor", "inline", "--progress", "none",
        "--feed", str(place / "out.jsonl.gz"), "--sink", str(place / "out.tsv"),
    )  # fmt: skip
    assert ending.code == 0, ending.err
    assert (place / "out.tsv").read_text() == "count\tprice\nab\tabab\ncd\tcdcd\n"


def test_a_scheme_that_nobody_knows_is_a_usage_of_what_is_there(pipeframe: Pipeframe, place: Path) -> None:
    ending = pipeframe("run", "filters:Priced", "--app-dir", place, "--feed", "redis2://host")
    assert ending.code == 1
    assert "no feed is known for redis2://, in 'redis2://host'; there are paths, - and jsonl:PATH" in ending.err


@pytest.mark.parametrize("sink", ["-", "jsonl:/dev/stdout", "jsonl:/dev/fd/1", "jsonl:/proc/self/fd/1"])
def test_what_a_shell_has_opened_is_written_to_where_it_stands(place: Path, sink: str) -> None:
    out = place / "out.jsonl"
    with out.open("wb", buffering=0) as file:
        file.write(b"header\n")
        command = [sys.executable, "-m", "pipeframe_async", "run", "--app-dir", str(place), "--executor", "inline"]
        subprocess.run(
            [*command, "filters:Priced", "--feed", "-", "--sink", sink],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            input=b'{"count": 1}\n',
            stdout=file,
            stderr=subprocess.DEVNULL,
            check=True,
        )
        file.write(b"footer\n")
    assert out.read_text() == 'header\n{"count":1,"price":2}\nfooter\n'
    assert sorted(one.name for one in place.iterdir() if one.suffix == ".jsonl") == ["out.jsonl"]


def test_standard_input_goes_on_where_the_shell_stands_in_it(place: Path) -> None:
    (place / "in").write_bytes(b"header\none\ntwo\n")
    with (place / "in").open("rb", buffering=0) as file:
        assert file.read(7) == b"header\n"
        running = filtering(place, "filters:Upper", "--feed", "lines:-", "--sink", "lines:-", stdin=file)
        assert running.communicate()[0] == b"ONE\nTWO\n"


@pytest.mark.parametrize(
    ("read", "left"),
    [
        ("sys.stdin.readline()", ["ONE", "TWO"]),
        ("sys.stdin.buffer.readline()", ["ONE", "TWO"]),
        ("sys.stdin.read()", []),
        ("pass", ["HÉADER", "ONE", "TWO"]),
    ],
)
def test_standard_input_goes_on_where_the_program_stands_in_a_file(place: Path, read: str, left: list[str]) -> None:
    (place / "in").write_text("héader\none\ntwo\n")
    program = f"""
import sys
from pipeframe_async import apply, pipeline, run
from pipeframe_async.feeds import Lines
{read}
taken = []
run(pipeline(apply(str.upper), sink=taken.extend), Lines("-"), executor="inline")
print(taken)
"""
    with (place / "in").open("rb") as file:
        done = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"},
            stdin=file,
            capture_output=True,
            check=True,
        )
    assert done.stdout.decode().strip() == str(left)


def test_a_file_that_is_iterated_has_no_place_to_go_on_at(place: Path) -> None:
    (place / "in").write_text("one\ntwo\n")
    program = """
import sys
from pipeframe_async import apply, pipeline, run
from pipeframe_async.feeds import Lines
for line in sys.stdin:
    run(pipeline(apply(str.upper)), Lines("-"), executor="inline")
"""
    with (place / "in").open("rb") as file:
        done = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=file,
            capture_output=True,
            check=False,
        )
    assert done.returncode == 1
    assert b"where standard input stands is not known" in done.stderr


def test_a_reader_that_is_slow_is_waited_for_where_standard_output_does_not_block(place: Path) -> None:
    lines = b"".join(b"%d\n" % number for number in range(40_000))
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    (place / "in").write_bytes(lines)
    command = [sys.executable, "-m", "pipeframe_async", "run", "--app-dir", str(place), "--executor", "inline"]
    running = subprocess.Popen(
        [*command, "filters:Upper", "--feed", f"lines:{place / 'in'}", "--sink", "lines:-"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=writing,
        stderr=subprocess.DEVNULL,
    )
    os.close(writing)
    with open(reading, "rb", buffering=0) as file:
        taken = b""
        while block := file.read(4_096):
            taken += block
    assert (running.wait(), taken) == (0, lines)
