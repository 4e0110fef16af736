"""Large records are packed and read beside the loop, which goes on serving others, and keep their order."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from typing import Any, ClassVar

import pytest

from pipeframe_async import PipeFrame, PipelineEngine


def same(record: Any) -> Any:
    return record, True


class Same(PipelineEngine[Any, Any]):
    steps = (same,)


class Tell:
    """Says in which thread of this process it was packed and read."""

    told: ClassVar[list[tuple[str, int]]] = []

    def __init__(self, data: bytes) -> None:
        self.data = data

    def __reduce__(self) -> Any:
        self.told.append(("packed", threading.get_ident()))
        return _read, (self.data,)


def _read(data: bytes) -> Tell:
    Tell.told.append(("read", threading.get_ident()))
    return Tell(data)


@pytest.mark.parametrize(("size", "beside"), [(10, False), (100_000, False), (2**20, True), (30 * 2**20, True)])
async def test_from_a_mebibyte_on_it_is_packed_and_read_beside_the_loop(size: int, beside: bool) -> None:
    async with PipeFrame(1) as frame:
        Tell.told.clear()
        back = await frame.call(Same, Tell(bytes(size)))
        assert len(back.data) == size
        assert [what for what, _ in Tell.told] == ["packed", "read"]
        assert [thread != threading.get_ident() for _, thread in Tell.told] == [beside, beside]


@pytest.mark.parametrize("size", [2**20, 5 * 2**20, 40 * 2**20])
async def test_what_comes_back_is_what_went(size: int) -> None:
    async with PipeFrame(1) as frame:
        for record in (bytes(size), bytearray(size), "x" * size, {"a": bytes(size), "b": [bytes(size // 2)] * 2}):
            assert await frame.call(Same, record) == record


def third(record: Any) -> int:
    return int(record[0] % 3)


class Seen(PipelineEngine[Any, Any]):
    """Says in which order its worker has had the records of one key."""

    order = staticmethod(third)
    source = "stream"
    max_failures = None

    def __init__(self) -> None:
        self.taken: list[Any] = []

    def seen(self, record: Any, counts: dict[int, list[int]] = {}) -> Any:  # noqa: B006 - a worker's memory
        mine = counts.setdefault(record[0] % 3, [])
        mine.append(record[0])
        return (record[0], mine == sorted(mine)), True

    steps = (seen,)

    async def feed(self) -> AsyncIterator[Any]:
        for number in range(120):
            yield number, bytes(3_000_000 if number % 4 == 0 else 10)

    async def sink(self, results: list[Any]) -> None:
        self.taken += results


async def test_small_ones_do_not_overtake_large_ones_of_their_key() -> None:
    pipeline = Seen()
    await PipeFrame(2, buffer_size=50).run(pipeline)
    assert sorted(pipeline.taken) == [(number, True) for number in range(120)]


async def test_one_large_record_that_cannot_be_packed_is_that_record_s_failure() -> None:
    class Kept(Same):
        source = "stream"
        max_failures = None

        def __init__(self) -> None:
            self.dead: list[Any] = []
            self.got: list[int] = []

        async def feed(self) -> AsyncIterator[Any]:
            yield bytes(2_000_000)
            yield [bytes(2_000_000), lambda: None]
            yield bytes(2_000_001)

        async def sink(self, results: list[Any]) -> None:
            self.got += map(len, results)

        async def dead_letter(self, failures: list[Any]) -> None:
            self.dead += failures

    pipeline = Kept()
    report = await PipeFrame(1).run(pipeline)
    assert pipeline.got == [2_000_000, 2_000_001]
    assert [(failure.kind, len(failure.record)) for failure in pipeline.dead] == [("unpicklable", 2)]
    assert (report.delivered, report.failed) == (2, 1)
