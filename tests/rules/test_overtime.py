"""What is done about a worker after a look at it: plain values in, an order out. No clock, no process."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeframe_async._rules.overtime import (
    ABANDONED_SECONDS,
    GRACE_SECONDS,
    GROWTH,
    LOOK_SECONDS,
    LOOKS_A_LIMIT,
    MEMORY_SECONDS,
    NOT_BEGUN_SECONDS,
    EndedFor,
    Look,
    Order,
    Overtime,
)
from pipeframe_async.wire import Phase, Spot

LIMIT = 2.0
MAX_RSS = 1000
IDLE = Spot(1, None, Phase.IDLE, None)
LOADING = Spot(1, None, Phase.LOADING, None)
READING = Spot(1, None, Phase.READING, None)
WRITING = Spot(1, None, Phase.WRITING, None)
RECORD = Spot(1, 3, None, 0)


def judge(
    limit: float | None = LIMIT, *, max_rss: int | None = None, speaks: bool = True, seen: Spot | None = None
) -> Overtime:
    """A judge of a worker that has batch 1, and was seen at a spot at 0 seconds."""
    overtime = Overtime(max_rss, speaks=speaks)
    overtime.watch(1, limit)
    if seen is not None:
        weighs = max_rss is not None and seen.at is not None
        assert overtime.seen(Look(seen, 0.0)) is (Order.WEIGH if weighs else Order.NOTHING)
        if weighs:
            assert overtime.weighed(MAX_RSS // 2) is Order.NOTHING
    return overtime


# The time limit.


@pytest.mark.parametrize(
    ("spot", "speaks", "order"),
    [
        (RECORD, True, Order.CALL),
        (RECORD, False, Order.END),
        (READING, True, Order.END),
        (WRITING, True, Order.END),
        (READING, False, Order.END),
        (LOADING, True, Order.NOTHING),
        (IDLE, True, Order.NOTHING),
        (IDLE, False, Order.NOTHING),
    ],
)
def test_what_is_done_when_the_limit_is_over(spot: Spot, speaks: bool, order: Order) -> None:
    overtime = judge(speaks=speaks, seen=spot)
    assert overtime.seen(Look(spot, LIMIT - 0.001)) is Order.NOTHING
    assert overtime.seen(Look(spot, LIMIT)) is order
    assert overtime.why is (None if order is Order.NOTHING else EndedFor.TIME_LIMIT)


@pytest.mark.parametrize(
    ("over", "spoken", "order"),
    [
        (GRACE_SECONDS - 0.001, False, Order.NOTHING),
        (GRACE_SECONDS - 0.001, True, Order.END),
        (GRACE_SECONDS, False, Order.END),
        (GRACE_SECONDS, True, Order.END),
    ],
)
def test_one_that_was_called_is_ended_when_it_has_spoken_or_has_had_the_time(
    over: float, spoken: bool, order: Order
) -> None:
    overtime = judge(seen=RECORD)
    assert overtime.seen(Look(RECORD, LIMIT)) is Order.CALL
    assert overtime.seen(Look(RECORD, LIMIT + over, spoken=spoken)) is order
    assert overtime.why is EndedFor.TIME_LIMIT


def test_one_whose_time_is_up_is_ended_again_as_long_as_it_is_there() -> None:
    overtime = judge(speaks=False, seen=RECORD)
    assert [overtime.seen(Look(RECORD, LIMIT + n)) for n in range(3)] == [Order.END] * 3
    assert not overtime.settled


@pytest.mark.parametrize(
    "elsewhere",
    [RECORD._replace(at=4), RECORD._replace(batch=2), WRITING, IDLE],
)
def test_one_that_has_gone_on_when_it_was_called_is_spared(elsewhere: Spot) -> None:
    overtime = judge(seen=RECORD)
    overtime.watch(2, LIMIT)
    assert overtime.seen(Look(RECORD, LIMIT)) is Order.CALL
    assert overtime.seen(Look(elsewhere, LIMIT + GRACE_SECONDS)) is Order.NOTHING
    assert overtime.why is None
    if elsewhere.at is not None:  # and is called anew when that takes too long
        assert overtime.seen(Look(elsewhere, 2 * LIMIT + GRACE_SECONDS)) is Order.CALL


def test_the_next_step_of_a_record_has_no_time_of_its_own() -> None:
    overtime = judge(seen=RECORD)
    assert overtime.seen(Look(RECORD._replace(step=1), LIMIT)) is Order.CALL


CALL = Spot(1, 3, None, 1, end=9)


@pytest.mark.parametrize("other", [CALL._replace(end=6), CALL._replace(step=2), CALL._replace(end=None), RECORD])
def test_each_call_of_many_records_has_the_limit_for_itself(other: Spot) -> None:
    overtime = judge(seen=CALL)
    assert overtime.seen(Look(other, LIMIT)) is Order.NOTHING
    overtime = judge(seen=CALL)
    assert overtime.seen(Look(CALL, LIMIT)) is Order.CALL


def test_without_a_limit_time_does_not_matter() -> None:
    overtime = judge(None, seen=RECORD)
    assert overtime.seen(Look(RECORD, 1e9)) is Order.NOTHING


@pytest.mark.parametrize(("late", "order"), [(0.0, Order.CALL), (0.01, Order.CALL), (0.02, Order.NOTHING)])
def test_by_as_much_as_a_look_is_late_the_record_has_longer(late: float, order: Order) -> None:
    overtime = judge(seen=RECORD)
    assert overtime.seen(Look(RECORD, LIMIT + 0.015, late=late)) is order


def test_a_worker_that_does_not_begin_with_what_it_was_given_is_ended() -> None:
    overtime, idle = judge(), Spot(0, None, Phase.IDLE, None)
    for now in (0.0, LIMIT, LIMIT + NOT_BEGUN_SECONDS - 0.01):
        assert overtime.seen(Look(idle, now)) is Order.NOTHING
    assert overtime.seen(Look(idle, LIMIT + NOT_BEGUN_SECONDS)) is Order.END
    assert overtime.why is EndedFor.NOT_BEGUN


def test_one_that_has_nothing_to_do_is_not_counted_as_late_when_it_gets_something() -> None:
    overtime, idle = judge(), Spot(0, None, Phase.IDLE, None)
    assert overtime.seen(Look(idle, 0.0)) is Order.NOTHING
    overtime.done(1)
    overtime.watch(2, LIMIT)
    assert overtime.seen(Look(idle, 100.0)) is Order.NOTHING


def test_without_a_limit_nobody_says_when_it_must_have_begun() -> None:
    overtime, idle = judge(None), Spot(0, None, Phase.IDLE, None)
    overtime.seen(Look(idle, 0.0))
    assert overtime.seen(Look(idle, 1e9)) is Order.NOTHING


def test_time_that_nobody_looked_is_given_once() -> None:
    overtime = judge(seen=RECORD)
    assert overtime.seen(Look(RECORD, 10.0, late=9.5)) is Order.NOTHING
    assert overtime.seen(Look(RECORD, 9.5 + LIMIT - 0.001)) is Order.NOTHING
    assert overtime.seen(Look(RECORD, 9.5 + LIMIT)) is Order.CALL


@given(
    steps=st.lists(st.tuples(st.integers(0, 3), st.floats(0.0, 5.0)), min_size=1, max_size=40),
    limit=st.floats(0.01, 5.0),
)
def test_no_record_is_called_or_ended_that_was_not_seen_for_as_long_as_its_limit(
    steps: list[tuple[int, float]], limit: float
) -> None:
    overtime, now, at, since = judge(limit), 0.0, -1, 0.0
    for index, pause in steps:
        now += pause
        if index != at:
            at, since = index, now
        order = overtime.seen(Look(RECORD._replace(at=index), now))
        assert order is Order.NOTHING or now - since >= limit


# A batch nobody waits for.


@pytest.mark.parametrize("spot", [RECORD, LOADING, READING, WRITING])
@pytest.mark.parametrize("limit", [None, 100.0])
def test_an_abandoned_batch_is_ended_wherever_it_is(spot: Spot, limit: float | None) -> None:
    overtime = judge(limit, seen=spot)
    assert overtime.abandon(1, 5.0)
    assert overtime.seen(Look(spot, 5.0 + ABANDONED_SECONDS - 0.001)) is Order.NOTHING
    assert overtime.seen(Look(spot._replace(step=2), 5.0 + ABANDONED_SECONDS + 0.001)) is Order.END
    assert (overtime.why, overtime.settled) == (EndedFor.ABANDONED, True)


@pytest.mark.parametrize("spot", [IDLE, RECORD._replace(batch=2)])
def test_a_worker_that_is_at_nothing_or_at_another_batch_is_left_alone(spot: Spot) -> None:
    overtime = judge(None, seen=spot)
    overtime.watch(2, None)
    overtime.abandon(1, 0.0)
    assert overtime.seen(Look(spot, 100.0)) is Order.NOTHING


def test_a_batch_that_is_done_cannot_be_abandoned() -> None:
    overtime = judge()
    overtime.done(1)
    assert not overtime.abandon(1, 0.0)
    assert not overtime.busy


# Memory.


@pytest.mark.parametrize(
    ("max_rss", "spot", "held", "order"),
    [
        (MAX_RSS, RECORD, MEMORY_SECONDS, Order.WEIGH),
        (MAX_RSS, RECORD, MEMORY_SECONDS - 0.001, Order.NOTHING),
        (MAX_RSS, LOADING, 100.0, Order.NOTHING),
        (MAX_RSS, READING, 100.0, Order.NOTHING),
        (MAX_RSS, WRITING, 100.0, Order.NOTHING),
        (MAX_RSS, IDLE, 100.0, Order.NOTHING),
        (None, RECORD, 100.0, Order.NOTHING),
    ],
)
def test_a_worker_is_weighed_where_one_record_takes_its_time(
    max_rss: int | None, spot: Spot, held: float, order: Order
) -> None:
    overtime = judge(None, max_rss=max_rss, seen=spot)
    assert overtime.seen(Look(spot, held)) is order


@pytest.mark.parametrize(
    ("first", "then", "order"),
    [
        (MAX_RSS, MAX_RSS, Order.NOTHING),
        (MAX_RSS // 2, MAX_RSS, Order.NOTHING),
        (MAX_RSS // 2, MAX_RSS + 1, Order.END),
        (2 * MAX_RSS, int(2 * MAX_RSS * GROWTH), Order.NOTHING),
        (2 * MAX_RSS, int(2 * MAX_RSS * GROWTH) + 1, Order.END),
        (0, 0, Order.NOTHING),  # the system does not say
    ],
)
def test_a_worker_is_ended_that_holds_too_much_and_more_than_before(first: int, then: int, order: Order) -> None:
    overtime = judge(None, max_rss=MAX_RSS)
    assert overtime.weighed(first) is Order.NOTHING
    assert overtime.weighed(then) is order
    assert (overtime.why, overtime.settled) == ((EndedFor.MEMORY, True) if order is Order.END else (None, False))


def test_what_was_held_at_one_record_is_not_held_against_the_next() -> None:
    overtime = judge(None, max_rss=MAX_RSS, seen=RECORD)
    assert overtime.seen(Look(RECORD._replace(at=4), 1.0)) is Order.WEIGH
    assert overtime.weighed(2 * MAX_RSS) is Order.NOTHING


def test_a_time_limit_is_looked_at_before_memory() -> None:
    overtime = judge(max_rss=MAX_RSS, seen=RECORD)
    assert overtime.seen(Look(RECORD, LIMIT)) is Order.CALL


# When there is something to look for, and how often.


@pytest.mark.parametrize(
    ("limit", "max_rss", "worth"),
    [(None, None, False), (1.0, None, True), (None, 5, True), (1.0, 5, True)],
)
def test_a_batch_is_looked_at_where_something_is_limited(limit: float | None, max_rss: int | None, worth: bool) -> None:
    assert Overtime(max_rss, speaks=True).watch(1, limit) is worth


@pytest.mark.parametrize(
    ("limits", "seconds"),
    [
        ([], LOOK_SECONDS),
        ([None, 100.0], LOOK_SECONDS),
        ([LOOKS_A_LIMIT * LOOK_SECONDS], LOOK_SECONDS),
        ([100.0, 0.02, None], 0.02 / LOOKS_A_LIMIT),
    ],
)
def test_looks_come_as_often_as_the_shortest_limit_needs(limits: list[float | None], seconds: float) -> None:
    overtime = Overtime(None, speaks=True)
    for ticket, limit in enumerate(limits):
        overtime.watch(ticket, limit)
    assert overtime.interval == pytest.approx(seconds)


@pytest.mark.parametrize("why", [EndedFor.ABANDONED, EndedFor.MEMORY, EndedFor.OVERDUE])
def test_what_is_ended_for_good_is_not_judged_any_more(why: EndedFor) -> None:
    overtime = judge(seen=RECORD)
    assert overtime.end(why) is Order.END
    assert overtime.settled
    assert overtime.seen(Look(RECORD._replace(at=4), 1.0)) is Order.NOTHING
    assert overtime.seen(Look(RECORD._replace(at=4), 100.0)) is Order.NOTHING
    assert overtime.why is why
