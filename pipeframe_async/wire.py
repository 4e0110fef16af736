"""What crosses the process border, both ways: bytes, counts and text, never an object of the user's; and what
comes back in place of an answer when a worker has died.

NamedTuples, because they are on the path of every batch: the channel sends them as the plain tuples they are, and where
batches go through an executor's own queues they are small to pickle.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, NamedTuple, Protocol

from pipeframe_async.model import FailureKind

Step = Callable[[Any], Any]

Frames = tuple[bytes, ...]
"""One pickle per record (or result): slower than one for all, but a bad one spoils only itself."""


@dataclass(frozen=True, slots=True)
class OutOfBand:
    """One pickle for all, with large buffers beside it: views of the sender's objects, copies at the receiver."""

    data: bytes | bytearray | memoryview
    buffers: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Live:
    """The records (or results) themselves, where they do not leave their process; `nbytes` is a guess (`weight.py`)."""

    values: list[Any]
    nbytes: int = 0


Payload = bytes | bytearray | memoryview | Frames | OutOfBand | Live


def size_of(payload: Payload) -> int:
    """Bytes of a payload."""
    if isinstance(payload, tuple):
        return sum(map(len, payload))
    if isinstance(payload, OutOfBand):
        return len(payload.data) + sum(memoryview(buffer).nbytes for buffer in payload.buffers)
    return payload.nbytes if isinstance(payload, Live) else len(payload)


class ChainSpec(NamedTuple):
    """The `def` steps of a pipeline as they are shipped, with their names, and the pipeline they are methods of.

    `time_limit`: seconds one record may spend in one run of them. `retry_on`: exceptions that are worth another
    attempt. `segments`: how many steps each segment of them has, where other steps lie between them. `encodes`: the
    last step encodes results, so no record passes over it. `pipeline_name`: for who reads what the steps log.
    `by_value`: modules that go along, though they could be imported here; it does not travel itself.
    """

    names: tuple[str, ...]
    steps: tuple[Step, ...]
    pipeline: Any
    time_limit: float | None = None
    retry_on: tuple[type[BaseException], ...] = ()
    segments: tuple[int, ...] = ()
    encodes: bool = False
    pipeline_name: str = ""
    by_value: frozenset[str] = frozenset()

    def part(self, begin: int, end: int) -> ChainSpec:
        """Its steps from `begin` up to `end` as a chain, without the pipeline: that is set up for all of them."""
        return self._replace(
            names=self.names[begin:end],
            steps=self.steps[begin:end],
            pipeline=None,
            segments=(),
            encodes=self.encodes and end == len(self.steps),
        )


class Supply(Protocol):
    """Definitions that workers need to read the records of a chain. Lives in the parent, or was sent by it."""

    @property
    def tag(self) -> str:
        """Names what there is by now; empty where nothing is."""

    def parcel(self) -> tuple[Any, ...]:
        """The tag, the definitions, and what cannot be sent."""

    def ask(self, wanted: str) -> bool:
        """A worker has missed these names. Whether there is anything to be sent now: not where others have it."""


class ChainRef(NamedTuple):
    """A chain ready to be run by an executor: `data` is its pickle, or None where it need not travel.

    `more`: what its records name that workers cannot import, as far as it is known. `modules`: those that its pickle
    names, which workers must have; the library and what comes with Python left out. `teardowns`: what
    `teardown` has returned in workers that have ended, and will have; None where nobody says.
    """

    key: str
    data: bytes | None
    time_limit: float | None = None
    more: Supply | None = None
    modules: frozenset[str] = frozenset()
    teardowns: list[Any] | None = None

    @property
    def label(self) -> str:
        """Its key, and which state of the program the worker must know of to read its records."""
        return f"{self.key}{STATE}{self.more.tag}" if self.more is not None and self.more.tag else self.key

    def parcel(self, *, again: bool = False) -> tuple[Any, ...] | bytes | None:
        """What a worker is sent that does not know the label; `again`: it has the chain."""
        data = None if again else self.data
        return data if self.more is None else (data, *self.more.parcel())

    def segment(self, number: int) -> ChainRef:
        """One of its segments, by itself. They are loaded as one, and share what `setup` has made."""
        return self._replace(key=f"{self.key}{SEGMENT}{number}") if number else self


STATE = "~"
"""What stands in a label between the chain's key and the tag of its supply."""
SEGMENT = "#"
"""What stands in a key between the chain's and the number of a segment of its steps, unless that is the first."""


class Portions(NamedTuple):
    """What comes of a batch may come back in portions, while a fan-out in it is under way.

    Attributes:
        most: results of one portion.
        most_bytes: and about so many bytes of them.
        gone: the path to the first child of the first record that had not come back when its worker was lost, by the
            numbers of children at each level; those before it are passed over.
        resume: the batch that goes on, as its last `Reply.suspended` said; 0 for a new one.
    """

    most: int
    most_bytes: int
    gone: tuple[int, ...] = ()
    resume: int = 0


