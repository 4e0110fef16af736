"""Messages between parent and worker: whatever the socket cuts them into, values come out as they went in."""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeframe_async._worker import channel, codec
from pipeframe_async._worker.channel import Buffers, Inbox, Region, Unread, light, pack
from pipeframe_async.wire import OutOfBand

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


def apart(*buffers: bytes) -> OutOfBand:
    return OutOfBand(b"the pickle", tuple(pickle.PickleBuffer(buffer) for buffer in buffers))


def plain(value: Any) -> Any:
    """A value with its buffers as bytes, for comparison."""
    if isinstance(value, OutOfBand):
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
    stream = b"".join(pack(number, value, None) for number, value in values)
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
            message = pack(number, apart(*content), ours, 0)
            assert len(message) < 400  # only lengths go over the socket
            ((back, value),) = inbox.take(message)
            assert (back, plain(value)) == (number, (b"the pickle", content))
    finally:
        ours.close()
        theirs.close()


@memfd
def test_what_is_too_large_for_a_region_goes_over_the_socket(region: Region, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel, "REGION_BYTES", 100)
    message = pack(1, apart(b"x" * 101), region, 0)
    ((_, value),) = Inbox([]).take(message)
    assert plain(value) == (b"the pickle", [b"x" * 101])
    assert os.fstat(region.fd).st_size == 0


@memfd
def test_what_was_sent_can_be_sent_again(region: Region) -> None:
    value, theirs = apart(b"x" * PAGE), seen_by_the_other(region)
    try:
        for _ in range(2):  # its worker was lost, or some of its records go to another
            ((_, back),) = Inbox([theirs]).take(pack(1, value, region, 0))
            assert plain(back) == plain(value)
    finally:
        theirs.close()


@memfd
def test_what_was_received_is_not_changed_by_the_next_message(region: Region) -> None:
    inbox = Inbox([region])
    ((_, first),) = inbox.take(pack(1, apart(b"1" * 5000), region, 0))
    ((_, second),) = inbox.take(pack(2, apart(b"2" * 5000), region, 0))
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


HOLDERS: dict[str, Callable[[bytearray], Any]] = {
    "itself": lambda buffer: buffer,
    "view": memoryview,
    "slice of a view": lambda buffer: memoryview(buffer)[10:20],
    "read-only view": lambda buffer: memoryview(buffer).toreadonly(),
    "pickle buffer": pickle.PickleBuffer,
    "in a list": lambda buffer: [[buffer]],
}
ARRAYS: dict[str, Callable[[Any], Any]] = {
    "array": lambda array: array,
    "slice": lambda array: array[3:5],
    "reshaped": lambda array: array.reshape(2, -1).T[::3],
    "as other type": lambda array: array.view("u1")[40:],
    "view of an array": memoryview,
}


@pytest.mark.parametrize("holder", HOLDERS.values(), ids=HOLDERS)
def test_a_buffer_is_not_handed_out_while_one_holds_it_and_is_after_that(holder: Callable[[bytearray], Any]) -> None:
    buffers = Buffers()
    held = holder(buffers.take(800))
    others = [id(buffers.take(800)) for _ in range(3)]
    assert len(set(others)) == 1  # none of these is held
    del held
    assert id(buffers.take(800)) not in others


@pytest.mark.parametrize("made", ARRAYS.values(), ids=ARRAYS)
def test_whatever_is_made_of_an_array_that_came_keeps_its_value(made: Callable[[Any], Any]) -> None:
    numpy = pytest.importorskip("numpy")
    inbox = Inbox([])
    region = Region(os.memfd_create("pipeframe-test")) if hasattr(os, "memfd_create") else None
    if region is not None:
        inbox = Inbox([region])
    ((_, back),) = inbox.take(pack(1, codec.dumps_out_of_band([numpy.arange(5000.0)]), region, 0))
    (array,) = codec.loads(back)
    held, before = made(array), bytes(made(array))
    del array, back
    for number in range(5):
        inbox.take(pack(number, codec.dumps_out_of_band([numpy.full(5000, float(number))]), region, 0))
    assert bytes(held) == before
    del held
    if region is not None:
        region.close()


