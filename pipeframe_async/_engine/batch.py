"""A batch on its way out, and the answer on its way back: what the parts of the engine hand to each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeframe_async._rules.ledger import Outcome
from pipeframe_async.model import AnyFailure
from pipeframe_async.wire import Packed


@dataclass(slots=True)
class Batch:
    """Records bound for a lane.

    `number` counts batches in feed order. `records` are the live objects, kept until the reply in case their
    bytes cannot be read; None for records that came from disk. `rejected` could not be pickled.
    """

    number: int
    packed: Packed
    records: Sequence[Any] | None
    rejected: list[AnyFailure]

    @property
    def count(self) -> int:
        """Fed records this stands for."""
        return self.packed.count + len(self.rejected)


@dataclass(slots=True)
class Answer:
    """What came of a batch; `outcome` becomes final when the consumer has taken the results."""

    number: int
    outcome: Outcome
    results: list[Any] = field(default_factory=list)
    failures: list[AnyFailure] = field(default_factory=list)
