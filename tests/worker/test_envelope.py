"""One batch in, one reply out, whatever the records, the steps and their errors do."""

from __future__ import annotations

import os
import pickle
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import cloudpickle
import pytest

from pipeframe_async import Shared, share, shared
from pipeframe_async._worker import codec, envelope
from pipeframe_async._worker.cursor import Cursor
from pipeframe_async.model import DROP
from pipeframe_async.pipeline_engine import PipelineEngine
from pipeframe_async.steps import vectorize
from pipeframe_async.wire import (
    BROKEN_CHAIN,
    GONE,
    PAUSED,
    UNKNOWN_CHAIN,
    UNREADABLE,
    ChainRef,
    ChainSpec,
    Live,
    Packed,
    Phase,
    Portions,
    Refusal,
    Reply,
    Spot,
)
from tests.worker import hostile
from tests.worker.crossing import cross, shipped, work

WHOLE_OR_FRAMES = pytest.mark.parametrize("framed", [False, True], ids=["whole", "frames"])
BAD = 17
"""The place of the one record that is not like the others."""


@pytest.fixture(autouse=True)
def chains_are_forgotten() -> Iterator[None]:
    yield
    envelope.forget()


def batch(special: Any = None, count: int = 40) -> list[Any]:
    """Harmless records and one that is not; a dict adds to it, anything else takes its place."""
    records: list[Any] = [{"n": n} for n in range(count)]
    if isinstance(special, dict):
        records[BAD] |= special
    elif special is not None:
        records[BAD] = special
    return records


def numbers(results: list[Any]) -> list[int]:
    return [result["n"] for result in results]


def all_but_the_bad() -> list[int]:
    return [n for n in range(40) if n != BAD]


def packed(*records: Any) -> Packed:
    return Packed(len(records), codec.dumps(list(records)))


# What a step raises.


@WHOLE_OR_FRAMES
@pytest.mark.parametrize("kind", hostile.ERRORS)
def test_whatever_a_step_raises_costs_exactly_its_record(kind: str, framed: bool) -> None:
    crossed = cross(shipped(hostile.passes, hostile.does), batch({"raise": kind}), framed=framed)
    assert numbers(crossed.results) == all_but_the_bad()
    ((place, failure),) = crossed.failures
    assert (place, failure.error_type, failure.kind, failure.step) == (BAD, kind, "raised", "step 1")
    assert "in does" in failure.traceback


@WHOLE_OR_FRAMES
@pytest.mark.parametrize("kind", hostile.ERRORS)
def test_a_failure_has_the_record_as_it_was_fed_though_a_step_has_changed_it(kind: str, framed: bool) -> None:
    ((_, failure),) = cross(shipped(hostile.does), batch({"raise": kind}), framed=framed).failures
    assert failure.record == {"n": BAD, "raise": kind}


@WHOLE_OR_FRAMES
@pytest.mark.parametrize("kind", hostile.ERRORS)
def test_whatever_a_child_of_a_fan_out_raises_costs_exactly_that_child(kind: str, framed: bool) -> None:
    crossed = cross(shipped(hostile.three_times, hostile.does), batch({"raise": kind}), framed=framed)
    assert [result["child"] for result in crossed.results if result["n"] == BAD] == ["a", "c"]
    assert len(crossed.results) == 3 * 40 - 1
    ((place, failure),) = crossed.failures
    assert (place, failure.error_type, failure.step) == (BAD, kind, "step 1")
    assert failure.record == {"n": BAD, "raise": kind}


@WHOLE_OR_FRAMES
@pytest.mark.parametrize("kind", hostile.ERRORS)
def test_whatever_a_generator_raises_midway_costs_exactly_its_record(kind: str, framed: bool) -> None:
    crossed = cross(shipped(hostile.fails_midway, hostile.passes), batch({"raise": kind}), framed=framed)
    assert numbers(crossed.results) == [n for n in all_but_the_bad() for _ in range(2)]
    ((place, failure),) = crossed.failures
    assert place == BAD
    assert failure.error_type == ("RuntimeError" if kind == "StopIteration" else kind)


