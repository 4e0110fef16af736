"""A feed that is pulled in a thread: whatever it had in its hand when it was stopped is answered. On real loops."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pipeframe_async import Chunk
from tests.engine.harness import Answers, FakeFrame, Sunk, balanced, settled


async def test_the_rest_of_a_chunk_in_the_hand_of_a_feeds_thread_is_answered() -> None:
    answers = Answers()

    def feed() -> Iterator[Chunk[Any]]:
        yield Chunk([answers.delivery(n) for n in range(50)])

    frame = FakeFrame(buffer_size=5)
    async with frame.stream(Sunk(feed, timeout=None)) as results:
        async for result in results:
            if result == 7:
                break
    assert sorted(answers.acked + answers.nacked) == [*range(50)]
    assert len(answers.acked) == 8
    assert balanced(settled(frame))
