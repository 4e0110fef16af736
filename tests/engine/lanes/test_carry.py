"""One batch through a lane whose workers die: each record comes to what it must, whatever happened on the way."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import count
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeframe_async import StepError, WorkerLost
from pipeframe_async._engine.aside import DaemonThread
from pipeframe_async._engine.lanes.batch import Batch, Line
from pipeframe_async._engine.lanes.carry import Carrier
from pipeframe_async._engine.lanes.places import Places
from pipeframe_async._engine.settling.answer import Answer
from pipeframe_async._engine.settling.traces import Traces
from pipeframe_async._rules.batching import Sizer
from pipeframe_async._rules.ledger import Ledger
from pipeframe_async._rules.timing import BatchClock, StepClock
from pipeframe_async._worker import envelope
from pipeframe_async.contracts import Executor, Lane
from pipeframe_async.errors import InternalError
from pipeframe_async.executors.packing import Packing
from pipeframe_async.wire import (
    BROKEN_CHAIN,
    UNREADABLE,
    ChainRef,
    ChainSpec,
    Death,
    Live,
    Packed,
    Refusal,
    Reply,
    StepTimes,
)
from tests.engine.mortal import ACCIDENTS, CHAIN, HITS, OUTCOMES, Item, MortalLane, results_of

CODEC = Packing()


class OnlyThere:
    """An executor as far as a carrier needs one: its lanes are given with each batch."""

    codec = CODEC
    lanes = ()
    beside = None


SIZER = Sizer(fixed=None, capacity=1000, capacity_bytes=2**30, slots=1)
PLACES = Places(cast(Executor, OnlyThere()), ChainSpec(("step",), (), None), CHAIN, SIZER)
NO_LINE = cast(Line, None)  # a carrier does not ask where a batch was cut


@pytest.fixture(autouse=True)
def chains_are_forgotten() -> Iterator[None]:
    yield
    envelope.forget()


class Carried:
    """A batch that was carried, and the books."""

    def __init__(
        self, items: Sequence[Item], lane: Any, *, disk: bool = False, ship: bool = True, codec: Packing = CODEC
    ) -> None:
        self.ledger = Ledger(1000, 2**30)
        self.carrier = Carrier(
            places=PLACES,
            names=["step"],
            ship=ship,
            ledger=self.ledger,
            clocks=[StepClock("step", "fake")],
            counters={},
            traces=Traces(),
            batches=BatchClock(),
        )
        packed, rejected = (CODEC.pack_frames if disk else CODEC.pack)(items, "step")
        self.ledger.admit(len(items))
        self.ledger.open(5, len(items), packed.nbytes)
        place = replace(PLACES.now, codec=codec)
        self.batch = Batch(5, NO_LINE, 100, packed, None if disk else items, rejected, place)
        self.answer: Answer = asyncio.run(self.carrier.carry(lane, self.batch))
        self.ledger.settle(5, self.answer.outcome)
        self.ledger.audit(final=True)

    def failed(self) -> list[tuple[int, str]]:
        return [(place, failure.kind) for place, failure in self.answer.failures]


def items_of(*kinds: str) -> list[Item]:
    return [Item(place, kind) for place, kind in enumerate(kinds)]


def carried(
    *kinds: str,
    accidents: Sequence[tuple[str, int]] = (),
    saves: bool = True,
    vague: bool = False,
    together: int = 1,
    **how: Any,
) -> tuple[Any, ...]:
    items = items_of(*kinds)
    lane = MortalLane(items, accidents, saves=saves, vague=vague, together=together)
    return Carried(items, lane, **how), lane


KINDS = st.sampled_from(["passes"] * 8 + list(OUTCOMES))


@settings(max_examples=300)
@given(
    kinds=st.lists(KINDS, min_size=1, max_size=20),
    accidents=st.lists(st.tuples(st.sampled_from(ACCIDENTS), st.integers(0, 19)), max_size=25),
    saves=st.booleans(),
    disk=st.booleans(),
    ship=st.booleans(),
    vague=st.booleans(),
    together=st.sampled_from([1, 1, 3, 8]),
)
def test_whatever_workers_die_of_each_record_comes_to_what_it_must(
    kinds: list[str], accidents: list[tuple[str, int]], saves: bool, disk: bool, ship: bool, vague: bool, together: int
) -> None:
    if vague:  # who hangs is nobody's to end there; who kills when read has a test of its own
        kinds = [{"hangs": "kills", "kills when read": "kills"}.get(kind, kind) for kind in kinds]
    if not ship:  # then results are not read, and cannot fail
        kinds = [
            kind.replace("result cannot be read at home", "passes").replace("result cannot be read", "passes")
            for kind in kinds
        ]
    items = items_of(*kinds)
    lane = MortalLane(items, accidents, saves=saves, vague=vague, together=together)
    done = Carried(items, lane, disk=disk, ship=ship)
    answer, outcome = done.answer, done.answer.outcome
    bad = [(item.place, OUTCOMES[item.kind]) for item in items if OUTCOMES[item.kind] not in ("delivered", "filtered")]
    assert done.failed() == bad
    assert answer.results == (results_of(items) if ship else [])
    assert (outcome.delivered, outcome.failed) == (len(results_of(items)), len(bad))
    assert (outcome.filtered, outcome.bypassed) == (kinds.count("is filtered"), kinds.count("bypasses"))
    assert outcome.emitted == 2 * kinds.count("is made three")
    assert answer.spans == {item.place: times for item in items if (times := results_of([item]).count(item.place)) != 1}
    for place, failure in answer.failures:
        kind = items[place].kind
        assert failure.step == "step"
        assert failure.attempts >= (2 if kind.startswith("kills") else 1)
        if disk and kind in ("cannot be read", "kills when read"):
            assert not isinstance(failure.record, Item)
        else:
            assert failure.record == items[place]


def test_a_batch_without_bad_records_is_run_once() -> None:
    done, lane = carried("passes", "is made three", "is filtered")
    assert (lane.parts, done.ledger.re_executed) == ([(0, 3)], 0)


def test_a_record_from_disk_whose_result_cannot_be_read_here_is_in_its_failure() -> None:
    done, _ = carried("passes", "result cannot be read at home", disk=True)
    assert [failure.record for _, failure in done.answer.failures] == [Item(1, "result cannot be read at home")]


def test_a_record_from_disk_that_kills_who_reads_it_is_in_its_failure_as_bytes() -> None:
    done, _ = carried("passes", "kills when read", disk=True)
    assert [type(failure.record) for _, failure in done.answer.failures] == [bytes]


def test_a_record_that_kills_who_reads_it_is_found_also_where_nobody_says_who_it_was() -> None:
    done, _ = carried("passes", "passes", "kills when read", "passes", vague=True)
    assert done.failed() == [(2, "crashed")]
    assert done.answer.results == [0, 1, 3]


# Deaths at each kind of place.


def test_a_worker_that_had_not_begun_costs_nothing() -> None:
    done, lane = carried("passes", "passes", accidents=[("not begun", 0)] * 20)
    assert lane.parts == [(0, 2)] * 21
    assert (done.answer.results, done.ledger.re_executed) == ([0, 1], 0)


def test_a_kill_at_a_record_has_it_run_alone_and_the_others_around_it() -> None:
    done, lane = carried(*["passes"] * 6, accidents=[("killed", 3)])
    assert lane.parts == [(0, 6), (0, 3), (3, 4), (4, 6)]
    assert done.answer.results == [0, 1, 2, 3, 4, 5]
    assert done.ledger.re_executed == 4  # three that had been run, and the one that was being run


def test_a_kill_at_no_record_has_the_halves_run() -> None:
    done, lane = carried(*["passes"] * 6, accidents=[("killed at no record", 0)])
    assert lane.parts == [(0, 6), (0, 3), (3, 6)]
    assert done.ledger.re_executed == 6


def test_a_kill_while_all_records_are_read_sends_them_in_frames() -> None:
    done, lane = carried(*["passes"] * 6, accidents=[("killed while all is read", 0)])
    assert lane.parts == [(0, 6), (0, 6)]
    assert done.batch.packed.framed
    assert (done.answer.results, done.ledger.re_executed) == ([0, 1, 2, 3, 4, 5], 0)


def test_frames_from_disk_are_halved_after_a_kill_that_says_nothing() -> None:
    done, lane = carried(*["passes"] * 4, accidents=[("killed while all is read", 0)], disk=True)
    assert lane.parts == [(0, 4), (0, 2), (2, 4)]
    assert done.answer.results == [0, 1, 2, 3]


def test_a_record_that_kills_is_blamed_after_the_second_time_with_step_and_stack() -> None:
    done, lane = carried("passes", "passes", "kills", "passes", saves=False)
    assert lane.parts == [(0, 4), (0, 2), (2, 3), (3, 4)]
    ((place, failure),) = done.answer.failures
    assert (place, failure.kind, failure.step, failure.attempts) == (2, "crashed", "step", 2)
    assert (failure.error_type, failure.message, failure.traceback) == ("WorkerLost", "it ran", "in step")
    assert failure.record == Item(2, "kills")


def test_what_was_saved_before_a_death_is_not_run_again() -> None:
    done, lane = carried("passes", "is made three", "kills", "passes")
    assert lane.parts == [(0, 4), (2, 3), (3, 4)]
    assert done.answer.results == [0, 1, 1, 1, 3]
    assert done.ledger.re_executed == 1  # the one that kills


def test_of_records_that_a_step_has_at_once_halves_find_the_one_that_kills() -> None:
    kinds = ["passes"] * 12
    kinds[6] = "kills"
    done, lane = carried(*kinds, together=4)
    assert lane.parts == [(0, 12), (4, 6), (6, 8), (6, 7), (6, 7), (7, 8), (8, 12)]
    assert done.failed() == [(6, "crashed")]
    assert done.answer.results == [0, 1, 2, 3, 4, 5, 7, 8, 9, 10, 11]
    assert done.ledger.re_executed == 4 + 2 + 1


def test_a_record_over_its_limit_is_tried_once_more_alone() -> None:
    done, lane = carried("passes", "hangs", "passes")
    assert lane.parts == [(0, 3), (1, 2), (2, 3)]
    ((place, failure),) = done.answer.failures
    assert (place, failure.kind, failure.error_type, failure.attempts) == (1, "timeout", "TimeoutError", 2)
    assert done.ledger.re_executed == 1


def test_what_was_saved_and_cannot_be_read_here_is_run_again_record_by_record() -> None:
    done, lane = carried("passes", "result cannot be read", "hangs", "passes")
    assert lane.parts == [(0, 4), (0, 2), (0, 2), (2, 3), (3, 4)]
    assert done.failed() == [(1, "unpicklable"), (2, "timeout")]
    assert done.answer.results == [0, 3]


def test_records_without_a_pickle_are_not_part_of_any_part() -> None:
    done, lane = carried("has no pickle", "passes", "passes", "has no pickle", "kills", "has no pickle", saves=False)
    assert lane.parts == [(1, 3), (4, 5), (4, 5)]
    assert done.failed() == [(0, "unpicklable"), (3, "unpicklable"), (4, "crashed"), (5, "unpicklable")]


def test_where_no_record_has_a_pickle_no_lane_is_asked() -> None:
    done, lane = carried("has no pickle", "has no pickle")
    assert (lane.parts, done.failed()) == ([], [(0, "unpicklable"), (1, "unpicklable")])


def test_a_record_found_unreadable_after_a_death_costs_itself() -> None:
    accidents = [("killed while all is read", 0)]
    done, lane = carried("passes", "passes", "cannot be read", "passes", accidents=accidents, vague=True)
    assert lane.parts == [(0, 4), (0, 2), (2, 4)]
    assert done.batch.packed.framed
    assert done.failed() == [(2, "unpicklable")]


def test_a_result_found_unreadable_after_a_death_costs_itself() -> None:
    done, _ = carried("passes", "passes", "result cannot be read at home", "passes", accidents=[("killed", 1)])
    assert done.failed() == [(2, "unpicklable")]
    assert done.answer.results == [0, 1, 3]


def test_an_innocent_is_not_blamed_for_kills_from_outside_however_many_hit_its_batch() -> None:
    done, _ = carried(*["passes"] * 3, accidents=[("killed", 1)] * (HITS - 1))
    assert done.answer.results == [0, 1, 2]


class Says:
    """A lane that gives the same answer to everything."""

    name = "says"
    workers = slots = 1
    busy = 0

    def __init__(self, answer: Reply | Death) -> None:
        self._answer = answer

    async def start(self) -> None: ...

    async def run(self, *_: Any, **__: Any) -> Reply | Death:
        return self._answer


def test_a_death_at_no_record_of_a_batch_of_one_is_that_records() -> None:
    done = Carried(items_of("passes"), Says(Death("gone", at=None, whole=True)))
    assert done.failed() == [(0, "crashed")]
    done = Carried(items_of("passes"), Says(Death("late", at=None, whole=True, kind="timeout")))
    assert done.failed() == [(0, "timeout")]


def test_kills_that_never_end_are_at_some_time_taken_for_the_records_deed() -> None:
    done = Carried(items_of("passes"), Says(Death("killed", at=0, foreign=True)))
    assert [failure.attempts for _, failure in done.answer.failures] == [HITS]


@pytest.mark.parametrize(
    ("refusal", "error"),
    [
        (Refusal(BROKEN_CHAIN, "setup raised", "Traceback …"), StepError),
        (Refusal("envelope", "a bug", "Traceback …"), InternalError),
    ],
)
def test_a_fault_ends_the_run_with_its_traceback(refusal: Refusal, error: type[Exception]) -> None:
    with pytest.raises(error, match=refusal.message) as caught:
        Carried(items_of("passes"), Says(Reply(0, refusal=refusal)))
    assert caught.value.__notes__ == ["In the worker:\nTraceback …"]


def test_frames_that_are_said_to_be_unreadable_are_our_bug() -> None:
    with pytest.raises(InternalError, match=UNREADABLE):
        Carried(items_of("passes"), Says(Reply(0, refusal=Refusal(UNREADABLE, "?"))))


def test_a_reply_about_fewer_records_than_were_sent_is_our_bug() -> None:
    with pytest.raises(InternalError, match="batch of 2 records came back as"):
        Carried(items_of("passes", "passes"), Says(Reply(1, 1, steps=(StepTimes(1, 0, 0, ()),))), ship=False)


def test_a_lane_that_gives_up_ends_it() -> None:
    class GivesUp(Says):
        async def run(self, *_: Any, **__: Any) -> Reply | Death:
            raise WorkerLost("no more workers")

    with pytest.raises(WorkerLost, match="no more workers"):
        Carried(items_of("passes"), GivesUp(Death("")))


def test_too_large_a_record_is_a_batch_without_bytes() -> None:
    lane = MortalLane(items_of("passes"))
    ledger = Ledger(1, 1)
    rejected = CODEC.pack_frames(items_of("has no pickle"), "step")[1]
    ledger.admit(1)
    ledger.open(0, 1, 0)
    carrier = Carrier(
        places=PLACES,
        names=["step"],
        ship=True,
        ledger=ledger,
        clocks=[StepClock("step", "fake")],
        counters={},
        traces=Traces(),
        batches=BatchClock(),
    )
    batch = Batch(0, NO_LINE, 0, Packed(1, (b"",)), items_of("passes"), rejected, PLACES.now)
    answer = asyncio.run(carrier.carry(lane, batch))
    assert (lane.parts, answer.outcome.failed, answer.spans) == ([], 1, {0: 0})


def test_framed_results_that_cannot_be_read_are_our_bug() -> None:
    class Broken(Packing):
        def unpack(self, reply: Reply, step: str, *, aside: bool = False) -> Any:
            raise OSError("gone")

    with pytest.raises(InternalError, match="framed results could not be read: OSError"):
        Carried(items_of("passes"), Says(Reply(1, 1, results=(b"",))), disk=True, codec=Broken())


def test_a_record_that_has_no_pickle_by_itself_is_rejected_when_its_batch_is_sent_in_frames() -> None:
    item = Item(1, "passes")
    lane = MortalLane([Item(0, "passes"), item, Item(2, "passes")], [("killed while all is read", 0)])
    batch = [Item(0, "passes"), item, Item(2, "passes")]
    carried = Carried(batch, Turning(lane, item))
    assert carried.failed() == [(1, "unpicklable")]
    assert carried.answer.results == [0, 2]


class Turning:
    """A lane over whose first batch a record loses its pickle, as one that is changed meanwhile does."""

    name = "turning"
    workers = slots = 1
    busy = 0

    def __init__(self, lane: MortalLane, item: Item) -> None:
        self._lane, self._item = lane, item

    async def start(self) -> None: ...

    async def run(self, *how: Any, **options: Any) -> Reply | Death:
        answer = await self._lane.run(*how, **options)
        object.__setattr__(self._item, "kind", "has no pickle")
        return answer


# Records that are ceded.


class Ceding(MortalLane):
    """Leaves records behind the first to others, as one whose worker is at that; waits until it may go on."""

    def __init__(self, items: Sequence[Item], at: int | None) -> None:
        super().__init__(items)
        self.at = at
        self.may_go_on = asyncio.Event()

    def waits_behind(self, batch: Packed) -> Any:
        return "the first"

    async def cede(self, batch: Packed) -> int | None:
        await asyncio.sleep(0)
        return self.at

    async def run(self, chain: ChainRef, number: int, batch: Packed, *, ship: bool) -> Reply | Death:
        await self.may_go_on.wait()
        left = batch if self.at is None or batch.start else batch.stretch(0, self.at)
        return await super().run(chain, number, left, ship=ship)


def a_carrier(ledger: Ledger, aside: DaemonThread | None = None) -> Carrier:
    return Carrier(
        places=PLACES,
        names=["step"],
        ship=True,
        ledger=ledger,
        clocks=[StepClock("step", "fake")],
        counters={},
        traces=Traces(),
        batches=BatchClock(),
        numbers=count(6),
        aside=aside,
    )


@pytest.mark.virtual_clock
@pytest.mark.parametrize("kinds", [("passes",) * 6, ("passes", "raises", "is made three", "raises", "kills", "passes")])
async def test_what_a_lane_cedes_is_a_batch_of_its_own(kinds: tuple[str, ...]) -> None:
    items, ledger = items_of(*kinds), Ledger(1000, 2**30)
    lane, other, carrier = Ceding(items, 2), MortalLane(items), a_carrier(ledger)
    packed, _ = CODEC.pack(items, "step")
    ledger.admit(6)
    ledger.open(5, 6, packed.nbytes)
    batch = Batch(5, NO_LINE, 5, packed, items, {}, PLACES.now)
    carrying = asyncio.ensure_future(carrier.carry(cast(Lane, lane), batch))
    await asyncio.sleep(0)
    assert carrier.may_cede
    assert carrier.held_up(0.0) is None
    number = carrier.held_up(1.0)
    assert number == 5
    moved = await carrier.relieve(number)
    assert moved is not None
    assert (batch.first, batch.count, moved.first, moved.count, moved.number) == (5, 2, 7, 4, 6)
    answers = [await carrier.carry(cast(Lane, other), moved)]
    lane.may_go_on.set()
    answers.insert(0, await carrying)
    for answer in answers:
        ledger.settle(answer.first, answer.outcome)
    ledger.audit(final=True)
    assert [result for answer in answers for result in answer.results] == results_of(items)
    failed = [items[answer.first - 5 + at].kind for answer in answers for at, _ in answer.failures]
    assert failed == [kind for kind in kinds if OUTCOMES[kind] in ("raised", "crashed")]


async def test_who_has_nothing_to_do_waits_for_a_batch_that_is_still_being_packed() -> None:
    items, ledger = items_of(*["passes"] * 6), Ledger(1000, 2**30)
    aside, may_pack = DaemonThread("aside"), threading.Event()
    aside.submit(may_pack.wait)
    lane, carrier = Ceding(items, None), a_carrier(ledger, aside)
    batch = Batch(5, NO_LINE, 5, Packed(6, Live([*items])), items, {}, PLACES.now)
    carrying = asyncio.ensure_future(carrier.carry(cast(Lane, lane), batch))
    await asyncio.sleep(0)
    assert carrier.may_cede
    assert carrier.held_up(0.0) is None
    assert carrier.held_up(1.0) is None
    may_pack.set()
    lane.may_go_on.set()
    assert (await carrying).results == results_of(items)
    assert not carrier.may_cede
    aside.shutdown()


@pytest.mark.virtual_clock
async def test_what_was_asked_for_and_not_ceded_is_run_where_it_was() -> None:
    items, ledger = items_of(*["passes"] * 6), Ledger(1000, 2**30)
    lane, carrier = Ceding(items, None), a_carrier(ledger)
    packed, _ = CODEC.pack(items, "step")
    ledger.admit(6)
    ledger.open(5, 6, packed.nbytes)
    carrying = asyncio.ensure_future(
        carrier.carry(cast(Lane, lane), Batch(5, NO_LINE, 5, packed, items, {}, PLACES.now))
    )
    await asyncio.sleep(0)
    assert await carrier.relieve(5) is None
    lane.at = 4  # its worker has seen it late, and stops there: it is given the rest once more
    lane.may_go_on.set()
    answer = await carrying
    assert answer.results == results_of(items)
    assert lane.parts == [(0, 4), (4, 6)]
    ledger.settle(answer.first, answer.outcome)
    ledger.audit(final=True)
