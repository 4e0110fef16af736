"""A worker at work, in this very process: every batch is answered, whatever becomes of it, until it is hung up on."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from pipeframe_async._worker import channel, codec, envelope, session
from pipeframe_async._worker.channel import NO_REGION, Inbox, Region, pack
from pipeframe_async._worker.forwarding import Chunk
from pipeframe_async._worker.session import LOGS, Session
from pipeframe_async.wire import UNKNOWN_CHAIN, ChainSpec, Reply

pytestmark = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="regions are files without a name")

KEY = "chain"


class Parent:
    """The other end: sends calls first, lets the session run until it has read them all, then reads the replies."""

    def __init__(self, logs: Any = None) -> None:
        self.socket, theirs = socket.socketpair()
        self.socket.settimeout(5)
        inbound, outbound = ([os.memfd_create("test") for _ in range(2)] for _ in range(2))
        self.inbound = [Region(os.dup(fd)) for fd in inbound]
        self.outbound = [Region(os.dup(fd)) for fd in outbound]
        self._theirs = theirs.detach()
        self._all = inbound + outbound
        self.session = Session(self._theirs, inbound, outbound, logs)

    def sends(self, ticket: int, records: list[Any], *, region: int = NO_REGION, key: str = KEY) -> None:
        call = (key, None, ticket, codec.dumps(records), True, None, False)
        self.socket.sendall(pack(ticket, (region, call), self.inbound[region] if region >= 0 else None, region))

    def hears(self) -> list[tuple[int, Any]]:
        """All that the session has to say: replies, and log lines."""
        self.socket.shutdown(socket.SHUT_WR)
        self.session.serve()
        self.session._socket.shutdown(socket.SHUT_WR)
        inbox, replies = Inbox(self.outbound), list[tuple[int, Any]]()
        while received := self.socket.recv(65536):
            replies += [
                (ticket, Chunk(*said) if ticket == LOGS else Reply(*said)) for ticket, said in inbox.take(received)
            ]
        return replies

    def close(self) -> None:
        self.socket.close()
        self.session._socket.close()
        for region in [*self.inbound, *self.outbound, *self.session._outbound, *self.session._inbox._regions]:
            region.close()


@pytest.fixture
def parent() -> Iterator[Parent]:
    parent = Parent()
    yield parent
    parent.close()


@pytest.fixture(autouse=True)
def a_chain() -> Iterator[None]:
    envelope.install(KEY, ChainSpec(("step",), (step,), None))
    yield
    envelope.forget()


def step(record: Any) -> tuple[Any, bool]:
    if record == "bad":
        raise ValueError("bad")
    return 2 * record, True


def results(reply: Reply) -> list[Any]:
    assert isinstance(reply.results, bytes)
    return list(codec.loads(reply.results))


def test_batches_are_answered_in_the_order_they_came(parent: Parent) -> None:
    for ticket in (3, 1, 2):
        parent.sends(ticket, [ticket])
    replies = parent.hears()
    assert [(ticket, results(reply)) for ticket, reply in replies] == [(3, [6]), (1, [2]), (2, [4])]


def test_a_session_without_batches_ends_when_the_parent_hangs_up(parent: Parent) -> None:
    assert parent.hears() == []


def test_a_session_ends_when_its_socket_is_closed_under_it(parent: Parent) -> None:
    parent.session._socket.close()
    parent.session.serve()


def test_a_record_that_fails_and_a_chain_that_is_not_there_are_answered_too(parent: Parent) -> None:
    parent.sends(1, [1, "bad", 2])
    parent.sends(2, [1], key="another")
    (_, first), (_, second) = parent.hears()
    assert (results(first), [failure.at for failure in first.failures]) == ([2, 4], [1])
    assert second.refusal is not None
    assert second.refusal.kind == UNKNOWN_CHAIN


def test_a_reply_goes_through_the_region_its_batch_was_leased(parent: Parent) -> None:
    large = "x" * channel.INLINE_BYTES
    parent.sends(1, [large], region=1)
    ((ticket, reply),) = parent.hears()
    assert (ticket, reply.records, reply.delivered) == (1, 1, 1)
    assert reply.results is not None
    assert codec.loads(reply.results) == [2 * large]
    assert [os.fstat(region.fd).st_size > 0 for region in parent.outbound] == [False, True]


def test_a_reply_that_cannot_be_written_is_a_fault_and_the_next_one_is_none(
    parent: Parent, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []

    def scarce(*args: Any) -> bytes:
        made.append(args)
        if len(made) == 1:
            raise MemoryError("no more")
        return pack(*args)

    monkeypatch.setattr(session, "pack", scarce)
    parent.sends(1, [1])
    parent.sends(2, [2])
    (_, first), (_, second) = parent.hears()
    assert first.refusal is not None
    assert (first.refusal.kind, first.refusal.message) == ("envelope", "MemoryError: no more")
    assert results(second) == [4]


def test_the_seconds_of_a_batch_have_the_moving_of_it_and_of_the_reply_before(
    parent: Parent, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([100.0, 101.0, 103.0, 107.0, 115.0])  # begun; read, worked; read and wrote, worked
    monkeypatch.setattr(session, "thread_time", lambda: next(clock))
    monkeypatch.setattr(envelope, "work", lambda *call, out_of_band: Reply(1, cpu=0.5))
    parent.sends(1, [1])
    parent.sends(2, [2])
    assert [reply.cpu for _, reply in parent.hears()] == [1.5, 4.5]


def test_the_session_that_was_attached_is_the_one_that_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    served: list[str] = []

    class Fake:
        def serve(self) -> None:
            served.append("served")

    fake: Any = Fake()
    monkeypatch.setattr(session, "_session", None)
    session.attach(fake)
    session.serve()
    assert served == ["served"]


def test_what_nobody_wants_is_dropped_without_a_word(parent: Parent, monkeypatch: pytest.MonkeyPatch) -> None:
    dropped: list[int] = []
    monkeypatch.setattr(envelope, "drop", dropped.append)
    parent.socket.sendall(pack(17, None, None))
    parent.sends(1, [1])
    assert [ticket for ticket, _ in parent.hears()] == [1]
    assert dropped == [17]


class Lines:
    """In place of what steps log: a chunk for each batch."""

    def __init__(self, *chunks: Chunk) -> None:
        self.waiting = [*chunks]
        self.adopted: list[Any] = []
        self.send: Any = None

    def sent_by(self, send: Any) -> None:
        self.send = send

    def adopt(self, wanted: Any) -> None:
        self.adopted.append(wanted)

    def chunks(self) -> list[Chunk]:
        taken, self.waiting = self.waiting, []
        return taken

    def put_back(self, chunks: list[Chunk]) -> None:
        self.waiting = chunks + self.waiting


CHUNK = Chunk(1, 0, b"lines")


@pytest.fixture
def logging_parent() -> Iterator[tuple[Parent, Lines]]:
    parent = Parent(lines := Lines(CHUNK))
    yield parent, lines
    parent.close()


def test_log_lines_go_before_the_reply(logging_parent: tuple[Parent, Lines]) -> None:
    parent, _ = logging_parent
    parent.sends(1, [1])
    parent.sends(2, [1])
    assert [(ticket, said) for ticket, said in parent.hears() if ticket == LOGS] == [(LOGS, CHUNK)]


def test_log_lines_of_a_step_that_takes_long_go_by_themselves(logging_parent: tuple[Parent, Lines]) -> None:
    parent, lines = logging_parent
    lines.send()
    lines.send()  # there are none
    assert parent.hears() == [(LOGS, CHUNK)]


def test_what_the_parent_wants_is_adopted_and_not_answered(
    logging_parent: tuple[Parent, Lines], parent: Parent
) -> None:
    wanted = (0, (("", 30, 30, False),), ())
    logging_parent[0].socket.sendall(pack(LOGS, wanted, None))
    assert logging_parent[0].hears() == []
    assert logging_parent[1].adopted == [wanted]
    parent.socket.sendall(pack(LOGS, wanted, None))  # where nothing is caught
    assert parent.hears() == []


def test_log_lines_that_cannot_be_sent_wait_for_the_end(
    logging_parent: tuple[Parent, Lines], monkeypatch: pytest.MonkeyPatch
) -> None:
    parent, lines = logging_parent
    parent.socket.close()
    with pytest.raises(OSError, match=r"."):
        lines.send()
    monkeypatch.setattr(session, "_session", parent.session)
    envelope.returned()  # of chains that tests before this one have let go
    assert session.conclude() == ([], [CHUNK], [])
    monkeypatch.setattr(session, "_session", None)
    assert session.conclude() == ([], [], [])


def test_streams_that_are_not_there_are_not_flushed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", None)
    session.flush_streams()
