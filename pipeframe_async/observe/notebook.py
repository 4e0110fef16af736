"""The progress bar of a notebook: one display of its cell, with a bar, the counters in words and the time that is left.

It is drawn by the page itself, in its own colours. Where output is kept as text, as of nbconvert, it is a line.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from html import escape
from importlib import import_module
from typing import Any

from pipeframe_async.observe.counters import Rate, overall_rate, phrases, reached
from pipeframe_async.report import duration
from pipeframe_async.stats import Stats


def in_notebook() -> bool:
    """Whether this program is the kernel of a notebook: IPython in a terminal is none."""
    ipython: Any = sys.modules.get("IPython")  # who has not loaded it is not run by it
    shell = None if ipython is None else ipython.get_ipython()
    return getattr(shell, "kernel", None) is not None


class Shown:
    """One look at the counters.

    Args:
        stats: the counters.
        rate: records a second.
        over: the run has ended.
    """

    def __init__(self, stats: Stats, rate: float, *, over: bool = False) -> None:
        self._at, self._of = reached(stats)
        said = [*phrases(stats, rate, over=over, beside_a_bar=True), f"{stats.elapsed:.1f} s"]
        if stats.elapsed >= 120:
            said[-1] = duration(stats.elapsed)
        self._words = " · ".join(said)

    def __repr__(self) -> str:
        return self._words

    def _repr_html_(self) -> str:
        bar = f'<progress max="{max(1, self._of)}" value="{self._at}" style="width: 20em; max-width: 100%"></progress>'
        return f"<div>{bar} {escape(self._words)}</div>"


class NotebookBar:
    """A display that is drawn anew in its place.

    Threads: the kernel's, on the run's loop; another's where the run has one of its own.

    Args:
        stats: gives the counters.
    """

    def __init__(self, stats: Callable[[], Stats]) -> None:
        self._stats = stats
        self._rate = Rate()
        self._handle: Any = None

    def start(self) -> None:
        """Appear below the cell."""
        display: Any = import_module("IPython.display").display  # its kernel has loaded it
        stats = self._stats()
        self._handle = display(Shown(stats, self._rate.at(stats)), display_id=True)

    def update(self) -> None:
        """Draw it anew."""
        stats = self._stats()
        self._show(Shown(stats, self._rate.at(stats)))

    def finish(self) -> None:
        """Draw the last numbers and leave them standing."""
        stats = self._stats()
        self._show(Shown(stats, overall_rate(stats), over=True))

    def _show(self, shown: Shown) -> None:
        if self._handle is not None:
            with suppress(Exception):  # the page has gone, which a kernel says by errors of its own: the run goes on
                self._handle.update(shown)
