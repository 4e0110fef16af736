"""What crosses the process border, both ways: bytes, counts and text, never an object of the user's.

NamedTuples, because the executor's own pickling of them is on the path of every batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from pipeframe_async.model import FailureKind

Step = Callable[[Any], Any]

Frames = tuple[bytes, ...]
"""One pickle per record (or result): slower than one for all, but a bad one spoils only itself."""


class ChainSpec(NamedTuple):
    """The fused steps as they are shipped: with their names, and the pipeline they are methods of, if any."""

    names: tuple[str, ...]
    steps: tuple[Step, ...]
    pipeline: Any


class ChainRef(NamedTuple):
    """A chain ready to be run by an executor: `data` is its pickle, or None where it need not travel."""

    key: str
    data: bytes | None


class Packed(NamedTuple):
    """Records as bytes. `data` is one pickle of the list of them, or one pickle each (`Frames`)."""

    records: int
    data: bytes | Frames

    @property
    def framed(self) -> bool:
        """Whether each record has a pickle of its own."""
        return isinstance(self.data, tuple)

    @property
    def nbytes(self) -> int:
        """Bytes of payload."""
        return sum(map(len, self.data)) if isinstance(self.data, tuple) else len(self.data)


class WireFailure(NamedTuple):
    """A failure as plain data; `place` is the record's place in its batch, `record` its pickle."""

    place: int
    step: int
    kind: FailureKind
    error_type: str
    message: str
    traceback: str
    record: bytes | None


class StepTimes(NamedTuple):
    """One step's work in one batch: all calls counted, some of them timed (nanoseconds)."""

    calls: int
    timed: int
    timed_ns: int
    samples: tuple[int, ...]


class Fault(NamedTuple):
    """Why a whole batch was not run. `unreadable`: send it again as frames."""

    kind: str
    message: str
    traceback: str = ""


UNKNOWN_CHAIN = "unknown-chain"
BROKEN_CHAIN = "broken-chain"
UNREADABLE = "unreadable"


class Reply(NamedTuple):
    """A worker's answer to one batch. It always answers: `fault` is set where nothing was run.

    `delivered` counts results, the `bypassed` among them; `emitted` what fan-out added to the records
    sent, so `records + emitted == delivered + filtered + len(failures)`. `spans` maps a record's place to
    its number of results wherever that is not one. `results` is None where nobody consumes them.
    """

    records: int
    delivered: int = 0
    bypassed: int = 0
    filtered: int = 0
    emitted: int = 0
    results: bytes | Frames | None = None
    spans: dict[int, int] = {}  # noqa: RUF012 - a default that is never written
    failures: tuple[WireFailure, ...] = ()
    steps: tuple[StepTimes, ...] = ()
    wall: float = 0.0
    cpu: float = 0.0
    fault: Fault | None = None

    def owners(self) -> list[int]:
        """For each result, the place of the record it was made of."""
        return owners(self.records, self.spans)

    @property
    def nbytes(self) -> int:
        """Bytes of results."""
        if self.results is None:
            return 0
        return sum(map(len, self.results)) if isinstance(self.results, tuple) else len(self.results)


def owners(records: int, spans: dict[int, int]) -> list[int]:
    """For each result of so many records, the place of its record; `spans` has those without exactly one."""
    return [place for place in range(records) for _ in range(spans.get(place, 1))]
