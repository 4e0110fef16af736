"""`share`: what a handle has, what it pickles as, and what becomes of its memory."""

from __future__ import annotations

import copy
import gc
import os
import pickle
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pipeframe_async import ConfigError, Shared, share, shared, shared_file, unnamed
from pipeframe_async.testing import procfs
from pipeframe_async.unnamed import Address
from pipeframe_async.weight import weight

needs_proc = pytest.mark.skipif(not unnamed.can_be_found(), reason="needs /proc")


class Buffer:
    """A value with memory that pickle may have beside it, as an array has."""

    def __init__(self, data: Any) -> None:
        self.data = memoryview(data)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return Buffer, (pickle.PickleBuffer(self.data),)


class Counted:
    """Counts how often it is pickled and made."""

    pickled = made = 0

    def __reduce__(self) -> Any:
        Counted.pickled += 1
        return Counted._make, ()

    @staticmethod
    def _make() -> Counted:
        Counted.made += 1
        time.sleep(0)  # another thread may come here meanwhile
        return Counted()


@pytest.fixture(autouse=True)
def nothing_counted() -> None:
    Counted.pickled = Counted.made = 0


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[bytes], Any]]:
    """Reads a pickle as a process does that has none of this one's handles."""
    there: Any = type(shared._here)()

    def read(data: bytes) -> Any:
        with monkeypatch.context() as patched:
            patched.setattr(shared, "_here", there)
            return pickle.loads(data)

    yield read
    gc.collect()
    assert not there


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_where_it_was_made_it_is_the_object_itself_and_so_is_what_comes_back() -> None:
    table = {"a": 1}
    handle = share(table)
    assert handle.value is table
    assert pickle.loads(pickle.dumps(handle)) is handle


def test_a_handle_of_a_handle_is_the_handle() -> None:
    handle = share([1])
    assert share(handle) is handle


def test_copies_are_the_handle() -> None:
    handle = share([1])
    assert copy.copy(handle) is copy.deepcopy(handle) is handle


@needs_proc
def test_nothing_is_pickled_before_it_is_sent_and_then_once() -> None:
    before = descriptors()
    handle = share(Counted())
    repr(handle), copy.deepcopy([handle]), handle.value
    assert (Counted.pickled, descriptors()) == (0, before)
    assert pickle.dumps(handle) == pickle.dumps(handle)
    assert (Counted.pickled, descriptors()) == (1, before + 1)


def test_it_is_small_to_pickle_and_weighs_little_in_a_record() -> None:
    handle = share(bytearray(2**24))
    if unnamed.can_be_found():
        assert len(pickle.dumps(handle)) < 500
    assert weight(("key", handle)) < 100


@needs_proc
def test_elsewhere_it_is_an_equal_object_made_once(elsewhere: Callable[[bytes], Any]) -> None:
    table = {"a": [1, "b", None], "c": Counted()}
    handle = share(table)
    first, second = (elsewhere(pickle.dumps(handle)) for _ in range(2))
    assert first is second
    assert first is not handle
    assert Counted.made == 0
    assert first.value["a"] == table["a"]
    assert first.value is second.value
    assert Counted.made == 1


@needs_proc
def test_threads_that_ask_at_once_have_one_object(elsewhere: Callable[[bytes], Any]) -> None:
    handle = share(Counted())
    there, together = elsewhere(pickle.dumps(handle)), threading.Barrier(8)

    def ask(_: int) -> Any:
        together.wait(10)
        return there.value

    with ThreadPoolExecutor(8) as threads:
        assert len({*map(id, threads.map(ask, range(8)))}) == 1
    assert Counted.made == 1


@needs_proc
@pytest.mark.parametrize("writable", [bytearray, bytes], ids=["was writable", "was not"])
def test_elsewhere_buffers_are_aligned_views_that_nobody_can_write_to(
    elsewhere: Callable[[bytes], Any], writable: Callable[[bytes], Any]
) -> None:
    parts = [Buffer(writable(os.urandom(size))) for size in (0, 1, 63, 64, 100_000)]
    handle = share(parts)
    there = elsewhere(pickle.dumps(handle))
    mapped = there._origin._memory
    assert [part.data.tobytes() for part in there.value] == [part.data.tobytes() for part in parts]
    for part in there.value:
        assert part.data.readonly
        assert part.data.obj is mapped.obj
    numpy = pytest.importorskip("numpy")
    begins = [numpy.frombuffer(part.data, "u1").ctypes.data for part in there.value if part.data.nbytes]
    assert [begin % shared_file.ALIGNMENT for begin in begins] == [0] * 4


@needs_proc
def test_arrays_are_read_only_views_in_their_order(elsewhere: Callable[[bytes], Any]) -> None:
    numpy = pytest.importorskip("numpy")
    table = {"c": numpy.arange(6.0).reshape(2, 3), "f": numpy.asfortranarray(numpy.arange(6.0).reshape(2, 3))}
    handle = share(table)
    there = elsewhere(pickle.dumps(handle)).value
    for name, array in table.items():
        assert (there[name] == array).all()
        assert there[name].flags.f_contiguous == array.flags.f_contiguous
        assert not there[name].flags.owndata
        with pytest.raises(ValueError, match="read-only"):
            there[name][0, 0] = 1


@needs_proc
def test_a_handle_among_what_is_shared_goes_along(elsewhere: Callable[[bytes], Any]) -> None:
    inner = share([1, 2])
    handle = share({"inner": inner})
    there = elsewhere(pickle.dumps(handle))
    assert there.value["inner"] is inner  # it is asked for where that is


