"""The progress bar on a terminal: one line, drawn with rich, redrawn when told to. No thread of its own.

While it shows, what the program prints to the same terminal goes past it: the line is erased first and drawn
again with the next update, so printing costs what it always costs.
"""

from __future__ import annotations

import io
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, ClassVar, Final, TextIO

from rich.console import Console, ConsoleOptions, RenderResult, detect_legacy_windows
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from pipeframe_async.observe.counters import Rate, done, overall_rate, phrases, reached
from pipeframe_async.stats import Stats

MAX_BAR: Final = 30
"""Cells of the bar itself. A longer one says no more."""

MIN_BAR: Final = 8
"""Cells below which the bar gives way to the numbers: a shorter one shows nothing."""

USUAL_COLUMNS: Final = 80
"""Where a terminal does not say how wide it is."""

ERASE: Final = "\r\x1b[2K"
"""To the start of the line, and clear it."""


class Bar:
    """A line that is redrawn: spinner, bar, numbers.

    The bar is how much of the feed is done, where that has a length; else of what has been fed: a batch's way to its
    end, and how full the buffer of a stream is not.

    Threads: drawn by its owner's; what is printed may come from any. The lock keeps the two apart.

    Args:
        stats: gives the counters.
        stream: the terminal.
    """

    showing: ClassVar[Bar | None] = None
    """The one on the terminal: two would overwrite each other."""

    can_be_drawn: ClassVar[bool] = not detect_legacy_windows()

    def __init__(self, stats: Callable[[], Stats], stream: TextIO) -> None:
        self._stats = stats
        self._stream = stream
        self._console = Console(file=io.StringIO(), force_terminal=True)  # draws; `_put` writes
        self._rate = Rate()
        self._spinner = Spinner("dots", style="cyan")
        self._lock = threading.RLock()  # printing may come from a collector run while drawing
        self._drawn = False
        self._line_is_ours = True  # what was printed last ended its line

    def start(self) -> None:
        """Appear."""
        Bar.showing = self
        for name in ("stdout", "stderr"):
            if _is_terminal(stream := getattr(sys, name)):
                setattr(sys, name, Past(self, stream))

    def update(self) -> None:
        """Redraw."""
        stats = self._stats()
        self._draw(Line(stats, self._rate.at(stats), self._spinner))

    def finish(self) -> None:
        """Draw the last numbers and leave them standing."""
        for name in ("stdout", "stderr"):
            if isinstance(stream := getattr(sys, name), Past):
                setattr(sys, name, stream.stream)
        stats = self._stats()
        self._draw(Line(stats, overall_rate(stats), _verdict(stats), over=True), end="\n")
        self._drawn = False
        Bar.showing = None

    def print_past(self, stream: TextIO, text: str) -> int:
        """Write text of the program's to a terminal, with the bar out of its way."""
        with self._lock:
            if self._drawn:
                self._put(ERASE)
                self._drawn = False
            self._line_is_ours = text.endswith("\n") if text else self._line_is_ours
            return stream.write(text)

    def _draw(self, line: Line, end: str = "") -> None:
        with self._lock:
            if not self._line_is_ours and not end:
                return  # the program is in the middle of a line
            with self._console.capture() as drawn:
                self._console.print(line, width=_columns(self._stream) - 1)  # the last column would wrap
            self._put(("" if self._line_is_ours else "\n") + ERASE + drawn.get().rstrip("\n") + end)
            self._drawn = True

    def _put(self, text: str) -> None:
        with suppress(OSError, ValueError):  # the terminal has gone: the run goes on
            self._stream.write(text)
            self._stream.flush()


class Past:
    """A standard stream while a bar shows: as it was, but what is written goes past the bar.

    Args:
        bar: the bar.
        stream: the stream, for all else.
    """

    def __init__(self, bar: Bar, stream: TextIO) -> None:
        self.bar = bar
        self.stream = stream

    def write(self, text: str) -> int:
        """Write past the bar."""
        return self.bar.print_past(self.stream, text)

    def writelines(self, lines: list[str]) -> None:
        """Write past the bar."""
        self.write("".join(lines))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


class Line:
    """One look at the counters, drawn as wide as there is room.

    Args:
        stats: the counters.
        rate: records a second.
        mark: what stands in front.
        over: the run has ended.
    """

    def __init__(self, stats: Stats, rate: float, mark: Spinner | Text, *, over: bool = False) -> None:
        self._stats = stats
        self._mark = mark
        said = phrases(stats, rate, over=over, beside_a_bar=True)
        styles = {f"{stats.failed:,} failed": "bold red" if stats.failed else "dim"}
        self._words = [Text(words, style=styles.get(words, "")) for words in said]
        self._words.append(Text(f"{stats.elapsed:.1f} s", style="dim"))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw; where there is little room the bar goes first, then the last words."""
        words = Text("  ").join(self._words)
        room = options.max_width - len(words) - 4  # the mark, and a cell on either side of the bar
        row: list[Spinner | Text | ProgressBar] = [self._mark]
        if room >= MIN_BAR:
            row.append(self._progress(min(room, MAX_BAR)))
        words.truncate(options.max_width - 2, overflow="ellipsis")
        line = Table.grid(padding=(0, 1))
        for _ in range(len(row) + 1):
            line.add_column(no_wrap=True)
        line.add_row(*row, words)
        yield line

    def _progress(self, width: int) -> ProgressBar:
        at, of = reached(self._stats)
        return ProgressBar(total=of or None, completed=at, width=width, complete_style="cyan", finished_style="green")


def _verdict(stats: Stats) -> Text:
    if stats.aborted or done(stats) < stats.fed + stats.emitted:
        return Text("✗", style="bold red")
    return Text("!", style="bold yellow") if stats.failed else Text("✓", style="bold green")


def _columns(stream: TextIO) -> int:
    try:
        return os.get_terminal_size(stream.fileno()).columns or USUAL_COLUMNS
    except (OSError, ValueError):  # no terminal after all, or it has gone
        return USUAL_COLUMNS


def _is_terminal(stream: TextIO | None) -> bool:
    try:
        return stream is not None and stream.isatty()
    except ValueError:  # closed
        return False
