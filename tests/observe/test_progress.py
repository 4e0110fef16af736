"""Which display fits where, and what each shows."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from rich.text import Text

from pipeframe_async.errors import ConfigError
from pipeframe_async.frame import PipeFrame
from pipeframe_async.model import Chunk
from pipeframe_async.observe.bar import ERASE, Bar, Line
from pipeframe_async.observe.counters import Rate, phrases
from pipeframe_async.observe.progress import Lines, json_line, progress_display
from pipeframe_async.pipeline_engine import PipelineEngine
from pipeframe_async.stats import Stats, WorkerStats
from pipeframe_async.steps import apply

if os.name == "posix":
    from tests.observe.terminal import terminal

needs_terminal = pytest.mark.skipif(os.name != "posix", reason="pseudo-terminals are a POSIX thing")

SOME = Stats(fed=1500, delivered=1200, filtered=30, failed=4, in_flight=266, elapsed=2.0)


class Counters:
    """Counters that a test moves on."""

    def __init__(self, stats: Stats = SOME) -> None:
        self.now = stats

    def __call__(self) -> Stats:
        return self.now

    def at(self, elapsed: float, delivered: int) -> None:
        self.now = replace(self.now, elapsed=elapsed, delivered=delivered)


class Numbers(PipelineEngine[int, int]):
    feed = range(20)
    steps = [apply(abs)]


class FakeTerminal(io.TextIOWrapper):
    """Says that it is a terminal, and keeps what it is given."""

    def __init__(self, encoding: str = "utf-8") -> None:
        super().__init__(io.BytesIO(), encoding=encoding, write_through=True)

    def isatty(self) -> bool:
        return True


# Which one


@pytest.mark.parametrize("mode", [False, "none"])
def test_nothing_is_shown_when_nothing_was_asked_for(mode: bool | str) -> None:
    assert progress_display(mode, Counters(), stream=FakeTerminal()) is None


def test_a_program_without_a_console_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    assert progress_display(True, Counters()) is None


def test_an_unknown_mode_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"progress='loud': must be True, False, 'auto', 'plain', 'json', 'none'"):
        progress_display("loud", Counters())


@pytest.mark.parametrize("mode", [True, "auto"])
def test_a_terminal_gets_a_bar_and_anything_else_gets_lines(mode: bool | str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    assert isinstance(progress_display(mode, Counters(), stream=FakeTerminal()), Bar)
    assert isinstance(progress_display(mode, Counters(), stream=io.StringIO()), Lines)


def test_plain_lines_can_be_had_on_a_terminal_too() -> None:
    assert isinstance(progress_display("plain", Counters(), stream=FakeTerminal()), Lines)


def test_a_terminal_that_cannot_draw_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(progress_display(True, Counters(), stream=FakeTerminal()), Lines)
    monkeypatch.setenv("TERM", "xterm")
    assert isinstance(progress_display(True, Counters(), stream=FakeTerminal("latin-1")), Lines)


def test_without_rich_there_are_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delitem(sys.modules, "pipeframe_async.observe.bar")
    for name in [name for name in sys.modules if name.partition(".")[0] == "rich"]:
        monkeypatch.setitem(sys.modules, name, None)
    assert isinstance(progress_display(True, Counters(), stream=FakeTerminal()), Lines)


def test_a_second_display_at_the_same_time_is_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    first = progress_display(True, Counters(), stream=FakeTerminal())
    assert first is not None
    first.start()
    try:
        assert isinstance(progress_display(True, Counters(), stream=FakeTerminal()), Lines)
    finally:
        first.finish()
    assert isinstance(progress_display(True, Counters(), stream=FakeTerminal()), Bar)


# Lines


def shown(mode: str, moments: list[tuple[float, int]]) -> list[str]:
    """The lines of a display that is updated at these moments."""
    counters, stream = Counters(), io.StringIO()
    display = progress_display(mode, counters, stream=stream)
    assert display is not None
    display.start()
    for moment in moments:
        counters.at(*moment)
        display.update()
    display.finish()
    return stream.getvalue().splitlines()


def test_a_plain_line_has_the_records_the_rate_the_failures_and_what_is_in_flight() -> None:
    assert shown("plain", [(2.0, 1200)])[0] == ("   2.0 s  1,234 of 1,500 records  617/s  4 failed  266 in flight")


def test_what_was_aborted_or_waits_on_disk_is_said_only_where_there_is_any() -> None:
    stream = io.StringIO()
    display = progress_display("plain", Counters(replace(SOME, aborted=7, spilled=1000)), stream=stream)
    assert display is not None
    display.finish()
    assert "4 failed  7 aborted  266 in flight  1,000 on disk" in stream.getvalue()


def test_plain_lines_come_every_two_seconds_and_at_the_end() -> None:
    lines = shown("plain", [(tenth / 10, tenth) for tenth in range(1, 51)])
    assert [line.split()[0] for line in lines] == ["2.0", "4.0", "5.0"]


@pytest.mark.parametrize(
    ("mode", "left", "none"), [("plain", "  14 s left  ", "(12%)  617/s"), ("json", '"eta": 14.2}', '"eta": null}')]
)
def test_a_run_that_ended_before_its_feed_has_no_time_left(mode: str, left: str, none: str) -> None:
    stream = io.StringIO()
    display = progress_display(mode, Counters(replace(SOME, total=10_000)), stream=stream)
    assert display is not None
    display.update()
    display.finish()
    before, last = stream.getvalue().splitlines()
    assert left in before
    assert none in last


def test_json_lines_come_every_second_with_all_counters() -> None:
    lines = [json.loads(line) for line in shown("json", [(tenth / 10, tenth) for tenth in range(1, 26)])]
    assert [line["elapsed"] for line in lines] == [1.0, 2.0, 2.5]
    assert all(line["event"] == "progress" for line in lines)
    assert {field.name for field in fields(Stats)} - {"runs", "before", "workers"} < set(lines[0])
    assert lines[0]["rate"] == pytest.approx(44.0)  # 10 delivered, 30 filtered and 4 failed in one second


class Broken(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError


@pytest.mark.parametrize("mode", ["plain", "json"])
def test_a_stream_that_breaks_is_no_error(mode: str) -> None:
    closed = io.StringIO()
    closed.close()
    for stream in (closed, Broken()):
        display = progress_display(mode, Counters(), stream=stream)
        assert display is not None
        display.start()
        display.update()
        display.finish()


# The rate


def test_the_rate_is_that_of_the_last_seconds() -> None:
    rate = Rate()
    counters = Counters(Stats())
    for second in range(1, 11):
        counters.at(float(second), 1000 * min(second, 5))
        now = rate.at(counters())
        assert now == pytest.approx(1000.0 if second <= 5 else max(0.0, 1000 * (8 - second) / 3))


def test_the_rate_of_nothing_is_nothing() -> None:
    assert Rate().at(Stats()) == 0.0


# The bar


def drawn(stats: Stats, width: int) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    with console.capture() as capture:
        console.print(Line(stats, 617.0, Text("-")))
    return capture.get()


def test_the_bar_is_what_is_done_of_what_there_is() -> None:
    assert drawn(replace(SOME, delivered=716), 120).count("━") == 15  # 750 of 1,500, of 30 cells
    assert "1,234 of 1,500 records  617/s  4 failed  266 in flight  2.0 s" in drawn(SOME, 120)


@pytest.mark.parametrize("width", [10, 40, 60, 75, 80, 200])
def test_the_line_fits_any_terminal(width: int) -> None:
    lines = drawn(SOME, width).splitlines()
    assert len(lines) == 1
    assert len(lines[0]) <= width
    assert ("━" in lines[0]) == (width > 72)


@needs_terminal
def test_a_bar_on_a_terminal_is_redrawn_in_place_and_ends_as_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    with terminal() as screen, os.fdopen(os.dup(screen.slave), "w") as stream:
        counters = Counters()
        display = progress_display(True, counters, stream=stream)
        assert isinstance(display, Bar)
        display.start()
        display.update()
        counters.now = Stats(fed=1500, delivered=1500, elapsed=3.0)
        display.finish()
        stream.close()
        written = screen.written()
    first, second = written.removeprefix(ERASE).split(ERASE)
    assert "1,234 of 1,500 records" in first
    assert "\n" not in first
    assert "✓" in second
    assert "1,500 of 1,500 records  500/s" in second  # the rate of the whole run
    assert second.endswith("\r\n")


@needs_terminal
def test_the_bar_is_as_wide_as_its_terminal_lets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    for columns in (60, 90):
        with terminal(columns) as screen, os.fdopen(os.dup(screen.slave), "w") as stream:
            display = progress_display(True, Counters(), stream=stream)
            assert display is not None
            display.start()
            display.finish()
            stream.close()
            assert ("━" in screen.written()) == (columns == 90)


@needs_terminal
@pytest.mark.parametrize(
    ("last", "mark"),
    [
        (Stats(fed=10, delivered=10), "✓"),
        (Stats(fed=10, delivered=9, failed=1), "!"),
        (Stats(fed=10, delivered=5, aborted=5), "✗"),
    ],
)
def test_the_last_line_says_how_it_went(last: Stats, mark: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    with terminal() as screen, os.fdopen(os.dup(screen.slave), "w") as stream:
        display = progress_display(True, lambda: last, stream=stream)
        assert display is not None
        display.start()
        display.finish()
        stream.close()
        written = screen.written()
    assert [sign for sign in "✓!✗" if sign in written] == [mark]


def test_a_terminal_that_goes_away_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    stream = FakeTerminal()
    display = progress_display(True, Counters(), stream=stream)
    assert isinstance(display, Bar)
    display.start()
    stream.close()
    display.update()
    display.finish()


PRINTING = """
import logging, sys, threading
from pipeframe_async.observe.progress import progress_display
from pipeframe_async.stats import Stats, WorkerStats

