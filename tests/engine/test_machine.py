"""One run under any sequence of events: records come, time passes, lanes are killed, results are taken, it is ended.

The law of the books and the bound of the buffer are looked at after every event; at the end nothing may be lost.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Coroutine
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pipeframe_async import Delivery, Failure, StateError
from pipeframe_async.testing import FakeExecutor, VirtualClockLoop
from tests.engine.harness import Answers, Through, a_run, balanced
from tests.engine.mortal import HITS, OUTCOMES, Item, results_of, step

KINDS = [kind for kind in OUTCOMES if kind not in ("kills when read", "result cannot be read at home")]
FOR_EVER = 1e6
"""Seconds that a drain may take: it takes as long as the one who takes the results."""


class Machine(RuleBasedStateMachine):
    """A run that is driven by hand. `fed` is what its feed has handed over; `taken` what came out."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = VirtualClockLoop(limit=2 * FOR_EVER)
        self.coming: deque[Item | None] = deque()
        self.made = 0
        self.fed: list[Item] = []
        self.handles: list[int] = []
        self.answers = Answers()
        self.taken: list[Any] = []
        self.dead: list[Failure[Any]] = []
        self.kills = 0
        self.drained = self.aborted = self.finished = False
        self.closed = 0

    # Events.

    @initialize(
        lanes=st.integers(1, 3),
        slots=st.integers(1, 2),
        buffer_size=st.sampled_from([1, 4, 20]),
        batch_size=st.sampled_from([None, 1, 6]),
        order=st.sampled_from(["input", "completion"]),
        delay=st.sampled_from([0.0, 1e-4, 0.05]),
        start_seconds=st.sampled_from([0.0, 0.5]),
    )
    def start(
        self,
        lanes: int,
        slots: int,
        buffer_size: int,
        batch_size: int | None,
        order: str,
        delay: float,
        start_seconds: float,
    ) -> None:
        self.executor = FakeExecutor(
            lanes,
            slots=slots,
            delay=lambda number, records: delay * records * (1 + number % 3),
            start_seconds=start_seconds,
            poison=lambda item: item.kind == "kills",
            stuck=lambda item: item.kind == "hangs",
        )
        self.pipeline = Through(
            self.feed_of_the_run,
            steps=(step,),
            time_limit=0.5,
            timeout=None,
            max_failures=None,
            order=order,
            batch_size=batch_size,
            dead_letter=self.dead_letter,
        )

        async def begin() -> None:
            self.wake = asyncio.Event()
            self.run_ = a_run(
                self.pipeline, self.executor, buffer_size=buffer_size, streaming=True, drain_timeout=FOR_EVER
            )
            self.running = asyncio.ensure_future(self.run_.execute())
            await asyncio.sleep(0)  # a task that is cancelled before it began has run nothing

        self.do(begin())

    @rule(kinds=st.lists(st.sampled_from(["passes"] * 8 + KINDS), min_size=1, max_size=12), handles=st.booleans())
    def feed(self, kinds: list[str], handles: bool) -> None:
        for kind in kinds:
            self.coming.append(Item(self.made, kind))
            self.handles += [self.made] * handles
            self.made += 1
        self.wake.set()

    @rule(seconds=st.sampled_from([0.0, 0.001, 0.04, 0.6, 10.0]))
    def tick(self, seconds: float) -> None:
        self.do(asyncio.sleep(seconds))

    @precondition(lambda self: self.kills < HITS - 1)  # so many innocents would be blamed for
    @rule(which=st.integers(0, 2))
    def kill(self, which: int) -> None:
        self.kills += 1
        lanes = self.executor.lanes

        async def kill() -> None:
            lanes[which % len(lanes)].kill()

        self.do(kill())

    @rule(results=st.integers(1, 15))
    def consume(self, results: int) -> None:
        self.do(self.take(results, patience=0.2))

    @rule()
    def end_the_feed(self) -> None:
        self.coming.append(None)
        self.wake.set()

    @precondition(lambda self: self.made > 5)
    @rule()
    def stop(self) -> None:
        self.drained = True
        self.do(self.called(self.run_.stop))

    @precondition(lambda self: self.made > 8)
    @rule(how=st.sampled_from(["cancel", "abandon"]))
    def give_up(self, how: str) -> None:
        self.aborted = self.aborted or not self.running.done()
        self.do(self.called(self.running.cancel if how == "cancel" else self.run_.abandon))

    # What must hold after each.

    @invariant()
    def the_books_balance_and_the_buffer_is_not_exceeded(self) -> None:
        if not hasattr(self, "run_"):
            return
        ledger = self.run_.organs.books.ledger
        ledger.audit()
        stats = self.run_.stats()
        assert balanced(stats), stats
        assert stats.in_flight <= ledger.capacity
        assert ledger.peak_in_flight <= ledger.capacity

    @invariant()
    def nothing_is_taken_twice_or_out_of_order(self) -> None:
        expected = results_of(self.fed)
        assert not Counter(self.taken) - Counter(expected)
        if self.fed and self.pipeline.order == "input":
            assert self.taken == expected[: len(self.taken)]

    @invariant()
    def nobody_is_blamed_wrongly_or_twice(self) -> None:
        assert not Counter(self.blamed()) - Counter(self.bad())
        answered = Counter(self.answers.acked + self.answers.nacked)
        assert not [place for place, times in answered.items() if times > 1]
        assert not any(self.answers.failures)  # the dead letter has those that failed

    def teardown(self) -> None:
        try:
            if hasattr(self, "run_"):
                self.do(self.come_to_an_end())
                self.check()
        finally:
            self.loop.close()

    def check(self) -> None:
        """The run is over: everything that was fed has had its outcome, and it is the right one."""
        assert self.closed == 1
        ledger = self.run_.organs.books.ledger
        ledger.audit(final=True)
        stats = self.run_.stats()
        assert stats.fed == len(self.fed)
        handed = {item.place for item in self.fed}
        handles = [place for place in self.handles if place in handed]
        assert sorted(self.answers.acked + self.answers.nacked) == handles
        if self.aborted:
            return
        assert stats.aborted == 0
        assert Counter(self.taken) == Counter(results_of(self.fed))
        assert Counter(self.blamed()) == Counter(self.bad())
        assert sorted(self.answers.acked) == handles
        if not self.drained:
            assert len(self.fed) == self.ends_at()

    # The run's own.

    async def feed_of_the_run(self) -> AsyncIterator[Item | Delivery[Item]]:
        try:
            while True:
                while not self.coming:
                    self.wake.clear()
                    await self.wake.wait()
                if (item := self.coming.popleft()) is None:
                    self.coming.appendleft(None)
                    return
                self.fed.append(item)
                yield self.given(item)
        finally:
            self.closed += 1

    def given(self, item: Item) -> Item | Delivery[Item]:
        if item.place not in self.handles:
            return item
        return self.answers.delivery(item.place, item)

    async def dead_letter(self, failures: list[Failure[Any]]) -> None:
        self.dead += failures

    # Driving it.

    def do(self, coroutine: Coroutine[Any, Any, None]) -> None:
        self.loop.run_until_complete(coroutine)

    async def called(self, what: Any) -> None:
        what()

    async def take(self, results: int, patience: float) -> None:
        for _ in range(results):
            try:
                async with asyncio.timeout(patience):
                    self.taken.append(await anext(self.run_.results))
            except (TimeoutError, StopAsyncIteration):
                return
            except StateError:  # that it was cancelled, told once
                assert self.running.cancelled()
                return

    async def come_to_an_end(self) -> None:
        self.coming.append(None)
        self.wake.set()
        while not self.running.done():
            await self.take(100, patience=30.0)
        if not self.aborted:
            await self.take(10_000, patience=30.0)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert self.running.cancelled() or self.running.exception() is None

    # What must come.

    def outcome(self, place: int) -> str:
        (item,) = (item for item in self.fed if item.place == place)
        return OUTCOMES[item.kind]

    def bad(self) -> list[str]:
        return [kind for item in self.fed if (kind := OUTCOMES[item.kind]) not in ("delivered", "filtered")]

    def blamed(self) -> list[str]:
        return [failure.kind for failure in self.dead]

    def ends_at(self) -> int:
        """How many records were fed before the feed was told to end."""
        return self.made - sum(item is not None for item in self.coming)


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=200, stateful_step_count=30, deadline=None)
