"""Values a user hands in or gets back: DROP, Chunk, Delivery, Failure.

Plain and frozen. Nothing here waits, starts or decides; workers import this module, so it stays thin.
"""

from __future__ import annotations

import pickle
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, TypeAlias

if TYPE_CHECKING:
    from typing_extensions import TypeVar  # as in `pipeline_engine`

    T = TypeVar("T", default=Any)
else:
    from typing import TypeVar

    T = TypeVar("T")

FailureKind = Literal["raised", "timeout", "crashed", "unpicklable", "poison"]


class Drop(Enum):
    """The type of `DROP`. An Enum member stays one object when it crosses to a worker and back."""

    DROP = "DROP"

    def __repr__(self) -> str:
        return "DROP"


DROP: Final = Drop.DROP
"""What a step returns to filter a record: it ends here and is no result."""


made: set[type] = set()
"""`Chunk`, `Delivery` and their subclasses, as far as any were made in this process: no others are looked for."""


@dataclass(frozen=True, slots=True, eq=False)
class Chunk(Generic[T]):
    """Many records handed over by one `yield` of a feed.

    Args:
        records: the records, in feed order. A chunk larger than the room in the buffer is taken in
            parts, so its size needs no care.
    """

    records: list[T]

    def __init__(self, records: Iterable[T]) -> None:
        object.__setattr__(self, "records", list(records))
        made.add(type(self))


@dataclass(frozen=True, slots=True, eq=False)
class Delivery(Generic[T]):
    """A record with a handle to its source. The handle stays in the parent; only the record travels.

    Args:
        record: what the steps get.
        key: free for the source's use (an offset, a message id).
        ack: called once the record's outcome is final and the sink has taken it, or `dead_letter` its failure.
        nack: called with the `Failure` that nobody has, or None when the run has given the record up.
        outcome: called before those with what the record has come to: its results as the sink got them, and the first
            failure, or None. Not where it was given up. Of a source with `results = True` only: without a sink others
            have no results. It must return at once.
        failure: the record has failed before any step had it, and its source knows why: it is given to none.
        context: of the trace it comes in: a `traceparent`, a mapping that has one (the headers of a message), or a
            `Context` of OpenTelemetry. Where that is sampled, and the program has a tracer provider, the record and its
            steps are spans of it. Any other value is no context, and no error.
    """

    record: T
    key: object = None
    ack: Callable[[], object] | None = None
    nack: Callable[[Failure[T] | None], object] | None = None
    outcome: Callable[[list[Any], Failure[T] | None], None] | None = None
    failure: Failure[T] | None = None
    context: object = None

    def __post_init__(self) -> None:
        made.add(type(self))

    def without_record(self) -> Delivery[Any]:
        """For who has no use for its record any more: it can be answered, and no more."""
        return Delivery(None, ack=self.ack, nack=self.nack)

    def crowd(self) -> Awaitable[None] | None:
        """What to wait for behind its answer, now and then, where many are answered at once."""
        return None

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError(
            "a Delivery does not travel: yield it from the feed by itself, or in a Chunk of nothing but deliveries"
        )


@dataclass(frozen=True, slots=True)
class Child:
    """Which of the children that a fan-out made of a record.

    Attributes:
        path: its number among its siblings, from 0; where children fanned out again, one number for each time. Where
            some of them were filtered or failed in workers, and the others went on to async steps, they do not count.
        value: as its step yielded it, unless a later one has changed it; None where it cannot be pickled. Not in the
            repr, as a record is not.
    """

    path: tuple[int, ...]
    value: Any = field(repr=False)

    @property
    def number(self) -> int:
        """Its number among its siblings."""
        return self.path[-1]


@dataclass(frozen=True, slots=True)
class Failure(Generic[T]):
    """Why one record has no result. A value, which can be kept, sent and compared.

    Attributes:
        record: the record as it was fed, before any step changed it. Not in its repr: that lands in logs.
        step: name of the step that failed (for `unpicklable` records: the one it was bound for).
        kind: `"raised"`, `"timeout"`, `"crashed"`, `"unpicklable"`, or `"poison"`: its source has delivered it too
            often, and no step was called again.
        error_type: class name of what was raised, e.g. `"ValueError"`.
        message: its text, at most 8 KiB.
        traceback: the worker's traceback as text, at most 64 KiB; empty where there is none.
        attempts: how often the record was tried, the first included.
        child: which child of the record failed, where a fan-out had made some; else None. None as well where a worker
            died or ran out of time between the fan-out and the end of its run of `def` steps: at which of them it was
            is not known. Behind an async step each child is on its own, and known.
        log: the last lines that were logged at the record, where its worker died of it or was ended: 20 lines and 4 KiB
            at most, the newest of those that the program's levels let through. Empty for all others: theirs were
            handled.
    """

    record: T = field(repr=False)
    step: str
    kind: FailureKind
    error_type: str
    message: str
    traceback: str = field(default="", repr=False)
    attempts: int = 1
    child: Child | None = None
    log: str = field(default="", repr=False)
    _raised: bytes | None = field(default=None, repr=False, compare=False)

    def as_dict(self) -> dict[str, Any]:
        """For JSON; stable: names are added, and none is changed.

        `record` is the record where JSON gives back what it was (`record_form` is `"json"`), bytes as text (`"text"`)
        or in base64 (`"base64"`), else its pickle in base64 (`"pickle"`), or its repr where it has none (`"repr"`).
        `child` is None, or its `path`, `value` and `value_form`, as of a record. The others are as they are here.
        """
        from pipeframe_async.keeping import kept, shown  # which workers do not need

        record, form = shown(kept(self.record))
        told: dict[str, Any] = {
            "record": record,
            "record_form": form,
            "step": self.step,
            "kind": self.kind,
            "error_type": self.error_type,
            "message": self.message,
            "attempts": self.attempts,
            "child": None,
            "traceback": self.traceback,
            "log": self.log,
        }
        if self.child is not None:
            value, form = shown(kept(self.child.value))
            told["child"] = {"path": list(self.child.path), "value": value, "value_form": form}
        return told

    @property
    def exception(self) -> BaseException | None:
        """What was raised, made again of its pickle at each access; without its traceback, which is text.

        None where it has no pickle of 64 KiB at most, where that cannot be read, and where nothing was raised.
        """
        return made_again(self._raised)

    def __str__(self) -> str:
        of = "" if self.child is None else f" over child {'.'.join(map(str, self.child.path))}"
        return f"step {self.step!r} {_VERB[self.kind]} {self.error_type}{of}: {self.message}"


def made_again(raised: bytes | None) -> BaseException | None:
    """An exception of its pickle; None where there is none, or none that can be read."""
    if raised is None:
        return None
    try:
        error = pickle.loads(raised)  # noqa: S301 - of our own worker
    except BaseException:
        return None
    return error if isinstance(error, BaseException) else None


_VERB: dict[str, str] = {
    "raised": "raised",
    "timeout": "ran out of time,",
    "crashed": "lost its worker,",
    "unpicklable": "could not cross the process border,",
    "poison": "was not given it again,",
}

AnyFailure = Failure[Any]

Fed: TypeAlias = T | Chunk[T] | Delivery[T]
"""What a feed may yield."""

FeedLike: TypeAlias = AsyncIterable[Fed[T]] | Iterable[Fed[T]] | Callable[..., object]
"""What may stand for a feed: records, a generator function or `feed(bucket)`, or a function that returns a feed."""
