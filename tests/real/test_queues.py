"""What holds for every queue, on its real server: nothing is lost, and nothing goes round for ever."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pipeframe_async import Failure, PipeFrame, PipelineEngine
from tests.real.consumers import Consumers, until
from tests.real.kinds import KINDS, Kind
from tests.real.servers import Server

LEASE = 2.0


@pytest.fixture(scope="session", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """One after the other."""
    return str(request.param)


@pytest.fixture(scope="session")
def server(kind: str, request: pytest.FixtureRequest) -> Server:
    """The one of that kind."""
    server: Server = request.getfixturevalue(kind)
    return server


@pytest.fixture
def queue(kind: str) -> Kind:
    """What it can do."""
    return KINDS[kind]


@pytest.fixture
def name() -> str:
    """Of a new queue."""
    return f"q{uuid.uuid4().hex[:12]}"


@pytest.fixture
def consumers(kind: str, queue: Kind, server: Server, name: str, tmp_path: Path) -> Iterator[Consumers]:
    """Programs that consume it."""
    made = Consumers(kind, server.url, name, tmp_path, lease=queue.lease)
    yield made
    made.end()


def passed(record: Any) -> tuple[Any, bool]:
    """As it came."""
    return record, True


def fails_for_odd(record: int) -> tuple[int, bool]:
    """Half of them."""
    if record % 2:
        raise ValueError("odd")
    return record, True


class Run:
    """A run in this process, and what its sink and its dead letter have been given."""

    def __init__(self, source: Any, *steps: Any, dead_letter: bool = True, **knobs: Any) -> None:
        self.source = source
        self.taken: list[Any] = []
        self.failures: list[Failure[Any]] = []
        self.frame = PipeFrame(1, executor="inline", **knobs)

        hooks: dict[str, Any] = {"feed": source, "steps": list(steps) or [passed], "sink": self._take}
        if dead_letter:
            hooks["dead_letter"] = self._bury
        self.pipeline = type("Through", (PipelineEngine,), hooks)

    async def _take(self, records: list[Any]) -> None:
        self.taken += records

    async def _bury(self, failures: list[Failure[Any]]) -> None:
        self.failures += failures

    async def until(self, enough: Any, patience: float = 30.0) -> Any:
        """Run until that holds; then stop the source, and give the report."""
        running = asyncio.ensure_future(self.frame.run(self.pipeline))
        async with asyncio.timeout(patience):
            while not enough() and not running.done():
                await asyncio.sleep(0.02)
            self.source.stop()
            return await running


async def test_all_records_come_and_are_answered(queue: Kind, server: Server, name: str) -> None:
    queue.publish(server.url, name, range(500))
    run = Run(queue.source(server.url, name))
    report = await run.until(lambda: len(run.taken) == 500)
    assert sorted(run.taken) == list(range(500))
    assert (report.delivered, report.ack_errors, report.aborted) == (500, 0, 0)
    assert queue.unanswered(server.url, name) == 0


async def test_no_more_are_taken_than_there_is_room_for(queue: Kind, server: Server, name: str) -> None:
    queue.publish(server.url, name, range(100))
    most = 0

    async def slow(record: int) -> tuple[int, bool]:
        nonlocal most
        most = max(most, run.frame.stats().unacked)
        await asyncio.sleep(0.001)
        return record, True

    run = Run(queue.source(server.url, name), slow, buffer_size=10)
    await run.until(lambda: len(run.taken) == 100)
    assert most == 10


async def test_a_failure_that_the_dead_letter_has_is_answered(queue: Kind, server: Server, name: str) -> None:
    queue.publish(server.url, name, range(100))
    run = Run(queue.source(server.url, name), fails_for_odd)
    await run.until(lambda: len(run.taken) + len(run.failures) == 100)
    assert {failure.record for failure in run.failures} == {str(n).encode() for n in range(1, 100, 2)}
    assert queue.unanswered(server.url, name) == 0


async def test_a_failure_that_nobody_has_comes_again_and_at_last_stays(
    queue: Kind, server: Server, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    queue.publish(server.url, name, [1])
    tried: list[float] = []

    async def fails(record: int) -> tuple[int, bool]:
        tried.append(time.monotonic())
        raise ValueError("never")

    run = Run(queue.source(server.url, name, max_deliveries=2), fails, dead_letter=False)
    report = await run.until(lambda: "no dead_letter" in caplog.text)
    assert len(tried) == 2
    assert tried[1] - tried[0] > 0.9  # it pauses
    assert (report.failed, report.redelivered) == (3, 2)
    assert queue.unanswered(server.url, name) == 1


async def test_one_source_stops_by_itself_and_hands_back_what_it_has_not_begun(
    queue: Kind, server: Server, name: str
) -> None:
    queue.publish(server.url, name, range(1_000))

    async def slow(record: int) -> tuple[int, bool]:
        await asyncio.sleep(0.01)
        return record, True

    run = Run(queue.source(server.url, name), slow, buffer_size=20)
    report = await run.until(lambda: len(run.taken) > 10)
    assert report.aborted == 0
    assert len(run.taken) < 100
    assert queue.unanswered(server.url, name) == 1_000 - len(run.taken)
    rest = Run(queue.source(server.url, name))
    report = await rest.until(lambda: len(rest.taken) + len(run.taken) == 1_000, patience=10)
    assert sorted(rest.taken + run.taken) == list(range(1_000))
    assert not rest.failures


async def test_it_says_how_many_the_server_still_has(queue: Kind, server: Server, name: str) -> None:
    queue.publish(server.url, name, range(50))
    held = asyncio.Event()

    async def waits(record: int) -> tuple[int, bool]:
        await held.wait()
        return record, True

    run = Run(queue.source(server.url, name), waits, buffer_size=5)
    running = asyncio.ensure_future(run.until(lambda: held.is_set() and len(run.taken) == 50))
    while run.frame.stats().lag != 45:
        await asyncio.sleep(0.05)
    held.set()
    report = await running
    assert report.lag == 0 or report.lag is None or report.lag <= 45


@pytest.mark.one_loop  # it takes its time
async def test_what_takes_longer_than_a_lease_is_not_given_to_others(queue: Kind, server: Server, name: str) -> None:
    queue.publish(server.url, name, range(3))

    async def slow(record: int) -> tuple[int, bool]:
        await asyncio.sleep(2.5 * LEASE)
        return record, True

    runs = [Run(queue.source(server.url, name, lease=LEASE), slow) for _ in range(1 if queue.deals else 2)]
    done = lambda: sum(len(run.taken) for run in runs) >= 3  # noqa: E731
    reports = await asyncio.gather(*(run.until(done) for run in runs))
    assert sorted(record for run in runs for record in run.taken) == [0, 1, 2]
    assert not any(report.redelivered for report in reports)


@pytest.mark.one_loop  # it takes its time
async def test_a_server_that_is_away_is_said_once_and_nothing_is_lost(
    queue: Kind, server: Server, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    queue.publish(server.url, name, range(200))

    async def slow(record: int) -> tuple[int, bool]:
        await asyncio.sleep(0.02)
        return record, True

    run = Run(queue.source(server.url, name), slow, buffer_size=20)
    running = asyncio.ensure_future(run.until(lambda: len({*run.taken}) == 200, patience=60))
    while len(run.taken) < 50:
        await asyncio.sleep(0.01)
    (server.kill if queue.keeps else server.pause)()
    await asyncio.sleep(10)
    await asyncio.to_thread(server.start if queue.keeps else server.go_on)
    report = await running
    assert {*run.taken} == {*range(200)}
    assert len(run.taken) <= 200 + queue.forgets  # what was in flight is still this consumer's
    assert report.reconnects == 1
    assert [record.levelname for record in caplog.records if " is away " in record.getMessage()] == ["WARNING"]
    assert [record.levelname for record in caplog.records if " is back " in record.getMessage()] == ["WARNING"]
    assert queue.unanswered(server.url, name) == 0


def test_nothing_is_lost_whoever_is_killed(
    queue: Kind, server: Server, name: str, consumers: Consumers, record_property: Any
) -> None:
    queue.publish(server.url, name, range(4_000))
    process = consumers.start()
    for killed in range(6):
        until(partial(consumers.have, 500 * (killed + 1)))
        if killed % 2:
            (server.kill if queue.keeps else server.pause)()
            time.sleep(0.3)
            (server.start if queue.keeps else server.go_on)()
        consumers.kill(process)
        process = consumers.start()
    until(lambda: len(consumers.written) == 4_000 and queue.unanswered(server.url, name) == 0)
    said, _ = consumers.terminate(process)
    twice = sum(consumers.written.values()) - 4_000
    record_property("twice", twice)
    assert twice <= 6 * 200 + 3 * queue.forgets  # what was in flight at a kill, at most
    assert (said["aborted"], said["ack_errors"], consumers.dead) == (0, 0, [])


def test_a_record_that_kills_its_program_ends_in_the_dead_letter(
    queue: Kind, server: Server, name: str, tmp_path: Path, kind: str
) -> None:
    if not queue.counts:
        pytest.skip("its server counts no deliveries")
    consumers = Consumers(kind, server.url, name, tmp_path, lease=LEASE, max_deliveries=3)
    queue.publish(server.url, name, [-2])
    try:
        for _ in range(3):
            process = consumers.start()
            assert process.wait(60) != 0
        process = consumers.start()
        until(lambda: consumers.dead)
        consumers.terminate(process)
    finally:
        consumers.end()
    (failure,) = consumers.dead
    assert (failure["kind"], failure["record"], failure["attempts"]) == ("poison", "-2", 3)
    assert queue.unanswered(server.url, name) == 0


def test_one_dies_and_the_other_takes_its_records_over(
    queue: Kind, server: Server, name: str, consumers: Consumers
) -> None:
    queue.publish(server.url, name, range(2_000))
    one, other = consumers.start(), consumers.start()
    until(lambda: len(consumers.written) >= 500)
    consumers.kill(one)
    until(lambda: len(consumers.written) == 2_000 and queue.unanswered(server.url, name) == 0)
    consumers.terminate(other)


def test_sigterm_drains_and_hands_back(queue: Kind, server: Server, name: str, consumers: Consumers) -> None:
    queue.publish(server.url, name, range(4_000))
    process = consumers.start()
    until(lambda: len(consumers.written) >= 300)
    began = time.monotonic()
    said, log = consumers.terminate(process)
    assert time.monotonic() - began < 5
    assert (said["aborted"], said["ack_errors"]) == (0, 0), log
    assert sum(consumers.written.values()) == said["fed"]  # each once
    assert queue.unanswered(server.url, name) == 4_000 - said["fed"]