@needs_proc
def test_one_that_was_sent_is_sent_on_as_it_came(elsewhere: Callable[[bytes], Any]) -> None:
    handle = share([1])
    there = elsewhere(pickle.dumps(handle))
    assert elsewhere(pickle.dumps(there)) is there


@needs_proc
def test_its_memory_goes_with_the_last_who_has_it(elsewhere: Callable[[bytes], Any]) -> None:
    before = descriptors()
    handle = share(Buffer(bytearray(b"x" * 4096)))
    there = elsewhere(pickle.dumps(handle))
    del handle
    gc.collect()
    view = there.value.data  # mapped when it came, so that it is there
    del there
    gc.collect()
    assert bytes(view) == b"x" * 4096
    assert unnamed.SHARED in Path("/proc/self/maps").read_text()
    del view
    gc.collect()
    assert unnamed.SHARED not in Path("/proc/self/maps").read_text()
    assert descriptors() == before


@needs_proc
def test_it_is_let_go_when_its_maker_has_it_no_more(elsewhere: Callable[[bytes], Any]) -> None:
    handle = share([1])
    there = elsewhere(pickle.dumps(handle))
    assert (shared.is_let_go(handle), shared.is_let_go(there)) == (False, False)
    del handle
    gc.collect()
    assert shared.is_let_go(there)
    assert there.value == [1]


@needs_proc
def test_where_nobody_may_look_it_is_not_taken_to_be_let_go(
    elsewhere: Callable[[bytes], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = share([1])
    there = elsewhere(pickle.dumps(handle))

    def refused(*_: object) -> int:
        raise ConfigError("another user")

    monkeypatch.setattr(unnamed, "opened", refused)
    assert not shared.is_let_go(there)


@needs_proc
def test_handles_that_are_read_are_noted_those_that_are_here_too(elsewhere: Callable[[bytes], Any]) -> None:
    first, second = share([1]), share([2])
    with shared.noted() as outer:
        there = elsewhere(pickle.dumps(first))
        with shared.noted() as inner:
            pickle.loads(pickle.dumps(second))
    pickle.loads(pickle.dumps(second))
    assert (outer, inner) == ([there], [second])
    del outer


@needs_proc
def test_descriptors_that_somebody_has_closed_are_made_anew(elsewhere: Callable[[bytes], Any]) -> None:
    handle = share([1])
    pickle.dumps(handle)
    assert isinstance(handle._origin, shared._Made)
    assert handle._origin._file is not None
    os.close(fd := handle._origin._file[0])
    theirs = os.open("/dev/null", os.O_RDONLY)
    assert theirs == fd
    assert elsewhere(pickle.dumps(handle)).value == [1]
    del handle
    gc.collect()
    os.close(theirs)  # nobody else has


@needs_proc
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_fork_sends_the_memory_as_its_own_also_when_its_parent_was_at_that() -> None:
    handle = share([1])
    pickle.dumps(handle)
    reader, writer = os.pipe()
    with handle._origin.lock:
        if (pid := os.fork()) == 0:
            with ThreadPoolExecutor(1) as thread:  # that does not have the lock
                _, address, _ = thread.submit(handle._origin.reduced).result(10)[1]
            os.write(writer, str(Address(*address).pid).encode())
            os._exit(0)
    os.close(writer)
    with open(reader) as told:
        assert int(told.read()) == pid
    os.waitpid(pid, 0)


@pytest.mark.parametrize("value", [threading.Lock(), lambda: 1], ids=["lock", "lambda"])
def test_what_cannot_be_pickled_is_named_by_its_type_and_leaves_nothing(value: Any) -> None:
    handle, kind = share(value), type(value)
    before = descriptors() if procfs.AVAILABLE else 0
    with pytest.raises(ConfigError, match=f"type {kind.__module__}.{kind.__qualname__}, which cannot be sent"):
        pickle.dumps(handle)
    assert not before or descriptors() == before


@needs_proc
def test_where_there_is_no_memory_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(name: str) -> int:
        return os.open("/dev/full", os.O_WRONLY)

    monkeypatch.setattr(unnamed, "make", full)
    before = descriptors()
    with pytest.raises(ConfigError, match="No space left"):
        pickle.dumps(share(bytearray(2**20)))
    assert descriptors() == before


@pytest.fixture
def not_to_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unnamed, "can_be_found", lambda: False)


@pytest.mark.usefixtures("not_to_be_found")
def test_where_nobody_can_open_it_the_object_goes_along_and_buffers_are_read_only_all_the_same(
    elsewhere: Callable[[bytes], Any],
) -> None:
    handle = share({"a": Buffer(bytearray(b"abc"))})
    data = pickle.dumps(handle)
    there = elsewhere(data)
    assert elsewhere(data) is there
    assert elsewhere(pickle.dumps(there)) is there
    assert there.value["a"].data.tobytes() == b"abc"
    assert there.value["a"].data.readonly


def test_a_handle_says_what_it_is() -> None:
    handle = share(dict[str, int]())
    assert repr(handle) == "<Shared dict, of this process>"
    assert isinstance(handle, Shared)


@needs_proc
def test_one_that_was_sent_says_whose_it_is(elsewhere: Callable[[bytes], Any]) -> None:
    handle = share([1])
    assert repr(elsewhere(pickle.dumps(handle))) == f"<Shared of process {os.getpid()}>"
