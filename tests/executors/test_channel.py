"""The parent's end of the channel, with this very process at the other end: nothing lost, nobody left waiting."""

from __future__ import annotations

import asyncio
import os
import socket
from concurrent.futures import BrokenExecutor
from typing import Any

import pytest

from pipeframe_async._worker import channel as messages
from pipeframe_async._worker.channel import Inbox, Region, pack
from pipeframe_async.executors.channel import Channel
from pipeframe_async.wire import Packed, Reply


class Other:
    """A worker's end: hears calls, and answers when it is told to."""

    def __init__(self, channel: Channel) -> None:
        ends = channel.ends()
        self.socket = socket.socket(fileno=os.dup(ends.socket.fd))
        self.socket.settimeout(5)
        self.inbound = [Region(os.dup(file.fd)) for file in ends.inbound]
        self.outbound = [Region(os.dup(file.fd)) for file in ends.outbound]
        self.inbox = Inbox(self.inbound)
        channel.given()

    async def heard(self) -> list[Any]:
        """The calls that come next, at least one."""
        loop, calls = asyncio.get_running_loop(), list[Any]()
        while not calls:
            calls += self.inbox.take(await loop.run_in_executor(None, self.socket.recv, 65536))
        return calls

    def answer(self, ticket: int, reply: Reply) -> None:
        self.socket.sendall(pack((ticket, tuple(reply)), None))

    def close(self) -> None:
        self.socket.close()
        for region in [*self.inbound, *self.outbound]:
            region.close()


class Talk:
    """A channel in use: what was told, by ticket."""

    def __init__(self) -> None:
        self.channel = Channel()
        self.other = Other(self.channel)
        self.session: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.told: dict[int, Reply | Exception] = {}
        self.channel.open(self.session)

    def ask(self, ticket: int, data: bytes = b"records") -> None:
        def told(reply: Reply | Exception) -> None:
            assert ticket not in self.told
            self.told[ticket] = reply

        self.channel.ask(ticket, "chain", None, Packed(1, data), True, False, told)

    async def until_told(self, tickets: int) -> None:
        async with asyncio.timeout(5):
            while len(self.told) < tickets:
                await asyncio.sleep(0.001)


@pytest.fixture
async def talk() -> Any:
    talk = Talk()
    yield talk
    talk.channel.detach()
    talk.channel.close()
    talk.other.close()


async def test_replies_come_to_those_who_asked_in_any_order(talk: Talk) -> None:
    for ticket in range(5):
        talk.ask(ticket)
    calls: list[Any] = []
    while len(calls) < 5:
        calls += await talk.other.heard()
    assert [call[0] for call in calls] == list(range(5))
    for ticket in (3, 0, 4, 1, 2):
        talk.other.answer(ticket, Reply(ticket))
    await talk.until_told(5)
    assert talk.told == {ticket: Reply(ticket) for ticket in range(5)}


async def test_two_batches_have_regions_and_more_go_over_the_socket(talk: Talk) -> None:
    large = bytes(messages.INLINE_BYTES + 1)
    for ticket in range(3):
        talk.ask(ticket, large)
    calls: list[Any] = []
    while len(calls) < 3:
        calls += await talk.other.heard()
    assert sorted(region for _, region, _ in calls) == [-1, 0, 1]
    assert all(bytes(call[3]) == large for _, _, call in calls)
    talk.other.answer(0, Reply(1))
    await talk.until_told(1)
    talk.ask(3, large)
    ((_, region, _),) = await talk.other.heard()
    assert region == calls[0][1]  # the one that came free


async def test_more_than_the_socket_takes_is_sent_when_there_is_room(talk: Talk) -> None:
    talk.channel._free.clear()  # no region: all over the socket
    for ticket in range(4):
        talk.ask(ticket, bytes([ticket]) * 1_000_000)
    calls: list[Any] = []
    while len(calls) < 4:
        calls += await talk.other.heard()
    assert [bytes(call[3]) for _, _, call in calls] == [bytes([ticket]) * 1_000_000 for ticket in range(4)]


async def test_a_reply_in_pieces_is_one_reply(talk: Talk) -> None:
    talk.ask(7)
    message = pack((7, tuple(Reply(1, results=b"x" * 1000))), None)
    for at in range(0, len(message), 100):
        talk.other.socket.sendall(message[at : at + 100])
        await asyncio.sleep(0)
    await talk.until_told(1)
    assert talk.told == {7: Reply(1, results=b"x" * 1000)}


async def test_what_a_worker_said_before_its_end_counts_and_the_rest_is_lost(talk: Talk) -> None:
    talk.ask(1)
    talk.ask(2)
    talk.other.answer(1, Reply(1))
    talk.other.socket.sendall(pack((2, tuple(Reply(1))), None)[:-3])  # it was cut short
    talk.session.set_exception(BrokenExecutor("killed"))
    await talk.until_told(2)
    assert talk.told[1] == Reply(1)
    assert isinstance(talk.told[2], BrokenExecutor)


async def test_a_worker_that_hangs_up_is_lost_when_its_session_is_over_and_not_before(talk: Talk) -> None:
    talk.ask(1)
    talk.other.socket.shutdown(socket.SHUT_RDWR)
    for _ in range(5):
        await asyncio.sleep(0.001)
    assert talk.told == {}
    talk.session.set_result(None)
    await talk.until_told(1)
    assert isinstance(talk.told[1], BrokenExecutor)


async def test_asking_a_worker_that_is_gone_raises(talk: Talk) -> None:
    talk.session.set_result(None)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    with pytest.raises(BrokenExecutor):
        talk.ask(1)


async def test_a_reply_nobody_can_read_loses_the_worker_and_not_the_run(talk: Talk) -> None:
    talk.ask(1)
    talk.ask(2)
    head = messages._HEAD.pack(4, messages.NO_REGION, 0)
    talk.other.socket.sendall(head + b"junk")
    await talk.until_told(2)
    assert all(isinstance(told, BrokenExecutor) for told in talk.told.values())


async def test_without_memory_without_a_name_all_goes_over_the_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "memfd_create", raising=False)
    talk = Talk()
    talk.ask(1, bytes(100_000))
    ((_, region, call),) = await talk.other.heard()
    assert (region, bytes(call[3])) == (-1, bytes(100_000))
    talk.channel.detach()
    talk.channel.close()
    talk.other.close()


ENDS = {
    "hang up, then the session ends": ("detach", "session", "close"),
    "the session ends first": ("session", "detach", "close"),
    "finished in good order": ("finish", "detach", "close", "session"),
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
async def test_nothing_is_left_on_the_loop_in_whatever_order_it_ends(end: tuple[str, ...]) -> None:
    talk = Talk()
    fd = talk.channel._socket.fileno()
    for step in end:
        if step == "session":
            talk.session.set_result(None)
            await asyncio.sleep(0)
        else:
            getattr(talk.channel, step)()
    await asyncio.sleep(0)
    assert not asyncio.get_running_loop().remove_reader(fd)
    talk.other.close()
