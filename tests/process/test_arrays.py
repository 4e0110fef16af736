"""Large records through real workers: values come out right whatever steps and consumers do with them."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from typing import Any

import pytest

from pipeframe_async import PipeFrame, PipelineEngine
from pipeframe_async.executors import channel, worker

numpy = pytest.importorskip("numpy")
pytestmark = pytest.mark.process

FLOATS = 20_000
"""Of an array: large enough to stand beside the pickle."""


def array_of(number: int) -> Any:
    return numpy.full(FLOATS, float(number))


def doubled(array: Any) -> Any:
    return array * 2, True


def spoiled(array: Any) -> Any:
    number = array[0]
    array[:] = -1
    if number % 10 == 3:
        raise ValueError("spoiled")
    return array + number + 1, True


def window(array: Any, seen: list[Any] = []) -> Any:  # noqa: B006 - what steps do to keep a little state
    seen.append(array)
    return [float(old[0]) for old in seen[-5:]], float(array[0]) == float(array[-1])


def deadly(array: Any) -> Any:
    if array[0] == 17:
        os._exit(1)
    return array[:5], True


def slow(array: Any) -> Any:
    if array[0] == 5:
        time.sleep(100)
    return array, True


def three(array: Any) -> Any:
    for number in range(3):
        yield array + number, True


class Arrays(PipelineEngine[Any, Any]):
    source = "stream"
    max_failures = None

    def __init__(self, *steps: Any, records: int = 40, time_limit: float | None = None) -> None:
        self.steps = list(steps)
        self.records = records
        self.time_limit = time_limit
        self.failures: list[Any] = []

    def feed(self) -> Iterator[Any]:
        return map(array_of, range(self.records))

    async def dead_letter(self, failures: list[Any]) -> None:
        self.failures += failures


async def results_of(pipeline: Arrays, frame: PipeFrame | None = None) -> list[Any]:
    async with (frame or PipeFrame(2)).stream(pipeline) as results:
        return [result async for result in results]


def numbers(arrays: list[Any]) -> list[float]:
    assert all((array == array[0]).all() for array in arrays)
    return [float(array[0]) for array in arrays]


async def test_a_consumer_that_keeps_all_results_has_the_right_values_at_the_end() -> None:
    kept = await results_of(Arrays(doubled, records=300))
    assert numbers(kept) == [2.0 * number for number in range(300)]


async def test_a_step_may_change_its_record_in_place_and_its_failure_has_it_as_it_was_fed() -> None:
    pipeline = Arrays(spoiled)
    kept = await results_of(pipeline)
    assert numbers(kept) == [number for number in range(40) if number % 10 != 3]
    assert numbers([failure.record for failure in pipeline.failures]) == [3, 13, 23, 33]


async def test_a_step_that_keeps_its_records_sees_them_unchanged() -> None:
    seen = await results_of(Arrays(window, records=200))
    assert all(old == sorted(old) and len(set(old)) == len(old) for old in seen)
    assert sorted(old[-1] for old in seen) == list(range(200))


async def test_the_record_that_kills_its_worker_is_the_one_that_fails() -> None:
    pipeline = Arrays(deadly)
    kept = await results_of(pipeline)
    assert numbers(kept) == [number for number in range(40) if number != 17]
    assert numbers([failure.record for failure in pipeline.failures]) == [17]


async def test_a_record_out_of_time_is_the_one_that_fails() -> None:
    pipeline = Arrays(slow, records=12, time_limit=0.3)
    kept = await results_of(pipeline)
    assert numbers(kept) == [number for number in range(12) if number != 5]
    assert [failure.kind for failure in pipeline.failures] == ["timeout"]


async def test_a_fan_out_of_arrays_comes_in_order() -> None:
    kept = await results_of(Arrays(three, records=10))
    assert numbers(kept) == [number + more for number in range(10) for more in range(3)]


async def test_many_runs_share_the_workers_and_their_memory() -> None:
    async with PipeFrame(2) as frame:
        runs = await asyncio.gather(*(results_of(Arrays(doubled, records=30), frame) for _ in range(5)))
    assert all(numbers(kept) == [2.0 * number for number in range(30)] for kept in runs)


async def test_a_record_larger_than_shared_memory_may_be_goes_through(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeframe_async._worker.channel.REGION_BYTES", 1000)
    assert numbers(await results_of(Arrays(doubled, records=5))) == [0, 2, 4, 6, 8]


@pytest.mark.parametrize("step", [doubled, deadly], ids=["well", "with a crash"])
async def test_it_works_without_memory_without_a_name(step: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel, "_memory", lambda name: [])
    assert len(await results_of(Arrays(step))) == (40 if step is doubled else 39)


@pytest.mark.parametrize("step", [doubled, deadly], ids=["well", "with a crash"])
async def test_it_works_through_the_pool_s_own_queues_where_no_socket_can_be_handed_over(
    step: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "CAN_HAND_OVER_SOCKETS", False)
    pipeline = Arrays(step)
    kept = await results_of(pipeline)
    assert numbers([failure.record for failure in pipeline.failures]) == ([] if step is doubled else [17])
    assert len(kept) + len(pipeline.failures) == 40
