"""A server's queue, as one consumer sees it: what each system has to do, and what it hands over.

Comes in: calls of `Live`, which may be repeated. Goes out: messages.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from pipeframe_async.model import AnyFailure, Delivery, made

Token = TypeVar("Token")  # what a queue knows a delivery by; hashable
T_contra = TypeVar("T_contra", contravariant=True)


class Told(Protocol[T_contra]):
    """Who hears what a delivery has come to."""

    def ack(self, token: T_contra) -> None:
        """It is done with."""

    def nack(self, token: T_contra, deliveries: int, failure: AnyFailure | None) -> None:
        """It was given up, or has failed and nobody has that."""

    def crowd(self) -> Awaitable[None] | None:
        """What to wait for, now and then, where answers come faster than they are sent."""


class Message(Delivery[Any], Generic[Token]):
    """A delivery as its queue has made it: one object a record, for the garbage collector looks at each.

    Args:
        token: what the queue knows it by.
        key: names the message for the user.
        record: what is in it.
        deliveries: how often it was delivered, with this time.
    """

    __slots__ = ("deliveries", "source", "token")
    token: Token
    deliveries: int
    source: Told[Token]

    def __init__(self, token: Token, key: object, record: Any, deliveries: int) -> None:
        _set_token(self, token)
        _set_key(self, key)
        _set_record(self, record)
        _set_deliveries(self, deliveries)
        _set_outcome(self, None)
        _set_failure(self, None)
        _set_context(self, None)

    def ack(self) -> None:  # in place of a field that holds a function
        """It is done with."""
        self.source.ack(self.token)

    def nack(self, failure: AnyFailure | None) -> None:
        """It is not."""
        self.source.nack(self.token, self.deliveries, failure)

    def without_record(self) -> Message[Token]:
        """This one: who else has it, to give the record once more, has no use for that either."""
        _set_record(self, None)
        _set_failure(self, None)
        return self

    def crowd(self) -> Awaitable[None] | None:
        """As its source says."""
        return self.source.crowd()

    def fetched(self, source: Told[Token], failure: AnyFailure | None) -> None:
        """It is that source's, and may have failed already."""
        _set_source(self, source)
        _set_failure(self, failure)


_set_token, _set_deliveries, _set_source = (vars(Message)[name].__set__ for name in ("token", "deliveries", "source"))
_set_key, _set_record, _set_outcome, _set_failure, _set_context = (
    vars(Delivery)[name].__set__ for name in ("key", "record", "outcome", "failure", "context")
)
made.add(Message)  # which is all that its own `__init__` leaves out


class Nack(NamedTuple, Generic[Token]):
    """A delivery that is handed back; it may be delivered again after `pause` seconds.

    `begun`: it was worked on, and failed; else this delivery does not count. `deliveries` is its number.
    """

    token: Token
    pause: float
    begun: bool
    deliveries: int


class Queue(ABC, Generic[Token]):
    """A server's queue, as one consumer sees it. Calls may be repeated: when one fails, nobody knows how far it got.

    They raise what their library raises. `Live` knows of which the server is away, and calls again.

    Attributes:
        checks: `extend` knows which are others'; else all are that nobody has extended for a whole lease.
    """

    checks = True

    @abstractmethod
    async def open(self) -> None:
        """Connect, and make sure that what it reads is there."""

    @abstractmethod
    async def fetch(self, most: int, known: Callable[[Token], bool]) -> Sequence[Message[Token]]:
        """What is there and not `known`, at most so many; waits for some about a second, and may return none.

        Cancellation: what was delivered meanwhile is found again, by this consumer or by another.
        """

    @abstractmethod
    async def answer(self, acks: Sequence[Token], nacks: Sequence[Nack[Token]]) -> None:
        """Tell the server, in one request if that can be."""

    @abstractmethod
    async def extend(self, tokens: Sequence[Token]) -> Iterable[Token]:
        """Their leases begin anew; returns those that are others' by now."""

    async def lag(self) -> int | None:
        """Messages that nobody has been given yet; None where that is not known."""
        return None

    @abstractmethod
    async def close(self, known: Callable[[Token], bool]) -> None:
        """Disconnect. What this consumer has been given and does not know is handed back."""
