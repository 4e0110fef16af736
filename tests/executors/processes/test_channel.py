"""The parent's end of the channel, with this very process at the other end: nothing lost, nobody left waiting."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from concurrent.futures import BrokenExecutor
from itertools import permutations
from typing import Any

import pytest

from pipeframe_async._worker import channel as messages
from pipeframe_async._worker.channel import Buffers, Inbox, Region, light, pack
from pipeframe_async._worker.forwarding import Chunk
from pipeframe_async._worker.session import LOGS
from pipeframe_async._worker.wanted import Wanted
from pipeframe_async.executors.processes.channel import REGIONS, Channel
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
            messages = self.inbox.take(await loop.run_in_executor(None, self.socket.recv, 65536))
            calls += [(ticket, *message) for ticket, message in messages]
        return calls

    def answer(self, ticket: int, reply: Reply) -> None:
        self.socket.sendall(pack(ticket, tuple(reply), None))

    def close(self) -> None:
        self.socket.close()
        for region in [*self.inbound, *self.outbound]:
            region.close()


class Talk:
    """A channel in use: what was told, by ticket."""

    def __init__(self, logs: Any = None) -> None:
        self.channel = Channel(logs, "lane 7")
        self.other = Other(self.channel)
        self.session: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.told: dict[int, Reply | Exception] = {}
        self.channel.open(self.session)

    def ask(self, ticket: int, data: bytes = b"records") -> None:
        def told(reply: Reply | Exception) -> None:
            assert ticket not in self.told
            self.told[ticket] = reply

        self.channel.ask(ticket, "chain", None, Packed(1, data, positions=range(40, 41)), True, False, told)

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
    message = pack(7, tuple(Reply(1, results=b"x" * 1000)), None)
    for at in range(0, len(message), 100):
        talk.other.socket.sendall(message[at : at + 100])
        await asyncio.sleep(0)
    await talk.until_told(1)
    assert talk.told == {7: Reply(1, results=b"x" * 1000)}


async def test_what_a_worker_said_before_its_end_counts_and_the_rest_is_lost(talk: Talk) -> None:
    talk.ask(1)
    talk.ask(2)
    talk.other.answer(1, Reply(1))
    talk.other.socket.sendall(pack(2, tuple(Reply(1)), None)[:-3])  # it was cut short
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
    head = messages._HEAD.pack(1, 4, messages.NO_REGION, 0)
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


async def test_replies_left_unread_are_told_before_the_end_is(talk: Talk) -> None:
    tickets = range(200)
    for ticket in tickets:
        talk.ask(ticket)
    sent = b"".join(pack(ticket, tuple(Reply(1, results=b"x" * 500)), None) for ticket in tickets[:-1])
    talk.other.socket.sendall(sent)  # more than one read takes
    talk.other.socket.close()
    talk.session.set_result(None)
    await talk.until_told(len(tickets))
    assert list(talk.told) == list(tickets)
    assert all(talk.told[ticket] == Reply(1, results=b"x" * 500) for ticket in tickets[:-1])
    assert isinstance(talk.told[tickets[-1]], BrokenExecutor)


async def test_replies_left_unread_by_a_worker_with_calls_unread_are_told_too(talk: Talk) -> None:
    for ticket in range(3):
        talk.ask(ticket, b"never read by the worker")
    talk.other.answer(0, Reply(1))
    talk.other.socket.close()  # with calls in it: the parent's next read after the reply is an error
    await talk.until_told(1)
    talk.session.set_exception(BrokenExecutor("killed"))
    await talk.until_told(3)
    assert talk.told[0] == Reply(1)
    assert all(isinstance(talk.told[ticket], BrokenExecutor) for ticket in (1, 2))


async def test_why_the_session_ended_is_the_cause_of_what_is_told(talk: Talk) -> None:
    talk.ask(1)
    cause = BrokenExecutor("killed")
    talk.session.set_exception(cause)
    await talk.until_told(1)
    told = talk.told[1]
    assert isinstance(told, BrokenExecutor)
    assert told.__cause__ is cause


async def test_a_session_that_is_cancelled_is_an_end_like_any_other(talk: Talk) -> None:
    talk.ask(1)
    talk.session.cancel()
    await talk.until_told(1)
    assert isinstance(talk.told[1], BrokenExecutor)


async def test_a_worker_that_dies_with_calls_on_their_way_is_told_once_and_the_rest_dropped(talk: Talk) -> None:
    talk.channel._free.clear()
    for ticket in range(5):
        talk.ask(ticket, bytes(1_000_000))  # most of it cannot be written yet
    talk.other.socket.close()
    async with asyncio.timeout(5):
        while talk.channel._unsent and talk.channel._loop is not None:
            await asyncio.sleep(0.001)
    assert talk.told == {}
    talk.session.set_exception(BrokenExecutor("killed"))
    await talk.until_told(5)
    assert all(isinstance(told, BrokenExecutor) for told in talk.told.values())


async def test_calls_that_wait_for_room_keep_their_order_with_small_ones_behind_large(talk: Talk) -> None:
    talk.channel._free.clear()
    sizes = [700_000, 1, 300_000, 2, 3, 900_000, 4]
    for ticket, size in enumerate(sizes):
        talk.ask(ticket, bytes([ticket]) * size)
    calls: list[Any] = []
    while len(calls) < len(sizes):
        calls += await talk.other.heard()
    assert [(ticket, bytes(call[3])) for ticket, _, call in calls] == [
        (ticket, bytes([ticket]) * size) for ticket, size in enumerate(sizes)
    ]
    assert not talk.channel._unsent
    assert not asyncio.get_running_loop().remove_writer(talk.channel._socket.fileno())


async def test_a_large_reply_is_read_while_large_calls_wait_to_be_written(talk: Talk) -> None:
    talk.channel._free.clear()
    for ticket in range(2):
        talk.ask(ticket, bytes(1_000_000))
    message = pack(0, tuple(Reply(1, results=b"r" * 2_000_000)), None)
    writer = threading.Thread(target=talk.other.socket.sendall, args=(message,))
    writer.start()  # the worker writes before it has read what comes: neither may wait for the other
    await talk.until_told(1)
    writer.join()
    assert talk.told[0] == Reply(1, results=b"r" * 2_000_000)
    assert (await talk.other.heard())[0][0] == 0


async def test_a_call_that_cannot_be_packed_leaves_nothing_asked_and_no_region_lent(
    talk: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhausted(self: Region, parts: Any) -> None:
        raise OSError(12, "no memory to map")

    with monkeypatch.context() as patched:
        patched.setattr(Region, "write", exhausted)
        for ticket in range(REGIONS):
            with pytest.raises(OSError, match="no memory"):
                talk.ask(ticket, bytes(100_000))
    for ticket in range(REGIONS):
        talk.ask(ticket, bytes(100_000))
    calls: list[Any] = []
    while len(calls) < REGIONS:
        calls += await talk.other.heard()
    assert sorted(region for _, region, _ in calls) == list(range(REGIONS))
    assert talk.told == {}


async def test_regions_come_back_from_those_that_wait_no_longer_and_from_faults(talk: Talk) -> None:
    for round_ in range(5):
        for number in range(REGIONS):
            talk.ask(REGIONS * round_ + number, bytes(100_000))
        calls: list[Any] = []
        while len(calls) < REGIONS:
            calls += await talk.other.heard()
        assert sorted(region for _, region, _ in calls) == list(range(REGIONS))
        for ticket, _, _ in calls:
            talk.other.answer(ticket, Reply(0))
        await talk.until_told(REGIONS * (round_ + 1))


async def test_a_reply_to_nothing_that_was_asked_loses_the_worker(talk: Talk) -> None:
    talk.ask(1)
    talk.other.answer(99, Reply(1))
    await talk.until_told(1)
    assert isinstance(talk.told[1], BrokenExecutor)
    with pytest.raises(BrokenExecutor):
        talk.ask(2)


async def test_a_worker_that_writes_what_nobody_reads_any_more_learns_that_it_may_stop(talk: Talk) -> None:
    talk.ask(1)
    ended: list[BaseException] = []

    def write() -> None:
        try:
            talk.other.socket.settimeout(None)
            talk.other.socket.sendall(pack(1, tuple(Reply(1, results=bytes(10_000_000))), None))
        except OSError as error:
            ended.append(error)

    talk.channel.detach()
    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    talk.channel.finish()
    await asyncio.to_thread(writer.join, 5)
    assert len(ended) == 1


async def test_told_once_however_often_it_is_lost(talk: Talk) -> None:
    talk.ask(1)
    talk.channel.lost()
    talk.channel.lost(MemoryError())
    talk.session.set_result(None)
    await talk.until_told(1)
    assert isinstance(talk.told[1], BrokenExecutor)


async def test_who_is_told_may_ask_again_at_once(talk: Talk) -> None:
    """A lane does: where a worker has dropped a chain, and where the next batch waits."""
    done = asyncio.get_running_loop().create_future()
    answers: list[Any] = []

    def told(reply: Reply | Exception) -> None:
        answers.append(reply)
        if len(answers) == 3:
            done.set_result(None)
        else:
            talk.channel.ask(1, "chain", None, Packed(1, b"again"), True, False, told)

    talk.channel.ask(1, "chain", None, Packed(1, b"first"), True, False, told)
    for number in range(3):
        await talk.other.heard()
        talk.other.answer(1, Reply(number))
    await asyncio.wait_for(done, 5)
    assert answers == [Reply(0), Reply(1), Reply(2)]


@pytest.mark.parametrize("fails_at", range(1, 2 * REGIONS + 1))
async def test_without_descriptors_to_spare_a_channel_has_less_memory_and_works(
    fails_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not hasattr(os, "memfd_create"):
        pytest.skip("there is no memory without a name here")
    create, made = os.memfd_create, list[str]()

    def scarce(name: str) -> int:
        made.append(name)
        if len(made) == fails_at:
            raise OSError(24, "too many open files")
        return create(name)

    monkeypatch.setattr(os, "memfd_create", scarce)
    talk = Talk()
    for ticket in range(3):
        talk.ask(ticket, bytes(100_000))
    calls: list[Any] = []
    while len(calls) < 3:
        calls += await talk.other.heard()
    assert all(region < len(talk.other.outbound) for _, region, _ in calls)
    talk.channel.detach()
    talk.channel.close()
    talk.other.close()


def test_a_channel_that_gets_no_socket_leaves_no_descriptor(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused() -> Any:
        raise OSError(24, "too many open files")

    monkeypatch.setattr(socket, "socketpair", refused)
    with pytest.raises(OSError, match="too many"):
        Channel()


@pytest.mark.parametrize("asked", [False, True], ids=["idle", "with a batch"])
@pytest.mark.parametrize("end", list(permutations(["detach", "finish", "session"])), ids="-".join)
async def test_it_ends_well_in_any_order(end: tuple[str, ...], asked: bool) -> None:
    talk = Talk()
    fd = talk.channel._socket.fileno()
    if asked:
        talk.channel._free.clear()
        talk.ask(1, bytes(1_000_000))
    for step in end:
        if step == "session":
            talk.session.set_result(None)
            await asyncio.sleep(0)
        else:
            getattr(talk.channel, step)()
            getattr(talk.channel, step)()
    loop = asyncio.get_running_loop()
    assert not loop.remove_reader(fd)
    assert not loop.remove_writer(fd)
    await asyncio.to_thread(talk.channel.close)
    await asyncio.sleep(0)
    talk.channel.lost()
    assert list(talk.told) == ([1] if asked else [])
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


async def test_a_reply_there_is_no_memory_for_costs_its_batch_and_not_the_worker(
    talk: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhausted(self: Buffers, nbytes: int) -> bytearray:
        raise MemoryError

    for ticket in range(3):
        talk.ask(ticket)
    talk.other.answer(0, Reply(1))
    with monkeypatch.context() as patched:
        patched.setattr(Buffers, "take", exhausted)
        region = talk.other.outbound[talk.channel._leased[1]]
        message = pack(1, tuple(Reply(1, results=light(bytes(100_000)))), region, talk.channel._leased[1])
        talk.other.socket.sendall(message)
        await talk.until_told(2)
    talk.other.answer(2, Reply(3))
    await talk.until_told(3)
    assert (talk.told[0], talk.told[2]) == (Reply(1), Reply(3))
    assert isinstance(talk.told[1], MemoryError)
    assert (talk.channel._leased, sorted(talk.channel._free)) == ({}, [0, 1])


# Log lines.


class Logs:
    """In place of what handles them."""

    def __init__(self) -> None:
        self.wants = Wanted(0, (("", 30, 30, False),), ())
        self.put_in: list[Any] = []

    def wanted(self) -> Wanted:
        return self.wants

    def put(self, *lines: Any) -> None:
        self.put_in.append(lines)


@pytest.fixture
async def logging_talk() -> Any:
    talk = Talk(logs := Logs())
    yield talk, logs
    talk.channel.detach()
    talk.channel.close()
    talk.other.close()


async def test_a_worker_is_told_what_is_wanted_before_its_first_batch_and_when_that_changes(
    logging_talk: tuple[Talk, Logs],
) -> None:
    talk, logs = logging_talk
    talk.ask(1)
    talk.ask(2)
    logs.wants = Wanted(0, (("", 20, 20, False),), ())
    talk.ask(3)
    calls: list[Any] = []
    while len(calls) < 5:
        calls += await talk.other.heard()
    assert [call[0] for call in calls] == [LOGS, 1, 2, LOGS, 3]
    assert calls[3][1:] == tuple(logs.wants)


async def test_lines_are_handled_with_the_positions_of_the_batches_that_are_asked(
    logging_talk: tuple[Talk, Logs],
) -> None:
    talk, logs = logging_talk
    talk.ask(1)
    talk.other.socket.sendall(pack(LOGS, (1, 0, b"first"), None))
    talk.other.answer(1, Reply(1))
    talk.other.socket.sendall(pack(LOGS, (1, 2, b"late"), None))
    async with asyncio.timeout(5):
        while len(logs.put_in) < 2:
            await asyncio.sleep(0.001)
    assert logs.put_in == [
        (Chunk(1, 0, b"first"), "lane 7", {1: range(40, 41)}),
        (Chunk(1, 2, b"late"), "lane 7", {}),
    ]
    assert talk.told == {1: Reply(1)}


async def test_what_was_logged_before_the_end_of_the_talk_is_heard(logging_talk: tuple[Talk, Logs]) -> None:
    talk, logs = logging_talk
    talk.ask(1)
    talk.channel.detach()
    talk.other.answer(1, Reply(1))
    talk.other.socket.sendall(pack(LOGS, (1, 0, b"last"), None))
    talk.channel.finish()
    assert [chunk.data for chunk, *_ in logs.put_in] == [b"last"]
    assert talk.told == {}  # a batch that nobody waits for


async def test_lines_that_nobody_handles_are_let_go(talk: Talk) -> None:
    talk.ask(1)
    talk.other.socket.sendall(pack(LOGS, (1, 0, b"lines"), None))
    talk.other.answer(1, Reply(1))
    await talk.until_told(1)
    assert talk.told == {1: Reply(1)}
