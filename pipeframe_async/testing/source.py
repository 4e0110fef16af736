"""`FakeSource`: a source that looks at the answers to its deliveries: each once, and none before it is due."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Generic, TypeVar

from pipeframe_async.errors import StateError
from pipeframe_async.model import AnyFailure, Delivery
from pipeframe_async.pipeline_engine import PipelineEngine
from pipeframe_async.plan import instance_of
from pipeframe_async.testing.copies import copy_of, stays_at_home
from pipeframe_async.testing.doubles import taker_double

T = TypeVar("T")
Out = TypeVar("Out")


class FakeSource(Generic[T]):
    """A source for one run, whose deliveries must be answered as a real one relies on.

    `try_records(P, source)` and `frame.run(source.watched(P))` are runs in which it also sees what the sink and the
    dead letter take. Then an `ack` is too early where the sink has not returned with all results of that record, or the
    dead letter with its failure. Records are keyed by their position: a sink with `write(self, records, keys)` is told.

    Args:
        records: that it gives, one delivery each.

    Attributes:
        acked, nacked: positions of records, from 0, in the order of their answers. Of the nacked some may have been
            given up.
        given: how many records were handed over.

    Raises:
        StateError: as it is entered, a second time.

    Process: the parent; workers see the records.
    """

    results = True  # so that it hears what a record has come to, before its answer
    __reduce__ = stays_at_home

    def __init__(self, records: Iterable[T]) -> None:
        self._records = list(records)
        self.given = 0
        self.acked: list[int] = []
        self.nacked: list[int] = []
        self._watched = self._has_sink = False
        self._entered = self._left = False
        self._taken = Counter[int]()  # results that the sink has, by position
        self._dead: list[AnyFailure] = []  # failures that the dead letter has
        self._came_to: dict[int, tuple[int, AnyFailure | None]] = {}  # results, and the first failure
        self._problems: list[str] = []

    async def __aenter__(self) -> None:
        if self._entered:
            raise StateError("a FakeSource is for one run: make another one, it may be of the same records")
        self._entered = True

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._left = True

    async def __aiter__(self) -> AsyncIterator[Delivery[T]]:
        for position, record in enumerate(self._records):
            self.given += 1
            yield Delivery(
                record,
                position,
                partial(self._acked, position),
                partial(self._nacked, position),
                partial(self._comes_to, position),
            )

    def watched(self, pipeline: type[PipelineEngine[T, Out]] | PipelineEngine[T, Out]) -> PipelineEngine[T, Out]:
        """A copy of a pipeline that is fed from here, and whose sink and dead letter are seen.

        Args:
            pipeline: a `PipelineEngine` subclass, or an instance of one. It is not changed.

        Returns:
            A pipeline for one run.

        Raises:
            ConfigError: as `PipeFrame.run`.
        """
        engine = instance_of(pipeline)
        self._watched = True
        instead: dict[str, Any] = {"feed": self}
        if (sink := getattr(engine, "sink", None)) is not None:
            self._has_sink = True
            instead["sink"] = taker_double(sink, "sink", _Results(self._taken))
        if (dead_letter := getattr(engine, "dead_letter", None)) is not None:
            instead["dead_letter"] = taker_double(dead_letter, "dead_letter", _Failures(self._dead))
        return copy_of(engine, **instead)

    def check(self) -> None:
        """See to it that all answers were good, when the run is over.

        Raises:
            AssertionError: a record was answered twice, never, too early, or when the source was closed; it names each.
        """
        answered = {*self.acked, *self.nacked}
        never = [
            f"{self._named(position)} was never answered" for position in range(self.given) if position not in answered
        ]
        if problems := [*self._problems, *never]:
            raise AssertionError("; ".join(problems))

    def _comes_to(self, position: int, results: Sequence[Any], failure: AnyFailure | None) -> None:
        self._came_to[position] = len(results), failure

    def _acked(self, position: int) -> None:
        self._answered(position)
        self.acked.append(position)
        results, failure = self._came_to.get(position, (0, None))
        if not self._watched:
            return
        if self._has_sink and (taken := self._taken[position]) < results:
            self._finds(position, f"was acked when the sink had taken {taken} of its {results} results")
        if failure is not None and not self._is_dead(failure):
            self._finds(position, f"was acked, and nobody has its failure: {failure}")

    def _nacked(self, position: int, failure: AnyFailure | None) -> None:
        self._answered(position)
        self.nacked.append(position)
        if failure is not None and self._is_dead(failure):
            self._finds(position, f"was nacked, and the dead letter has its failure: {failure}")

    def _answered(self, position: int) -> None:
        if position in self.acked or position in self.nacked:
            self._finds(position, "was answered twice")
        if self._left:
            self._finds(position, "was answered when the source was closed")

    def _is_dead(self, failure: AnyFailure) -> bool:
        """Whether the dead letter has it; where a record has faults there are two of it."""
        return any(
            one is failure
            or (one.record is failure.record and (one.step, one.message) == (failure.step, failure.message))
            for one in self._dead
        )

    def _finds(self, position: int, problem: str) -> None:
        self._problems.append(f"{self._named(position)} {problem}")

    def _named(self, position: int) -> str:
        return f"record {position} ({self._records[position]!r})"


class _Results:
    """Counts the results that a sink takes, by the position of their record."""

    def __init__(self, taken: Counter[int]) -> None:
        self._taken = taken

    def given(self, items: list[Any], keys: Sequence[Any] | None) -> tuple[list[Any], Sequence[Any] | None]:
        return items, keys

    def taken(self, items: list[Any], keys: Sequence[Any] | None) -> None:
        self._taken.update(keys or ())


class _Failures:
    """Keeps the failures that a dead letter takes."""

    def __init__(self, dead: list[AnyFailure]) -> None:
        self._dead = dead

    def given(self, items: list[Any], keys: Sequence[Any] | None) -> tuple[list[Any], Sequence[Any] | None]:
        return items, keys

    def taken(self, items: list[Any], keys: Sequence[Any] | None) -> None:
        self._dead += items
