"""A lane and its workers, which are fakes: who gets a batch, who is replaced, who is put away, and what is said."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import BrokenExecutor
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pipeframe_async._rules import restarts
from pipeframe_async._rules.overtime import ABANDONED_SECONDS, EndedFor
from pipeframe_async._rules.wear import NO_WEAR, Wear
from pipeframe_async._rules.worker_life import State
from pipeframe_async._worker.cursor import BATCH, CLAIMED, INDEX, NBYTES, Cursor
from pipeframe_async.errors import ConfigError, WorkerLost
from pipeframe_async.executors.processes import lane as lanes
from pipeframe_async.executors.processes.lane import MOST_GOING, ProcessLane
from pipeframe_async.executors.processes.worker import StartFailed
from pipeframe_async.wire import UNKNOWN_CHAIN, ChainRef, Death, Packed, Phase, Refusal, Reply, Spot
from tests.executors.processes.fakes import AT_RECORD, LEFT, FakeWorker, Nursery

CHAIN = ChainRef("chain", b"pickle")
BATCH_OF_5 = Packed(5, b"records")

Running = asyncio.Task[Reply | Death]


@pytest.fixture(autouse=True)
def no_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restarts, "FIRST_DELAY", 0.0)


@asynccontextmanager
async def lane_of(nursery: Nursery, wear: Wear = NO_WEAR) -> AsyncIterator[ProcessLane]:
    """A lane, closed at the end if the test has not done that."""
    lane = ProcessLane(0, wear, nursery)
    yield lane
    if not lane._closing.is_set():
        await closed(lane)


async def closed(lane: ProcessLane, *, graceful: bool = True) -> list[str]:
    lane.closing()
    return await lane.close(graceful=graceful)


async def until(true: Callable[[], bool]) -> None:
    """Let the loop and the threads go on until this holds."""
    async with asyncio.timeout(10):
        while not true():
            await asyncio.sleep(0)


async def given(lane: ProcessLane, nursery: Nursery, chain: ChainRef = CHAIN) -> Running:
    """A batch that a worker has."""
    before = sum(len(worker.chains) for worker in nursery.made)
    running = asyncio.ensure_future(lane.run(chain, 0, BATCH_OF_5, ship=True))
    await until(lambda: sum(len(worker.chains) for worker in nursery.made) > before or running.done())
    return running


async def death(running: Running) -> Death:
    found = await running
    assert isinstance(found, Death)
    return found


def states(lane: ProcessLane) -> list[State]:
    return [hired.life.state for hired in lane.hired]


# One worker.


async def test_callers_that_come_while_a_worker_starts_wait_for_the_same_one() -> None:
    nursery = Nursery()
    async with lane_of(nursery) as lane:
        await asyncio.gather(*(lane.start() for _ in range(5)))
        await lane.start()
        assert (len(nursery.made), lane.starts, states(lane)) == (1, 1, [State.SERVING])
        assert nursery.made[0].threads["start"].startswith("pipeframe-lane-0")


async def test_a_batch_is_answered_by_its_worker() -> None:
    nursery = Nursery()
    async with lane_of(nursery) as lane:
        running = await given(lane, nursery)
        nursery.made[0].answers(Reply(5))
        assert await running == Reply(5)
        assert (nursery.made[0].given, nursery.made[0].answered) == (1, 1)


async def test_two_batches_are_told_apart_also_where_they_have_the_same_number() -> None:
    nursery = Nursery()
    async with lane_of(nursery) as lane:
        first, second = await given(lane, nursery), await given(lane, nursery)
        one, two = nursery.made[0].asked
        nursery.made[0].answers(Reply(2), two)
        nursery.made[0].answers(Reply(1), one)
        assert (await first, await second) == (Reply(1), Reply(2))


async def test_a_worker_that_has_dropped_a_chain_is_sent_it_again() -> None:
    nursery = Nursery()
    async with lane_of(nursery) as lane:
        running = await given(lane, nursery)
        (worker,) = nursery.made
        worker.answers(Reply(0, refusal=Refusal(UNKNOWN_CHAIN, "")))
        await until(lambda: len(worker.chains) == 2)
        assert "again" in worker.done
        worker.answers(Reply(5))
        assert await running == Reply(5)


async def test_a_reply_that_did_not_come_through_is_the_death_of_a_batch_and_not_of_its_worker() -> None:
    nursery = Nursery()
    async with lane_of(nursery) as lane:
        running = await given(lane, nursery)
        nursery.made[0].answers(ValueError("cannot be read"))
        found = await death(running)
        assert (found.cause, found.ran) == ("lane 0 has no answer: ValueError: cannot be read", 5)
        assert states(lane) == [State.SERVING]


# A worker that dies.


async def test_all_batches_of_a_worker_that_dies_learn_from_the_same_remains() -> None:
    nursery = Nursery()
    async with lane_of(nursery) as lane:
        first, second = await given(lane, nursery), await given(lane, nursery)
        (worker,) = nursery.made
        worker.dies(left=LEFT._replace(spot=AT_RECORD, ending="it exited with code 3"))
        one, two = await death(first), await death(second)
        assert one.cause == two.cause == "the worker of lane 0 (pid 1) died: it exited with code 3"
        assert (one.begun, one.at, one.step) == (True, 3, 0)
        assert not two.begun
        assert (worker.done.count("end"), worker.done.count("hang_up"), states(lane)) == (1, 1, [])
        assert "teardown" not in worker.done


async def test_the_next_batch_gets_another_worker() -> None:
    nursery = Nursery()
    async with lane_of(nursery) as lane:
        running = await given(lane, nursery)
        nursery.made[0].dies(left=LEFT._replace(spot=AT_RECORD))
        await running
        again = await given(lane, nursery)
        nursery.made[1].answers(Reply(5))
        assert await again == Reply(5)
        assert lane.starts == 2


async def test_a_worker_found_dead_when_it_is_given_a_batch_is_buried() -> None:
    nursery = Nursery()
    async with lane_of(nursery) as lane:
        await lane.start()
        nursery.made[0].alive = False
        found = await death(await given(lane, nursery))
        assert not found.begun
        assert nursery.made[0].done.count("end") == 1


async def test_a_batch_that_is_told_after_the_burial_learns_the_same_and_nobody_is_ended_twice() -> None:
    nursery = Nursery()
    async with lane_of(nursery) as lane:
        first, second = await given(lane, nursery), await given(lane, nursery)
        (worker,) = nursery.made
        worker.alive, worker.left = False, LEFT._replace(ending="gone")
        worker.answers(BrokenExecutor("it is dead"))  # the other one is told by `lost`, when all is over
        assert (await death(first)).cause == (await death(second)).cause
        assert worker.done.count("end") == 1


async def test_why_a_worker_was_ended_is_said_of_its_batch() -> None:
    nursery = Nursery()
    async with lane_of(nursery, Wear(max_rss=1000)) as lane:
        running = await given(lane, nursery)
        lane.hired[0].guard.end(EndedFor.MEMORY)
        nursery.made[0].dies(left=LEFT._replace(spot=AT_RECORD, sought=True, foreign=True))
        found = await death(running)
        assert found.cause == "the worker of lane 0 (pid 1) was ended: it held more than max_worker_rss=1000 bytes"
        assert not found.foreign


async def test_a_record_out_of_time_is_said_to_be_so_with_its_limit() -> None:
    nursery = Nursery()
    async with lane_of(nursery) as lane:
        running = await given(lane, nursery, CHAIN._replace(time_limit=0.02))
        (worker,) = nursery.made
        worker.cursor.cells[BATCH], worker.cursor.cells[INDEX] = 1, 3
        await until(worker.killed.is_set)  # by the guard
        worker.dies(left=LEFT._replace(spot=AT_RECORD, sought=True))
        found = await death(running)
        assert (found.kind, found.at) == ("timeout", 3)
        assert found.cause == "the record took longer than time_limit=0.02 s"


# Workers that die without having worked.


async def test_workers_that_do_not_start_are_tried_again_and_then_given_up() -> None:
    def fails() -> None:
        raise StartFailed("no more processes")

    nursery = Nursery(*[partial(FakeWorker, start=fails)] * 20)
    async with lane_of(nursery) as lane:
        with pytest.raises(WorkerLost, match=r"lane 0 gives up.*no more processes"):
            await lane.run(CHAIN, 0, BATCH_OF_5, ship=True)
        assert (len(nursery.made), lane.starts, states(lane)) == (restarts.MOST_IN_VAIN, 0, [])


async def test_workers_that_die_in_setup_are_given_up_with_where_the_last_one_stood() -> None:
    nursery = Nursery()
    left = LEFT._replace(ending="it exited with code 3", stack="in setup\n")
    async with lane_of(nursery) as lane:
        for ticket in range(1, restarts.MOST_IN_VAIN + 1):
            running = await given(lane, nursery)
            nursery.made[-1].dies(left=left._replace(spot=Spot(ticket, None, Phase.LOADING, None)))
            assert not (await death(running)).begun
        with pytest.raises(WorkerLost, match=r"gives up.*died in setup.*code 3\nin setup$"):
            await lane.run(CHAIN, 0, BATCH_OF_5, ship=True)
        other = await given(lane, nursery, CHAIN._replace(key="other"))
        nursery.made[-1].answers(Reply(5))
        assert await other == Reply(5)  # it is that chain's failure, and nobody else's


async def test_one_that_has_answered_is_not_held_against_the_start() -> None:
    nursery = Nursery()
    async with lane_of(nursery) as lane:
        for _ in range(2 * restarts.MOST_IN_VAIN):
            running = await given(lane, nursery)
            nursery.made[-1].answers(Reply(5))
            assert await running == Reply(5)
            running = await given(lane, nursery)
            nursery.made[-1].dies()
            await running
            assert (lane._restarts._in_vain, lane._last) == (0, "")


async def test_a_host_that_cannot_have_workers_is_told_once() -> None:
    def refuses() -> None:
        raise ConfigError("not here")

    nursery = Nursery(partial(FakeWorker, start=refuses))
    async with lane_of(nursery) as lane:
        with pytest.raises(ConfigError, match="not here"):
            await lane.start()
        assert (len(nursery.made), states(lane)) == (1, [])


async def test_a_worker_whose_start_breaks_off_is_ended_with_the_lane() -> None:
    def breaks_off() -> None:
        raise ZeroDivisionError

    nursery = Nursery(partial(FakeWorker, start=breaks_off))
    async with lane_of(nursery) as lane:
        with pytest.raises(ZeroDivisionError):
            await lane.start()
        await closed(lane)
        assert nursery.made[0].done.count("end") == 1


# Workers that are worn.


async def test_a_worker_that_was_given_its_last_batch_finishes_it_while_the_next_one_works() -> None:
    nursery = Nursery()
    async with lane_of(nursery, Wear(max_batches=1)) as lane:
        first, second = await given(lane, nursery), await given(lane, nursery)
        assert states(lane) == [State.RETIRING, State.RETIRING]
        old, new = nursery.made
        new.answers(Reply(2))
        assert await second == Reply(2)
        old.answers(Reply(1))
        assert await first == Reply(1)
        await until(lambda: not lane.hired)
        for worker in (old, new):
            order = [what for what in worker.done if what in ("hang_up", "teardown", "end", "lost")]
            assert order == ["hang_up", "teardown", "end", "lost"]
            assert "-end" in worker.threads["teardown"]  # not in the thread that starts the next one


@pytest.mark.parametrize("rss", [1000, 1001])
async def test_a_worker_that_has_grown_too_large_answers_what_it_has_and_no_more(rss: int) -> None:
    nursery = Nursery()
    async with lane_of(nursery, Wear(max_rss=1000)) as lane:
        first, second = await given(lane, nursery), await given(lane, nursery)
        (worker,) = nursery.made
        worker.answers(Reply(1, rss=rss))
        await first
        assert states(lane) == [State.RETIRING if rss > 1000 else State.SERVING]
        assert "teardown" not in worker.done
        worker.answers(Reply(2))
        await second
        if rss > 1000:
            await until(lambda: not lane.hired)
        assert ("teardown" in worker.done) is (rss > 1000)


async def test_a_worn_worker_that_dies_of_its_last_batch_is_buried_without_a_teardown() -> None:
    nursery = Nursery()
    async with lane_of(nursery, Wear(max_batches=1)) as lane:
        running = await given(lane, nursery)
        nursery.made[0].dies(left=LEFT._replace(spot=AT_RECORD))
        assert (await death(running)).at == 3
        assert "teardown" not in nursery.made[0].done


async def test_so_many_may_be_on_their_way_out_and_then_the_next_one_waits() -> None:
    nursery = Nursery()
    async with lane_of(nursery, Wear(max_batches=1)) as lane:
        for n in range(MOST_GOING):
            running = await given(lane, nursery)
            nursery.made[n].may_end.clear()
            nursery.made[n].answers(Reply(5))
            await running
        assert states(lane) == [State.ENDING] * MOST_GOING
        waiting = asyncio.ensure_future(lane.start())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert (len(nursery.made), waiting.done()) == (MOST_GOING, False)
        nursery.made[2].may_end.set()
        await waiting
        assert len(nursery.made) == MOST_GOING + 1
        for worker in nursery.made:
            worker.may_end.set()


async def test_a_teardown_that_hangs_is_cut_short_and_told_when_the_lane_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lanes, "TEARDOWN_TIMEOUT", 0.01)
    nursery = Nursery(hanging)
    async with lane_of(nursery, Wear(max_batches=1)) as lane:
        running = await given(lane, nursery)
        nursery.made[0].answers(Reply(5))
        await running
        await until(lambda: not lane.hired)
        (problem,) = await closed(lane)
        assert problem == "the worker of lane 0 (pid 1) was ended in its teardown: it was told to end"


def hanging(pid: int, **options: Any) -> FakeWorker:
    """A worker that does not get through its teardown, until it is killed in it."""

    def hangs() -> list[str]:
        assert worker.killed.wait(10)
        raise BrokenExecutor("killed")

    worker = FakeWorker(pid, teardown=hangs, **options)
    return worker


# A batch nobody waits for.


async def test_a_batch_that_is_given_up_and_goes_on_is_ended_with_its_worker() -> None:
    nursery = Nursery()
    async with lane_of(nursery) as lane:
        running = await given(lane, nursery)
        (worker,) = nursery.made
        worker.cursor.cells[BATCH], worker.cursor.cells[INDEX] = 1, 3
        running.cancel()
        began = asyncio.get_running_loop().time()
        await until(worker.killed.is_set)
        assert asyncio.get_running_loop().time() - began >= ABANDONED_SECONDS / 2
        assert lane.hired[0].guard.why is EndedFor.ABANDONED
        worker.dies()
        await until(lambda: not lane.hired)  # though nobody waits for its remains


async def test_the_reply_to_a_batch_that_was_given_up_counts_for_its_worker() -> None:
    nursery = Nursery()
    async with lane_of(nursery, Wear(max_batches=1)) as lane:
        running = await given(lane, nursery)
        running.cancel()
        await asyncio.wait([running])
        nursery.made[0].answers(Reply(5))
        assert nursery.made[0].answered == 1
        await until(lambda: not lane.hired)
        assert "teardown" in nursery.made[0].done


# The end.


async def test_at_the_end_a_worker_is_torn_down_and_what_its_teardown_said_is_told() -> None:
    nursery = Nursery(partial(FakeWorker, teardown=lambda: ["Traceback: no"]))
    async with lane_of(nursery) as lane:
        await lane.start()
        assert await closed(lane) == ["Traceback: no"]
        assert nursery.made[0].done == ["start", "hang_up", "teardown", "end"]
        assert states(lane) == []


@pytest.mark.parametrize("graceful", [True, False])
async def test_a_dead_worker_or_one_that_is_to_go_at_once_is_not_torn_down(graceful: bool) -> None:
    nursery = Nursery()
    async with lane_of(nursery) as lane:
        await lane.start()
        nursery.made[0].alive = not graceful
        await closed(lane, graceful=graceful)
        assert nursery.made[0].done == ["start", "hang_up", "end"]


async def test_a_batch_whose_lane_is_closed_is_lost_and_blames_nobody() -> None:
    nursery = Nursery()
    async with lane_of(nursery) as lane:
        running = await given(lane, nursery)
        await closed(lane, graceful=False)
        nursery.made[0].lost()
        with pytest.raises(WorkerLost, match="closed while it had work"):
            await running


async def test_a_closed_lane_takes_no_batch() -> None:
    nursery = Nursery()
    async with lane_of(nursery) as lane:
        await lane.start()
        lane.closing()
        with pytest.raises(WorkerLost, match="closed before"):
            await lane.run(CHAIN, 0, BATCH_OF_5, ship=True)
        await lane.close(graceful=True)
        assert nursery.made[0].chains == []


async def test_a_lane_that_is_closed_starts_nobody() -> None:
    nursery = Nursery()
    async with lane_of(nursery) as lane:
        lane.closing()
        with pytest.raises(WorkerLost, match="closed before its worker had started"):
            await lane.start()
        await lane.close(graceful=True)
        assert nursery.made == []


async def test_a_worker_that_is_being_started_is_killed_and_put_away_too() -> None:
    begun, go_on = threading.Event(), threading.Event()

    def starts() -> None:
        begun.set()
        assert go_on.wait(10)

    nursery = Nursery(partial(FakeWorker, start=starts))
    async with lane_of(nursery) as lane:
        starting = asyncio.ensure_future(lane.start())
        await until(begun.is_set)
        assert states(lane) == [State.STARTING]
        lane.kill()
        assert "kill" in nursery.made[0].done
        closing = asyncio.ensure_future(closed(lane))
        await asyncio.sleep(0)
        go_on.set()
        found, problems = await asyncio.gather(starting, closing, return_exceptions=True)
        assert found is None or isinstance(found, WorkerLost)  # by who was first
        assert problems == []
        assert nursery.made[0].done.count("end") == 1


async def test_all_are_killed_wherever_they_are() -> None:
    nursery = Nursery()
    async with lane_of(nursery, Wear(max_batches=1)) as lane:
        ending, retiring = await given(lane, nursery), await given(lane, nursery)
        nursery.made[0].may_end.clear()
        nursery.made[0].answers(Reply(5))
        await ending
        await lane.start()
        assert states(lane) == [State.ENDING, State.RETIRING, State.SERVING]
        lane.kill()
        assert all(worker.killed.is_set() for worker in nursery.made)
        nursery.made[0].may_end.set()
        nursery.made[1].answers(Reply(5))
        await retiring


async def test_those_that_are_on_their_way_out_are_waited_for() -> None:
    nursery = Nursery()
    async with lane_of(nursery, Wear(max_batches=1)) as lane:
        running = await given(lane, nursery)
        nursery.made[0].may_end.clear()
        nursery.made[0].answers(Reply(5))
        await running
        closing = asyncio.ensure_future(closed(lane))
        await until(lambda: "teardown" in nursery.made[0].done)
        assert not closing.done()
        nursery.made[0].may_end.set()
        await closing
        assert nursery.made[0].done.count("end") == 1


@pytest.mark.parametrize(
    ("overdue", "foreign", "told"), [(True, True, True), (False, True, False), (False, False, True)]
)
async def test_a_teardown_that_was_cut_short_is_told_unless_somebody_else_did_it(
    overdue: bool, foreign: bool, told: bool, caplog: pytest.LogCaptureFixture
) -> None:
    nursery = Nursery(partial(hanging, left=LEFT._replace(foreign=foreign)))
    async with lane_of(nursery) as lane:
        await lane.start()
        closing = asyncio.ensure_future(closed(lane))
        await until(lambda: "teardown" in nursery.made[0].done)
        with caplog.at_level(logging.WARNING, "pipeframe_async"):
            lane.kill(overdue=overdue)
            problems = await closing
        assert (len(problems), len(caplog.records)) == ((1, 0) if told else (0, 1))


# Records that are ceded.


@asynccontextmanager
async def at_work(tmp_path: Path) -> AsyncIterator[tuple[ProcessLane, Running, Packed, Cursor]]:
    """A lane whose worker has claimed two of five records, and the worker's own side of the cursor."""
    cells = tmp_path / "cells"
    cells.write_bytes(bytes(NBYTES))
    nursery = Nursery()
    async with lane_of(nursery) as lane:
        await lane.start()
        fd = os.open(cells, os.O_RDWR)
        nursery.made[0].cursor, own = Cursor(fd), Cursor(fd)
        os.close(fd)
        batch = Packed(5, b"records")
        running = asyncio.ensure_future(lane.run(CHAIN, 0, batch, ship=True))
        await until(lambda: bool(nursery.made[0].asked))
        (ticket,) = nursery.made[0].asked
        own.enter(ticket)
        own.claim(0, 2)
        yield lane, running, batch, own
        own.close()
        if nursery.made[0].asked:
            nursery.made[0].answers(Reply(2))
        await running


