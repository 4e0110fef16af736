"""In threads and inline records and results are handed over as they are."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from pipeframe_async import PipeFrame, PipelineEngine, apply, expand

EXECUTORS = ("threads", "inline")


class Locked:
    """A record that nobody can pickle."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.lock = threading.Lock()


class Kept(PipelineEngine[Any, Any]):
    source: Any = "stream"
    max_failures = None

    def __init__(self) -> None:
        self.taken: list[Any] = []
        self.dead: list[Any] = []

    def sink(self, records: list[Any]) -> None:
        self.taken += records

    def dead_letter(self, failures: list[Any]) -> None:
        self.dead += failures


@pytest.mark.parametrize("executor", EXECUTORS)
async def test_a_result_is_the_very_object_that_was_fed(executor: str) -> None:
    class Same(Kept):
        steps: Any = (apply(lambda record: record),)

    pipeline, fed = Same(), [Locked(number) for number in range(100)]
    report = await PipeFrame(cpu_count=2, executor=executor).run(pipeline, fed)
    assert report.delivered == 100
    assert all(one is other for one, other in zip(pipeline.taken, fed, strict=True))


@pytest.mark.parametrize("executor", EXECUTORS)
async def test_a_failure_has_the_object_that_was_fed_as_its_step_has_left_it(executor: str) -> None:
    def spoils(record: Locked) -> Locked:
        record.number += 1
        if record.number == 8:
            raise ValueError(record.number)
        return record

    class Spoils(Kept):
        steps = (apply(spoils),)

    pipeline, fed = Spoils(), [Locked(number) for number in range(20)]
    report = await PipeFrame(cpu_count=2, executor=executor).run(pipeline, fed)
    assert (report.delivered, report.failed) == (19, 1)
    assert pipeline.dead[0].record is fed[7]
    assert fed[7].number == 8


@pytest.mark.parametrize("executor", EXECUTORS)
async def test_a_failed_child_is_there_itself(executor: str) -> None:
    def children(record: Locked) -> Iterator[Locked]:
        yield from (Locked(number) for number in range(record.number))

    def odd_only(child: Locked) -> int:
        if not child.number % 2:
            raise ValueError(child.number)
        return child.number

    class Expands(Kept):
        steps = (expand(children), apply(odd_only))

    pipeline = Expands()
    await PipeFrame(cpu_count=2, executor=executor).run(pipeline, [Locked(4)])
    assert pipeline.taken == [1, 3]
    assert [failure.child.value.number for failure in pipeline.dead] == [0, 2]


@pytest.mark.parametrize("executor", EXECUTORS)
async def test_what_they_weigh_keeps_them_within_the_buffer(executor: str) -> None:
    class Large(Kept):
        steps: Any = (apply(lambda record: record[:1]),)

        def sink(self, records: list[Any]) -> None:
            self.taken.append(frame.stats().in_flight_bytes)

    frame = PipeFrame(cpu_count=2, executor=executor, buffer_bytes=8 * 2**20)
    pipeline = Large()
    report = await frame.run(pipeline, (bytes(2**20) for _ in range(60)))
    assert report.delivered == 60
    assert 0 < max(pipeline.taken) <= 8 * 2**20


@pytest.mark.parametrize("executor", EXECUTORS)
async def test_what_was_spilled_comes_back_from_disk_as_a_copy(executor: str) -> None:
    class Batch(Kept):
        source = "batch"
        steps: Any = (apply(lambda record: [*record, 1]),)

    pipeline = Batch()
    report = await PipeFrame(cpu_count=2, executor=executor, buffer_size=10).run(pipeline, ([n] for n in range(500)))
    assert report.delivered == 500
    assert pipeline.taken == [[n, 1] for n in range(500)]