@WHOLE_OR_FRAMES
def test_a_message_of_fifty_megabytes_is_cut(framed: bool) -> None:
    crossed = cross(shipped(raises_at_length), batch({"length": 50_000_000}), framed=framed)
    ((_, failure),) = crossed.failures
    assert failure.message == "x" * 8_192
    assert crossed.reply.failures[0].record is not None
    assert sum(len(pickle.dumps(failure)) for failure in crossed.reply.failures) < 100_000


def raises_at_length(record: Any) -> Any:
    if "length" in record:
        raise ValueError("x" * record["length"])
    return record, True


def test_a_batch_of_nothing_but_failures_is_answered_too() -> None:
    crossed = cross(shipped(hostile.does), [{"n": n, "raise": "SystemExit"} for n in range(100)])
    assert [place for place, _ in crossed.failures] == list(range(100))
    assert [failure.record["n"] for _, failure in crossed.failures] == list(range(100))
    assert crossed.results == []


# Records that do not cross.


@WHOLE_OR_FRAMES
@pytest.mark.parametrize("kind", hostile.UNWRITABLE)
def test_a_record_that_has_no_pickle_costs_itself(kind: str, framed: bool) -> None:
    record = hostile.UNWRITABLE[kind]()
    crossed = cross(shipped(hostile.passes), batch(record), framed=framed)
    assert numbers(crossed.results) == all_but_the_bad()
    ((place, failure),) = crossed.failures
    assert (place, failure.kind, failure.step) == (BAD, "unpicklable", "first")
    assert failure.record is record


@WHOLE_OR_FRAMES
@pytest.mark.parametrize(
    ("kind", "error", "message"),
    [
        ("ExitsWhenRead", "SystemExit", "a record ended the program"),
        ("RaisesWhenRead", "OSError", "cannot be read"),
    ],
)
def test_a_record_that_cannot_be_read_costs_itself(kind: str, error: str, message: str, framed: bool) -> None:
    crossed = cross(shipped(hostile.passes, hostile.does), batch(hostile.UNREADABLE[kind]()), framed=framed)
    assert crossed.framed
    assert numbers(crossed.results) == all_but_the_bad()
    ((place, failure),) = crossed.failures
    assert (place, failure.kind, failure.step) == (BAD, "unpicklable", "step 0")
    assert (failure.error_type, failure.message) == (error, message)


def test_a_batch_that_cannot_be_read_as_a_whole_is_asked_for_in_frames() -> None:
    reply = work(shipped(hostile.passes), packed(1, hostile.ExitsWhenRead()))
    assert reply.refusal is not None
    assert (reply.records, reply.refusal.kind) == (0, UNREADABLE)
    assert reply.refusal.message == "SystemExit: a record ended the program"


def test_bytes_that_are_no_pickle_are_asked_for_in_frames() -> None:
    for data in (b"", b"nonsense", codec.dumps([1, 2])[:-3]):
        refusal = work(shipped(hostile.passes), Packed(2, data)).refusal
        assert refusal is not None
        assert refusal.kind == UNREADABLE


def test_records_around_unreadable_ones_keep_their_places() -> None:
    records: list[Any] = [{"n": n} for n in range(12)]
    for place in (0, 4, 5, 11):
        records[place] = hostile.RaisesWhenRead()
    records[6]["raise"] = "ValueError"
    records[7]["make"] = "a lock"
    crossed = cross(shipped(hostile.does), records)
    assert [(place, failure.kind) for place, failure in crossed.failures] == [
        (0, "unpicklable"),
        (4, "unpicklable"),
        (5, "unpicklable"),
        (6, "raised"),
        (7, "unpicklable"),
        (11, "unpicklable"),
    ]
    assert numbers(crossed.results) == [1, 2, 3, 8, 9, 10]
    assert crossed.reply.owners() == [1, 2, 3, 8, 9, 10]
    assert crossed.failures[4][1].record == {"n": 7, "make": "a lock"}


def test_fan_out_around_unreadable_records_keeps_its_places() -> None:
    records: list[Any] = [{"n": n} for n in range(6)]
    records[1] = records[4] = hostile.ExitsWhenRead()
    records[3]["raise"] = "SystemExit"
    crossed = cross(shipped(hostile.three_times, hostile.does), records)
    assert crossed.reply.owners() == [0, 0, 0, 2, 2, 2, 3, 3, 5, 5, 5]
    assert [place for place, _ in crossed.failures] == [1, 3, 4]


