"""How much memory this process holds."""

from __future__ import annotations

import mmap
from pathlib import Path

import pytest

from pipeframe_async._worker import memory
from pipeframe_async._worker.memory import resident_bytes

linux = pytest.mark.skipif(not Path(memory._STATM).exists(), reason="memory is read from /proc")
MIB = 2**20


@linux
def test_memory_that_is_touched_is_counted() -> None:
    before = resident_bytes()
    assert before > MIB
    with mmap.mmap(-1, 32 * MIB) as held:  # not what an allocator has kept, and which was touched before
        held[::4096] = b"x" * len(held[::4096])
        assert 30 * MIB <= resident_bytes() - before <= 40 * MIB


@linux
def test_the_second_figure_is_resident_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    statm = tmp_path / "statm"
    statm.write_text("1000 30 5 0 0 7 0\n")
    monkeypatch.setattr(memory, "_STATM", str(statm))
    assert resident_bytes() == 30 * memory._PAGE


def test_where_the_system_does_not_say_it_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_STATM", str(tmp_path / "nothing"))
    assert resident_bytes() == 0