@given(st.lists(st.tuples(st.sampled_from([10, 20]), st.booleans(), st.integers(0, 5)), max_size=60))
def test_no_two_that_live_ever_share_a_buffer(steps: list[tuple[int, bool, int]]) -> None:
    buffers, held = Buffers(), list[tuple[int, Any]]()
    for number, (size, keep, drop) in enumerate(steps):
        buffer = buffers.take(size)
        buffer[:] = bytes([number]) * size
        if keep:
            held.append((number, memoryview(buffer)[2:7]))
        del buffer
        if drop < len(held):
            del held[drop]
        assert all(bytes(view) == bytes([owner]) * 5 for owner, view in held)


def test_a_buffer_that_no_longer_is_kept_lives_on_for_its_holder() -> None:
    buffers = Buffers()
    first = memoryview(buffers.take(100))
    first[:] = b"1" * 100
    kept = [memoryview(buffers.take(100)) for _ in range(channel.KEPT_BUFFERS)]
    for view in kept:
        view[:] = b"2" * 100
    assert bytes(first) == b"1" * 100


@memfd
def test_a_region_can_be_closed_after_a_message_that_could_not_be_read(
    region: Region, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhausted(self: Buffers, nbytes: int) -> bytearray:
        raise MemoryError

    theirs = seen_by_the_other(region)
    message = pack(1, apart(b"x" * 5000), region, 0)
    monkeypatch.setattr(Buffers, "take", exhausted)
    ((ticket, unread),) = Inbox([theirs]).take(message)
    theirs.close()  # while the error lives
    assert (ticket, type(unread), type(unread.error)) == (1, Unread, MemoryError)
    assert unread.error.__traceback__ is None


class Tight(bytearray):
    """Memory for 20,000 bytes, and not one more."""

    def __iadd__(self, more: Any) -> Any:  # type: ignore[misc]
        if len(self) + len(more) > 20_000:
            raise MemoryError
        self.extend(more)
        return self


@pytest.mark.parametrize("piece", [100, 1000, 7919, 65_536])
@pytest.mark.parametrize("behind", [0, 2])
def test_a_message_there_is_no_memory_for_is_passed_over_and_those_behind_it_are_read(piece: int, behind: int) -> None:
    stream = pack(7, apart(bytes(50_000)), None)
    stream += b"".join(pack(number, ("small", number), None) for number in range(behind))
    inbox, out = Inbox([]), []
    for at in range(0, len(stream), piece):
        out += inbox.take(stream[at : at + piece])
        inbox._data = Tight(inbox._data)
    (ticket, unread), *others = out
    if piece < 50_000:
        assert (ticket, type(unread)) == (7, Unread)
    assert others == [(number, ("small", number)) for number in range(behind)]


@memfd
@settings(max_examples=40)
@given(st.lists(st.tuples(st.sampled_from([1, 5000, 60_000]), st.booleans()), min_size=1, max_size=8), st.data())
def test_messages_with_and_without_a_region_keep_their_order(kinds: list[tuple[int, bool]], data: Any) -> None:
    ours = [Region(os.memfd_create("pipeframe-test")) for _ in kinds]
    theirs = [seen_by_the_other(region) for region in ours]
    try:
        stream = b"".join(
            pack(number, apart(bytes([number]) * size), ours[number] if shared else None, number)
            for number, (size, shared) in enumerate(kinds)
        )
        inbox, out, at = Inbox(theirs), list[Any](), 0
        while at < len(stream):
            cut = data.draw(st.integers(1, max(1, len(stream) // 3)))
            out += inbox.take(stream[at : at + cut])
            at += cut
        assert [number for number, _ in out] == list(range(len(kinds)))
        assert [plain(value)[1] for _, value in out] == [[bytes([n]) * size] for n, (size, _) in enumerate(kinds)]
    finally:
        for region in [*ours, *theirs]:
            region.close()


def test_the_pieces_of_a_large_message_are_gathered_in_one_place() -> None:
    """Copied anew for each piece of 64 KiB, a message of 32 MiB took six seconds."""
    message, inbox = pack(1, apart(bytes(2**20)), None), Inbox([])
    assert inbox.take(message[:65_536]) == []
    gathered = inbox._data
    for at in range(65_536, 2**20, 65_536):
        assert inbox.take(message[at : at + 65_536]) == []
        assert inbox._data is gathered
    ((_, value),) = inbox.take(message[2**20 :])
    assert plain(value) == (b"the pickle", [bytes(2**20)])
    assert not inbox._data


def test_buffers_of_sizes_that_never_come_again_are_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel, "KEPT_BYTES", 1000)
    buffers = Buffers()
    for nbytes in range(100, 400):
        buffers.take(nbytes)
    assert sum(map(len, buffers._kept)) <= 1000


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
    assert isinstance(light(OutOfBand(large, ())).data, pickle.PickleBuffer)


class TestBesideThePickle:
    """What `codec.dumps_out_of_band` leaves beside the pickle."""

    def test_only_large_buffers_stand_beside_it(self) -> None:
        numpy = pytest.importorskip("numpy")
        edge = codec.OUT_OF_BAND_BYTES // 8
        small, large = numpy.zeros(edge - 1), numpy.zeros(edge)
        assert isinstance(codec.dumps_out_of_band([small, small]), bytes)
        packed = codec.dumps_out_of_band([small, large])
        assert isinstance(packed, OutOfBand)
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
        ((_, back),) = Inbox([]).take(pack(1, codec.dumps_out_of_band([array]), None))
        (again,) = codec.loads(back)
        assert again.dtype == array.dtype
        assert again.flags.writeable == array.flags.writeable
        assert (again == array).all()

    def test_a_buffer_in_pieces_is_refused_in_the_pickle_where_its_record_is_known(self) -> None:
        pieces = pickle.PickleBuffer(memoryview(bytes(100_000))[::2])
        with pytest.raises(pickle.PicklingError):
            codec.dumps_out_of_band([pieces])

    def test_a_class_of_main_with_arrays_has_each_buffer_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        numpy = pytest.importorskip("numpy")
        holder = type("Holder", (), {"__module__": "__main__"})
        monkeypatch.setattr(sys.modules["__main__"], "Holder", holder, raising=False)
        records = []
        for number in range(3):
            records.append(holder())
            records[-1].array = numpy.full(5000, float(number))
        packed = codec.dumps_out_of_band(records)
        assert isinstance(packed, OutOfBand)
        assert len(packed.buffers) == 3
        ((_, value),) = Inbox([]).take(pack(1, packed, None))
        assert [record.array[-1] for record in codec.loads(value)] == [0, 1, 2]

    def test_an_array_that_stands_there_twice_is_one_array_on_the_other_side(self) -> None:
        numpy = pytest.importorskip("numpy")
        array = numpy.zeros(5000)
        packed = codec.dumps_out_of_band([array, {"same": array}])
        assert isinstance(packed, OutOfBand)
        assert len(packed.buffers) == 1
        ((_, value),) = Inbox([]).take(pack(1, packed, None))
        first, second = codec.loads(value)
        assert second["same"] is first

    @pytest.mark.parametrize("nbytes", [0, 1, *(codec.OUT_OF_BAND_BYTES + more for more in (-1, 0, 1))])
    @pytest.mark.parametrize("kind", [bytes, bytearray])
    def test_bytes_of_any_size_come_back_as_what_they_were(self, nbytes: int, kind: Any) -> None:
        value = kind(os.urandom(nbytes))
        ((_, back),) = Inbox([]).take(pack(1, light(codec.dumps_out_of_band([value])), None))
        (again,) = codec.loads(back)
        assert (type(again), again) == (kind, value)


@pytest.mark.parametrize("piece", [65_536, 1_000_003, 30_000_000])
def test_a_large_message_is_gathered_apart_and_those_behind_it_are_read(piece: int) -> None:
    large = bytes(range(256)) * (channel.REGION_BYTES // 256 + 1)
    stream = pack(7, apart(large, b"small"), None) + pack(8, ("next", 1), None)
    inbox, out = Inbox([]), list[Any]()
    for at in range(0, len(stream), piece):
        out += inbox.take(stream[at : at + piece])
    (ticket, value), behind = out
    assert (ticket, plain(value)) == (7, (b"the pickle", [large, b"small"]))
    assert behind == (8, ("next", 1))


def test_a_large_message_that_no_pages_are_there_for_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(nbytes: int) -> Any:
        raise MemoryError

    monkeypatch.setattr(channel, "Pages", exhausted)
    stream = pack(7, apart(bytes(channel.REGION_BYTES + 1)), None) + pack(8, ("next", 1), None)
    inbox, out = Inbox([]), list[Any]()
    for at in range(0, len(stream), 100_000):
        out += inbox.take(stream[at : at + 100_000])
    (ticket, unread), behind = out
    assert (ticket, type(unread), type(unread.error)) == (7, Unread, MemoryError)
    assert behind == (8, ("next", 1))