async def test_what_its_worker_has_not_claimed_is_ceded_once(tmp_path: Path) -> None:
    async with at_work(tmp_path) as (lane, _, batch, own):
        assert lane.waits_behind(batch) is not None
        assert await lane.cede(batch) == 2
        assert own.claim(2, 4) == 2
        assert lane.waits_behind(batch) is None
        assert await lane.cede(batch) is None


async def test_what_its_worker_claims_meanwhile_is_not(tmp_path: Path) -> None:
    async with at_work(tmp_path) as (lane, _, batch, own):
        ceding = asyncio.ensure_future(lane.cede(batch))
        await asyncio.sleep(0)
        own.cells[CLAIMED] = 4  # as a worker that has not seen it yet
        assert await ceding is None


async def test_what_is_answered_meanwhile_is_not(tmp_path: Path) -> None:
    async with at_work(tmp_path) as (lane, running, batch, _):
        ceding = asyncio.ensure_future(lane.cede(batch))
        await asyncio.sleep(0)
        lane.hired[0].worker.answers(Reply(2))  # type: ignore[attr-defined]
        await running
        assert await ceding is None


async def test_a_batch_that_it_does_not_have_waits_behind_nothing() -> None:
    async with lane_of(Nursery()) as lane:
        assert lane.waits_behind(BATCH_OF_5) is None
        assert await lane.cede(BATCH_OF_5) is None