@WHOLE_OR_FRAMES
def test_a_failed_record_that_cannot_be_pickled_a_second_time_costs_itself(framed: bool) -> None:
    records: list[Any] = [{"n": 0}, hostile.OneWay(), {"n": 2}]
    crossed = cross(shipped(refuses_locks), records, framed=framed)
    assert numbers(crossed.results) == [0, 2]
    ((place, failure),) = crossed.failures
    assert (place, failure.kind, failure.message) == (1, "raised", "a lock")


def refuses_locks(record: Any) -> Any:
    if not isinstance(record, dict):
        raise ValueError("a lock")
    return record, True


# Results that do not cross.


@WHOLE_OR_FRAMES
@pytest.mark.parametrize("kind", [*hostile.UNWRITABLE, *hostile.UNREADABLE])
def test_a_result_that_does_not_cross_costs_its_record(kind: str, framed: bool) -> None:
    crossed = cross(shipped(hostile.passes, hostile.does), batch({"make": kind}), framed=framed)
    assert numbers(crossed.results) == all_but_the_bad()
    ((place, failure),) = crossed.failures
    assert (place, failure.kind, failure.step) == (BAD, "unpicklable", "step 1")
    assert failure.record == {"n": BAD, "make": kind}


@WHOLE_OR_FRAMES
@pytest.mark.parametrize("kind", [*hostile.UNWRITABLE, *hostile.UNREADABLE])
def test_a_result_of_a_fan_out_that_does_not_cross_costs_that_child(kind: str, framed: bool) -> None:
    crossed = cross(shipped(hostile.three_times, hostile.does), batch({"make": kind}), framed=framed)
    assert [result["child"] for result in crossed.results if result["n"] == BAD] == ["a", "c"]
    assert len(crossed.results) == 3 * 40 - 1
    ((place, failure),) = crossed.failures
    assert (place, failure.kind, failure.record) == (BAD, "unpicklable", {"n": BAD, "make": kind})
    assert crossed.reply.bypassed == 40  # child c of each


def test_bypassed_results_are_counted_without_those_that_do_not_cross() -> None:
    crossed = cross(shipped(bypasses, hostile.passes), [0, 1, 2, 3, 4, 5])
    assert crossed.results == [0, 2, 3, 4, 5]
    assert crossed.reply.bypassed == 2  # 0 and 4; 1 and 5 are a lambda and a result


def bypasses(record: int) -> Any:
    return (lambda: None) if record == 1 else record, record in (2, 3, 5)


def test_results_that_nobody_wants_are_counted_and_neither_written_nor_judged() -> None:
    chain = shipped(hostile.does)
    reply = work(chain, packed(*batch({"make": "ExitsWhenPickled"})), wanted=False)
    assert (reply.results, reply.nbytes, reply.delivered, reply.failures) == (None, 0, 40, ())


# The chain.


class Hooked(PipelineEngine[Any, Any]):
    """Writes its hooks down where the test can see them, for a pickled copy is not this object."""

    log: list[str] = []
    handle: Shared[int] | None = None

    def __init__(self, name: str = "", fail: str = "") -> None:
        self.name = name
        self.fail = fail

    def setup(self) -> None:
        self.log.append(f"setup{self.name}")
        if self.fail == "setup":
            raise OSError("no connection")
        if self.fail == "setup exits":
            sys.exit("set up to exit")

    def teardown(self) -> None:
        self.log.append(f"teardown{self.name}")
        if self.fail == "teardown":
            raise OSError("still open")
        if self.fail == "teardown exits":
            sys.exit("torn down to exit")


@pytest.fixture
def log() -> Iterator[list[str]]:
    Hooked.log.clear()
    yield Hooked.log
    envelope.forget()
    Hooked.log.clear()


def hooked(name: str = "", fail: str = "") -> ChainRef:
    return shipped(hostile.passes, pipeline=Hooked(name, fail))


def test_setup_runs_once_a_process_and_teardown_when_the_chain_is_forgotten(log: list[str]) -> None:
    chain = hooked()
    for number in range(3):
        assert work(chain, packed(1), number=number).refusal is None
    assert log == ["setup"]
    assert envelope.forget(chain.key) == []
    assert log == ["setup", "teardown"]
    assert envelope.forget(chain.key) == []
    assert log == ["setup", "teardown"]


