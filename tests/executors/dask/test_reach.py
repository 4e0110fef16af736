"""The client's talk with a cluster."""

from __future__ import annotations

import asyncio

import pytest

pytest.importorskip("distributed", reason="no distributed is here")

from pipeframe_async import ConfigError
from pipeframe_async.executors.dask import reach as reaching
from pipeframe_async.executors.dask.at import Cluster
from pipeframe_async.executors.dask.reach import Member, Reach, Unreachable
from tests.executors.dask.cluster import DaskCluster
from tests.real.servers import free_port

pytestmark = [pytest.mark.process, pytest.mark.one_loop]


async def test_the_members_are_the_workers_with_their_threads(steady: DaskCluster) -> None:
    reach = await Reach.to(Cluster(address=steady.tcp), 5.0)
    try:
        members = await reach.members()
        assert [*members.values()] == [Member(1, stays=True, begins=True)] * 2
    finally:
        await reach.close()


async def test_a_worker_that_cannot_be_connected_to_was_not_given_the_message(
    steady: DaskCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reaching, "CONNECT_SECONDS", 0.5)
    reach = await Reach.to(Cluster(address=steady.tcp), 5.0)
    try:
        with pytest.raises(Unreachable):
            await reach.ask(f"tcp://127.0.0.1:{free_port()}", "opened", lease="none")
    finally:
        await reach.close()


async def test_a_worker_without_our_handlers_is_another_one_by_now(steady: DaskCluster) -> None:
    reach = await Reach.to(Cluster(address=steady.tcp), 5.0)
    try:
        (address, *_) = await reach.members()
        with pytest.raises(OSError, match="does not know 'nothing'"):
            await reach.ask(address, "nothing")
    finally:
        await reach.close()


async def test_what_answers_and_is_no_scheduler_is_refused(steady: DaskCluster) -> None:
    reach = await Reach.to(Cluster(address=steady.tcp), 5.0)
    try:
        (address, *_) = await reach.members()
    finally:
        await reach.close()
    with pytest.raises(ConfigError, match="a Dask worker answers there, and no scheduler"):
        await Reach.to(Cluster(address=address), 5.0)

    async def rude(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 10)
        writer.close()

    async with await asyncio.start_server(rude, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(ConfigError, match="no Dask scheduler answers there"):
            await Reach.to(Cluster(address=f"tcp://127.0.0.1:{port}"), 5.0)
