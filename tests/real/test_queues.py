"""What holds for every queue, on its real server: nothing is lost, and nothing goes round for ever."""

from __future__ import annotations

import asyncio
import uuid

import pytest

from tests.real.kinds import KINDS, Kind
from tests.real.runs import Run, fails_for_odd
from tests.real.servers import Server


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