display = progress_display(True, lambda: Stats(fed=10, delivered=5, elapsed=1.0))
before = sys.stdout, sys.stderr
display.start()
display.update()
print("said by the program", [1], sep=": ")
print("complained by the program", file=sys.stderr)
display.update()
print("half a ", end="", flush=True)
display.update()
sys.stdout.writelines(["line\\n", "and "])
thread = threading.Thread(target=print, args=["another"])
thread.start(); thread.join()
display.update()
display.finish()
assert (sys.stdout, sys.stderr) == before
print("after all")
"""


def printed(out: int, err: int) -> None:
    command, env = [sys.executable, "-c", PRINTING], {**os.environ, "TERM": "xterm"}
    subprocess.run(command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=env, timeout=30, check=True)


def as_seen(written: str) -> list[str]:
    """The lines that a terminal shows in the end, without colours."""
    lines = [re.sub(r"\x1b\[[\d;]*m", "", line) for line in written.replace("\r\n", "\n").split("\n")]
    return [line.rpartition(ERASE)[2] for line in lines]


@needs_terminal
def test_what_a_program_prints_stands_above_the_bar_whole(tmp_path: Path) -> None:
    with terminal() as screen:
        printed(screen.slave, screen.slave)
        seen = as_seen(screen.written())
    *lines, bar, after, end = seen
    assert lines == ["said by the program: [1]", "complained by the program", "half a line", "and another"]
    assert "5 of 10 records" in bar
    assert (after, end) == ("after all", "")


@needs_terminal
def test_what_goes_to_a_file_stays_there(tmp_path: Path) -> None:
    with terminal() as screen, (tmp_path / "out").open("wb") as out:
        printed(out.fileno(), screen.slave)
        seen = as_seen(screen.written())
    assert (tmp_path / "out").read_text() == "said by the program: [1]\nhalf a line\nand another\nafter all\n"
    assert seen[0] == "complained by the program"
    assert "5 of 10 records" in seen[1]
    assert seen[2:] == [""]


@needs_terminal
def test_a_line_that_the_program_has_not_ended_is_left_alone() -> None:
    with terminal() as screen:
        script = "from pipeframe_async.observe.progress import *; from pipeframe_async.stats import Stats\n"
        script += "d = progress_display(True, Stats); d.start(); print('no end', end=''); d.update(); d.finish()"
        env = {**os.environ, "TERM": "xterm"}
        subprocess.run([sys.executable, "-c", script], stdout=screen.slave, stderr=screen.slave, env=env, check=True)
        seen = as_seen(screen.written())
    assert "no end" in seen[0]
    assert "0 of 0 records" in seen[-2]


# In a frame


async def test_a_frame_shows_nothing_unless_asked(capfd: pytest.CaptureFixture[str]) -> None:
    await PipeFrame(executor="inline").run(Numbers)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("mode", "check"), [("plain", str.strip), ("json", json.loads), (True, str.strip)])
async def test_a_frame_shows_its_runs_on_standard_error(
    mode: bool | str, check: Callable[[str], object], capfd: pytest.CaptureFixture[str]
) -> None:
    await PipeFrame(executor="inline", progress=mode).run(Numbers)
    out, err = capfd.readouterr()
    assert out == ""
    last = err.splitlines()[-1]
    assert check(last)
    assert "20" in last


@pytest.mark.parametrize(
    ("stats", "rate", "said"),
    [
        (replace(SOME, total=10_000), 600.0, ["1,234 of 10,000 records (12%)", "15 s left", "600/s"]),
        (replace(SOME, total=10_000), 1.0, ["1,234 of 10,000 records (12%)", "146 min 06 s left", "1/s"]),
        (replace(SOME, total=10_000), 0.0, ["1,234 of 10,000 records (12%)", "0/s", "4 failed"]),
        (replace(SOME, total=1_234), 600.0, ["1,234 of 1,500 records (82%)", "600/s", "4 failed"]),
        (replace(SOME, total=2_000, emitted=617), 600.0, ["1,234 records (31% of the feed)", "5 s left", "600/s"]),
        (replace(SOME, total=2_000, emitted=1_300), 600.0, ["1,234 records (0% of the feed)", "600/s", "4 failed"]),
        (replace(SOME, total=1_500, emitted=617), 0.0, ["1,234 records (41% of the feed)", "0/s", "4 failed"]),
        (replace(SOME, emitted=617), 600.0, ["1,234 of 2,117 records", "600/s", "4 failed"]),
        (Stats(total=0), 0.0, ["0 of 0 records", "0/s", "0 failed"]),
        (SOME, 600.0, ["1,234 of 1,500 records", "600/s", "4 failed"]),
    ],
)
def test_the_share_and_what_is_left_are_of_what_the_feed_says_it_has(
    stats: Stats, rate: float, said: list[str]
) -> None:
    assert phrases(stats, rate)[:3] == said


def test_beside_a_bar_the_share_is_what_that_shows() -> None:
    said = phrases(replace(SOME, total=10_000), 600.0, beside_a_bar=True)
    assert said == ["1,234 of 10,000 records", "15 s left", "600/s", "4 failed"]
    assert phrases(replace(SOME, total=10_000), 600.0, over=True, beside_a_bar=True) == [*said[:1], *said[2:]]


@pytest.mark.parametrize(
    ("feed", "total"),
    [
        (range(20), 20),
        ([1, 2], 2),
        ({1, 2, 3}, 3),
        ({1: 2, 3: 4}.keys(), 2),
        (lambda: [1, 2], 2),
        (lambda: {1, 2}, 2),
        (iter([1]), None),
        ([Chunk([1, 2])], None),
        ([1, Chunk([2]), Chunk([])], None),
    ],
)
async def test_a_feed_that_has_a_length_says_so(feed: Any, total: int | None) -> None:
    frame = PipeFrame(executor="inline")
    await frame.run(Numbers, feed)
    assert frame.stats().total == total


class Says:
    """A feed of ten records, which says it has so many; as it is, as chunks, or to be awaited."""

    def __init__(self, length: Any, one: Callable[[int], Any] = int) -> None:
        self._length = length
        self._one = one
        self.asked_in: set[str] = set()

    def __len__(self) -> int:
        self.asked_in.add(threading.current_thread().name)
        return self._length()  # type: ignore[no-any-return]

    def __iter__(self) -> Iterator[Any]:
        return map(self._one, range(10))


class SaysToBeAwaited(Says):
    __iter__ = None  # type: ignore[assignment]

    async def __aiter__(self) -> AsyncIterator[Any]:
        for n in range(10):
            yield self._one(n)


def raises() -> int:
    raise ValueError("not now")


@pytest.mark.parametrize("kind", [Says, SaysToBeAwaited])
@pytest.mark.parametrize("source", ["batch", "stream"])
@pytest.mark.parametrize(
    ("length", "one", "total"),
    [
        (lambda: 10, int, 10),
        (lambda: 9, int, None),
        (lambda: 11, int, None),
        (lambda: -1, int, None),
        (lambda: 10, lambda n: Chunk([n]), None),
        (raises, int, None),
    ],
)
async def test_a_length_that_is_none_or_turns_out_wrong_is_not_known(
    length: Callable[[], Any], one: Callable[[int], Any], total: int | None, source: Any, kind: type[Says]
) -> None:
    frame, pipeline = PipeFrame(executor="inline"), Numbers()
    pipeline.source = source
    await frame.run(pipeline, kind(length, one))
    assert frame.stats().total == total


async def test_a_feed_that_may_block_is_asked_for_its_length_in_its_thread() -> None:
    feed = Says(lambda: 10)
    await PipeFrame(executor="inline").run(Numbers, feed)
    assert feed.asked_in == {"pipeframe-feed-Numbers"}


async def test_what_was_stopped_before_its_end_is_a_part_of_the_whole() -> None:
    frame, pipeline = PipeFrame(executor="inline", buffer_size=5), Numbers()
    pipeline.source = "stream"
    async with frame.stream(pipeline, range(1_000)) as results:
        async for _ in results:
            frame.stop(pipeline)
    assert frame.stats().total == 1_000
    assert frame.stats().fed < 1_000


def test_programs_are_told_the_seconds_that_are_left() -> None:
    assert json.loads(json_line(replace(SOME, total=10_000), 600.0))["eta"] == 14.6
    assert json.loads(json_line(SOME, 600.0))["eta"] is None


def test_on_a_cluster_lanes_are_told_by_host() -> None:
    hosts = ["10.0.0.3", "10.0.0.3", "10.0.0.4", None]
    stats = replace(SOME, workers=tuple(WorkerStats(str(n), "busy", host=host) for n, host in enumerate(hosts)))
    assert phrases(stats, 600.0)[-1] == "3 lanes on 2 hosts"
    assert json.loads(json_line(stats, 600.0))["lanes"] == {"10.0.0.3": 2, "10.0.0.4": 1}
    assert "lanes" not in json.loads(json_line(SOME, 600.0))
