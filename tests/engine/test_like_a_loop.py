"""Any feed, any steps, any lanes, any buffer: what comes out is what a loop over the records would make of them."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeframe_async import DROP, Chunk
from pipeframe_async.testing import FakeExecutor, run_virtual
from tests.engine.harness import Answers, FakeFrame, SteppingLoop, Through, balanced, settled, stepped


@dataclass(frozen=True)
class Record:
    """A record that says what each of the two steps makes of it."""

    number: int
    fates: tuple[str, str]
    child: tuple[int, ...] = ()


def made(record: Record, step: int) -> Any:
    match record.fates[step]:
        case "drop":
            return DROP
        case "bypass":
            return record, False
        case "raise":
            raise ValueError(record.number)
        case "wrong":
            return record
        case "pass":
            return record, True
        case fan:
            return children(record, fan)


def children(record: Record, fan: str) -> Any:
    """`fan` has a letter for each child: it passes, or it bypasses."""
    for index, kind in enumerate(fan):
        yield Record(record.number, record.fates, (*record.child, index)), kind == "p"


def first(record: Record) -> Any:
    return made(record, 0)


def second(record: Record) -> Any:
    return made(record, 1)


@dataclass
class Model:
    """What must come out of records that do not fan out."""

    results: list[Record] = field(default_factory=list)
    failed: list[int] = field(default_factory=list)
    filtered: int = 0
    bypassed: int = 0
    acked: list[int] = field(default_factory=list)

    def feed(self, record: Record) -> None:
        for step in range(2):
            match record.fates[step]:
                case "raise" | "wrong":
                    self.failed.append(record.number)
                    return
                case "drop":
                    self.filtered += 1
                    break
                case "bypass":
                    self.bypassed += 1
                    self.results.append(record)
                    break
        else:
            self.results.append(record)
        self.acked.append(record.number)


PLAIN = ["pass", "pass", "pass", "drop", "bypass", "raise", "wrong"]

fates = st.tuples(st.sampled_from(PLAIN), st.sampled_from(PLAIN))
items = st.one_of(
    fates.map(lambda fate: ("record", fate)),
    fates.map(lambda fate: ("delivery", fate)),
    st.lists(fates, max_size=9).map(lambda many: ("chunk", many)),
    st.floats(0, 0.5).map(lambda seconds: ("pause", seconds)),
)


@dataclass(frozen=True)
class Setting:
    """How it is run."""

    size: int = 5
    lanes: int = 2
    slots: int = 2
    batch_size: int | None = None
    source: str = "stream"
    order: str = "input"
    consumer: str = "sink"
    seed: int = 0


settings_of_runs = st.builds(
    Setting,
    size=st.sampled_from([1, 2, 3, 7, 30]),
    lanes=st.integers(1, 4),
    slots=st.integers(1, 3),
    batch_size=st.sampled_from([None, None, 1, 3, 50]),
    source=st.sampled_from(["stream", "stream", "batch"]),
    order=st.sampled_from(["input", "completion"]),
    consumer=st.sampled_from(["sink", "stream", "nobody"]),
    seed=st.integers(0, 2**32),
)


class Trial:
    """One run of drawn items in a drawn setting."""

    def __init__(self, script: list[tuple[str, Any]], setting: Setting) -> None:
        self.script, self.setting = script, setting
        self.draw = random.Random(setting.seed)
        self.model, self.fed = Model(), 0
        self.taken: list[Record] = []
        self.dead: list[int] = []
        self.answers = Answers()
        self.delivered_by_hand: list[int] = []
        delay = self.draw.choice([0.0, 0.05, 1.0])
        executor = FakeExecutor(
            setting.lanes, slots=setting.slots, delay=lambda number, records: self.draw.random() * delay
        )
        self.frame = FakeFrame(executor, buffer_size=setting.size)

    def record(self, fate: tuple[str, str]) -> Record:
        record = Record(self.fed, fate)
        self.fed += 1
        self.model.feed(record)
        return record

    async def feed(self) -> AsyncIterator[Any]:
        for kind, item in self.script:
            match kind:
                case "record":
                    yield self.record(item)
                case "delivery":
                    record = self.record(item)
                    number = record.number
                    self.delivered_by_hand.append(number)
                    yield self.answers.delivery(number, record)
                case "chunk":
                    yield Chunk([self.record(fate) for fate in item])
                case _:
                    await asyncio.sleep(item)

    async def sink(self, records: list[Record]) -> None:
        await asyncio.sleep(self.draw.random() * 0.1)
        self.taken += records

    async def dead_letter(self, failures: list[Any]) -> None:
        self.dead += [failure.record.number for failure in failures]

    async def run(self) -> None:
        pipeline = Through(
            self.feed,
            steps=(first, second),
            source=self.setting.source,
            order=self.setting.order,
            batch_size=self.setting.batch_size,
            dead_letter=self.dead_letter,
            timeout=None,
            **({"sink": self.sink} if self.setting.consumer == "sink" else {}),
        )
        if self.setting.consumer == "stream":
            async with self.frame.stream(pipeline) as results:
                async for record in results:
                    self.taken.append(record)
                    if self.draw.random() < 0.2:
                        await asyncio.sleep(self.draw.random())
        else:
            await self.frame.run(pipeline)
        self.check()

    def check(self) -> None:
        report, model = settled(self.frame), self.model
        assert report.ended_by == "exhausted"
        assert (report.fed, report.aborted) == (self.fed, 0)
        assert report.delivered == len(model.results)
        assert (report.filtered, report.failed) == (model.filtered, len(model.failed))
        assert report.bypassed == model.bypassed
        assert report.emitted == 0
        if self.setting.consumer != "nobody":
            assert Counter(self.taken) == Counter(model.results)
        if self.setting.order == "input":
            assert self.dead == model.failed
            assert self.setting.consumer == "nobody" or self.taken == model.results
        assert sorted(self.dead) == sorted(model.failed)
        by_hand = set(self.delivered_by_hand)
        done = sorted([*model.acked, *model.failed])  # the dead letter has those that failed
        assert sorted(self.answers.acked) == [number for number in done if number in by_hand]
        assert self.answers.nacked == []


@settings(max_examples=250)
@given(script=st.lists(items, max_size=25), setting=settings_of_runs)
@example(script=[], setting=Setting())
@example(script=[("chunk", [("pass", "pass")] * 40)], setting=Setting(size=1, lanes=4, slots=3))
def test_what_comes_out_is_what_a_loop_would_make(script: list[tuple[str, Any]], setting: Setting) -> None:
    trial = Trial(script, setting)
    run_virtual(trial.run, seed=setting.seed if setting.seed % 2 else None)


@settings(max_examples=60)
@given(script=st.lists(items, max_size=10), setting=settings_of_runs, looks=st.booleans())
def test_the_books_balance_after_every_single_step(
    script: list[tuple[str, Any]], setting: Setting, looks: bool
) -> None:
    async def main(loop: SteppingLoop) -> None:
        trial = Trial(script, setting)

        def after(step: int) -> None:
            for run in trial.frame.made:
                ledger = run.organs.books.ledger
                ledger.audit()
                assert ledger.in_flight <= setting.size
            if looks:
                stats = trial.frame.stats()
                outcomes = stats.delivered + stats.filtered + stats.failed + stats.aborted
                assert stats.fed + stats.emitted == outcomes + stats.in_flight + stats.spilled

        loop.after = after
        await trial.run()
        loop.after = None

    stepped(main)


fans = st.sampled_from(["p", "pp", "b", "pb", "bpp", "", "ppppppppp"])


@settings(max_examples=120)
@given(
    script=st.lists(st.tuples(st.one_of(st.just("pass"), fans), st.one_of(st.just("pass"), fans)), max_size=25),
    setting=settings_of_runs,
)
def test_fan_out_of_fan_out_keeps_its_order_and_balances(script: list[tuple[str, str]], setting: Setting) -> None:
    records = [Record(number, fate) for number, fate in enumerate(script)]

    def expected(record: Record, step: int = 0) -> list[Record]:
        if step == 2:
            return [record]
        if record.fates[step] == "pass":
            return expected(record, step + 1)
        out: list[Record] = []
        for child, goes_on in children(record, record.fates[step]):
            out += expected(child, step + 1) if goes_on else [child]
        return out

    async def feed() -> AsyncIterator[Record]:
        for record in records:
            yield record

    async def main() -> None:
        trial = Trial([], setting)
        pipeline = Through(feed, steps=(first, second), source=setting.source, order=setting.order, sink=trial.sink)
        await trial.frame.run(pipeline)
        report = settled(trial.frame)
        results = [child for record in records for child in expected(record)]
        assert Counter(trial.taken) == Counter(results)
        assert setting.order == "completion" or trial.taken == results
        assert (report.fed, report.delivered, report.failed) == (len(records), len(results), 0)
        assert balanced(report)

    run_virtual(main)
