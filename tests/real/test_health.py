"""Health while a broker is away: live, for a restart would not bring it back, and not ready."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeframe_async import PipeFrame, PipelineEngine
from pipeframe_async.feeds import RedisStream
from tests.real.folders import SERVER_FOLDER
from tests.real.servers import Server, missing, redis_server

pytestmark = [pytest.mark.process, pytest.mark.one_loop]


@pytest.fixture
def broker() -> Iterator[Server]:
    """One of its own, which is killed."""
    with tempfile.TemporaryDirectory(prefix=f"{SERVER_FOLDER}redis-") as folder:
        if (server := redis_server(Path(folder), None)) is None:
            missing("redis")
            return
        server.start()
        try:
            yield server
        finally:
            server.stop()


def unchanged(record: Any) -> tuple[Any, bool]:
    return record, True


class Orders(PipelineEngine[Any, Any]):
    steps = (unchanged,)
    source = "stream"
    timeout = None


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.05)


async def test_while_its_broker_is_away_a_run_is_live_and_not_ready(broker: Server) -> None:
    frame = PipeFrame(1, monitor="127.0.0.1:0", stall_after=0.5, drain_timeout=5)
    running = asyncio.create_task(frame.run(Orders, RedisStream(broker.url, "orders", group="shop")))
    await until(lambda: frame.health().ready)
    broker.kill()
    await until(lambda: not frame.health().ready)
    assert frame.health().reason == "the source of Orders is away"
    await asyncio.sleep(1.0)  # longer than `stall_after`
    assert frame.health().live
    broker.start()
    await until(lambda: frame.health().ready)
    frame.stop()
    await running