class Positions(Protocol):
    """By index in a batch, where its records are in the feed."""

    def __getitem__(self, index: int, /) -> int:
        """Of the record at this index."""


class Packed(NamedTuple):
    """Records as bytes: so many of them, in `data`, which is one pickle of a list, or one pickle each (`Frames`).

    A record that has no bytes has an empty frame in its place. `start`: where in the list these records begin.
    `portions`: what comes of them may come back so; None where all at once. `positions`: by index, those of the records
    in the feed, for who reads what is logged at them; they do not travel. `traced`: those that are in a trace, by
    index, with the span that their steps are under.
    """

    records: int
    data: Payload
    start: int = 0
    portions: Portions | None = None
    positions: Positions | None = None
    traced: tuple[tuple[int, str], ...] = ()

    def stretch(self, start: int, stop: int) -> Packed:
        """The records from `start` up to `stop`, to be run by themselves; indices in the answer count from `start`."""
        if isinstance(self.data, tuple):
            return Packed(stop - start, self.data[start:stop])
        return Packed(stop - start, self.data, self.start + start)

    def resumed(self, portions: Portions) -> Packed:
        """A batch that is in its worker already, and goes on there: nothing is sent."""
        return Packed(self.records, b"", portions=portions)

    @property
    def resumes(self) -> int:
        """Which batch goes on; 0 where a new one begins."""
        return 0 if self.portions is None else self.portions.resume

    @property
    def framed(self) -> bool:
        """Whether each record has a pickle of its own."""
        return isinstance(self.data, tuple)

    @property
    def span(self) -> tuple[int, int] | None:
        """Of one pickle, the index of the first record to be run and how many are; None where all bytes are."""
        return None if self.framed else (self.start, self.records)

    @property
    def nbytes(self) -> int:
        """Bytes of payload."""
        return size_of(self.data)


class WireFailure(NamedTuple):
    """A failure as plain data; `at` is the record's index in its batch, `record` its pickle.

    `again`: what was raised is one of the exceptions after which another attempt is worth it. `raised`: its pickle,
    where it has one. `child`: which child of the record it is, by the path to it, and that one's pickle, or it itself.
    """

    at: int
    step: int
    kind: FailureKind
    error_type: str
    message: str
    traceback: str
    record: bytes | None
    again: bool = False
    raised: bytes | None = None
    child: tuple[tuple[int, ...], bytes | Live | None] | None = None

    @property
    def nbytes(self) -> int:
        """What of it may be large, but the record: that it may share with others."""
        child = None if self.child is None else self.child[1]
        return len(self.traceback) + len(self.raised or b"") + (0 if child is None else size_of(child))


class StepTimes(NamedTuple):
    """One step's work in one batch: all calls counted, some of them timed (nanoseconds).

    `most_ns`: the longest of those; `slowest`: the index of its record.
    """

    calls: int
    timed: int
    timed_ns: int
    samples: tuple[int, ...]
    most_ns: int = 0
    slowest: int = 0


class StepTrace(NamedTuple):
    """One step over one record that is traced: when it ended, nanoseconds since the epoch, and how long it took."""

    at: int
    step: int
    ended: int
    spent: int
    failed: bool = False


class Refusal(NamedTuple):
    """Why a whole batch was not run. `unreadable`: send it again as frames."""

    kind: str
    message: str
    traceback: str = ""
    raised: bytes | None = None


UNKNOWN_CHAIN = "unknown-chain"
BROKEN_CHAIN = "broken-chain"
UNREADABLE = "unreadable"
PAUSED = "paused"
"""Another batch of this chain is suspended in this process, and comes first: a step may keep something across what it
yields. The message has its number."""
GONE = "gone"
"""The batch that was to go on is not in this process."""
WANTED = "wanted"
"""The batch names what the worker does not have: send it, and the batch again. The message has the names."""


