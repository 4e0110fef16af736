"""How much memory a process holds."""

from __future__ import annotations

import mmap
import os
from pathlib import Path

import pytest

from pipeframe_async import unnamed
from pipeframe_async._worker import memory
from pipeframe_async._worker.memory import resident_bytes
from pipeframe_async.testing import procfs

linux = pytest.mark.skipif(not procfs.AVAILABLE, reason="memory is read from /proc")
MIB = 2**20


@linux
def test_memory_that_is_touched_is_counted() -> None:
    before = resident_bytes()
    assert before > MIB
    with mmap.mmap(-1, 32 * MIB) as held:  # not what an allocator has kept, and which was touched before
        held[::4096] = b"x" * len(held[::4096])
        assert 30 * MIB <= resident_bytes() - before <= 40 * MIB


@linux
def test_what_is_shared_is_not_counted_and_what_is_not_is() -> None:
    fd = unnamed.make(unnamed.SHARED)
    os.truncate(fd, 32 * MIB)
    before = resident_bytes()
    with mmap.mmap(fd, 0) as shared, mmap.mmap(-1, 16 * MIB) as held:
        for touched in (shared, held):
            touched[::4096] = b"x" * len(touched[::4096])
        assert 15 * MIB <= resident_bytes() - before <= 24 * MIB
    os.close(fd)


@linux
def test_that_of_another_process_is_read_too() -> None:
    assert resident_bytes(os.getpid()) == pytest.approx(resident_bytes(), rel=0.5)
    assert resident_bytes(2**22 + 1) == 0


@pytest.mark.parametrize(
    ("shmem", "maps", "held"),
    [
        ("0 kB", "7f00-7fff r--s 0 00:01 1 /memfd:pipeframe-shared (deleted)", 300),
        ("100 kB", "400000-500000 r--s 0 00:01 1 /memfd:pipeframe-shared (deleted)", 200),
        ("100 kB", "400000-40f000 r--s 0 00:01 1 /memfd:pipeframe-shared (deleted)\n1-2 r--p 0 0 0", 240),
        ("100 kB", "400000-500000 rw-s 0 00:01 1 /memfd:pipeframe-out (deleted)", 300),
    ],
    ids=["none is resident", "it may all be", "no more than there is", "not of share"],
)
def test_of_shared_memory_what_share_has_put_there_is_left_out(
    shmem: str, maps: str, held: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "status").write_text(f"Name:\tpython\nVmRSS:\t     300 kB\nRssShmem:\t {shmem}\n")
    (tmp_path / "self" / "maps").write_text(maps)
    monkeypatch.setattr(memory, "_PROC", tmp_path)
    assert resident_bytes() == held * 1024


def test_where_the_system_does_not_say_it_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_PROC", tmp_path)
    assert resident_bytes() == 0
