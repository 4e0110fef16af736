"""Large memory holds what was put there, in whatever pieces, and says so where there is none."""

from __future__ import annotations

import mmap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeframe_async._worker.pages import Pages


@given(st.lists(st.binary(max_size=20_000), max_size=12), st.integers(0, 50_000))
def test_what_was_appended_is_there_in_one_piece(pieces: list[bytes], known: int) -> None:
    memory = Pages(known)
    for piece in pieces:
        memory.append(piece)
    assert bytes(memory.view()) == b"".join(pieces)
    assert memory.nbytes == len(memory.view())


def test_a_view_outlives_its_memory() -> None:
    memory = Pages()
    memory.append(b"abc")
    view = memory.view()
    del memory
    assert bytes(view) == b"abc"


@pytest.mark.parametrize("nbytes", [2**62, 2**60])
def test_where_there_is_no_memory_it_says_so(nbytes: int) -> None:
    with pytest.raises(MemoryError):
        Pages(nbytes)
    memory = Pages()
    memory.append(b"abc")
    with pytest.raises(MemoryError):
        memory._grow(nbytes)
    assert bytes(memory.view()) == b"abc"


class Stiff(mmap.mmap):
    """Of a system that cannot make it larger."""

    def resize(self, newsize: int) -> None:
        raise SystemError("resizing not available")


def test_where_it_cannot_grow_it_is_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mmap, "mmap", Stiff)
    memory = Pages()
    for number in range(10):
        memory.append(bytes([number]) * 3000)
    assert bytes(memory.view()) == b"".join(bytes([number]) * 3000 for number in range(10))
