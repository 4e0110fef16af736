"""A batch on its way out, and the answer on its way back: what the parts of the engine hand to each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeframe_async._engine.places import Place
from pipeframe_async._rules.ledger import Outcome
from pipeframe_async.model import AnyFailure, Failure
from pipeframe_async.wire import Packed


@dataclass(slots=True)
class Batch:
    """Records bound for a lane.

    Attributes:
        number: counts batches in feed order.
        first: feed position of its first record.
        packed: the records as bytes, or live; a record's index is its position there.
        records: the live objects, kept until the reply in case their bytes cannot be read; None for
            records that came from disk.
        rejected: by index, the records that have no bytes.
        place: where it is run, all parts of it.
        packing: seconds of this process that its bytes took.
    """

    number: int
    first: int
    packed: Packed
    records: Sequence[Any] | None
    rejected: dict[int, AnyFailure]
    place: Place
    packing: float = 0.0

    @property
    def count(self) -> int:
        """Fed records this stands for."""
        return self.packed.records


@dataclass(slots=True)
class Answer:
    """What came of a batch; `outcome` becomes final when the consumer has taken the results.

    Attributes:
        number: the batch's.
        first: feed position of its first record.
        count: how many records it had.
        outcome: what became of them, if all results are taken.
        results: in feed order.
        failures: each with its record's index in the batch.
        spans: number of results of each record that has not exactly one, by index.
    """

    number: int
    first: int
    count: int
    outcome: Outcome
    results: list[Any] = field(default_factory=list)
    failures: list[tuple[int, AnyFailure]] = field(default_factory=list)
    spans: dict[int, int] = field(default_factory=dict)


def too_large(record: object, step: str, nbytes: int, capacity_bytes: int) -> AnyFailure:
    """The failure of a record that alone is more than the whole buffer may hold."""
    return Failure(
        record=record,
        step=step,
        kind="unpicklable",
        error_type="ConfigError",
        message=f"the record pickles to {nbytes:,} bytes, more than buffer_bytes={capacity_bytes:,} allows",
    )
