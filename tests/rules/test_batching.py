"""How large a batch is: within its bounds whatever is measured, quick to shrink, slow to grow."""

from __future__ import annotations

from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeframe_async._rules import batching
from pipeframe_async._rules.batching import Sizer

GIB = 2**30

# What may be measured: from nothing on a coarse clock to a minute, from an empty batch to 100 MB.
SECONDS = st.one_of(st.just(0.0), st.floats(1e-9, 60.0))
RECORDS = st.integers(1, 4_000)
NBYTES = st.one_of(st.just(0), st.integers(1, 10**8))
PACKED = st.tuples(st.just("packed"), RECORDS, NBYTES, SECONDS, st.just(0.0))
REPLIED = st.tuples(st.just("replied"), RECORDS, NBYTES, SECONDS, SECONDS)
Event = tuple[str, int, int, float, float]
HISTORY = st.lists(st.one_of(PACKED, REPLIED), max_size=30)

CAPACITY = st.integers(1, 10**6)
CAPACITY_BYTES = st.integers(1, GIB)
SLOTS = st.integers(1, 64)
FIXED = st.one_of(st.none(), st.integers(1, 10**6))


def measure(sizer: Sizer, event: Event) -> None:
    kind, records, nbytes, wall, cpu = event
    if kind == "packed":
        sizer.packed(records, nbytes, wall)
    else:
        sizer.replied(records, nbytes, cpu)


def a_sizer(*, capacity: int = 10**6, slots: int = 1, fixed: int | None = None) -> Sizer:
    return Sizer(fixed=fixed, capacity=capacity, capacity_bytes=GIB, slots=slots)


def settled_on(record_seconds: float, *, nbytes: int = 0) -> Sizer:
    """A sizer that has seen enough records of this cost for its growth to be over."""
    sizer = a_sizer()
    for _ in range(20):
        records = sizer.size
        sizer.packed(records, records * max(nbytes, 10), 0.0)
        sizer.replied(records, records * nbytes, records * record_seconds)
    return sizer


