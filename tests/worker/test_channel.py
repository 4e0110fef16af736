"""Messages between parent and worker: whatever the socket cuts them into, values come out as they went in."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeframe_async._worker import channel, codec
from pipeframe_async._worker.channel import Buffers, Inbox, Region, light, pack
from pipeframe_async.wire import Apart

memfd = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="there is no memory without a name here")
PAGE = 4096
SIZES = st.sampled_from([0, 1, 7, PAGE - 1, PAGE, PAGE + 1, 3 * PAGE, 70_000])


@pytest.fixture
def region() -> Iterator[Region]:
    made = Region(os.memfd_create("pipeframe-test"))
    yield made
    made.close()


def seen_by_the_other(region: Region) -> Region:
    """The same memory as another process has it."""
    return Region(os.dup(region.fd))


def apart(*buffers: bytes) -> Apart:
    return Apart(b"the pickle", tuple(pickle.PickleBuffer(buffer) for buffer in buffers))


def plain(value: Any) -> Any:
    """A value with its buffers as bytes, for comparison."""
    if isinstance(value, Apart):
        return value.data, [bytes(buffer) for buffer in value.buffers]
    return value


@given(
    buffers=st.lists(st.lists(SIZES, max_size=3), min_size=1, max_size=4),
    cuts=st.lists(st.integers(1, 200_000), max_size=12),
)
def test_messages_cut_anywhere_come_out_whole_and_in_order(buffers: list[list[int]], cuts: list[int]) -> None:
    values = [
        (number, apart(*(bytes([number]) * size for size in sizes))) if sizes else (number, b"small")
        for number, sizes in enumerate(buffers)
    ]
    stream = b"".join(pack(value, None) for value in values)
    inbox, out, at = Inbox([]), [], 0
    for cut in [*cuts, len(stream)]:
        out += inbox.take(stream[at : at + cut])
        at += cut
    assert [(number, plain(value)) for number, value in out] == [
        (number, (b"the pickle", [bytes([number]) * size for size in buffers[number]]) if buffers[number] else b"small")
        for number, _ in values
    ]


@memfd
@settings(max_examples=50)
@given(st.lists(st.lists(SIZES, min_size=1, max_size=3), min_size=1, max_size=5))
def test_what_goes_through_a_region_comes_out_the_same_however_it_grows(messages: list[list[int]]) -> None:
    ours = Region(os.memfd_create("pipeframe-test"))
    theirs = seen_by_the_other(ours)
    inbox = Inbox([theirs])
    try:
        for number, sizes in enumerate(messages):
            content = [os.urandom(size) for size in sizes]
            message = pack((number, apart(*content)), ours, 0)
            assert len(message) < 400  # only lengths go over the socket
            ((back, value),) = inbox.take(message)
            assert (back, plain(value)) == (number, (b"the pickle", content))
    finally:
        ours.close()
        theirs.close()


@memfd
def test_what_is_too_large_for_a_region_goes_over_the_socket(region: Region, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel, "REGION_BYTES", 100)
    message = pack(apart(b"x" * 101), region, 0)
    (value,) = Inbox([]).take(message)
    assert plain(value) == (b"the pickle", [b"x" * 101])
    assert os.fstat(region.fd).st_size == 0


@memfd
def test_what_was_received_is_not_changed_by_the_next_message(region: Region) -> None:
    inbox = Inbox([region])
    (first,) = inbox.take(pack(apart(b"1" * 5000), region, 0))
    (second,) = inbox.take(pack(apart(b"2" * 5000), region, 0))
    assert plain(first) == (b"the pickle", [b"1" * 5000])
    assert plain(second) == (b"the pickle", [b"2" * 5000])


def test_a_buffer_is_used_again_when_nobody_holds_it() -> None:
    buffers = Buffers()
    first = buffers.take(100)
    number = id(first)
    del first
    assert id(buffers.take(100)) == number


def test_a_buffer_is_not_handed_out_while_something_made_of_it_lives() -> None:
    numpy = pytest.importorskip("numpy")
    buffers, held = Buffers(), []
    for number in range(channel.KEPT_BUFFERS + 10):
        held.append(numpy.frombuffer(buffers.take(800), dtype=float)[10:20])
        held[-1][:] = number
    assert [int(array[0]) for array in held] == list(range(len(held)))


def test_a_buffer_has_exactly_the_size_that_was_asked_for() -> None:
    buffers = Buffers()
    del buffers.take(100)[:0]
    assert len(buffers.take(60)) == 60


def test_large_payloads_are_not_copied_into_the_pickle_of_their_message() -> None:
    large = b"x" * (channel.INLINE_BYTES + 1)
    assert isinstance(light(large), pickle.PickleBuffer)
    assert light(large[:-1]) == large[:-1]
    assert light(None) is None
    assert light((large, b"")) == (large, b"")
    assert isinstance(light(Apart(large, ())).data, pickle.PickleBuffer)


class TestBesideThePickle:
    """What `codec.dumps_apart` leaves beside the pickle."""

    def test_only_large_buffers_stand_beside_it(self) -> None:
        numpy = pytest.importorskip("numpy")
        edge = codec.APART_BYTES // 8
        small, large = numpy.zeros(edge - 1), numpy.zeros(edge)
        assert isinstance(codec.dumps_apart([small, small]), bytes)
        packed = codec.dumps_apart([small, large])
        assert isinstance(packed, Apart)
        assert [memoryview(buffer).nbytes for buffer in packed.buffers] == [8 * edge]

    @pytest.mark.parametrize(
        "kind", ["plain", "fortran", "strided", "read-only", "boolean", "structured", "empty", "objects"]
    )
    def test_every_kind_of_array_comes_back_as_it_was(self, kind: str) -> None:
        numpy = pytest.importorskip("numpy")
        square = numpy.arange(90_000.0).reshape(300, 300)
        read_only = square.copy()
        read_only.flags.writeable = False
        array = {
            "plain": square,
            "fortran": numpy.asfortranarray(square),
            "strided": square[::2, ::3],
            "read-only": read_only,
            "boolean": square > 5,
            "structured": numpy.zeros(9000, dtype=[("a", "i4"), ("b", "f8")]),
            "empty": numpy.zeros((0, 3)),
            "objects": numpy.array(["a", None, 3], dtype=object),
        }[kind]
        (back,) = Inbox([]).take(pack(codec.dumps_apart([array]), None))
        (again,) = codec.loads(back)
        assert again.dtype == array.dtype
        assert again.flags.writeable == array.flags.writeable
        assert (again == array).all()

    def test_a_buffer_in_pieces_is_refused_in_the_pickle_where_its_record_is_known(self) -> None:
        pieces = pickle.PickleBuffer(memoryview(bytes(100_000))[::2])
        with pytest.raises(pickle.PicklingError):
            codec.dumps_apart([pieces])