class Reply(NamedTuple):
    """A worker's answer to one batch. It always answers: `refusal` is set where nothing was run.

    `delivered` counts results; `bypass_at` has the positions of those that bypass steps; `grown` maps a record's index
    to the outcomes it has beyond one, by fan-out, so `records + emitted == delivered + filtered + len(failures)`.
    `spans` maps a record's index to its number of results wherever that is not one. `results` is None where nobody
    consumes them. `cpu`: all seconds of CPU the worker spent on the batch, with reading, writing and copying it;
    `worked`: those spent in the steps, on the wall where the steps rather wait than compute; `waited`: they do.
    `setup`: seconds that loading the steps and `setup` have taken before it, where that was not done. `rss`: resident
    bytes of the worker's memory after it, 0 where nobody wants to know. `counters`: what its steps have counted, by
    name. `trace`: of records that are traced, what each step took. `idle`: seconds its worker had nothing to do before
    it; None for the first batch of a worker. `hop`: seconds it was on its way besides, there and back; set by the lane,
    None where that cannot tell.

    A portion has `suspended` set, which says how the batch is asked to go on: its `records` have come to their end, and
    of the record after them some outcomes are here too, all of them in `grown`; `gone` is as `Portions` has it.
    `first`: index of its first record, which is another than 0 where portions came before; all indices are those of
    the batch.
    """

    records: int
    delivered: int = 0
    bypass_at: tuple[int, ...] = ()
    filtered: int = 0
    grown: dict[int, int] = {}  # noqa: RUF012 - a default that is never written
    results: Payload | None = None
    spans: dict[int, int] = {}  # noqa: RUF012 - a default that is never written
    failures: tuple[WireFailure, ...] = ()
    steps: tuple[StepTimes, ...] = ()
    wall: float = 0.0
    cpu: float = 0.0
    worked: float = 0.0
    waited: bool = False
    rss: int = 0
    refusal: Refusal | None = None
    first: int = 0
    suspended: int = 0
    setup: float = 0.0
    gone: tuple[int, ...] = ()
    counters: dict[str, int] | None = None
    trace: tuple[StepTrace, ...] = ()
    idle: float | None = None
    hop: float | None = None

    @property
    def work_seconds(self) -> float:
        """What the batch has taken of its worker, with reading and writing it: wall time where it waited."""
        return self.wall if self.waited else self.cpu

    @property
    def bypassed(self) -> int:
        """How many results bypass steps."""
        return len(self.bypass_at)

    @property
    def emitted(self) -> int:
        """What fan-out added to the records sent."""
        return sum(self.grown.values())

    def owners(self) -> list[int]:
        """For each result, the index of the record it was made of."""
        return owners(self.first, self.records + bool(self.suspended), self.spans)

    @property
    def opened(self) -> int:
        """Of a portion, the index of the record that is under way."""
        return self.first + self.records

    @property
    def nbytes(self) -> int:
        """Bytes of results, and of what failures carry."""
        nbytes = 0 if self.results is None else size_of(self.results)
        if self.failures:
            nbytes += sum(failure.nbytes for failure in self.failures)
            nbytes += sum({id(failure.record): len(failure.record or b"") for failure in self.failures}.values())
        return nbytes


class Phase(IntEnum):
    """What stands in place of an index while a worker is at no single record."""

    IDLE = 2**64 - 1
    LOADING = 2**64 - 2
    """Loading the chain, or in its `setup`."""
    READING = 2**64 - 3
    """Unpickling all records of a batch."""
    WRITING = 2**64 - 4
    """Pickling all results of a batch."""


class Spot(NamedTuple):
    """Where a worker is: at record `at` of a batch, in `step` (None: reading it); or at none, in a phase.

    `end`: that step has the records from `at` up to this one, at once; None where it has one. `begun`: those up to this
    one have begun; None where those up to `at` have.
    """

    batch: int
    at: int | None
    phase: Phase | None
    step: int | None
    end: int | None = None
    begun: int | None = None


class Death(NamedTuple):
    """What a lane has instead of a reply where the worker that had the batch is gone.

    Attributes:
        cause: who it was and how it ended, for people.
        kind: what to call it if a record is to blame.
        begun: whether the worker had begun with the batch; where not, nothing in it is to blame.
        at: index of the record it was at; None where it was at none.
        end: the step had the records from `at` up to this index at once, any of which may be to blame; None where it
            had one.
        step: the step that record was in; None while it was being read.
        whole: it was reading all records or writing all results at once: frames would tell which one.
        ran: how many records had been begun and are lost with it, those that it was at left out.
        foreign: somebody else may have ended it.
        stack: where the code stood, as far as is known.
        done: what the first records came to, where that could be saved: all before `at`, unless some of them go on
            together with it.
        log: the last lines that were logged at that record, or in the batch.
    """

    cause: str
    kind: FailureKind = "crashed"
    begun: bool = True
    at: int | None = None
    step: int | None = 0
    whole: bool = False
    ran: int = 0
    foreign: bool = False
    stack: str = ""
    done: Reply | None = None
    log: str = ""
    end: int | None = None


def owners(first: int, records: int, spans: Mapping[int, int]) -> list[int]:
    """For each result of so many records from `first` on, that of its record; `spans` has those without exactly one."""
    return [index for index in range(first, first + records) for _ in range(spans.get(index, 1))]
