"""Values a user hands in or gets back: DROP, Chunk, Delivery, Failure.

Plain and frozen. Nothing here waits, starts or decides; workers import this module, so it stays thin.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, Generic, Literal, TypeAlias, TypeVar

T = TypeVar("T")

FailureKind = Literal["raised", "timeout", "crashed", "unpicklable"]


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
        ack: called once the record's outcome is final and the sink has taken it.
        nack: called with the `Failure`, or None when the run was aborted.
    """

    record: T
    key: object = None
    ack: Callable[[], Awaitable[None] | None] | None = None
    nack: Callable[[Failure[T] | None], Awaitable[None] | None] | None = None

    def __post_init__(self) -> None:
        made.add(type(self))

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError(
            "a Delivery does not travel: yield it from the feed by itself, or in a Chunk of nothing but deliveries"
        )


@dataclass(frozen=True, slots=True)
class Failure(Generic[T]):
    """Why one record has no result. A value: no exception object of the user's crosses the process border.

    Attributes:
        record: the record as it was fed, before any step changed it. Not in its repr: that lands in logs.
        step: name of the step that failed (for `unpicklable` records: the one it was bound for).
        kind: `"raised"`, `"timeout"`, `"crashed"` or `"unpicklable"`.
        error_type: class name of what was raised, e.g. `"ValueError"`.
        message: its text, at most 8 KiB.
        traceback: the worker's traceback as text, at most 64 KiB; empty where there is none.
        attempts: how often the record was tried, the first included.
    """

    record: T = field(repr=False)
    step: str
    kind: FailureKind
    error_type: str
    message: str
    traceback: str = field(default="", repr=False)
    attempts: int = 1

    def __str__(self) -> str:
        return f"step {self.step!r} {_VERB[self.kind]} {self.error_type}: {self.message}"


_VERB: dict[str, str] = {
    "raised": "raised",
    "timeout": "ran out of time,",
    "crashed": "lost its worker,",
    "unpicklable": "could not cross the process border,",
}

AnyFailure = Failure[Any]

Fed: TypeAlias = T | Chunk[T] | Delivery[T]
"""What a feed may yield."""

FeedLike: TypeAlias = AsyncIterable[Fed[T]] | Iterable[Fed[T]] | Callable[..., object]
"""What may stand for a feed: records, a generator function or `feed(bucket)`, or a function that returns a feed."""
