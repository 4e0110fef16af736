"""`count`: what steps count, by name, on its way to the report.

A step counts in whatever is at work with its record: a worker process for the batch it has, whose counts come back with
its answer; or, in the parent's own process, the run that has it.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar, Token

MOST_NAMES = 1_000
"""Names of one run that are told apart; what has others is counted under "". Each is a series of the metrics: more are
made of records, by mistake."""

MOST = 2**63
"""What is added at once is less. A sum of larger numbers is one that no metric holds, and at 4,300 digits no report
shows; of these it takes more calls than a run has.
"""

Counts = dict[str, int]

_here: ContextVar[Counts | None] = ContextVar("pipeframe_counts", default=None)
_process: Counts | None = None  # of a worker: also for threads that its steps have started


def count(name: str, n: int = 1) -> None:
    """Count something, in a `def` or async step: it is in `report.counters`, `frame.stats().counters` and the metrics.

    Where no step is at work, as in a test that calls one, it does nothing. Of a record that is run again, as after its
    worker was lost, it counts again; what a worker had counted that was lost before it answered is lost.

    Args:
        name: of the counter; one of a few, and not made of a record. Of a run 1,000 are told apart, and all others
            are counted under `""`.
        n: how much is added to it, less than 2^63. What the metrics call a counter goes down where it is below 0.

    Raises:
        TypeError: `name` is no string, or `n` no whole number, or one that is too large.

    Process: wherever the step runs; also in threads that a step of a worker has started.
    """
    if not isinstance(name, str) or not isinstance(n, int) or not -MOST < n < MOST:
        said = n if not isinstance(n, int) or -MOST < n < MOST else f"<int of {n.bit_length()} bits>"
        raise TypeError(f"count({name!r}, {said!r}): takes a name and a whole number below 2^63")
    counts = _here.get() if _process is None else _process
    if counts is not None:
        _add(counts, name, n)


def count_in(counts: Counts) -> Token[Counts | None]:
    """Have what is counted in this context go there."""
    return _here.set(counts)


def count_no_more(token: Token[Counts | None]) -> None:
    """Undo `count_in`."""
    _here.reset(token)


def count_in_process() -> None:
    """In a worker: whatever this process counts goes with the batch it has."""
    global _process
    _process = {}


def counted() -> Counts | None:
    """In a worker: what was counted since this was asked last; None where nothing was."""
    global _process
    if not _process:
        return None
    counts, _process = _process, {}
    return counts


def add(counts: Counts, more: Mapping[str, int] | None) -> None:
    """A batch has come back with more."""
    for name, n in (more or {}).items():
        _add(counts, name, n)


def _add(counts: Counts, name: str, n: int) -> None:
    if len(counts) >= MOST_NAMES and name not in counts:
        name = ""
    counts[name] = counts.get(name, 0) + n