def test_threads_of_one_process_set_a_chain_up_once(log: list[str]) -> None:
    chain, threads = hooked(), 8
    together = Barrier(threads)

    def one(number: int) -> bool:
        together.wait(10)
        return work(chain, packed(number), number=number).refusal is None

    with ThreadPoolExecutor(threads) as pool:
        assert all(pool.map(one, range(threads)))
    assert log == ["setup"]


def test_a_chain_travels_once_and_is_known_by_its_key_afterwards() -> None:
    chain = shipped(hostile.passes)
    assert work(chain, packed(1)).delivered == 1
    assert work(ChainRef(chain.key, None), packed(1)).delivered == 1


def test_a_chain_that_is_not_there_is_asked_for() -> None:
    refusal = work(ChainRef("never seen", None), packed(1)).refusal
    assert refusal == Refusal(UNKNOWN_CHAIN, "never seen")


def test_a_forgotten_chain_is_asked_for_and_set_up_again(log: list[str]) -> None:
    chain = hooked()
    work(chain, packed(1))
    envelope.forget()
    refusal = work(ChainRef(chain.key, None), packed(1)).refusal
    assert refusal is not None
    assert refusal.kind == UNKNOWN_CHAIN
    assert work(chain, packed(1)).refusal is None
    assert log == ["setup", "teardown", "setup"]


def test_an_installed_chain_is_used_as_it_is(log: list[str]) -> None:
    seen: list[Any] = []

    def keeps(record: Any) -> tuple[Any, bool]:
        seen.append(record)
        return record, True

    envelope.install("here", ChainSpec(("keeps",), (keeps,), Hooked()))
    assert log == []
    assert work(ChainRef("here", None), packed(1, 2)).delivered == 2
    assert (seen, log) == ([1, 2], ["setup"])


@pytest.mark.parametrize(
    ("fail", "says", "trace"),
    [
        ("setup", "setup raised in a worker: OSError: no connection", "no connection"),
        ("setup exits", "setup raised in a worker: SystemExit: set up to exit", "in setup"),
    ],
)
def test_a_setup_that_raises_is_a_fault_with_its_traceback(log: list[str], fail: str, says: str, trace: str) -> None:
    chain = hooked(fail=fail)
    for _ in range(2):  # and is so again, for the next batch may have better luck
        reply = work(chain, packed(1))
        assert reply.refusal is not None
        assert (reply.records, reply.refusal.kind, reply.refusal.message) == (0, BROKEN_CHAIN, says)
        assert trace in reply.refusal.traceback
        assert "in setup" in reply.refusal.traceback
    assert envelope.forget() == []
    assert log == ["setup", "setup"]


class Sums(PipelineEngine):
    """Returns something when it is torn down."""

    def teardown(self) -> list[int]:
        return [1, 2]


def test_what_a_teardown_returns_is_kept_until_it_is_asked_for() -> None:
    chain = shipped(hostile.passes, pipeline=Sums())
    for _ in range(2):
        work(chain, packed(1))
        assert envelope.forget(chain.key) == []
    assert envelope.returned("another") == []
    assert envelope.returned(chain.key) == [(chain.key, [1, 2]), (chain.key, [1, 2])]
    assert envelope.returned(chain.key) == []


def test_in_a_worker_it_is_pickled_with_what_cannot_be_told_as_its_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(envelope, "_cursor", Cursor())
    chain = shipped(hostile.passes, pipeline=Sums())
    work(chain, packed(1))
    assert envelope.forget(chain.key) == []
    assert envelope.returned(chain.key) == [(chain.key, codec.dumps([1, 2]))]
    monkeypatch.setattr(Sums, "teardown", lambda self: lambda: 1)
    work(chain, packed(1))
    (problem,) = envelope.forget(chain.key)
    assert "pickle" in problem.splitlines()[-1]  # Can't, says one CPython, and another: local object
    assert "<lambda>" in problem
    assert envelope.returned(chain.key) == []


