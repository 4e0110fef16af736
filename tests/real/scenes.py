"""What takes its time to see of a queue: each scene is for one kind, with a queue of its own, and fails as a test does.

Scenes of all kinds are played at the same time: they mostly wait.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from tests.real.consumers import Consumers, until
from tests.real.kinds import KINDS, Kind
from tests.real.runs import Run
from tests.real.servers import Server

LEASE = 2.0


@dataclass(frozen=True)
class Stage:
    """Where a scene is played.

    Attributes:
        kind: of the queue.
        server: that has it.
        folder: for files.
        name: of a queue that is not there yet.
    """

    kind: str
    server: Server
    folder: Path
    name: str

    @classmethod
    def new(cls, kind: str, server: Server, folder: Path) -> Stage:
        """Another one."""
        name = f"q{uuid.uuid4().hex[:12]}"
        (folder / name).mkdir()
        return cls(kind, server, folder / name, name)

    @property
    def queue(self) -> Kind:
        """What the kind can do."""
        return KINDS[self.kind]

    @property
    def unanswered(self) -> int:
        """What the server still has."""
        return self.queue.unanswered(self.server.url, self.name)

    def down(self) -> None:
        """The server is killed; or it stands still, where it would have nothing afterwards."""
        (self.server.kill if self.queue.keeps else self.server.pause)()

    def up(self) -> None:
        """It is there again."""
        (self.server.start if self.queue.keeps else self.server.go_on)()

    def publish(self, *records: int) -> None:
        """Into the queue."""
        self.queue.publish(self.server.url, self.name, records)

    @contextmanager
    def consumers(self, **options: object) -> Iterator[Consumers]:
        """Programs that consume it."""
        made = Consumers(self.kind, self.server.url, self.name, self.folder, lease=self.queue.lease, **options)
        try:
            yield made
        finally:
            made.end()

    @contextmanager
    def said(self) -> Iterator[list[str]]:
        """What is logged about it."""
        messages: list[str] = []

        class Kept(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                messages.append(record.getMessage())

        handler = Kept()
        handler.addFilter(lambda record: self.name in record.getMessage())
        logger = logging.getLogger("pipeframe_async")
        logger.addHandler(handler)
        try:
            yield messages
        finally:
            logger.removeHandler(handler)


def a_failure_that_nobody_has_comes_again_and_at_last_stays(stage: Stage) -> None:
    """It pauses between; then it is poison, and the server keeps it."""
    stage.publish(1)
    tried: list[float] = []

    async def fails(record: int) -> tuple[int, bool]:
        tried.append(time.monotonic())
        raise ValueError("never")

    source = stage.queue.source(stage.server.url, stage.name, max_deliveries=2)
    run = Run(source, fails, dead_letter=False)
    with stage.said() as said:
        report = asyncio.run(run.until(lambda: any("no dead_letter" in one for one in said)))
    assert len(tried) == 2
    assert tried[1] - tried[0] > 0.9
    assert (report.failed, report.redelivered) == (3, 2)
    assert stage.unanswered == 1


def what_takes_longer_than_a_lease_is_not_given_to_others(stage: Stage) -> None:
    """Though another consumer would take it."""
    stage.publish(0, 1, 2)

    async def slow(record: int) -> tuple[int, bool]:
        await asyncio.sleep(2.5 * LEASE)
        return record, True

    async def played() -> None:
        runs = [
            Run(stage.queue.source(stage.server.url, stage.name, lease=LEASE), slow)
            for _ in range(1 if stage.queue.deals else 2)
        ]
        done = lambda: sum(len(run.taken) for run in runs) >= 3  # noqa: E731
        reports = await asyncio.gather(*(run.until(done) for run in runs))
        assert sorted(record for run in runs for record in run.taken) == [0, 1, 2]
        assert not any(report.redelivered for report in reports)

    asyncio.run(played())


def a_server_that_is_away_is_said_once_and_nothing_is_lost(stage: Stage) -> None:
    """For ten seconds."""
    stage.publish(*range(200))

    async def slow(record: int) -> tuple[int, bool]:
        await asyncio.sleep(0.02)
        return record, True

    async def played() -> None:
        run = Run(stage.queue.source(stage.server.url, stage.name), slow, buffer_size=20)
        running = asyncio.ensure_future(run.until(lambda: len({*run.taken}) == 200, patience=60))
        while len(run.taken) < 50:
            await asyncio.sleep(0.01)
        stage.down()
        await asyncio.sleep(10)
        await asyncio.to_thread(stage.up)
        report = await running
        assert {*run.taken} == {*range(200)}
        assert len(run.taken) <= 200 + stage.queue.forgets  # what was in flight is still this consumer's
        assert report.reconnects == 1

    with stage.said() as said:
        asyncio.run(played())
    assert len([one for one in said if " is away " in one]) == 1
    assert len([one for one in said if " is back " in one]) == 1
    assert stage.unanswered <= stage.queue.forgets


def nothing_is_lost_whoever_is_killed(stage: Stage) -> None:
    """The consumer six times, the server three times."""
    stage.publish(*range(4_000))
    with stage.consumers() as consumers:
        process = consumers.start()
        for killed in range(6):
            until(partial(consumers.have, 500 * (killed + 1)))
            if killed % 2:
                stage.down()
                time.sleep(0.3)
                stage.up()
            consumers.kill(process)
            process = consumers.start()
        until(lambda: len(consumers.written) == 4_000 and stage.unanswered == 0)
        said, _ = consumers.terminate(process)
        twice = sum(consumers.written.values()) - 4_000
        assert twice <= 6 * 200 + 3 * stage.queue.forgets  # what was in flight at a kill, at most
        assert (said["aborted"], said["ack_errors"], consumers.dead) == (0, 0, [])


def a_record_that_kills_its_program_ends_in_the_dead_letter(stage: Stage) -> None:
    """After three programs; where the server counts deliveries."""
    if not stage.queue.counts:
        pytest.skip("its server counts no deliveries to consumers that died")
    stage.publish(-2)
    with stage.consumers(max_deliveries=3) as consumers:
        for _ in range(3):
            assert consumers.start().wait(60) != 0
        process = consumers.start()
        until(lambda: consumers.dead)
        consumers.terminate(process)
        (failure,) = consumers.dead
    assert (failure["kind"], failure["record"], failure["attempts"]) == ("poison", "-2", 3)
    assert stage.unanswered == 0


def one_dies_and_the_other_takes_its_records_over(stage: Stage) -> None:
    """Side by side."""
    stage.publish(*range(2_000))
    with stage.consumers() as consumers:
        one, other = consumers.start(), consumers.start()
        until(partial(consumers.have, 500))
        consumers.kill(one)
        until(lambda: len(consumers.written) == 2_000 and stage.unanswered == 0)
        consumers.terminate(other)


def sigterm_drains_and_hands_back(stage: Stage) -> None:
    """Each record once, and the rest is anybody's at once."""
    stage.publish(*range(4_000))
    with stage.consumers() as consumers:
        process = consumers.start()
        until(partial(consumers.have, 300))
        began = time.monotonic()
        said, log = consumers.terminate(process)
        assert time.monotonic() - began < 5
        assert (said["aborted"], said["ack_errors"]) == (0, 0), log
        assert sum(consumers.written.values()) == said["fed"]
        assert stage.unanswered == 4_000 - said["fed"]


SCENES: dict[str, Callable[[Stage], None]] = {
    scene.__name__: scene
    for scene in (
        a_failure_that_nobody_has_comes_again_and_at_last_stays,
        what_takes_longer_than_a_lease_is_not_given_to_others,
        a_server_that_is_away_is_said_once_and_nothing_is_lost,
        nothing_is_lost_whoever_is_killed,
        a_record_that_kills_its_program_ends_in_the_dead_letter,
        one_dies_and_the_other_takes_its_records_over,
        sigterm_drains_and_hands_back,
    )
}
