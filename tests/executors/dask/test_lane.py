"""A lane that moves: where its batches go, and what becomes of them when its place is gone."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("distributed", reason="no distributed is here")

from pipeframe_async.errors import WorkerLost
from pipeframe_async.executors.dask import frames
from pipeframe_async.executors.dask.lane import DaskLane
from pipeframe_async.executors.dask.reach import Unreachable
from pipeframe_async.executors.dask.seats import Seat
from pipeframe_async.executors.handling import Handling
from pipeframe_async.wire import GONE, ChainRef, Death, Packed, Refusal, Reply

CHAIN = ChainRef("key", b"chain")
BATCH = Packed(3, b"records")
HELD = 60.0
"""Seconds a worker says that it had a batch: longer than it was away, so that it had no hop at all."""


class Reach:
    """Answers as it is told to."""

    def __init__(self, *answers: Any) -> None:
        self.answers = [*answers]
        self.asked: list[Any] = []
        self.wanted: list[bool] = []
        self.told: list[tuple[str, str]] = []

    async def ask(self, address: str, op: str, **message: Any) -> dict[str, Any]:
        self.asked.append(frames.load([memoryview(frame.data) for frame in message["call"]]))
        self.wanted.append("wanted" in message)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, (Reply, Death)):
            sent = [memoryview(frame.data) for frame in frames.dump(answer)]
            return {"is": type(answer).__name__, "answer": sent, "pid": 7, "starts": 1, "restarts": {}, "held": HELD}
        return {"is": answer, "text": "why"}

    def tell(self, address: str, op: str, **message: Any) -> None:
        self.told.append((address, op))


class Places:
    """Has a seat after the other."""

    def __init__(self, *answers: Any) -> None:
        self.reach: Any = Reach(*answers)
        self.seats = [Seat(f"lease-{number}", f"tcp://host:{number}", None, there=True) for number in range(3)]
        self.given_up: list[str] = []
        self.words: list[str] = []
        self.hopeless = ""
        self.logs = Handling()
        self.returns = 0

    async def seated(self, lane: DaskLane) -> None:
        lane.seat = self.seats[0]

    async def checked(self, chain: ChainRef) -> None: ...

    async def seat_for(self, lane: DaskLane) -> Seat:
        return next(seat for seat in self.seats if seat.free)

    def lost(self, seat: Seat, why: str) -> None:
        seat.over = True

    def left(self, seat: Seat) -> None:
        self.given_up.append(seat.key)

    def heard(self, seat: Seat, answer: dict[str, Any]) -> None:
        self.words.append(seat.key)
        seat.told(answer)

    def returned(self) -> None:
        self.returns += 1

    def unreachable(self, seat: Seat, why: str) -> None:
        self.lost(seat, why)


async def ran(places: Places, batch: Packed = BATCH, lane: DaskLane | None = None) -> Reply | Death:
    return await (lane or DaskLane(0, places)).run(CHAIN, 1, batch, ship=True)


async def test_a_batch_that_its_worker_never_got_goes_to_another_one() -> None:
    places = Places(Unreachable("no"), "gone away", Reply(3, delivered=3))
    assert (await ran(places)) == Reply(3, delivered=3, hop=0.0)
    assert places.given_up == ["lease-0", "lease-1"]


@pytest.mark.parametrize("how", [OSError("reset"), "cut off"], ids=["lost", "cut off"])
async def test_a_batch_that_was_lost_with_its_worker_is_a_death_of_somebody_elses_doing(how: Any) -> None:
    death = await ran(Places(how))
    assert isinstance(death, Death)
    assert (death.begun, death.foreign, death.ran, death.at) == (True, True, 3, None)


async def test_a_batch_that_was_lost_with_the_last_worker_for_long_is_the_end_of_the_run() -> None:
    places = Places(OSError("reset"))
    places.hopeless = "there was no lane on any Dask worker for 60 s"
    with pytest.raises(WorkerLost, match="no lane on any Dask worker for 60 s"):
        await ran(places)
    assert (places.given_up, places.words) == (["lease-0"], [])


async def test_who_waits_for_a_lane_to_come_back_from_anothers_place_is_told() -> None:
    places = Places(Reply(3), Reply(3))
    lane = DaskLane(0, places)
    lane.seat = places.seats[0]
    await ran(places, lane=lane)
    assert places.returns == 0
    lane.seat = places.seats[1]
    await ran(places, lane=lane)
    assert places.returns == 1


async def test_each_answer_is_a_word_of_the_worker() -> None:
    places = Places("gone away", Reply(3))
    await ran(places)
    assert places.words == ["lease-0", "lease-1"]


async def test_an_answer_that_cannot_be_read_is_a_death_whose_record_is_found_by_halves() -> None:
    death = await ran(Places(MemoryError("no room")))
    assert isinstance(death, Death)
    assert (death.foreign, death.ran, death.cause) == (False, 3, "lane 0 has no answer: MemoryError: no room")


async def test_a_worker_is_sent_the_chain_once_and_again_where_it_does_not_know_it() -> None:
    places = Places(Reply(3), Reply(3), "unknown", Reply(3))
    lane = DaskLane(0, places)
    for _ in range(3):
        await ran(places, lane=lane)
    assert [call[3] for call in places.reach.asked] == [(b"chain",), None, None, (b"chain",)]


async def test_a_batch_goes_on_where_it_is_suspended_or_is_gone_with_that() -> None:
    places = Places(Reply(1, suspended=99), Reply(1, suspended=98), Reply(2))
    lane = DaskLane(0, places)
    first = await ran(places, lane=lane)
    assert isinstance(first, Reply)
    resumed = BATCH._replace(portions=_portions(99))
    assert (await ran(places, resumed, lane)) == Reply(1, suspended=98, hop=0.0)
    places.seats[0].over = True
    gone = await ran(places, BATCH._replace(portions=_portions(98)), lane)
    assert isinstance(gone, Reply)
    assert isinstance(gone.refusal, Refusal)
    assert gone.refusal.kind == GONE


async def test_what_nobody_wants_the_rest_of_is_dropped_where_it_is() -> None:
    places = Places(Reply(1, suspended=99))
    lane = DaskLane(0, places)
    await ran(places, lane=lane)
    lane.drop(99)
    lane.drop(99)
    assert places.reach.told == [("tcp://host:0", "drop")]


def test_a_lane_without_a_place_has_no_worker_until_it_has_had_one() -> None:
    lane = DaskLane(3, Places())
    assert (lane.workers, lane.name, lane.stats().state) == (0, "lane 3", "stopped")
    lane.seat = Seat("key", "tcp://host:1", None)
    assert (lane.workers, lane.name, lane.stats().state) == (1, "lane 3 on host:1", "starting")
    lane.seat.there = lane.began = True
    lane.seat.restarts = {"crashed": 2}
    assert lane.stats().state == "idle"
    lane.unseat()
    assert (lane.workers, lane.stats().state, dict(lane.stats().restarts)) == (1, "restarting", {"crashed": 2})


def _portions(resume: int) -> Any:
    from pipeframe_async.wire import Portions

    return Portions(100, 1_000, resume=resume)


async def test_which_lines_are_wanted_is_said_until_it_was_heard_and_not_again() -> None:
    places = Places("unknown", Reply(3), Reply(3))
    lane = DaskLane(0, places)
    for _ in range(2):
        assert isinstance(await ran(places, lane=lane), Reply)
    assert places.reach.wanted == [True, False, False]


async def test_a_batch_is_known_by_its_ticket_while_it_is_there() -> None:
    places = Places(Reply(3))
    seen: list[Any] = []
    ask = places.reach.ask

    async def asked(address: str, op: str, **message: Any) -> dict[str, Any]:
        seen.append({**places.seats[0].positions})
        assert [*places.seats[0].positions] == [message["ticket"]]
        return await ask(address, op, **message)  # type: ignore[no-any-return]

    places.reach.ask = asked
    await ran(places, BATCH._replace(positions=range(10, 13)))
    assert [[*found.values()] for found in seen] == [[range(10, 13)]]
    assert places.seats[0].positions == {}