@pytest.mark.parametrize(("fail", "says"), [("teardown", "still open"), ("teardown exits", "torn down to exit")])
def test_a_teardown_that_raises_is_told_and_the_others_run(log: list[str], fail: str, says: str) -> None:
    for chain in (hooked(" a"), hooked(" b", fail), hooked(" c")):
        work(chain, packed(1))
    (trace,) = envelope.forget()
    assert says in trace
    assert log[3:] == ["teardown a", "teardown b", "teardown c"]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"nonsense", "the steps could not be loaded in a worker: UnpicklingError"),
        (pickle.dumps((1, 2)), "the steps could not be loaded in a worker: TypeError"),
        (cloudpickle.dumps((("a",), (hostile.ExitsWhenRead(),), None)), "SystemExit: a record ended the program"),
        (cloudpickle.dumps((("a",), (hostile.RaisesWhenRead(),), None)), "OSError: cannot be read"),
    ],
    ids=["nonsense", "another tuple", "exits", "raises"],
)
def test_steps_that_cannot_be_loaded_are_a_fault_with_its_traceback(data: bytes, says: str) -> None:
    reply = work(ChainRef("broken", data), packed(1))
    assert reply.refusal is not None
    assert (reply.records, reply.refusal.kind) == (0, BROKEN_CHAIN)
    assert says in reply.refusal.message
    assert "Traceback" in reply.refusal.traceback


def test_a_broken_chain_does_not_harm_the_next_one() -> None:
    assert work(ChainRef("broken", b"nonsense"), packed(1)).refusal is not None
    assert work(shipped(hostile.passes), packed(1)).delivered == 1


def test_chains_that_are_all_in_use_are_all_kept(log: list[str]) -> None:
    chains = [hooked(f" {number}") for number in range(envelope.MAX_CHAINS + 8)]
    for chain in [*chains, *chains]:
        work(chain, packed(1))
    assert len(log) == len(chains)


