"""Progress of a run for the one who waits: which display fits, and the one that needs nothing but a stream.

Counters come in when the owner says so (a few times a second), text goes out to one stream. A display has no
timer, no thread and no asyncio, and a stream that breaks ends its output, never the run.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from typing import Final, TextIO

from pipeframe_async.contracts import Display
from pipeframe_async.errors import ConfigError
from pipeframe_async.observe.counters import Rate, by_host, eta, overall_rate, phrases
from pipeframe_async.observe.notebook import NotebookBar, in_notebook
from pipeframe_async.stats import Stats

MODES: Final = ("auto", "plain", "json", "none")

PLAIN_INTERVAL: Final = 2.0
"""Seconds between two plain lines. Shorter fills logs, longer looks stuck."""

JSON_INTERVAL: Final = 1.0
"""Seconds between two JSON lines, for the same reasons; programs take more."""


def progress_display(mode: bool | str, stats: Callable[[], Stats], *, stream: TextIO | None = None) -> Display | None:
    """The display for a mode, not started yet.

    Args:
        mode: True or `"auto"`: a bar on a terminal and in a notebook, plain lines elsewhere or without rich.
            `"plain"`: lines. `"json"`: lines of JSON. False or `"none"`: nothing.
        stats: gives a snapshot of the counters; cheap, for it is called a few times a second.
        stream: where to write; standard error where None.

    Returns:
        The display, or None where nothing is to be shown.

    Raises:
        ConfigError: the mode is none of these.
    """
    if not isinstance(mode, bool) and mode not in MODES:
        raise ConfigError(f"progress={mode!r}: must be True, False, {', '.join(map(repr, MODES))}")
    stream = sys.stderr if stream is None else stream
    if mode in (False, "none") or stream is None:  # a program without a console has no standard error
        return None
    if mode == "json":
        return Lines(stats, stream, interval=JSON_INTERVAL, say=json_line)
    if mode != "plain" and in_notebook():
        return NotebookBar(stats)
    bar = None if mode == "plain" else _bar(stats, stream)
    return bar or Lines(stats, stream, interval=PLAIN_INTERVAL, say=plain_line)


def _bar(stats: Callable[[], Stats], stream: TextIO) -> Display | None:
    """A bar, where there is a terminal that can draw one, rich to draw with, and no other bar on it yet."""
    if not stream.isatty() or os.environ.get("TERM") == "dumb" or "utf" not in (stream.encoding or "").lower():
        return None
    try:
        from pipeframe_async.observe.bar import Bar
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "rich":
            raise
        return None
    return Bar(stats, stream) if Bar.can_be_drawn and not Bar.showing else None


class Lines:
    """A line now and then, and one at the end.

    Args:
        stats: gives the counters.
        stream: where lines go.
        interval: seconds between two lines.
        say: the line for the counters, the rate, and whether it is the last.
    """

    def __init__(
        self, stats: Callable[[], Stats], stream: TextIO, *, interval: float, say: Callable[[Stats, float, bool], str]
    ) -> None:
        self._stats = stats
        self._stream = stream
        self._interval = self._due = interval
        self._say = say
        self._rate = Rate()

    def start(self) -> None:
        """Nothing to say yet."""

    def update(self) -> None:
        """Say where the run is, if it is time."""
        stats = self._stats()
        rate = self._rate.at(stats)
        if stats.elapsed >= self._due:
            self._due = stats.elapsed + self._interval
            self._write(stats, rate, over=False)

    def finish(self) -> None:
        """Say where the run has ended."""
        stats = self._stats()
        self._write(stats, overall_rate(stats), over=True)

    def _write(self, stats: Stats, rate: float, *, over: bool) -> None:
        # A terminal that has gone, or a stream that was closed: there is nobody to tell.
        with suppress(OSError, ValueError):
            self._stream.write(f"{self._say(stats, rate, over)}\n")
            self._stream.flush()


def plain_line(stats: Stats, rate: float, over: bool = False) -> str:
    """The counters for a person: seconds, then what there is to say."""
    return "  ".join([f"{stats.elapsed:6.1f} s", *phrases(stats, rate, over=over)])


def json_line(stats: Stats, rate: float, over: bool = False) -> str:
    """The counters for a program: those of `Stats`, the rate, the seconds that are left, and `"event": "progress"`.

    On a cluster, how many lanes each host has, too.
    """
    left = None if over else eta(stats, rate)
    counts = asdict(stats)
    for parts in ("runs", "before", "workers"):
        del counts[parts]
    told = {"event": "progress", **counts, "rate": round(rate, 1), "eta": None if left is None else round(left, 1)}
    if lanes := by_host(stats):
        told["lanes"] = lanes
    return json.dumps(told)
