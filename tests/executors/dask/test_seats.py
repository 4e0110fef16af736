"""A seat, from when it is asked for until it is given up."""

from __future__ import annotations

from pipeframe_async.executors.dask.seats import Seat


def test_a_seat_takes_batches_from_when_its_lane_is_there_until_it_is_given_up() -> None:
    seat = Seat("key", "tcp://a:1", None)
    assert not seat.free
    seat.there = True
    assert seat.free
    seat.over = True
    assert not seat.free


def test_what_an_answer_does_not_say_stays_as_it_was() -> None:
    seat = Seat("key", "tcp://a:1", None)
    seat.told({"is": "Reply", "pid": 7, "starts": 2, "restarts": {"crashed": 1}})
    seat.told({"is": "gone away"})
    assert (seat.pid, seat.starts, seat.restarts) == (7, 2, {"crashed": 1})


def test_its_host_is_told_without_the_port() -> None:
    hosts = [Seat("key", address, None).host for address in ("tcp://10.0.0.3:4711", "tls://[::1]:1")]
    assert hosts == ["10.0.0.3", "::1"]