def test_the_chain_that_was_used_least_of_late_gives_way_and_is_torn_down(
    log: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(envelope, "UNUSED_SECONDS", -1.0)
    chains = [hooked(f" {number}") for number in range(envelope.MAX_CHAINS)]
    for chain in [*chains, chains[0]]:
        work(chain, packed(1))
    assert "teardown 1" not in log
    work(hooked(" last"), packed(1))
    assert [line for line in log if line.startswith("teardown")] == ["teardown 1"]


def test_a_chain_with_what_nobody_shares_any_more_is_given_up_when_another_comes(
    log: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    handles = [share(number) for number in range(2)]
    monkeypatch.setattr(shared, "is_let_go", lambda handle: handle is handles[0])
    pipelines = [Hooked(" without"), Hooked(" let go"), Hooked(" kept"), Hooked(" last")]
    for pipeline, handle in zip(pipelines[1:3], handles, strict=True):
        pipeline.handle = handle
    for pipeline in pipelines:
        assert work(shipped(hostile.passes, pipeline=pipeline), packed(1)).refusal is None
    assert [line for line in log if line.startswith("teardown")] == ["teardown let go"]


def test_a_chain_that_did_not_travel_is_never_given_up(log: list[str]) -> None:
    keys = [f"here {number}" for number in range(envelope.MAX_CHAINS + 3)]
    for key in keys:
        envelope.install(key, ChainSpec(("passes",), (hostile.passes,), Hooked()))
    for key in [*keys, keys[0]]:
        assert work(ChainRef(key, None), packed(1)).refusal is None
    assert log.count("setup") == len(keys)


# The reply.


def test_a_reply_accounts_for_every_record() -> None:
    reply = cross(shipped(of_every_kind), list(range(8))).reply
    assert (reply.records, reply.emitted) == (8, 2 * 2 - 2)
    assert (reply.delivered, reply.bypassed, reply.filtered, len(reply.failures)) == (6, 2, 2, 2)


def of_every_kind(record: int) -> Any:
    match record % 4:
        case 0:
            return record, False
        case 1:
            return DROP
        case 2:
            raise ValueError(record)
    return ((child, True) for child in range(2))


def test_a_reply_tells_how_long_the_worker_was_at_it() -> None:
    reply = cross(shipped(spins), [30_000] * 20).reply
    (times,) = reply.steps
    assert times.calls == times.timed == 20
    assert 0 < times.timed_ns / 1e9 <= reply.wall
    assert reply.cpu > 0


def spins(record: int) -> Any:
    return sum(range(record)), True


def test_failures_are_told_in_the_order_of_their_records() -> None:
    records = [{"n": n, "make" if n % 2 else "raise": "a lock" if n % 2 else "ValueError"} for n in range(20)]
    crossed = cross(shipped(hostile.does), records)
    assert [failure.at for failure in crossed.reply.failures] == list(range(20))


def test_a_reply_and_all_that_is_in_it_is_plain_data() -> None:
    reply = cross(shipped(hostile.three_times, hostile.does), batch({"raise": "HoldsALock"})).reply
    again = pickle.loads(pickle.dumps(reply))
    assert again == reply
    plain = {int, bool, float, str, bytes, tuple, dict, type(None)}
    assert {type(value) for value in reply} <= plain | {type(reply.failures)}
    assert {type(value) for failure in reply.failures for value in failure} <= plain


# The cursor.


def run_and_watch(
    monkeypatch: pytest.MonkeyPatch, step: Callable[[Any], Any], records: list[Any], *, framed: bool = False
) -> Cursor:
    """Run a batch with a cursor attached, as a worker's is, that the step can look at."""
    monkeypatch.setattr(envelope, "_cursor", None)
    envelope.attach_cursor(cursor := Cursor())
    envelope.install("watched", ChainSpec(("step",), (step,), None))
    cross(ChainRef("watched", None), records, framed=framed)
    return cursor


@WHOLE_OR_FRAMES
def test_the_cursor_is_at_the_record_being_run_and_at_none_afterwards(
    monkeypatch: pytest.MonkeyPatch, framed: bool
) -> None:
    at: list[Spot] = []

    def sees(record: int) -> tuple[int, bool]:
        at.append(cursor_of().read())
        return record, True

    cursor = run_and_watch(monkeypatch, sees, [5, 6], framed=framed)
    assert at == [Spot(0, 0, None, 0), Spot(0, 1, None, 0)]
    assert cursor.read() == Spot(0, None, Phase.IDLE, None)


def test_the_cursor_counts_places_in_the_batch_where_records_before_could_not_be_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    at: dict[int, int | None] = {}

    def sees(record: int) -> tuple[int, bool]:
        at[record] = cursor_of().read().at
        return record, True

    run_and_watch(monkeypatch, sees, [0, hostile.RaisesWhenRead(), 2, hostile.RaisesWhenRead(), 4])
    assert at == {0: 0, 2: 2, 4: 4}


def test_the_cursor_counts_the_records_of_a_call_where_some_among_them_could_not_be_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    at: list[Spot] = []

    def sees(records: list[int]) -> list[int]:
        at.append(cursor_of().read())
        return records

    run_and_watch(monkeypatch, vectorize(sees, 2), [hostile.RaisesWhenRead(), 1, hostile.RaisesWhenRead(), 3, 4])
    assert [(spot.at, spot.end) for spot in at] == [(1, 4), (4, None)]


def test_a_result_of_a_call_that_cannot_be_written_costs_its_record() -> None:
    def many(records: list[dict[str, Any]]) -> list[Any]:
        return [(lambda: None) if record["n"] == BAD else record for record in records]

    crossed = cross(shipped(vectorize(many)), batch())
    assert numbers(crossed.results) == all_but_the_bad()
    assert [(at, failure.kind) for at, failure in crossed.failures] == [(BAD, "unpicklable")]


def test_the_cursor_is_at_the_frame_being_read(monkeypatch: pytest.MonkeyPatch) -> None:
    at: list[Spot] = []
    monkeypatch.setattr(LooksWhenRead, "at", at)
    run_and_watch(monkeypatch, hostile.passes, [LooksWhenRead() for _ in range(3)], framed=True)
    assert at[:3] == [Spot(0, index, None, None) for index in range(3)]  # at no step: it has not come to one


def test_the_cursor_is_at_none_after_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(envelope, "_cursor", cursor := Cursor())
    assert work(ChainRef("unknown", None), packed(1), number=9).refusal is not None
    assert cursor.read() == Spot(9, None, Phase.IDLE, None)


def cursor_of() -> Cursor:
    assert envelope._cursor is not None
    return envelope._cursor


def look() -> int:
    LooksWhenRead.at.append(cursor_of().read())
    return os.getpid()


class LooksWhenRead:
    at: list[Spot] = []

    def __reduce__(self) -> tuple[Any, ...]:
        return look, ()


def test_a_reply_tells_the_steps_work_apart_from_reading_and_writing() -> None:
    def spins(record: bytes) -> tuple[bytes, bool]:
        until = time.thread_time() + 0.02
        while time.thread_time() < until:
            pass
        return record, True

    def waits(record: bytes) -> tuple[bytes, bool]:
        time.sleep(0.05)
        return record, True

    data = codec.dumps([b"x" * 100])
    for key, step, least in (("spins", spins, 0.02), ("waits", waits, 0.05)):
        envelope.install(key, ChainSpec((key,), (step,), None))
        reply = envelope.work(key, None, 0, data, True)
        envelope.forget(key)
        assert reply.worked >= least
    assert reply.cpu < reply.worked  # it waited, and that counts on the wall


def test_live_records_come_back_as_live_results_and_failures_leave_their_record_to_the_parent() -> None:
    def halves(record: float) -> tuple[float, bool]:
        return 1 / record, True

    envelope.install("live", ChainSpec(("halves",), (halves,), None))
    reply = envelope.work("live", None, 0, Live([2, 0, 4]), True)
    envelope.forget("live")
    assert isinstance(reply.results, Live)
    assert reply.results.values == [0.5, 0.25]
    assert [(failure.at, failure.record) for failure in reply.failures] == [(1, None)]


def test_frames_from_disk_come_back_as_live_results_where_those_are_wanted() -> None:
    def halves(record: float) -> tuple[float, bool]:
        return 1 / record, True

    frames = (codec.dumps(2), b"not a pickle", codec.dumps(0), codec.dumps(4))
    envelope.install("live", ChainSpec(("halves",), (halves,), None))
    reply = envelope.work("live", None, 0, frames, True, live=True)
    envelope.forget("live")
    assert isinstance(reply.results, Live)
    assert reply.results.values == [0.5, 0.25]
    assert [(failure.at, failure.record) for failure in reply.failures] == [(1, frames[1]), (2, frames[2])]
    assert reply.owners() == [0, 3]


# Batches that are suspended.


class Kept(PipelineEngine[Any, Any]):
    def setup(self) -> None:
        self.closed: list[int] = []

    def teardown(self) -> None:
        assert self.closed == [0]  # what is suspended is closed before what its steps use

    def many(self, count: int) -> Iterator[tuple[int, bool]]:
        try:
            yield from ((number, True) for number in range(count))
        finally:
            self.closed.append(0)


PORTIONS = Portions(2, 2**30)


@pytest.fixture
def many() -> str:
    pipeline = Kept()
    envelope.install("many", ChainSpec(("many",), (pipeline.many,), pipeline))
    return "many"


def asked(key: str, *records: Any, resume: int = 0) -> Reply:
    data = b"" if resume else codec.dumps([*records])
    return envelope.work(key, None, 1, data, True, portions=PORTIONS._replace(resume=resume))


def read(reply: Reply) -> list[int]:
    assert isinstance(reply.results, bytes)
    return list(codec.loads(reply.results))


def test_a_batch_is_suspended_goes_on_and_is_not_here_any_more(many: str) -> None:
    reply, got = asked(many, 5), []
    while reply.suspended:
        got += read(reply)
        token, reply = reply.suspended, asked(many, resume=reply.suspended)
    assert [*got, *read(reply)] == [0, 1, 2, 3, 4]
    again = asked(many, resume=token)
    assert again.refusal is not None
    assert again.refusal.kind == GONE


def test_while_one_is_suspended_others_of_its_chain_are_not_begun_and_those_of_others_are(many: str) -> None:
    first = asked(many, 5)
    second = asked(many, 3)
    assert second.refusal is not None
    assert (second.refusal.kind, int(second.refusal.message)) == (PAUSED, first.suspended)
    another = Kept()
    envelope.install("another", ChainSpec(("many",), (another.many,), another))
    assert read(asked("another", 1)) == [0]
    assert asked(many, resume=first.suspended).suspended


def test_a_teardown_finds_what_was_suspended_closed(many: str) -> None:
    assert asked(many, 5).suspended
    assert envelope.forget(many) == []


def test_what_is_dropped_is_closed_and_gone(many: str) -> None:
    token = asked(many, 5).suspended
    for _ in range(2):
        envelope.drop(token)
    assert envelope.forget(many) == []
    assert asked("many", resume=token).refusal is not None
