"""The ledger at work: the one place where outcomes become final, permits are released and handles answered."""

from __future__ import annotations

from collections.abc import Callable

from pipeframe_async._engine.batch import Answer
from pipeframe_async._engine.bell import Bell
from pipeframe_async._engine.handles import Handles
from pipeframe_async._rules.ledger import Ledger, Outcome


class Books:
    """The books of one run, for the parts that move its records.

    Attributes:
        ledger: the counts, and how many permits and bytes are free.
        handles: of deliveries.
        freed: rings when permits were released.
        on_settled: called after each settlement.
        on_final: called with what became final, and how many of its records were given up.
    """

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.handles = Handles()
        self.freed = Bell()
        self.on_settled: Callable[[], None] = lambda: None
        self.on_final: Callable[[Answer, int], None] | None = None

    def settle(self, answer: Answer, outcome: Outcome | None = None, taken: int | None = None) -> None:
        """A batch is final.

        Args:
            answer: what came of it.
            outcome: where it differs from the answer's, because its results were not all taken.
            taken: then, how many of them were.
        """
        self.ledger.settle(answer.first, outcome or answer.outcome)
        self.handles.settled(answer, taken)
        if self.on_final is not None:
            self.on_final(answer, (outcome or answer.outcome).aborted)
        self.freed.ring()
        self.on_settled()

    async def close(self, timeout: float) -> None:
        """Whatever has no outcome yet is aborted; then wait, so many seconds at most, for handles to be answered."""
        self.ledger.abort_rest()
        self.handles.abort_rest()
        await self.handles.answered(timeout)
