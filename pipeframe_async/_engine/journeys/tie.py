"""Order by key at work: which lane a record goes to, and when its answer may leave.

Comes in: journeys, as they begin and end. Which lane it is decides `_rules/affinity.py`, when `_rules/ordering.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

from pipeframe_async._engine.settling.answer import Answer
from pipeframe_async._rules.affinity import Affinity
from pipeframe_async._rules.journey import Journey
from pipeframe_async._rules.ordering import AsFedByKey


class Tie:
    """Keys of the records under way.

    Args:
        key_of: the pipeline's `order`.
        lanes: how many there are.

    Attributes:
        sequencer: lets answers leave in order within their key.
    """

    def __init__(self, key_of: Callable[[Any], Hashable], lanes: int) -> None:
        self._key_of = key_of
        self.lanes = lanes
        self._affinity = Affinity(lanes)
        self.sequencer: AsFedByKey[Answer] = AsFedByKey()

    def enter(self, journey: Journey, *, asked: bool) -> Exception | None:
        """A record begins its journey. Returns what its key raised; then, and where nobody `asked`, it has its own.

        The key function is the user's, and runs here on the loop.
        """
        key, error = object(), None  # one of its own: nobody waits for it
        if asked:
            try:
                key = self._key_of(journey.record)
                hash(key)
            except Exception as raised:
                key, error = object(), raised
        journey.tie(key, self._affinity.enter(key))
        self.sequencer.expect(journey.position, key)
        return error

    def leave(self, journey: Journey) -> None:
        """It has its outcome."""
        self._affinity.leave(journey.key)