@given(FIXED, CAPACITY, CAPACITY_BYTES, SLOTS, HISTORY)
def test_the_size_stays_within_its_bounds_whatever_is_measured(
    fixed: int | None, capacity: int, capacity_bytes: int, slots: int, history: list[Event]
) -> None:
    sizer = Sizer(fixed=fixed, capacity=capacity, capacity_bytes=capacity_bytes, slots=slots)
    most_bytes = min(batching.MAX_BYTES, capacity_bytes // slots)
    for event in history:
        measure(sizer, event)
        if fixed is not None:
            assert sizer.size == min(fixed, capacity)
        else:
            assert 1 <= sizer.size <= max(1, min(batching.MAX_RECORDS, capacity // slots))
            assert sizer.size == 1 or sizer.size * sizer.record_seconds <= batching.TARGET_SECONDS * 1.0001
            assert sizer.size == 1 or sizer.expected_bytes(sizer.size) <= most_bytes + 1


@given(CAPACITY, SLOTS, HISTORY)
def test_the_size_is_never_more_than_sixteen_times_the_largest_batch_measured(
    capacity: int, slots: int, history: list[Event]
) -> None:
    sizer = a_sizer(capacity=capacity, slots=slots)
    largest = 0
    for event in history:
        measure(sizer, event)
        largest = max(largest, event[1] if event[0] == "replied" else 0)
        assert sizer.size <= max(1, batching.MAX_GROWTH * largest)


@given(
    fixed=FIXED,
    capacity=CAPACITY,
    capacity_bytes=CAPACITY_BYTES,
    slots=SLOTS,
    history=HISTORY,
    waiting=st.integers(1, 10**6),
    ended=st.booleans(),
    workers=st.integers(1, 64),
    idle=st.integers(0, 64),
    room_bytes=st.integers(-(10**6), GIB),
)
def test_a_cut_takes_no_more_than_there_is_and_than_there_is_room_for(
    fixed: int | None,
    capacity: int,
    capacity_bytes: int,
    slots: int,
    history: list[Event],
    waiting: int,
    ended: bool,
    workers: int,
    idle: int,
    room_bytes: int,
) -> None:
    sizer = Sizer(fixed=fixed, capacity=capacity, capacity_bytes=capacity_bytes, slots=slots)
    for event in history:
        measure(sizer, event)
    cut = sizer.cut(waiting, ended=ended, idle=min(idle, workers), workers=workers, room_bytes=room_bytes)
    assert 0 <= cut <= min(waiting, sizer.size)
    assert cut == 0 or sizer.expected_bytes(cut) <= max(0, room_bytes) + 1
    if sizer.expected_bytes(waiting) <= room_bytes:
        assert cut > 0
        assert fixed is None or cut == min(waiting, fixed, capacity)


@given(st.integers(1, 10**6), st.integers(1, 64), st.floats(1e-7, 1.0), st.floats(0.0, 1.0))
def test_a_tail_is_cut_to_its_end_in_batches_that_never_grow(
    waiting: int, workers: int, cost: float, hop: float
) -> None:
    sizer = settled_on(cost)
    sizer.hopped(hop)
    cuts: list[int] = []
    while waiting and len(cuts) < 1_000:
        cuts.append(sizer.cut(waiting, ended=True, idle=0, workers=workers, room_bytes=GIB))
        waiting -= cuts[-1]
        assert cuts[-1] > 0
    assert cuts == sorted(cuts, reverse=True)


def test_the_first_batch_is_of_one_record() -> None:
    assert a_sizer().size == 1


def test_one_cheap_record_measured_does_not_yet_make_a_batch_of_thousands() -> None:
    sizer = a_sizer()
    sizer.replied(1, 10, 1e-6)
    assert sizer.size == batching.MAX_GROWTH


def test_records_of_ten_microseconds_make_batches_of_the_target_time() -> None:
    assert settled_on(1e-5).size == pytest.approx(batching.TARGET_SECONDS / 1e-5, abs=1)


def test_records_that_cost_nothing_make_batches_of_the_most_records() -> None:
    assert settled_on(1e-9).size == batching.MAX_RECORDS


def test_large_records_make_batches_of_the_most_bytes() -> None:
    assert settled_on(1e-9, nbytes=100_000).size == batching.MAX_BYTES // 100_000


def test_one_slow_batch_shrinks_the_size_at_once() -> None:
    sizer = settled_on(1e-6)
    assert sizer.size == batching.MAX_RECORDS
    sizer.replied(sizer.size, 0, 4.0)
    assert sizer.size == int(batching.TARGET_SECONDS / 0.001)


def test_one_fast_batch_does_not_make_the_past_void() -> None:
    sizer = settled_on(1e-3)
    sizer.replied(sizer.size, 0, 1e-6)
    assert sizer.size < 2 * batching.TARGET_SECONDS / 1e-3


def test_large_results_shrink_the_size_at_once() -> None:
    sizer = settled_on(1e-6)
    sizer.replied(sizer.size, sizer.size * 100_000, 1e-6)
    assert sizer.size == batching.MAX_BYTES // 100_000


def test_records_that_are_slow_to_pickle_shrink_the_size_at_once() -> None:
    sizer = settled_on(1e-6)
    sizer.packed(100, 1_000, 100 * 1e-4)
    assert sizer.size == int(batching.PARENT_SECONDS / 1e-4)


def test_before_the_first_reply_nothing_is_worth_queueing() -> None:
    assert not a_sizer().worth_queueing(None, 2)


@pytest.mark.parametrize(("cost", "worth"), [(1e-5, True), (0.04, True), (0.06, False), (2.0, False)])
def test_only_short_batches_are_worth_queueing_behind_another(cost: float, worth: bool) -> None:
    assert settled_on(cost).worth_queueing(None, 2) is worth


def test_of_the_last_records_none_waits_behind_another_that_a_free_lane_could_take() -> None:
    sizer = settled_on(1e-4)
    enough = int(2 * 2 * batching.TARGET_SECONDS / 1e-4) + 1
    assert sizer.worth_queueing(enough, 2)
    assert not sizer.worth_queueing(enough // 2, 2)
    assert not sizer.worth_queueing(int(2 * batching.HOP_SECONDS / 1e-4) + 1, 2)


def test_the_last_records_of_cheap_work_may_wait_behind_another() -> None:
    assert settled_on(1e-7).worth_queueing(1_000, 2)  # 50 µs a worker


def test_the_tail_is_shared_out_so_that_lanes_finish_together() -> None:
    sizer = settled_on(1e-5)
    assert sizer.cut(1_800, ended=False, idle=0, workers=4, room_bytes=GIB) == sizer.size
    assert sizer.cut(1_800, ended=True, idle=0, workers=4, room_bytes=GIB) == ceil(1_800 / 8)


def test_the_tail_is_not_cut_below_what_a_hop_is_worth() -> None:
    sizer = settled_on(1e-5)
    floor = batching.FLOOR_SECONDS / 1e-5
    assert sizer.cut(300, ended=True, idle=4, workers=4, room_bytes=GIB) == pytest.approx(floor, abs=1)


def test_idle_lanes_share_what_waits() -> None:
    sizer = settled_on(1e-5)
    assert sizer.cut(100, ended=False, idle=4, workers=4, room_bytes=GIB) == 25


def test_a_fixed_size_is_neither_shared_nor_tuned() -> None:
    sizer = a_sizer(fixed=50)
    sizer.replied(50, 0, 100.0)
    assert sizer.cut(60, ended=True, idle=4, workers=4, room_bytes=GIB) == 50


@pytest.mark.parametrize("measured", [False, True])
def test_a_fixed_size_may_be_larger_than_any_that_tunes_itself(measured: bool) -> None:
    sizer = a_sizer(fixed=10_000)
    if measured:
        sizer.packed(10_000, 100_000, 0.001)
    assert sizer.cut(20_000, ended=False, idle=1, workers=1, room_bytes=GIB) == 10_000


def test_a_fixed_size_larger_than_the_buffer_is_cut_to_it() -> None:
    assert a_sizer(fixed=500, capacity=100).size == 100


def test_a_fixed_size_gives_way_to_the_room_for_bytes() -> None:
    sizer = a_sizer(fixed=50)
    sizer.packed(10, 10_000, 0.0)
    assert sizer.cut(60, ended=False, idle=0, workers=1, room_bytes=4_500) == 4


def test_without_room_for_bytes_nothing_is_cut() -> None:
    sizer = a_sizer()
    sizer.packed(1, 100, 0.0)
    for room in (99, 0, -5_000):
        assert sizer.cut(10, ended=False, idle=1, workers=1, room_bytes=room) == 0


def test_without_room_for_bytes_nothing_is_cut_even_before_anything_was_measured() -> None:
    assert a_sizer().cut(10, ended=False, idle=1, workers=1, room_bytes=-1) == 0


def test_a_clock_that_stands_still_for_thousands_of_batches_does_no_harm() -> None:
    sizer = a_sizer()
    sizer.replied(1, 10, 1e-3)
    for _ in range(5_000):
        sizer.replied(1, 10, 0.0)
    assert 1 <= sizer.size <= batching.MAX_GROWTH
    assert sizer.cut(10, ended=True, idle=0, workers=1, room_bytes=GIB) > 0


def test_thousands_of_batches_of_records_that_have_no_bytes_do_no_harm() -> None:
    sizer = a_sizer()
    sizer.packed(1, 100, 1e-5)
    sizer.replied(1, 0, 1e-3)
    for _ in range(5_000):
        sizer.packed(1, 0, 1e-5)
    assert 1 <= sizer.size <= batching.MAX_GROWTH


def test_the_bytes_expected_are_those_of_the_larger_way() -> None:
    sizer = a_sizer()
    sizer.packed(10, 1_000, 0.0)
    sizer.replied(10, 50, 0.0)
    assert sizer.expected_bytes(3) == 300
    sizer.replied(10, 5_000, 0.0)
    assert sizer.expected_bytes(3) == 1_500


def a_sizer_that_hops(*hops: float) -> Sizer:
    sizer = a_sizer(slots=4)
    for hop in hops:
        sizer.hopped(hop)
    for _ in range(5):
        sizer.replied(1_000, 0, 0.2)
    return sizer


@pytest.mark.parametrize(("hop", "size"), [(0.000_02, 75), (0.000_4, 75), (0.001_5, 225), (0.012, 1_800), (5.0, 2_500)])
def test_a_batch_is_worth_its_hop_however_far_it_goes(hop: float, size: int) -> None:
    sizer = a_sizer_that_hops(hop)
    assert abs(sizer.size - size) <= 2
    assert sizer.worth_queueing(None, 2)


def test_a_hop_that_has_waited_once_is_no_longer_hop() -> None:
    assert a_sizer_that_hops(*[0.001_5] * 4, 3.0, *[0.001_5] * 2, 2.0).size == pytest.approx(225, abs=2)


def test_a_hop_that_has_become_longer_is_believed_in_the_end() -> None:
    assert a_sizer_that_hops(*[0.001_5] * 8, *[0.012] * 8).size == pytest.approx(1_800, abs=2)


def test_the_last_records_go_in_one_share_a_lane_where_a_second_hop_is_not_worth_it() -> None:
    near, far = a_sizer_that_hops(0.000_1), a_sizer_that_hops(0.012)
    assert near.cut(400, ended=True, idle=0, workers=4, room_bytes=GIB) == 50
    assert far.cut(400, ended=True, idle=0, workers=4, room_bytes=GIB) == 100


def test_somebody_with_a_deadline_bounds_a_batch_that_goes_far() -> None:
    sizer = a_sizer_that_hops(0.012)
    sizer.keep_within(0.01)
    assert sizer.size == 50


# Steps that have many records in one call.


def calling(
    at_once: int,
    record_seconds: float,
    *,
    capacity: int = 10**6,
    slots: int = 1,
    fixed: int | None = None,
    nbytes: int = 10,
    parent_seconds: float = 0.0,
) -> Sizer:
    sizer = Sizer(fixed=fixed, capacity=capacity, capacity_bytes=GIB, slots=slots, at_once=at_once)
    for _ in range(20):
        records = sizer.size
        sizer.packed(records, records * nbytes, records * parent_seconds)
        sizer.replied(records, records * nbytes, records * record_seconds)
    return sizer


@pytest.mark.parametrize("record_seconds", [0.001, 0.1])
def test_a_full_batch_has_the_records_of_a_call_however_long_they_take(record_seconds: float) -> None:
    assert calling(1, record_seconds).size < 256
    assert calling(256, record_seconds).size == 256
    assert calling(256, record_seconds, parent_seconds=0.001).size == 256


def test_a_full_batch_of_cheap_records_has_more_than_a_call() -> None:
    assert calling(256, 1e-5).size == calling(1, 1e-5).size > 256


@pytest.mark.parametrize(
    ("sizer", "size"),
    [
        (calling(256, 0.1, capacity=400, slots=4), 100),
        (calling(256, 0.1, nbytes=batching.MAX_BYTES // 10), 10),
        (calling(256, 0.1, fixed=7), 7),
        (calling(10**6, 0.1), batching.MAX_RECORDS),
    ],
    ids=["buffer", "bytes", "batch_size", "most"],
)
def test_a_call_does_not_make_batches_larger_than_they_may_be(sizer: Sizer, size: int) -> None:
    assert sizer.size == size


def test_a_deadline_makes_batches_smaller_than_a_call() -> None:
    sizer = calling(256, 0.001)
    sizer.keep_within(0.05)
    assert sizer.size == 50


def test_batches_are_as_large_as_a_call_when_three_were_measured() -> None:
    sizer, sizes = Sizer(fixed=None, capacity=10**6, capacity_bytes=GIB, slots=1, at_once=256), list[int]()
    for _ in range(3):
        sizes.append(sizer.size)
        sizer.replied(sizer.size, 10, 0.01 * sizer.size)
    assert (sizes, sizer.size) == ([1, 16, 256], 256)


def test_it_is_the_same_beside_the_loop() -> None:
    assert calling(256, 0.001).at(batching.BESIDE).size == 256


def test_the_last_records_stay_together_for_a_call_where_that_is_soon_done() -> None:
    assert calling(256, 2e-5).cut(300, ended=True, idle=0, workers=4, room_bytes=GIB) == 256
    assert calling(1, 2e-5).cut(300, ended=True, idle=0, workers=4, room_bytes=GIB) < 256


def test_the_last_records_of_long_calls_are_shared_out_to_all_workers() -> None:
    assert calling(256, 0.1).cut(300, ended=True, idle=0, workers=4, room_bytes=GIB) == 75


@given(st.integers(1, 10**5), st.integers(1, 64), st.floats(1e-7, 1.0), st.integers(1, 5_000))
def test_a_tail_of_calls_is_cut_to_its_end_in_batches_that_never_grow(
    waiting: int, workers: int, cost: float, at_once: int
) -> None:
    sizer, cuts = calling(at_once, cost), list[int]()
    while waiting and len(cuts) < 1_000:
        cuts.append(sizer.cut(waiting, ended=True, idle=0, workers=workers, room_bytes=GIB))
        waiting -= cuts[-1]
        assert cuts[-1] > 0
    assert cuts == sorted(cuts, reverse=True)


def test_one_record_that_waits_is_a_batch_however_many_a_call_may_have() -> None:
    assert calling(256, 0.001).cut(1, ended=False, idle=1, workers=1, room_bytes=GIB) == 1
